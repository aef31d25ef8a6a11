//! Memory that a hook has in each thread.

use super::{Block, with_errno_kept};
use crate::abi::*;
use crate::guard;
use crate::local;
use core::ffi::{c_int, c_void};

/// For the library's own hooks: what a callback looks up of its thread.
#[derive(Clone, Copy)]
pub(crate) struct Here(&'static guard::Record);

impl Here {
    /// # Safety
    ///
    /// In a callback.
    #[inline(always)]
    pub(crate) unsafe fn of_callback() -> Here {
        // SAFETY: callbacks are called in sections (the caller's contract).
        Here(unsafe { guard::of_section() })
    }

    /// The stack pointer with which the entry point was called.
    #[inline(always)]
    pub(crate) fn frame(self) -> usize {
        self.0.frame()
    }

    /// This thread's memory, if it has been asked for before; else NULL.
    ///
    /// # Safety
    ///
    /// The key is 0, or was given out.
    #[inline(always)]
    pub(crate) unsafe fn known(self, key: memhook_local) -> Block {
        // SAFETY: the caller's contract.
        unsafe { local::known_surely(self.0, key) }.cast()
    }
}

/// Gives every thread memory of its own for a hook: counters and buffers that no other thread writes.
///
/// The memory of a thread outlives it, with its contents, and belongs to a later thread then, which may
/// be told by `memhook_thread()`. So sums over all threads stay true, and memory does not grow with the
/// number of threads that there ever were.
///
/// # Parameters
///
/// - `bytes`: how much for each thread. Aligned to 128 bytes, at first zero.
/// - `out`: receives the key. Not NULL.
///
/// # Returns
///
/// 0, or:
///
/// - `EINVAL`: `bytes` is 0 or above 1 GiB, or `out` is NULL.
/// - `ENOSPC`: all 64 keys are given out. A key is never given back: take one for a tool, once, not
///   for each start of it.
///
/// # Threads
///
/// Any thread, any time. Never waits.
///
/// # Reentrancy
///
/// Allowed inside a callback.
///
/// # Safety
///
/// `out` is NULL or writable.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_local_create(bytes: usize, out: *mut memhook_local) -> c_int {
    with_errno_kept(|| {
        if bytes == 0 || bytes > 1 << 30 || out.is_null() {
            return libc::EINVAL;
        }
        let Some(key) = local::create(bytes) else { return libc::ENOSPC };
        // SAFETY: not NULL, hence writable (the caller's contract).
        unsafe { out.write(key) };
        0
    })
}

/// The calling thread's memory of a key.
///
/// # Returns
///
/// The memory, the same whenever the thread asks; NULL for an unknown key, or where there is no memory.
///
/// # Threads
///
/// Any thread, any time. Never waits. A few instructions.
///
/// # Reentrancy
///
/// Allowed inside a callback, which is what it is for.
#[unsafe(no_mangle)]
pub extern "C" fn memhook_local_get(key: memhook_local) -> *mut c_void {
    local::of_this_thread(key).cast()
}

/// The calling thread's memory of a key, if it has any yet.
///
/// # Returns
///
/// As `memhook_local_get()`, but NULL where the thread has not called that before for the key.
///
/// # Threads
///
/// As `memhook_local_get()`; signal handlers included, at any moment.
///
/// # Reentrancy
///
/// As `memhook_local_get()`.
#[unsafe(no_mangle)]
pub extern "C" fn memhook_local_known(key: memhook_local) -> *mut c_void {
    local::known(key).cast()
}

/// Shows the memory that threads have of a key to `visit`, one after the other: of threads that live, and
/// of those that have ended. Threads that begin meanwhile may be missed.
///
/// # Parameters
///
/// - `visit`: is given the memory, the number of its latest thread (see `memhook_thread()`) and
///   `argument`; anything but 0 from it ends the round. Not NULL.
///
/// # Returns
///
/// 0; what `visit` returned last; or:
///
/// - `EINVAL`: the key is unknown, or `visit` is NULL.
///
/// # Threads
///
/// Any thread, any time. Never waits. The threads go on: what they write and `visit` reads should be atomic.
///
/// # Reentrancy
///
/// Allowed inside a callback.
///
/// # Safety
///
/// `visit` may be called with `argument`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_local_each(
    key: memhook_local,
    visit: memhook_local_fn,
    argument: *mut c_void,
) -> c_int {
    with_errno_kept(|| {
        let Some(visit) = visit.filter(|_| local::exists(key)) else { return libc::EINVAL };
        let mut result = 0;
        local::each(key, &mut |memory, thread| {
            // SAFETY: the caller's contract.
            result = unsafe { visit(memory.cast(), thread, argument) };
            result == 0
        });
        result
    })
}

/// The number of the calling thread: never 0, and never used for another thread of the process. A fork
/// child's thread keeps it.
///
/// # Returns
///
/// The number; 0 where there is no memory for what the library must know of this thread. Inside a callback
/// never 0.
///
/// # Threads
///
/// Any thread, any time. Never waits. A few instructions.
///
/// # Reentrancy
///
/// Allowed inside a callback.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn memhook_thread() -> u64 {
    guard::record().map_or(0, |record| record.identity())
}

/// The calling thread's memory of a key, and the thread's number: in one step, for tools. As
/// [`memhook_local_get`] and [`memhook_thread`].
#[inline(always)]
pub(crate) fn memory_and_thread(key: memhook_local) -> (*mut c_void, u64) {
    let Some(record) = guard::record() else { return (core::ptr::null_mut(), 0) };
    (local::of(record, key).cast(), record.identity())
}
