//! Suspension of hooks for the calling thread.

use super::with_errno_kept;
use crate::guard;
use core::ffi::c_int;

/// Suspends all hooks for the calling thread: its calls go to the backend until
/// `memhook_resume()`. Nests. An owned block that is freed meanwhile still goes to its owner.
///
/// # Returns
///
/// 0, or:
///
/// - `EAGAIN`: suspended 32,767 times already.
/// - `ENOMEM`: there was no memory for what the library must know of this thread.
///
/// # Threads
///
/// Any thread, any time; concerns the calling thread only. Never waits. In a signal handler,
/// suspend and resume in pairs.
///
/// # Reentrancy
///
/// Allowed inside a callback; lasts beyond it.
#[unsafe(no_mangle)]
pub extern "C" fn memhook_suspend() -> c_int {
    with_errno_kept(|| match guard::record() {
        None => libc::ENOMEM,
        Some(record) if record.suspend() => 0,
        Some(_) => libc::EAGAIN,
    })
}

/// Takes one `memhook_suspend()` of the calling thread back.
///
/// # Returns
///
/// 0, or:
///
/// - `EINVAL`: hooks are not suspended in this thread.
///
/// # Threads
///
/// As `memhook_suspend()`.
///
/// # Reentrancy
///
/// As `memhook_suspend()`.
#[unsafe(no_mangle)]
pub extern "C" fn memhook_resume() -> c_int {
    with_errno_kept(|| match guard::record() {
        Some(record) if record.resume() => 0,
        _ => libc::EINVAL,
    })
}

/// Whether hooks are suspended in the calling thread, or a callback is running in it: 1 or 0.
///
/// # Threads
///
/// As `memhook_suspend()`.
///
/// # Reentrancy
///
/// Inside a callback: 1.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn memhook_is_suspended() -> c_int {
    with_errno_kept(|| {
        guard::record().is_some_and(|record| record.is_inside() || record.suspensions() != 0).into()
    })
}
