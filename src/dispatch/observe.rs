//! The four commonest entry points while there are observers and nothing else: no interceptor,
//! no block that is not the backend's.

use super::{Ask, NONE, tell};
use crate::abi::*;
use crate::backend;
use crate::chain;
use crate::grace;
use crate::guard;
use core::ffi::c_void;

/// Tells observers of a block that the backend made.
#[inline(always)]
fn made(ask: Ask, frame: usize, make: impl FnOnce() -> *mut c_void) -> *mut c_void {
    let Some(record) = guard::record() else {
        return super::How::Refuse(libc::ENOMEM).ask_backend(ask.entry);
    };
    let errno = record.errno();
    let block = make();
    let outcome = if block.is_null() { record.errno() } else { errno };
    if let Some(section) = grace::enter(record, frame) {
        let view = chain::current(&section).view(record);
        let call = ask.call(record);
        tell(record, view.after_alloc.get(), |told| {
            // SAFETY: the program's own function, by the contract of memhook_observe.
            unsafe { (told.function)(&raw const call, block, told.user) }
        });
        drop(section);
    }
    record.set_errno(outcome);
    block
}

pub(crate) unsafe extern "C" fn observed_malloc(
    requested: usize,
    frame: usize,
    caller: usize,
) -> *mut c_void {
    let ask = Ask {
        entry: MEMHOOK_ENTRY_MALLOC,
        requested,
        alignment: 0,
        count: 1,
        each: requested,
        block: NONE,
        caller,
    };
    // SAFETY: resolved before any hook could be registered.
    made(ask, frame, || unsafe { backend::malloc(requested) })
}

pub(crate) unsafe extern "C" fn observed_calloc(
    count: usize,
    each: usize,
    frame: usize,
    caller: usize,
) -> *mut c_void {
    let requested = count.saturating_mul(each);
    let ask = Ask { entry: MEMHOOK_ENTRY_CALLOC, requested, alignment: 0, count, each, block: NONE, caller };
    // SAFETY: resolved before any hook could be registered.
    made(ask, frame, || unsafe { backend::calloc(count, each) })
}

pub(crate) unsafe extern "C" fn observed_free(block: *mut c_void, frame: usize, caller: usize) {
    if block.is_null() {
        return;
    }
    if let Some(record) = guard::record() {
        let errno = record.errno();
        if let Some(section) = grace::enter(record, frame) {
            let view = chain::current(&section).view(record);
            let ask = Ask {
                entry: MEMHOOK_ENTRY_FREE,
                requested: 0,
                alignment: 0,
                count: 1,
                each: 0,
                block,
                caller,
            };
            let call = ask.call(record);
            // Before the backend frees it: once freed, another thread may own the same address.
            tell(record, view.before_free.get(), |told| {
                // SAFETY: the program's own function, by the contract of memhook_observe.
                unsafe { (told.function)(&raw const call, told.user) }
            });
            drop(section);
        }
        // SAFETY: the program's block; no interceptor has ever made one in this mode.
        unsafe { backend::free(block) };
        return record.set_errno(errno);
    }
    // SAFETY: as above.
    unsafe { backend::free(block) };
}

pub(crate) unsafe extern "C" fn observed_realloc(
    block: *mut c_void,
    requested: usize,
    frame: usize,
    caller: usize,
) -> *mut c_void {
    if block.is_null() {
        let ask = Ask {
            entry: MEMHOOK_ENTRY_REALLOC,
            requested,
            alignment: 0,
            count: 1,
            each: requested,
            block,
            caller,
        };
        // SAFETY: resolved before any hook could be registered.
        return made(ask, frame, || unsafe { backend::realloc(block, requested) });
    }
    // SAFETY: the caller's contract is realloc's.
    unsafe { super::realloc(block, requested, frame, caller) }
}
