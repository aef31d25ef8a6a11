//! The first call, and the end of threads.

use crate::abi::*;
use crate::{chain, grace, guard, registry, sys};
use std::sync::Once;

static STARTED: Once = Once::new();

pub(crate) fn ensure() {
    if STARTED.is_completed() {
        return;
    }
    STARTED.call_once(|| {
        sys::barrier::choose();
        let suspended = guard::record().filter(|record| record.suspend());
        guard::watch_thread_exit(thread_exits);
        guard::set_circumstances(0, MEMHOOK_DURING_STARTUP);
        if let Some(record) = suspended {
            record.resume();
        }
        registry::prepare();
        registry::begin().unwrap();
    });
}

pub(crate) fn ensure_for_variables() {
    ensure();
}

unsafe extern "C" fn thread_exits(_: *mut core::ffi::c_void) {
    let Some(record) = guard::record() else { return };
    record.add_circumstances(MEMHOOK_DURING_THREAD_EXIT);
    if record.is_inside() {
        grace::abandon(record);
    }
}

/// What a fork child does, here in a process with one thread.
pub(crate) fn forked() {
    sys::barrier::choose();
    guard::forked();
    registry::forked();
    guard::set_circumstances(MEMHOOK_DURING_FORK_CHILD, 0);
}

pub(crate) fn object_loaded() {}

pub(crate) fn is_unloading(_: usize) -> bool {
    sys::is_unloading()
}
