//! The callers of callers: a thread's stack, read without ever leaving it.
//!
//! A walk begins in the callback itself and goes through this library's own functions by their unwind tables, until
//! it comes to the caller that the call names: only then is the program's frame pointer known, as our
//! functions may have it saved anywhere. From there it goes on by frame pointers, or by the tables of the
//! program's objects, which need no frame pointers.
//!
//! Nothing is read but words between the stack pointer and the stack's end, which is looked up once for each
//! thread. On another stack (a signal's, a coroutine's) only the caller is known. How to leave a function at a
//! certain point is kept in a table of the thread's; that makes a step a few instructions.

use crate::api::local::memhook_thread;
use crate::sys::find;
use crate::sys::stack::{self, Stack};
use crate::sys::unwind::{self, Row};
use core::cell::Cell;

/// How many callers can be recorded, the first included.
pub(super) const MOST: usize = 64;

/// The frames of the library itself that a walk can go through.
const OWN: usize = 16;

const KEPT_BITS: u32 = 10;

/// What a thread has for its walks. Zero is valid.
#[repr(C)]
pub(super) struct Walker {
    own: Stack,
    /// The end of the stack, during a walk.
    end: Cell<usize>,
    epoch: Cell<u64>,
    kept: [Cell<(usize, Kept)>; 1 << KEPT_BITS],
    /// What the walk under way has found: too much for a stack.
    callers: [Cell<u64>; MOST],
}

/// What is kept for a return address.
#[derive(Clone, Copy)]
struct Kept {
    row: Row,
    has_row: bool,
}

/// A function's frame, as far as it matters to its caller.
#[derive(Clone, Copy)]
struct Frame {
    pc: usize,
    stack: usize,
    frame: usize,
    /// Whether `stack` is the stack pointer; else one that is not above it.
    is_exact: bool,
}

impl Walker {
    /// The callers of the call under way, `caller` first, at most so many; until the thread's next walk.
    pub(super) fn walk(&self, caller: usize, by_tables: bool, epoch: u64, most: usize) -> &[u64] {
        let to = self.callers.get(..most).unwrap_or(&self.callers);
        let count = self.find(caller, by_tables, epoch, to);
        let (at, count) = (to.as_ptr().cast::<u64>(), count.min(to.len()));
        // SAFETY: the first `count` of `to`, which only this thread's next walk writes; it comes when this call is over.
        unsafe { core::slice::from_raw_parts(at, count) }
    }

    #[inline(never)]
    fn find(&self, caller: usize, by_tables: bool, epoch: u64, to: &[Cell<u64>]) -> usize {
        let Some(first) = to.first() else { return 0 };
        first.set(caller as u64);
        let [pc, stack, frame] = stack::registers();
        if self.epoch.replace(epoch) != epoch {
            self.kept.iter().for_each(|kept| kept.set((0, Kept::NONE)));
        }
        let Some(end) = self.own.end(memhook_thread(), stack) else { return 1 };
        self.end.set(end);
        let mut at = Frame { pc, stack, frame, is_exact: true };
        let mut own = 0;
        while at.pc != caller {
            let Some(next) = self.by_tables(at).filter(|_| own < OWN) else { return 1 };
            (at, own) = (next, own + 1);
        }
        let mut count = 1;
        for place in to.iter().skip(1) {
            let next = if by_tables { self.by_tables(at) } else { None };
            match next.or_else(|| self.by_frame_pointer(at)) {
                Some(next) if next.pc > 4096 => {
                    at = next;
                    place.set(next.pc as u64);
                }
                _ => break,
            }
            count += 1;
        }
        count
    }

    /// A word of the stack.
    fn word(&self, at: usize, above: usize) -> Option<usize> {
        let inside = at >= above && at.is_multiple_of(8) && at < self.end.get() - 7;
        // SAFETY: between the stack pointer and the stack's end (above).
        inside.then(|| unsafe { (at as *const usize).read() })
    }

    /// The caller's frame, by the unwind tables.
    fn by_tables(&self, at: Frame) -> Option<Frame> {
        let row = self.row(at.pc).filter(|row| at.is_exact || row.by_frame)?;
        let from = if row.by_frame { at.frame } else { at.stack };
        let end = from.wrapping_add(row.distance as usize);
        // A frame ends above its beginning: so a walk comes to an end.
        let pc = stack::plain(self.word(end.wrapping_add(row.returns as usize), at.stack)?);
        let frame = match row.saved {
            0 => at.frame,
            saved => self.word(end.wrapping_add(saved as usize), at.stack)?,
        };
        Some(Frame { pc, stack: end, frame, is_exact: true })
    }

    /// The caller's frame, by the frame pointer.
    fn by_frame_pointer(&self, at: Frame) -> Option<Frame> {
        let frame = self.word(at.frame, at.stack)?;
        let pc = stack::plain(self.word(at.frame + 8, at.stack)?);
        // On AArch64 the pair may lie anywhere in a frame.
        let is_exact = cfg!(target_arch = "x86_64");
        Some(Frame { pc, stack: at.frame + 16, frame, is_exact })
    }

    /// How to leave the function that a return address is in.
    #[inline(always)]
    fn row(&self, pc: usize) -> Option<Row> {
        let hash = (pc as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - KEPT_BITS);
        let place = self.kept.get(hash as usize)?;
        let (known, kept) = place.get();
        let kept = if known == pc { kept } else { Kept::look_up(pc, place) };
        kept.has_row.then_some(kept.row)
    }
}

impl Kept {
    const NONE: Kept =
        Kept { row: Row { by_frame: false, returns: 0, distance: 0, saved: 0 }, has_row: false };

    #[cold]
    #[inline(never)]
    fn look_up(pc: usize, place: &Cell<(usize, Kept)>) -> Kept {
        // A call may be a function's last instruction: its return address is then in the next one.
        let row = find::find(pc - 1).and_then(|found| unwind::row(&found, pc - 1));
        let kept = row.map_or(Kept::NONE, |row| Kept { row, has_row: true });
        place.set((pc, kept));
        kept
    }
}
