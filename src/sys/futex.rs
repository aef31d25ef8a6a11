//! Waiting for a word to change.

use super::syscall;
use core::sync::atomic::AtomicU32;

/// Waits while `word` holds `value`, at most `timeout_ns` nanoseconds. May return early.
pub(crate) fn wait(word: &AtomicU32, value: u32, timeout_ns: u64) {
    let timeout = libc::timespec {
        tv_sec: (timeout_ns / 1_000_000_000) as libc::time_t,
        tv_nsec: (timeout_ns % 1_000_000_000) as libc::c_long,
    };
    syscall::futex(word.as_ptr(), libc::FUTEX_WAIT, value, &timeout);
}

/// Wakes all who wait for `word`.
pub(crate) fn wake_all(word: &AtomicU32) {
    syscall::futex(word.as_ptr(), libc::FUTEX_WAKE, i32::MAX as u32, core::ptr::null());
}
