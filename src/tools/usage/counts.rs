//! What one thread has counted.
//!
//! Never: waits, uses a locked instruction on the usual path.
//!
//! A thread writes its own counts and no others. Sums over all threads are exact, whoever frees whose block. The peak
//! is another matter: see `peak`.
//!
//! # Invariants
//!
//! 1. Counts are written by their own thread, or while the session is not in force, except: the limits of a
//!    thread that is alone, `told` and `deepest`.

use super::maps::WAYS;
use super::peak::Peak;
use crate::sys::{barrier::seldom, tls};
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

/// What is counted for each kind, and for each way of mapping.
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
    /// What this thread has in use, as far as it made and freed it: `made` less `gone`, and mappings likewise.
    in_use: AtomicI64,
    /// Where it falls below this, or rises above `high`, more is to be done than count it.
    low: AtomicI64,
    high: AtomicI64,
    /// The lowest stack pointer that was seen; 0: none yet.
    pub(super) deepest: AtomicUsize,
    /// How far above the highest lies.
    depth: AtomicUsize,
    /// The highest stack pointer that was seen.
    base: AtomicUsize,
    /// Which stack these belong to.
    stack: AtomicUsize,

    state: AtomicU32,
    /// The most that was in use while the thread was alone.
    kept: AtomicI64,
    /// What of the bytes in use is in the common sum; `UNTOLD`: nothing was ever added.
    pub(super) told: AtomicI64,
    pub(super) kinds: [OfKind; KINDS],
    pub(super) maps: [OfKind; WAYS],
    /// Bytes of mappings that were ever added to what is in use.
    pub(super) mapped: AtomicU64,
    /// Bytes of mappings that were ever taken from it.
    pub(super) unmapped: AtomicU64,
    pub(super) remap_in_place: AtomicU64,
    pub(super) remap_decreasing: AtomicU64,
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

/// The lower limit of a thread that is alone: never reached, by what is not [`FAR`].
const FLOOR: i64 = -(1 << 61);
/// The lower limit by which it is told that it no longer is: always passed.
const CALLED: i64 = i64::MAX;
pub(super) const UNTOLD: i64 = i64::MIN;

