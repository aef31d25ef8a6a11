//! The most that all threads have in use at the same moment.
//!
//! Never: waits, uses a locked instruction on the usual path.
//!
//! - A thread that is *alone*, the first and only one, keeps the most that it had in use: exact to the byte.
//! - In a *crowd*, each thread adds what it has more or less in use to a common sum whenever that exceeds
//!   the *batch*. The sum, and with it the peak, is off by at most one batch for each thread.
//!
//! Both are one comparison on the way of a call: where a block is made, whether what the thread has in use exceeds
//! `high` of its counts; where one is freed, whether it falls below `low`.
//!
//! ```text
//!        first call: nobody is there      another thread's first call
//!  new ───────────────────────────► alone ──────────────────────────► crowd
//!    └──────────────────────────────────────────────────────────────────▲
//!        first call: somebody is there
//! ```
//!
//! # Invariants
//!
//! 1. `alone` is null, the counts of the thread that is alone, or `crowd()`, in this order.
//!
//! # Edges
//!
//! | edge    | from                       | to                         | carries |
//! | ------- | -------------------------- | -------------------------- | ------- |
//! | `alone` | `Peak::belongs_to` AcqRel  | `Peak::end_solitude` AcqRel | the limits of the thread that is alone |

use super::counts::{Counts, UNTOLD};
use crate::sys::barrier;
use core::sync::atomic::{AtomicI64, AtomicPtr, AtomicUsize, Ordering};

/// The peak of all threads.
#[repr(C, align(128))]
pub(super) struct Peak {
    alone: AtomicPtr<Counts>,
    /// By how many bytes a thread may be ahead of the common sum, either way.
    pub(super) batch: AtomicI64,
    /// The process ends where the peak exceeds this.
    pub(super) never_above: AtomicI64,
    /// The most of `now`, and of what the thread that was alone had in use.
    most: AtomicI64,
    /// The largest depth of a stack.
    pub(super) stack: AtomicUsize,
    now: Apart,
}

/// The common sum, apart from what is read more often.
#[repr(C, align(128))]
struct Apart(AtomicI64);

/// In place of a pointer: there is more than one thread.
fn crowd() -> *mut Counts {
    core::ptr::without_provenance_mut(1)
}

impl Peak {
    /// Whether the thread with these counts is the first; if it is not, nobody is alone any more. Its limits are
    /// those of one who is alone.
    pub(super) fn belongs_to(&self, counts: &Counts) -> bool {
        let me = core::ptr::from_ref(counts).cast_mut();
        // ORDERING [alone]: AcqRel and Acquire. Our limits, for who comes second; those of who came first.
        match self.alone.compare_exchange(core::ptr::null_mut(), me, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => true,
            Err(first) => {
                self.end_solitude(first);
                false
            }
        }
    }

