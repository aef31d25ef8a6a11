//! Threads as the kernel knows them.

use super::syscall;

/// A thread of a process.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Thread {
    pub(crate) pid: u32,
    pub(crate) tid: u32,
}

/// The calling thread.
pub(crate) fn current() -> Thread {
    Thread { pid: syscall::getpid(), tid: syscall::gettid() }
}

/// Whether `thread` has ended. A thread that cannot be asked about counts as alive.
///
/// Who is told so sees all that the thread did: on its way out it executes full barriers in the kernel before it
/// gives up its number, and our way back from the kernel lets nothing be read before the answer.
pub(crate) fn is_dead(thread: Thread) -> bool {
    syscall::probe_thread(thread.pid, thread.tid) == -(libc::ESRCH as isize)
}

pub(crate) use super::own::errno_location;
pub(crate) use syscall::{clock_ns, give_way, monotonic_ns, on_signal_stack};

/// Adds to a number that only this thread writes, in a way that a signal handler of this thread
/// cannot come between.
///
/// # Safety
///
/// `number` is valid and written by this thread only.
#[inline(always)]
pub(crate) unsafe fn local_add(number: *mut i64, delta: i64) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the caller's contract. One instruction, so that no handler sees it half done; not
    // locked, as no other thread writes.
    unsafe {
        core::arch::asm!("add qword ptr [{0}], {1}", in(reg) number, in(reg) delta, options(nostack));
    }
    #[cfg(target_arch = "aarch64")]
    {
        // SAFETY: valid by the caller's contract.
        let number = unsafe { core::sync::atomic::AtomicI64::from_ptr(number) };
        // ORDERING [none]: Relaxed. A statistic; readers that need the sum to be final read it
        // after a grace period.
        number.fetch_add(delta, core::sync::atomic::Ordering::Relaxed);
    }
}