/// No size has this bit. One that does is beyond every lower limit.
pub(super) const FAR: usize = 1 << 62;

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
        self.more(requested);
    }

    /// A call gave a block of this size.
    pub(super) fn enter(&self, requested: usize) {
        if let Some(bucket) = self.histogram.get((requested / 16).min(BUCKETS - 1)) {
            add(bucket, 1);
        }
    }

    /// A block is freed.
    pub(super) fn block_gone(&self, requested: usize) {
        add(&self.frees, 1);
        self.less(requested);
    }

    /// So many bytes more are in use.
    pub(super) fn more(&self, bytes: usize) {
        add(&self.made, bytes as u64);
        self.set_in_use(self.in_use().wrapping_add(bytes as i64));
    }

    /// So many bytes less are in use.
    pub(super) fn less(&self, bytes: usize) {
        add(&self.gone, bytes as u64);
        self.set_in_use(self.in_use().wrapping_sub(bytes as i64));
    }

    /// So many bytes of mappings less, and so many more.
    pub(super) fn mapped(&self, before: usize, after: usize) {
        add(&self.unmapped, before as u64);
        add(&self.mapped, after as u64);
        self.set_in_use(self.in_use().wrapping_sub(before as i64).wrapping_add(after as i64));
    }

    /// Bytes in use, as far as this thread made and freed them.
    #[inline(always)]
    pub(super) fn in_use(&self) -> i64 {
        // ORDERING [none]: Relaxed. A statistic.
        self.in_use.load(Ordering::Relaxed)
    }

    #[inline(always)]
    fn set_in_use(&self, now: i64) {
        // ORDERING [none]: Relaxed. A statistic that this thread alone writes.
        self.in_use.store(now, Ordering::Relaxed);
    }

    /// Whether what is in use does not exceed its upper limit.
    #[inline(always)]
    fn is_below(&self, now: i64) -> bool {
        // ORDERING [none]: Relaxed. Where it was changed by another thread, what that one did is seen in
        // the exchanges that follow.
        now <= self.high.load(Ordering::Relaxed)
    }

    /// Whether it does not fall below its lower one.
    #[inline(always)]
    fn is_above(&self, now: i64) -> bool {
        // ORDERING [none]: Relaxed. As in `is_below`.
        now >= self.low.load(Ordering::Relaxed)
    }

    /// Whether the stack has been as deep.
    #[inline(always)]
    fn is_reached(&self, at: usize) -> bool {
        // ORDERING [none]: Relaxed. See `forget_stack`.
        let below = at.wrapping_sub(self.deepest.load(Ordering::Relaxed));
        // SAFETY: written by this thread only. The compiler compares with what is in memory only if it is not atomic.
        below <= unsafe { self.depth.as_ptr().read() }
    }

    /// Counts a block that malloc is about to make, if it is not large and passes no limit. Else nothing is done.
    #[inline(always)]
    pub(super) fn usual_block_made(&self, requested: usize, at: usize) -> bool {
        let now = self.in_use().wrapping_add(requested as i64);
        let Some(bucket) = self.histogram.get(requested / 16) else { return false };
        if !self.is_below(now) || !self.is_reached(at) {
            seldom();
            return false;
        }
        self.set_in_use(now);
        add(&self.made, requested as u64);
        add(bucket, 1);
        true
    }

    /// malloc did not make it.
    #[cold]
    pub(super) fn take_back(&self, requested: usize) {
        self.more(requested.wrapping_neg());
        if let Some(bucket) = self.histogram.get(requested / 16) {
            add(bucket, u64::MAX);
        }
    }

    /// A block is freed, if that passes no limit. Else nothing is done.
    #[inline(always)]
    pub(super) fn usual_block_gone(&self, requested: usize, at: usize) -> bool {
        let now = self.in_use().wrapping_sub(requested as i64);
        // Only whether the stack is deeper: how high it begins is seen where blocks are made.
        // ORDERING [none]: Relaxed. See `forget_stack`.
        let is_deeper = at < self.deepest.load(Ordering::Relaxed);
        if is_deeper || !self.is_above(now) {
            seldom();
            return false;
        }
        self.set_in_use(now);
        add(&self.gone, requested as u64);
        add(&self.frees, 1);
        true
    }

    /// Ends every call that has changed what is in use.
    pub(super) fn settle(&self, at: usize, peak: &Peak) {
        let now = self.in_use();
        if !(self.is_below(now) && self.is_above(now)) {
            self.exceeds(now, peak);
        }
        self.reach(at, peak);
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
            ALONE if !self.is_called() => {
                self.keep(now.max(self.kept()));
                peak.check(now);
            }
            ALONE => {
                peak.take_from(self);
                self.tell(now, peak);
            }
            _ => self.tell(now, peak),
        }
    }

    /// The most that the thread had in use that is alone. Where this overwrites [`call`](Counts::call), the next
    /// block that is made passes the limit, and the next that is freed the lower one.
    pub(super) fn keep(&self, most: i64) {
        // ORDERING [none]: Relaxed. Read by others as a statistic.
        self.kept.store(most, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. Read by this thread.
        self.high.store(most, Ordering::Relaxed);
    }

    pub(super) fn kept(&self) -> i64 {
        // ORDERING [none]: Relaxed. A statistic.
        self.kept.load(Ordering::Relaxed)
    }

    /// Tells a thread that it is alone no longer: its every call passes a limit.
    pub(super) fn call(&self) {
        // ORDERING [none]: Relaxed. The caller's barrier orders it.
        self.low.store(CALLED, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. As above.
        self.high.store(i64::MIN, Ordering::Relaxed);
    }

    fn is_called(&self) -> bool {
        // ORDERING [none]: Relaxed. As in `is_below`.
        self.low.load(Ordering::Relaxed) == CALLED
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
        self.high.store(now + batch, Ordering::Relaxed);
        peak.add(now - told);
    }
}
