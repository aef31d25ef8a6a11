//! The asymmetric barrier: nothing for readers, a system call for writers.
//!
//! [`light`] in one thread and [`heavy`] in another order memory as two full fences would. With
//! membarrier(2) the light one is a compiler fence only; where the kernel refuses it (old kernel,
//! seccomp), both are real fences. Which of the two is chosen once, by [`choose`].

use super::syscall;
use core::sync::atomic::{AtomicU32, Ordering, compiler_fence, fence};

const REGISTER_PRIVATE_EXPEDITED: i32 = 1 << 4;
const PRIVATE_EXPEDITED: i32 = 1 << 3;

/// What readers have to look at: `FENCED`, and `HURRY` for each writer that is in a hurry. A fence too many does
/// no harm.
pub(crate) static SPECIAL: AtomicU32 = AtomicU32::new(FENCED | ALL_FENCED);
/// Readers must use a real fence. So until membarrier(2) is known to work.
const FENCED: u32 = 1;
/// No reader is between a look at SPECIAL without `FENCED` and its load of the chain: writers may rely on fences.
const ALL_FENCED: u32 = 2;
/// One writer waits for readers.
const HURRY: u32 = 4;

/// Asks the kernel for membarrier(2). Called before the first reader.
pub(crate) fn choose() {
    let works =
        syscall::membarrier(REGISTER_PRIVATE_EXPEDITED) == 0 && syscall::membarrier(PRIVATE_EXPEDITED) == 0;
    const BOTH: u32 = FENCED | ALL_FENCED;
    let change = if works { |now: u32| Some(now & !BOTH) } else { |now: u32| Some(now | BOTH) };
    // ORDERING [none]: Relaxed and Relaxed. Before any hook can be in force; `publish` orders it before the
    // first reader.
    let _ = SPECIAL.fetch_update(Ordering::Relaxed, Ordering::Relaxed, change);
}

/// In a fork child: nobody is in a hurry, and the kernel is asked again.
pub(crate) fn forked() {
    // ORDERING [none]: Relaxed. There is one thread.
    SPECIAL.store(FENCED | ALL_FENCED, Ordering::Relaxed);
    choose();
}

/// How often a writer has begun to be in a hurry.
static HURRIES: AtomicU32 = AtomicU32::new(0);

/// A writer waits, or waits no longer, for readers that may have been preempted.
pub(crate) fn hurry(whether: bool) {
    if whether {
        // ORDERING [none]: Relaxed. A request, which may come late.
        HURRIES.fetch_add(1, Ordering::Relaxed);
    }
    // ORDERING [none]: Relaxed. A request, which may come late.
    let _ = SPECIAL.fetch_add(if whether { HURRY } else { HURRY.wrapping_neg() }, Ordering::Relaxed);
}

/// While a writer is in a hurry, the number of the latest that is; else 0.
pub(crate) fn hurried() -> u32 {
    // ORDERING [none]: Relaxed. As above.
    let now = SPECIAL.load(Ordering::Relaxed) >= HURRY;
    // ORDERING [none]: Relaxed. As above.
    if now { HURRIES.load(Ordering::Relaxed) } else { 0 }
}

/// Whether readers must use a real fence, or are to look whether a writer is in a hurry. Asked after the store
/// that is to come before the fence.
#[inline(always)]
pub(crate) fn is_special() -> bool {
    // ORDERING [none]: Relaxed. See `choose`; where the value changes later, `heavy` makes up for it.
    SPECIAL.load(Ordering::Relaxed) != 0
}

/// The readers' side for who has asked [`is_special`], and gone another way if so.
#[inline(always)]
pub(crate) fn light_unfenced() {
    // ORDERING [enter]: SeqCst. For the compiler; the processor is made to by `heavy`.
    compiler_fence(Ordering::SeqCst);
}

/// The readers' side.
#[inline(always)]
pub(crate) fn light() {
    if is_special() {
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
pub(crate) fn seldom() {}

/// The writers' side: after it, every other thread has either not reached its next [`light`] or
/// everything before its last one is visible here.
pub(crate) fn heavy() {
    // ORDERING [fenced]: Relaxed. Where another writer has interrupted the readers: what they did before, by the
    // fence below. Other end: below.
    let fenced = SPECIAL.load(Ordering::Relaxed) & ALL_FENCED != 0;
    if !fenced && syscall::membarrier(PRIVATE_EXPEDITED) != 0 {
        // Taken away since the start, by a seccomp filter: from now on readers use fences; those
        // that are between their load of SPECIAL and their load of the chain are interrupted.
        // ORDERING [none]: Relaxed. The interrupt below orders it for every running thread.
        let _ = SPECIAL.fetch_or(FENCED, Ordering::Relaxed);
        #[cfg(target_arch = "x86_64")]
        super::pages::shoot_down();
        // ORDERING [fenced]: Release. The interrupt, before any writer does without. Other end: above.
        let _ = SPECIAL.fetch_or(ALL_FENCED, Ordering::Release);
    }
    // ORDERING [enter]: SeqCst. Our publication before our look at the readers, and what other threads did
    // before the barrier is seen after it; so is what `fenced` says. Other end: `light`. membarrier(2) is one by
    // itself.
    fence(Ordering::SeqCst);
}
