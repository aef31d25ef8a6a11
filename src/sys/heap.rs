//! The process's heap: what brk(2) gives.

use super::syscall::raw;
use core::sync::atomic::{AtomicUsize, Ordering};

static FIRST: AtomicUsize = AtomicUsize::new(0);

fn end() -> usize {
    // SAFETY: asks for nothing to be changed.
    unsafe { raw(libc::SYS_brk, [0; 6]) as usize }
}

/// Notes where the heap begins. To be called before anything can have allocated.
pub(crate) fn note_begin() {
    let now = end();
    // ORDERING [none]: Relaxed and Relaxed. A number; the first is it.
    let _ = FIRST.compare_exchange(0, now, Ordering::Relaxed, Ordering::Relaxed);
}

/// The end of the heap, if the address lies in it. Asked of the kernel each time: the heap may have become smaller.
pub(crate) fn end_around(address: usize) -> Option<usize> {
    // ORDERING [none]: Relaxed. A number.
    let first = FIRST.load(Ordering::Relaxed);
    let end = if first == 0 || address < first { return None } else { end() };
    (address < end).then_some(end)
}
