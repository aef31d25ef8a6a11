//! The end of the process: reports, and the exit status of one that has exceeded its budget.
//!
//! Reports are written by a destructor, where libmemusage writes its own: what destructors of libraries
//! that are loaded later free is not in either. Then the exit status cannot be changed without leaving
//! such destructors out, hence it is by an exit handler that was registered before all others.

use super::reading::{Reading, finish_data};
use super::session::{self, Hold};
use super::{MEMHOOK_USAGE_AT_EXIT, limits};
use crate::api::thread::memhook_is_suspended;
use crate::sys;
use crate::text::Text;
use crate::tools::say;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicI32, Ordering};

/// The exit status of a process that exceeds a budget, if nothing else is asked for.
pub(super) const STATUS: c_int = 88;

/// Reports have not been written yet.
const BEFORE: c_int = -1;

/// `BEFORE`, or the exit status that the process is to have; 0: its own.
static OUTCOME: AtomicI32 = AtomicI32::new(BEFORE);

/// For the library's constructor, when no lock of the C library can be held. Does not start the library.
pub(in crate::tools) fn at_start() {
    // Where it cannot be registered, budgets are only reported.
    sys::exit::at_exit(exits);
    // Sessions of words begin with the first call, wherever that comes from.
    for session in session::all().filter_map(|session| session.hold(0)) {
        session.begin_stack(sys::tls::stack_pointer());
    }
}

unsafe extern "C" fn destructor() {
    finish();
}

#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: unsafe extern "C" fn() = destructor;

unsafe extern "C" fn exits(status: c_int, _argument: *mut c_void) {
    // In an executable that is linked with the archive, the destructor is still to come.
    finish();
    // ORDERING [none]: Relaxed. Written by this thread.
    let outcome = OUTCOME.load(Ordering::Relaxed);
    if status == 0 && outcome > 0 {
        sys::exit::exit(outcome);
    }
}

/// Writes reports and looks at budgets, once.
fn finish() {
    // ORDERING [none]: Relaxed and Relaxed. Decides who does it.
    if OUTCOME.compare_exchange(BEFORE, 0, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return;
    }
    // Their order is that of their starts.
    let mut last = None;
    while let Some(session) = first_after(last) {
        let id = session.id();
        finish_session(&session);
        last = Some(id);
    }
}

/// The session that was started first of those that were started after `id`.
fn first_after(id: Option<u64>) -> Option<Hold> {
    let all = session::all().filter_map(|session| session.hold(0));
    all.filter(|hold| id.is_none_or(|id| hold.id() > id)).min_by_key(|hold| hold.id())
}

fn finish_session(session: &Hold) {
    finish_data(session);
    let setup = session.setup();
    if setup.flags & MEMHOOK_USAGE_AT_EXIT == 0 && setup.limits.which == 0 {
        return;
    }
    // Where a signal handler calls exit, the call that it has interrupted may have the allocator's locks.
    let interrupted = memhook_is_suspended() != 0;
    let Some(reading) = Reading::of(session, interrupted) else {
        return say(&[b"usage: no memory for the report"]);
    };
    if setup.flags & MEMHOOK_USAGE_AT_EXIT != 0 {
        setup.target.write(&reading);
    }
    let mut buffer = [0; 400];
    let mut line = Text::cut(&mut buffer);
    if limits::exceeded(&reading, &setup.limits, &mut line) {
        say(&[line.bytes()]);
        // ORDERING [none]: Relaxed. Read by this thread.
        OUTCOME.store(setup.exit_status, Ordering::Relaxed);
    }
}

/// The peak exceeds its limit, at this call.
#[cold]
pub(super) fn die(peak: u64, limit: u64) -> ! {
    let mut buffer = [0; 200];
    let mut line = Text::cut(&mut buffer);
    line.add(b"memhook: usage exceeds its budget in this call: heap peak ").decimal(peak);
    line.add(b" bytes (limit ").decimal(limit).add(b")\n");
    sys::die(line.bytes())
}
