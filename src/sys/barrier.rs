//! The asymmetric barrier: nothing for readers, a system call for writers.
//!
//! [`light`] in one thread and [`heavy`] in another order memory as two full fences would. With
//! membarrier(2) the light one is a compiler fence only; where the kernel refuses it (old kernel,
//! seccomp), both are real fences. Which of the two is chosen once, by [`choose`].

use super::syscall;
use core::sync::atomic::{AtomicBool, Ordering, compiler_fence, fence};

const REGISTER_PRIVATE_EXPEDITED: i32 = 1 << 4;
const PRIVATE_EXPEDITED: i32 = 1 << 3;

/// Whether readers must use a real fence. True until membarrier(2) is known to work.
static FENCED: AtomicBool = AtomicBool::new(true);

/// Asks the kernel for membarrier(2). Called before the first reader, and in fork children.
pub(crate) fn choose() {
    let works =
        syscall::membarrier(REGISTER_PRIVATE_EXPEDITED) == 0 && syscall::membarrier(PRIVATE_EXPEDITED) == 0;
    // ORDERING [none]: Relaxed. Stored before any hook can be in force; `publish` orders it before
    // the first reader.
    FENCED.store(!works, Ordering::Relaxed);
}

/// Whether readers must use a real fence. Asked after the store that is to come before it.
#[inline(always)]
pub(crate) fn is_fenced() -> bool {
    // ORDERING [none]: Relaxed. See `choose`; where the value changes later, `heavy` makes up for it.
    FENCED.load(Ordering::Relaxed)
}

/// The readers' side for who has asked [`is_fenced`], and gone another way if so.
#[inline(always)]
pub(crate) fn light_unfenced() {
    // ORDERING [enter]: SeqCst. For the compiler; the processor is made to by `heavy`.
    compiler_fence(Ordering::SeqCst);
}

/// The readers' side.
#[inline(always)]
pub(crate) fn light() {
    if is_fenced() {
        seldom();
        // ORDERING [enter]: SeqCst. Our entry before our load of the chain. Other end: `heavy`.
        fence(Ordering::SeqCst);
    } else {
        light_unfenced();
    }
}

/// Tells the compiler to put the branch that calls it out of the way.
#[cold]
#[inline]
fn seldom() {}

/// The writers' side: after it, every other thread has either not reached its next [`light`] or
/// everything before its last one is visible here.
pub(crate) fn heavy() {
    // ORDERING [enter]: SeqCst. Our publication before our look at the readers. Other end: `light`.
    fence(Ordering::SeqCst);
    // ORDERING [none]: Relaxed. See `choose`.
    if !FENCED.load(Ordering::Relaxed) && syscall::membarrier(PRIVATE_EXPEDITED) != 0 {
        // Taken away since the start, by a seccomp filter: from now on readers use fences; those
        // that are between their load of FENCED and their load of the chain are interrupted.
        // ORDERING [none]: Relaxed. The interrupt below orders it for every running thread.
        FENCED.store(true, Ordering::Relaxed);
        #[cfg(target_arch = "x86_64")]
        super::pages::shoot_down();
    }
    // ORDERING [enter]: SeqCst. What other threads did before the barrier is seen after it.
    fence(Ordering::SeqCst);
}
