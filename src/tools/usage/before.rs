//! What had been counted when a session was reset: it is subtracted from what is counted.
//!
//! Never: frees sums that somebody may be reading. Who reads holds the session.
//!
//! # Edges
//!
//! | edge     | from                   | to                      | carries |
//! | -------- | ---------------------- | ----------------------- | ------- |
//! | `before` | `replace` AcqRel       | `sums` Acquire          | the sums of a reset |
//! | `retire` | `put_retired` Release  | `take_retired` Acquire  | the links of a list of sums |

use super::sums::{Boxed, Sums};
use crate::scratch;
use core::sync::atomic::{AtomicPtr, Ordering};

/// The sums of the latest reset, and earlier ones. Zero is valid: there was no reset.
#[repr(C)]
pub(super) struct Before {
    latest: AtomicPtr<Sums>,
    /// Sums of earlier resets that somebody may be reading.
    retired: AtomicPtr<Sums>,
}

impl Before {
    /// The sums of the latest reset. The caller holds the session.
    pub(super) fn sums(&self) -> Option<&Sums> {
        // ORDERING [before]: Acquire. Other end: `replace`.
        let latest = self.latest.load(Ordering::Acquire);
        // SAFETY: null, or sums that are kept as long as somebody holds the session.
        unsafe { latest.as_ref() }
    }

    /// The session was reset. The caller holds it; `nobody_else` is whether others do.
    pub(super) fn replace(&self, sums: Boxed, nobody_else: impl FnOnce() -> bool) {
        // ORDERING [before]: AcqRel. The sums. Other end: `sums`, and another reset.
        let former = self.latest.swap(sums.leak(), Ordering::AcqRel);
        // Taken out before it is asked who holds the session: who came after the answer may be reading what another
        // reset adds to the list.
        let mut first = self.take_retired();
        // SAFETY: null, or sums that this reset alone has taken away.
        if let Some(sums) = unsafe { former.as_mut() } {
            sums.next = first;
            first = former;
        }
        if nobody_else() {
            free_all(first);
        } else {
            self.put_retired(first);
        }
    }

    /// The session has ended: nobody holds it.
    pub(super) fn forget(&self) {
        // ORDERING [none]: Relaxed. Ordered by the holds.
        let latest = self.latest.swap(core::ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: null, or sums that nobody else knows.
        unsafe { scratch::free(latest.cast()) };
        free_all(self.take_retired());
    }

    fn take_retired(&self) -> *mut Sums {
        // ORDERING [retire]: Acquire. Other end: `put_retired`.
        self.retired.swap(core::ptr::null_mut(), Ordering::Acquire)
    }

    /// Adds a list that nobody else knows.
    fn put_retired(&self, first: *mut Sums) {
        // SAFETY: null, or sums of this list.
        let Some(mut last) = (unsafe { first.as_mut() }) else { return };
        // SAFETY: as above.
        while let Some(next) = unsafe { last.next.as_mut() } {
            last = next;
        }
        // ORDERING [none]: Relaxed. The exchange below checks it.
        let mut others = self.retired.load(Ordering::Relaxed);
        loop {
            last.next = others;
            // ORDERING [retire]: Release and Relaxed. The links before the place. Other end: `take_retired`.
            match self.retired.compare_exchange_weak(others, first, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => others = now,
            }
        }
    }
}

/// Frees a list of sums that nobody reads any more.
fn free_all(mut at: *mut Sums) {
    while !at.is_null() {
        // SAFETY: sums of the list, which is the caller's.
        let next = unsafe { (*at).next };
        // SAFETY: as above.
        unsafe { scratch::free(at.cast()) };
        at = next;
    }
}
