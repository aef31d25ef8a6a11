//! What one thread has counted.
//!
//! Never: waits, uses a locked instruction on the usual path.
//!
//! A thread writes its own counts and no others. Sums over all threads are exact, whoever frees whose block. The peak
//! is another matter: see `peak`.
//!
//! # Invariants
//!
//! 1. Counts are written by their own thread, or while the session is not in force, except: `low` of a
//!    thread that is alone, `told` and `deepest`.

use super::peak::Peak;
use crate::sys::tls;
use core::sync::atomic::{AtomicI64, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Numbers of a histogram: one for each 16 bytes below 64 KiB, and one for all that is larger.
pub(super) const BUCKETS: usize = 65536 / 16 + 1;

/// How a block is asked for: index into [`Counts::kinds`].
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Kind {
    /// malloc. Its successes are what the other kinds leave of all.
    Malloc,
    Realloc,
    Calloc,
    Aligned,
}

/// How many kinds there are.
pub(super) const KINDS: usize = 4;

/// What is counted for each kind.
#[repr(C)]
pub(super) struct OfKind {
    /// Calls that gave a block. Not kept for malloc.
    pub(super) made: AtomicU64,
    /// Bytes that these calls added to what is in use. Not kept for malloc.
    pub(super) bytes: AtomicU64,
    pub(super) failed: AtomicU64,
}

/// One thread's counts. Zero is valid, and a thread that has not called yet.
#[repr(C, align(128))]
pub(super) struct Counts {
    /// Bytes that were ever added to what is in use.
    pub(super) made: AtomicU64,
    /// Bytes that were ever taken from it.
    pub(super) gone: AtomicU64,
    /// Blocks given to free.
    pub(super) frees: AtomicU64,
    pub(super) low: AtomicI64,
    span: AtomicU64,
    /// The lowest stack pointer that was seen; 0: none yet.
    pub(super) deepest: AtomicUsize,
    /// How far above the highest lies.
    depth: AtomicUsize,
    /// The highest stack pointer that was seen.
    base: AtomicUsize,
    /// Which stack these belong to.
    stack: AtomicUsize,

    state: AtomicU32,
    /// What of the bytes in use is in the common sum; `UNTOLD`: nothing was ever added.
    pub(super) told: AtomicI64,
    pub(super) kinds: [OfKind; KINDS],
    /// free of NULL.
    pub(super) null_frees: AtomicU64,
    pub(super) realloc_in_place: AtomicU64,
    pub(super) realloc_decreasing: AtomicU64,
    pub(super) realloc_free: AtomicU64,
    /// realloc of NULL.
    pub(super) realloc_new: AtomicU64,
    /// Bytes that decreasing reallocs took from what is in use.
    pub(super) shrunk: AtomicU64,
    /// Calls that gave a block, by the bytes that they asked for.
    pub(super) histogram: [AtomicU64; BUCKETS],
}

const NEW: u32 = 0;
const ALONE: u32 = 1;
const IN_CROWD: u32 = 2;

/// The lower limit of a thread that is alone: never reached.
const FLOOR: i64 = -(1 << 61);
/// The lower limit by which it is told that it no longer is: always passed.
pub(super) const CALLED: i64 = i64::MAX;
pub(super) const UNTOLD: i64 = i64::MIN;

/// Adds to a number of this thread's.
#[inline(always)]
pub(super) fn add(to: &AtomicU64, what: u64) {
    // ORDERING [none]: Relaxed and Relaxed. A statistic that this thread alone writes.
    to.store(to.load(Ordering::Relaxed).wrapping_add(what), Ordering::Relaxed);
}

/// Reads a number that another thread may be writing.
pub(super) fn read(from: &AtomicU64) -> u64 {
    // ORDERING [none]: Relaxed. A statistic.
    from.load(Ordering::Relaxed)
}

impl Counts {
    /// A block was made.
    pub(super) fn block_made(&self, requested: usize) {
        self.enter(requested);
        add(&self.made, requested as u64);
    }

    /// A call gave a block of this size.
    #[inline(always)]
    pub(super) fn enter(&self, requested: usize) {
        if let Some(bucket) = self.histogram.get((requested / 16).min(BUCKETS - 1)) {
            add(bucket, 1);
        }
    }

    /// A block is freed.
    pub(super) fn block_gone(&self, requested: usize) {
        add(&self.frees, 1);
        add(&self.gone, requested as u64);
    }

    /// Bytes in use, as far as this thread made and freed them.
    #[inline(always)]
    pub(super) fn in_use(&self) -> i64 {
        read(&self.made).wrapping_sub(read(&self.gone)) as i64
    }

    /// Whether what is in use lies within its limits.
    #[inline(always)]
    fn is_within(&self, now: i64) -> bool {
        // ORDERING [none]: Relaxed. Where it was changed by another thread, what that one did is seen in
        // the exchanges that follow.
        let low = self.low.load(Ordering::Relaxed);
        // ORDERING [none]: Relaxed. Written by this thread.
        now.wrapping_sub(low) as u64 <= self.span.load(Ordering::Relaxed)
    }

    /// Whether the stack has been as deep.
    #[inline(always)]
    fn is_reached(&self, at: usize) -> bool {
        // ORDERING [none]: Relaxed. See `forget_stack`.
        let below = at.wrapping_sub(self.deepest.load(Ordering::Relaxed));
        // ORDERING [none]: Relaxed. Written by this thread.
        below <= self.depth.load(Ordering::Relaxed)
    }

    /// A block was made by malloc, if that passes no limit. Else nothing is done.
    #[inline(always)]
    pub(super) fn usual_block_made(&self, requested: usize) -> bool {
        let made = read(&self.made).wrapping_add(requested as u64);
        let usual = self.is_within(made.wrapping_sub(read(&self.gone)) as i64)
            && self.is_reached(tls::stack_pointer());
        if usual {
            // ORDERING [none]: Relaxed. A statistic that this thread alone writes.
            self.made.store(made, Ordering::Relaxed);
            self.enter(requested);
        }
        usual
    }

    /// A block is freed, if that passes no limit. Else nothing is done.
    #[inline(always)]
    pub(super) fn usual_block_gone(&self, requested: usize) -> bool {
        let gone = read(&self.gone).wrapping_add(requested as u64);
        // Only whether the stack is deeper: how high it begins is seen where blocks are made.
        // ORDERING [none]: Relaxed. See `forget_stack`.
        let usual = tls::stack_pointer() >= self.deepest.load(Ordering::Relaxed)
            && self.is_within(read(&self.made).wrapping_sub(gone) as i64);
        if usual {
            // ORDERING [none]: Relaxed. A statistic that this thread alone writes.
            self.gone.store(gone, Ordering::Relaxed);
            add(&self.frees, 1);
        }
        usual
    }

    /// Ends every call that has changed what is in use.
    pub(super) fn settle(&self, peak: &Peak) {
        let now = self.in_use();
        if !self.is_within(now) {
            self.exceeds(now, peak);
        }
        self.reach(tls::stack_pointer(), peak);
    }

    /// The stack reaches down to `at`.
    pub(super) fn reach(&self, at: usize, peak: &Peak) {
        if self.is_reached(at) {
            return;
        }
        self.begin_stack(at);
        // ORDERING [none]: Relaxed. As in `is_reached`.
        let deepest = match self.deepest.load(Ordering::Relaxed) {
            0 => at,
            deepest => deepest.min(at),
        };
        // ORDERING [none]: Relaxed. Written by this thread.
        let depth = self.base.load(Ordering::Relaxed) - deepest;
        // ORDERING [none]: Relaxed. Read by this thread, and by `Counts::forget_stack`.
        self.deepest.store(deepest, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. Read by this thread.
        self.depth.store(depth, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. A statistic.
        peak.stack.fetch_max(depth, Ordering::Relaxed);
    }

    /// The depth of the stack is measured from `at`, or from above. An earlier thread with these counts may have
    /// had another stack.
    pub(super) fn begin_stack(&self, at: usize) {
        let stack = tls::thread_pointer();
        // ORDERING [none]: Relaxed. Read by this thread.
        if self.stack.swap(stack, Ordering::Relaxed) != stack {
            self.forget_stack();
            // ORDERING [none]: Relaxed. Read by this thread.
            self.base.store(0, Ordering::Relaxed);
        }
        // ORDERING [none]: Relaxed. Read and written by this thread.
        self.base.fetch_max(at, Ordering::Relaxed);
    }

    /// How deep the stack is at `at`.
    pub(super) fn depth_of(&self, at: usize) -> usize {
        // ORDERING [none]: Relaxed. Written by this thread.
        self.base.load(Ordering::Relaxed).saturating_sub(at)
    }

    /// Has the depth of the stack measured anew.
    pub(super) fn forget_stack(&self) {
        // ORDERING [none]: Relaxed. A thread that writes it just now goes by what it knew before.
        self.deepest.store(0, Ordering::Relaxed);
    }

    #[cold]
    #[inline(never)]
    fn exceeds(&self, now: i64, peak: &Peak) {
        // ORDERING [none]: Relaxed. Written by this thread.
        match self.state.load(Ordering::Relaxed) {
            NEW => self.join(now, peak),
            // ORDERING [none]: Relaxed. As in `settle`.
            ALONE if self.low.load(Ordering::Relaxed) != CALLED => {
                self.keep(now);
                peak.check(now);
            }
            ALONE => {
                peak.take_from(self);
                self.tell(now, peak);
            }
            _ => self.tell(now, peak),
        }
    }

    /// The most that the thread that is alone had in use.
    pub(super) fn keep(&self, most: i64) {
        // ORDERING [none]: Relaxed. Read by others as a statistic.
        self.span.store(most.wrapping_sub(FLOOR) as u64, Ordering::Relaxed);
    }

    pub(super) fn kept(&self) -> i64 {
        // ORDERING [none]: Relaxed. A statistic.
        FLOOR.wrapping_add(self.span.load(Ordering::Relaxed) as i64)
    }

    /// The thread's first call.
    fn join(&self, now: i64, peak: &Peak) {
        self.keep(now.max(0));
        // ORDERING [none]: Relaxed. Published by the exchange below.
        self.told.store(UNTOLD, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. Published by the exchange below.
        self.low.store(FLOOR, Ordering::Relaxed);
        if peak.belongs_to(self) {
            // ORDERING [none]: Relaxed. Read by this thread.
            self.state.store(ALONE, Ordering::Relaxed);
            peak.check(now);
        } else {
            // ORDERING [none]: Relaxed. Written by this thread only, which is not alone.
            self.told.store(0, Ordering::Relaxed);
            self.tell(now, peak);
        }
    }

    /// Adds to the common sum what has changed since the last time.
    fn tell(&self, now: i64, peak: &Peak) {
        // ORDERING [none]: Relaxed. Written by this thread, or before it was found not to be alone.
        let told = self.told.load(Ordering::Relaxed);
        // ORDERING [none]: Relaxed. Set before the session is in force.
        let batch = peak.batch.load(Ordering::Relaxed);
        // ORDERING [none]: Relaxed. Read by this thread.
        self.state.store(IN_CROWD, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. Read by this thread.
        self.told.store(now, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. Read by this thread.
        self.low.store(now - batch, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. Read by this thread.
        self.span.store(2 * batch as u64, Ordering::Relaxed);
        peak.add(now - told);
    }
}
