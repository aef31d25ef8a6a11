//! glibc's functions, as `<mcheck.h>` declares them.

use super::calls::{MEMHOOK_TRACE_LITERAL, memhook_trace_options, memhook_trace_stop, start};
use super::reason::reason;
use crate::api::thread::{memhook_resume, memhook_suspend};
use crate::sys::environment;
use crate::sys::exit;
use crate::sys::weak;
use crate::tools::say;
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};

core::arch::global_asm!(".weak __libc_freeres");

/// The trace: 0 for none.
static TRACE: AtomicU64 = AtomicU64::new(NONE);
const NONE: u64 = 0;
const STARTING: u64 = u64::MAX;

/// At the exit of a process that is traced still, the C library gives back what it holds itself, as under
/// its own mtrace: so that it does not look like a leak of the program's.
unsafe extern "C" fn give_back(_: *mut c_void) {
    let function = weak!(__libc_freeres);
    // SAFETY: null, or glibc's function, which has this type.
    let function = unsafe { core::mem::transmute::<*const (), Option<unsafe extern "C" fn()>>(function) };
    // ORDERING [none]: Relaxed. Told by the program's own order.
    let is_traced = !matches!(TRACE.load(Ordering::Relaxed), NONE | STARTING);
    if let Some(function) = function.filter(|_| is_traced) {
        // SAFETY: the process exits; glibc calls it here too.
        unsafe { function() };
    }
}

/// Traces all allocation calls, from now on, to the file that the environment variable `MALLOC_TRACE` names, for
/// the mtrace script. Without it, or in a privileged process, or while a trace of this function runs, does
/// nothing.
///
/// cbindgen:ignore
#[unsafe(no_mangle)]
pub(super) extern "C" fn mtrace() {
    let Some(path) = environment::variable(b"MALLOC_TRACE").filter(|_| !environment::is_privileged()) else {
        return;
    };
    // ORDERING [none]: Relaxed and Relaxed. Decides who starts it.
    if TRACE.compare_exchange(NONE, STARTING, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return;
    }
    static REGISTERED: AtomicBool = AtomicBool::new(false);
    // ORDERING [none]: Relaxed. Decides who registers it.
    if !REGISTERED.swap(true, Ordering::Relaxed) {
        let suspended = memhook_suspend() == 0;
        // A failure means that the C library keeps its memory.
        exit::before_destructors(give_back);
        if suspended {
            memhook_resume();
        }
    }
    let options = memhook_trace_options {
        struct_size: size_of::<memhook_trace_options>(),
        path: core::ptr::null(),
        flags: MEMHOOK_TRACE_LITERAL,
        frames: 0,
        most_bytes: 0,
    };
    let complain = |tried: &[u8], error| say(&[b"mtrace: MALLOC_TRACE=", tried, b": ", reason(error)]);
    let id = start(path, &options, &complain).unwrap_or(NONE);
    // ORDERING [none]: Relaxed. Decides who stops it.
    TRACE.store(id, Ordering::Relaxed);
}

/// Ends what `mtrace` began.
///
/// cbindgen:ignore
#[unsafe(no_mangle)]
pub(super) extern "C" fn muntrace() {
    // ORDERING [none]: Relaxed. Decides who stops it.
    let id = TRACE.load(Ordering::Relaxed);
    // ORDERING [none]: Relaxed and Relaxed. As above.
    let ours = || TRACE.compare_exchange(id, NONE, Ordering::Relaxed, Ordering::Relaxed).is_ok();
    if !matches!(id, NONE | STARTING) && ours() {
        // SAFETY: no counts are asked for.
        unsafe { memhook_trace_stop(id, core::ptr::null_mut()) };
    }
}
