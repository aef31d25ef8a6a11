//! A timer that interrupts the process again and again while it runs.
//!
//! It goes with the program that started it. One of setitimer(2) is handed on by exec, to a program that has no
//! handler for its signal and is ended by it.

use super::syscall::raw;

/// Has `signal` raised as often as the kernel can while the process uses processor time; the timer's number. An error
/// is the kernel's.
pub(crate) fn start(signal: i32) -> Result<i32, i32> {
    // SAFETY: all zero is a valid value.
    let mut event: libc::sigevent = unsafe { core::mem::zeroed() };
    event.sigev_notify = libc::SIGEV_SIGNAL;
    event.sigev_signo = signal;
    let mut number = 0i32;
    let (clock, to) = (libc::CLOCK_PROCESS_CPUTIME_ID as usize, &raw mut number as usize);
    // SAFETY: a live description, and a place for the number.
    let made = unsafe { raw(libc::SYS_timer_create, [clock, &raw const event as usize, to, 0, 0, 0]) };
    if made != 0 {
        return Err(i32::try_from(-made).unwrap_or(libc::EINVAL));
    }
    let time = libc::timespec { tv_sec: 0, tv_nsec: 1000 };
    let times = libc::itimerspec { it_interval: time, it_value: time };
    // SAFETY: live times; the former ones are not asked for.
    unsafe { raw(libc::SYS_timer_settime, [number as usize, 0, &raw const times as usize, 0, 0, 0]) };
    Ok(number)
}

/// Ends a timer of this process.
pub(crate) fn end(number: i32) {
    // SAFETY: timer_delete takes no pointer.
    unsafe { raw(libc::SYS_timer_delete, [number as usize, 0, 0, 0, 0, 0]) };
}
