//! Lines that wait to be written: a list without a lock, taken as a whole.
//!
//! # Edges
//!
//! | edge   | from                 | to                  | carries |
//! | ------ | -------------------- | ------------------- | ------- |
//! | `held` | `List::push` Release | `List::take` AcqRel | a line |

use crate::scratch;
use core::sync::atomic::{AtomicPtr, Ordering};

/// A line that waits.
pub(super) struct Held {
    next: *mut Held,
    at: u64,
    len: usize,
    /// Whether it may be copied (invariant 2).
    copied: bool,
    // The line follows.
}

/// Lines that wait.
pub(super) struct List(AtomicPtr<Held>);

/// Instead of lines: nothing waits here any more.
pub(super) const CLOSED: *mut Held = core::ptr::dangling_mut();

impl List {
    /// Becomes empty, whatever there was.
    pub(super) fn begin(&self) {
        // ORDERING [none]: Relaxed. Published with the trace.
        self.0.store(core::ptr::null_mut(), Ordering::Relaxed);
    }

    /// Adds a line; false where the list is closed, or there is no memory.
    pub(super) fn push(&self, at: u64, text: &[u8], copied: bool) -> bool {
        let held = scratch::malloc(size_of::<Held>() + text.len()).cast::<Held>();
        if held.is_null() {
            return false;
        }
        let to = held.wrapping_add(1).cast::<u8>();
        // SAFETY: fresh memory with room for the text behind its head.
        unsafe { core::ptr::copy_nonoverlapping(text.as_ptr(), to, text.len()) };
        // ORDERING [none]: Relaxed. The exchange below checks it.
        let mut next = self.0.load(Ordering::Relaxed);
        while next != CLOSED {
            // SAFETY: fresh memory, aligned for it.
            unsafe { held.write(Held { next, at, len: text.len(), copied }) };
            // ORDERING [held]: Release and Relaxed. The line before its place. Other end: `take`.
            match self.0.compare_exchange_weak(next, held, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return true,
                Err(now) => next = now,
            }
        }
        // SAFETY: of scratch::malloc, and nobody else has seen it.
        unsafe { scratch::free(held.cast()) };
        false
    }

    /// Takes all lines, the oldest first, and leaves `instead`.
    pub(super) fn take(&self, instead: *mut Held, each: &mut dyn FnMut(u64, &[u8], bool)) {
        // ORDERING [held]: AcqRel. The lines; what was done before, to who finds `instead`. Other end: `push`.
        let mut held = self.0.swap(instead, Ordering::AcqRel);
        let mut oldest = core::ptr::null_mut::<Held>();
        while !held.is_null() && held != CLOSED {
            // SAFETY: a line of `push`, which is ours now.
            let next = unsafe { &mut (*held).next };
            (held, *next, oldest) = (*next, oldest, held);
        }
        // SAFETY: as above, or null.
        while let Some(line) = unsafe { oldest.as_ref() } {
            let text = oldest.wrapping_add(1).cast::<u8>();
            // SAFETY: `len` bytes follow.
            each(line.at, unsafe { core::slice::from_raw_parts(text, line.len) }, line.copied);
            let next = line.next;
            // SAFETY: of scratch::malloc, and not used any more.
            unsafe { scratch::free(oldest.cast()) };
            oldest = next;
        }
    }
}
