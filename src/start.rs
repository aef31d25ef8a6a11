//! The first call: whatever comes first finds the library valid.
//!
//! Never: makes a second thread wait for the first.
//!
//! # State
//!
//! ```text
//!            first call             initialize hook has returned
//!  untouched ──────────► starting ──────────────────────────────► started
//!                        other threads, and the hook itself, are served by the backend
//! ```

use crate::abi::*;
use crate::backend::{self, Entries};
use crate::chain;
use crate::dispatch;
use crate::guard;
use crate::registry;
use crate::sys::barrier;
use core::sync::atomic::{AtomicU32, Ordering};

const UNTOUCHED: u32 = 0;
const STARTING: u32 = 1;
const STARTED: u32 = 2;

static STATE: AtomicU32 = AtomicU32::new(UNTOUCHED);

core::arch::global_asm!(".weak memhook_initialize_hook");

/// The program's `memhook_initialize_hook`, where it defines one that is not NULL.
fn initialize_hook() -> Option<unsafe extern "C" fn()> {
    let place: *const Option<unsafe extern "C" fn()>;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: reads the address of a weak symbol, null where nobody defines it.
    unsafe {
        core::arch::asm!("mov {}, qword ptr [rip + memhook_initialize_hook@GOTPCREL]", out(reg) place,
                         options(nostack, readonly, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: reads the address of a weak symbol, null where nobody defines it.
    unsafe {
        core::arch::asm!("adrp {0}, :got:memhook_initialize_hook",
                         "ldr {0}, [{0}, #:got_lo12:memhook_initialize_hook]", out(reg) place,
                         options(nostack, readonly, preserves_flags));
    }
    // SAFETY: null, or a variable of this type by the header's declaration.
    unsafe { place.as_ref() }.copied().flatten()
}

/// Starts the library if nobody has yet.
pub(crate) fn ensure() {
    // ORDERING [start]: Acquire. What the initialize hook did. Other end: `start`.
    if STATE.load(Ordering::Acquire) == UNTOUCHED {
        start();
    }
}

#[cold]
fn start() {
    backend::resolve();
    // ORDERING [start]: Acquire and Acquire. Other end: the store below.
    if STATE.compare_exchange(UNTOUCHED, STARTING, Ordering::Acquire, Ordering::Acquire).is_err() {
        return;
    }
    barrier::choose();
    let suspended = guard::record().filter(|record| record.suspend());
    if let Some(hook) = initialize_hook() {
        // SAFETY: the program's own function, by the contract of the variable.
        unsafe { hook() };
    }
    if let Some(record) = suspended {
        record.resume();
    }
    if chain::is_first() && registry::begin().is_err() {
        // Nothing is in force and nothing can be: every call goes to the backend meanwhile, and
        // the next registration tries again.
    }
    // ORDERING [start]: Release. What the hook did. Other end: `ensure`.
    STATE.store(STARTED, Ordering::Release);
}

/// Where the entry stubs find the entry table to use before the first chain is published.
pub(crate) unsafe extern "C" fn first() -> *const Entries {
    ensure();
    backend::resolve();
    if chain::is_first() { &raw const backend::FUNCTIONS } else { chain::entries() }
}

unsafe extern "C" fn in_fork_child() {
    barrier::choose();
    guard::forked();
    // ORDERING [none]: Relaxed. No other thread exists. One that was starting the library is gone;
    // what it had registered stays.
    let _ = STATE.compare_exchange(STARTING, STARTED, Ordering::Relaxed, Ordering::Relaxed);
    dispatch::set_circumstances(&mut |now| now | MEMHOOK_DURING_FORK_CHILD);
}

extern "C" fn at_exit() {
    dispatch::set_circumstances(&mut |now| now | MEMHOOK_DURING_PROCESS_EXIT);
}

/// The library's constructor: what must be registered with the C library while none of its locks
/// can be held, and what tells the start from what follows it.
unsafe extern "C" fn constructor() {
    backend::resolve();
    let suspended = guard::record().filter(|record| record.suspend());
    guard::watch_thread_exit();
    // SAFETY: the handler takes no lock and stays loaded for ever. A failure means that fork
    // children are not told apart; there is nobody to tell that to.
    unsafe { libc::pthread_atfork(None, None, Some(in_fork_child)) };
    // SAFETY: as above.
    unsafe { libc::atexit(at_exit) };
    dispatch::set_circumstances(&mut |now| now & !MEMHOOK_DURING_STARTUP);
    if let Some(record) = suspended {
        record.resume();
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: unsafe extern "C" fn() = constructor;