    /// For a session that begins. What it had before does not count.
    pub(super) fn begin(&self, batch: i64, never_above: i64) {
        // ORDERING [none]: Relaxed. Before the session is in force.
        self.alone.store(if batch == 0 { crowd() } else { core::ptr::null_mut() }, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. Before the session is in force.
        self.batch.store(batch, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. Before the session is in force.
        self.never_above.store(never_above, Ordering::Relaxed);
        for number in [&self.most, &self.now.0] {
            // ORDERING [none]: Relaxed. Before the session is in force.
            number.store(0, Ordering::Relaxed);
        }
        // ORDERING [none]: Relaxed. Before the session is in force.
        self.stack.store(0, Ordering::Relaxed);
    }

    pub(super) fn add(&self, more: i64) {
        // ORDERING [none]: Relaxed. A statistic.
        let now = self.now.0.fetch_add(more, Ordering::Relaxed).wrapping_add(more);
        // ORDERING [none]: Relaxed. A statistic.
        if now > self.most.load(Ordering::Relaxed) {
            // ORDERING [none]: Relaxed. A statistic.
            self.most.fetch_max(now, Ordering::Relaxed);
            self.check(now);
        }
    }

    /// What all threads have in use, as far as they told.
    pub(super) fn now(&self) -> i64 {
        // ORDERING [none]: Relaxed. A statistic.
        self.now.0.load(Ordering::Relaxed)
    }

    /// The same in a crowd, where it is off by a batch for each thread at most; else a thread tells nothing.
    pub(super) fn told(&self) -> Option<i64> {
        // ORDERING [none]: Relaxed. A statistic.
        (self.alone.load(Ordering::Relaxed) == crowd()).then(|| self.now())
    }

    pub(super) fn check(&self, now: i64) {
        // ORDERING [none]: Relaxed. Set before the session is in force.
        let limit = self.never_above.load(Ordering::Relaxed);
        if now > limit {
            super::exit::die(now as u64, limit as u64);
        }
    }

    /// A second thread has come, or somebody wants to write what only the thread that is alone may.
    /// `first` was read from `alone`.
    fn end_solitude(&self, first: *mut Counts) {
        if first == crowd() {
            return;
        }
        // ORDERING [alone]: AcqRel and Acquire. The limits of who came first.
        if self.alone.compare_exchange(first, crowd(), Ordering::AcqRel, Ordering::Acquire).is_err() {
            return;
        }
        // SAFETY: not null and not `crowd()` (invariant 1): a thread's counts, never unmapped.
        let first = unsafe { &*first };
        first.call();
        // From here on its every call finds the limit passed. What it did before is seen here. (Where the
        // kernel has no membarrier, a call that is under way may be seen by neither until its next.)
        barrier::heavy();
        self.take_from(first);
    }

    /// Takes over what the thread that was alone knew. It does so itself, and so does who found it: one of
    /// the two adds.
    pub(super) fn take_from(&self, first: &Counts) {
        let now = first.in_use();
        // ORDERING [none]: Relaxed. A statistic.
        self.most.fetch_max(first.kept(), Ordering::Relaxed);
        // ORDERING [none]: Relaxed and Relaxed. Decides who adds.
        if first.told.compare_exchange(UNTOLD, now, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            self.add(now);
        }
    }

    /// The most that was in use; `now` is what is in use, as summed up.
    pub(super) fn most(&self, now: i64) -> u64 {
        // ORDERING [alone]: Acquire. Other end: `belongs_to`.
        let first = self.alone.load(Ordering::Acquire);
        let kept = match first.is_null() || first == crowd() {
            true => 0,
            // SAFETY: a thread's counts, never unmapped (invariant 1).
            false => unsafe { &*first }.kept(),
        };
        // ORDERING [none]: Relaxed. A statistic.
        self.most.load(Ordering::Relaxed).max(kept).max(now).max(0) as u64
    }

    /// By how many bytes the peak may be off, with so many threads.
    pub(super) fn error(&self, threads: u64) -> u64 {
        // ORDERING [none]: Relaxed. A statistic.
        let exact = self.alone.load(Ordering::Relaxed) != crowd();
        // ORDERING [none]: Relaxed. Set before the session is in force.
        if exact { 0 } else { threads * self.batch.load(Ordering::Relaxed) as u64 }
    }

    /// From now on the peak is that of what comes. `mine` are the calling thread's counts.
    pub(super) fn restart(&self, mine: *mut Counts) {
        // ORDERING [alone]: Acquire. Other end: `belongs_to`.
        let first = self.alone.load(Ordering::Acquire);
        if !first.is_null() && first == mine {
            // SAFETY: this thread's counts, never unmapped.
            let mine = unsafe { &*mine };
            mine.keep(mine.in_use());
        } else if !first.is_null() {
            self.end_solitude(first);
        }
        // ORDERING [none]: Relaxed. Statistics.
        self.most.store(self.now(), Ordering::Relaxed);
        // What a thread has added between the two may be overwritten.
        // ORDERING [none]: Relaxed. Statistics.
        self.most.fetch_max(self.now(), Ordering::Relaxed);
        // ORDERING [none]: Relaxed. A statistic.
        self.stack.store(0, Ordering::Relaxed);
    }
}
