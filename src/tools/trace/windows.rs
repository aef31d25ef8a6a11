//! Lines of all threads in one file, in one true order, without a lock.
//!
//! A thread takes the place of its line by adding the line's length to a shared position, and copies the
//! line there, into the file, which is mapped window by window. So what was taken later stands later, and
//! what was copied survives whatever ends the process. Places come in the order of the calls: a block's
//! end is written before the block is given back, its beginning after it was made.
//!
//! ```text
//!   file   ├ 252 ┼ 253 ┼ 254 ┼ 255 ┤            each window has one of sixteen slots, by its number
//!                         │      └ mapped ahead by who passes an eighth of 254
//!                    position, and lines being copied: some of them in older windows
//! ```
//!
//! A window that is to come is filled with zeroes and mapped by who passes a certain point of the one before,
//! and takes the slot of an older one. That is unmapped if nobody is copying into it, else later.
//! Lines that come to a window which is not filled yet wait in a list, and are copied by who has
//! mapped it, or by who put them there and finds it mapped then; if the process is killed before, they are lost.
//! Where nothing can be mapped, lines are written by pwrite(2). Where the disk has no room for a window, the trace ends
//! before it.
//!
//! # Invariants
//!
//! 1. Before it takes a place, a thread announces one that is not behind it, and then the place itself,
//!    until the line is copied. So who takes a later place finds the announcement.
//! 2. A window is unmapped only while no place that may be in it is announced and no line of it is held, by who has
//!    taken a place behind it. A line is counted as held before its place is no longer announced. Who copies
//!    has a place announced, or copies a held line.
//! 3. When `LATE` is set, the file is cut at the position; places before are in pages that remain. Lines
//!    whose places are taken later are not copied but written, after the cut.
//! 4. Nothing is written to a window before it was filled. A slot's window is replaced only after that.
//!
//! # Edges
//!
//! | edge       | from                        | to                      | carries |
//! | ---------- | --------------------------- | ----------------------- | ------- |
//! | `announce` | `Windows::put` AcqRel       | `Windows::prepare`      | the announcement of who took an earlier place |
//! | `copied`   | `Windows::put` Release      | `Windows::prepare` Acquire | the thread's last access to the window |
//! | `window`   | `Windows::prepare` AcqRel   | `Windows::copy` Acquire | the mapping; and, to and from `wait`, whether a line waits |

use super::held::{CLOSED, List};
use super::output::Output;
use crate::sys::pages;
use core::sync::atomic::{AtomicU64, Ordering};

/// How much is mapped at once.
pub(super) const WINDOW: u64 = 128 * 1024;
/// Who passes this point of a window maps the next one.
const EARLY: u64 = WINDOW / 8;
const SLOTS: usize = 16;

/// In a slot: the number of the window above, below its address or one of these.
const ADDRESS_BITS: u32 = 48;
const ADDRESS: u64 = (1 << ADDRESS_BITS) - 1;
/// It is being filled.
const FILLING: u64 = 0;
/// It cannot be mapped: lines are written.
const UNMAPPED: u64 = 1;

/// In the position: lines are written behind a cut.
const LATE: u64 = 1 << 63;

/// What a thread announces: a place, and in the lowest bits how it is meant.
pub(super) type Announced = AtomicU64;

/// It has copied its last line, which was there.
const DONE: u64 = 0;
/// It is about to take a place, not before this one.
const NOT_BEFORE: u64 = 1;
/// It copies a line to this place.
const THERE: u64 = 3;
const HOW_BITS: u32 = 2;
const HOW: u64 = (1 << HOW_BITS) - 1;

/// Whether a thread that announces this may be copying into a window. Lines are shorter than windows.
fn concerns(announced: u64, window: u64) -> bool {
    let place = (announced >> HOW_BITS) / WINDOW;
    match announced & HOW {
        DONE => false,
        THERE => place == window || place + 1 == window,
        _ => place <= window,
    }
}

/// Shows the announcements of all threads to a function, until it returns true; whether it did.
pub(super) type Announcements<'a> = &'a dyn Fn(&dyn Fn(&Announced) -> bool) -> bool;

#[repr(align(128))]
struct Line<T>(T);

/// The shared part of a trace of lines.
pub(super) struct Windows {
    position: Line<AtomicU64>,
    slots: Line<[AtomicU64; SLOTS]>,
    /// Behind this, nothing is written.
    end: AtomicU64,
    /// Lines that wait for their window.
    waiting: List,
    /// How many of them have not been written yet: of a slot's window, and of the next one.
    held: [[AtomicU64; 2]; SLOTS],
    /// Windows whose slots were taken: their addresses in place of places, their numbers as text.
    orphans: List,
    /// Lines that wait for the cut. Closed when it is done.
    late: List,
}

/// Shows text in parts of which each lies in one window; whether `put` was true of all.
fn in_parts(mut at: u64, mut text: &[u8], put: &mut dyn FnMut(u64, &[u8]) -> bool) -> bool {
    let mut all = true;
    while !text.is_empty() {
        let (part, rest) = text.split_at_checked((WINDOW - at % WINDOW) as usize).unwrap_or((text, &[]));
        all &= put(at, part);
        (text, at) = (rest, at + part.len() as u64);
    }
    all
}

impl Windows {
    /// Begins an empty file, which may become `most` bytes long.
    pub(super) fn begin(&self, most: u64) {
        for (number, slot) in self.slots.0.iter().enumerate() {
            let before = (number as u64).wrapping_sub(SLOTS as u64);
            // ORDERING [none]: Relaxed. Published with the trace.
            slot.store(before << ADDRESS_BITS, Ordering::Relaxed);
        }
        // ORDERING [none]: Relaxed. As above.
        self.position.0.store(0, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. As above.
        self.end.store(most.min(!LATE), Ordering::Relaxed);
        for held in self.held.iter().flatten() {
            // ORDERING [none]: Relaxed. As above.
            held.store(0, Ordering::Relaxed);
        }
        for list in [&self.waiting, &self.late, &self.orphans] {
            // What a parent left there is left.
            list.begin();
        }
    }

    /// Writes a line of two pieces; its place, or `None` where it is not in the file.
    #[inline(always)]
    pub(super) fn put(
        &self,
        pieces: [&[u8]; 2],
        mine: &Announced,
        output: &Output,
        others: Announcements,
    ) -> Option<u64> {
        let len = pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        // ORDERING [none]: Relaxed. Written by this thread.
        let last = mine.load(Ordering::Relaxed);
        // ORDERING [none]: Relaxed. Published by the taking of the place (invariant 1).
        mine.store(last | NOT_BEFORE, Ordering::Relaxed);
        // ORDERING [announce]: AcqRel. Our announcement before our place; others' before later places.
        let at = self.position.0.fetch_add(len, Ordering::AcqRel);
        // ORDERING [none]: Relaxed. More precise than the announcement before it, and as true.
        mine.store(at << HOW_BITS | THERE, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. Whatever stands behind the end is cut off afterwards.
        let fits = (at & !LATE) + len <= self.end.load(Ordering::Relaxed);
        let window = at / WINDOW;
        let written = if fits && at & LATE == 0 {
            (at + len - 1) / WINDOW == window && self.copy(at, pieces)
                || self.put_slowly(at, pieces, output, others)
        } else {
            fits && self.put_late(at & !LATE, pieces, output)
        };
        // ORDERING [copied]: Release. Our last access to the window. Other end: `prepare`.
        mine.store(at << HOW_BITS | DONE, Ordering::Release);
        if (at + len) % WINDOW >= EARLY && at % WINDOW < EARLY && fits && at & LATE == 0 {
            self.prepare(window + 1, output, others);
        }
        if !written {
            self.ends_at(at & !LATE);
        }
        written.then_some(at & !LATE)
    }

    /// Copies a line that lies in one window, if that is mapped.
    #[inline(always)]
    fn copy(&self, at: u64, pieces: [&[u8]; 2]) -> bool {
        let window = at / WINDOW;
        let Some(slot) = self.slots.0.get(window as usize % SLOTS) else { return false };
        // ORDERING [window]: Acquire. Other end: `prepare`.
        let word = slot.load(Ordering::Acquire);
        let base = (word & ADDRESS) as *mut u8;
        if word >> ADDRESS_BITS != window & (u64::MAX >> ADDRESS_BITS) || word & ADDRESS <= UNMAPPED {
            return false;
        }
        let [first, second] = pieces;
        let to = base.wrapping_add((at % WINDOW) as usize);
        // SAFETY: in the window, which is not unmapped while our place is announced (invariant 2), at
        // bytes that are this line's alone.
        unsafe { core::ptr::copy_nonoverlapping(first.as_ptr(), to, first.len()) };
        let to = to.wrapping_add(first.len());
        // SAFETY: as above.
        unsafe { core::ptr::copy_nonoverlapping(second.as_ptr(), to, second.len()) };
        true
    }

    /// A line whose window is not mapped yet, or that lies in two.
    #[cold]
    #[inline(never)]
    fn put_slowly(&self, at: u64, pieces: [&[u8]; 2], output: &Output, others: Announcements) -> bool {
        let [first, second] = pieces;
        let mut put = |at: u64, part: &[u8]| {
            self.copy(at, [part, &[]]) || {
                self.prepare(at / WINDOW, output, others);
                self.put_part(at, part, true, output)
            }
        };
        in_parts(at, first, &mut put) & in_parts(at + first.len() as u64, second, &mut put)
    }

    /// Puts text that lies in one window, in whatever way the window allows.
    fn put_part(&self, at: u64, text: &[u8], copied: bool, output: &Output) -> bool {
        copied && self.copy(at, [text, &[]])
            || self.wait(at, text, copied, output)
            || self.write(at, [text, &[]], output)
    }

    /// By how many windows a slot is behind one; negative where it is ahead.
    fn behind(word: u64, window: u64) -> i64 {
        let tag = window << ADDRESS_BITS;
        // Numbers in a slot begin again after 65,536.
        (tag.wrapping_sub(word & !ADDRESS) as i64) >> ADDRESS_BITS
    }

    /// Whether a window has not been filled yet, by its slot.
    fn is_unfilled(word: u64, window: u64) -> bool {
        match Windows::behind(word, window) {
            0 => word & ADDRESS == FILLING,
            behind => behind > 0,
        }
    }

    /// Leaves text to who fills its window; false where that is done.
    fn wait(&self, at: u64, text: &[u8], copied: bool, output: &Output) -> bool {
        let window = at / WINDOW;
        let Some(slot) = self.slots.0.get(window as usize % SLOTS) else { return false };
        // ORDERING [none]: Relaxed. Looked at again below.
        if !Windows::is_unfilled(slot.load(Ordering::Relaxed), window) {
            return false;
        }
        let held = self.held_of(window);
        // ORDERING [none]: Relaxed. Before our announcement ends (`copied`), and before `window` below.
        held.fetch_add(1, Ordering::Relaxed);
        if !self.waiting.push(at, text, copied) {
            // ORDERING [none]: Relaxed. Nothing is held.
            held.fetch_sub(1, Ordering::Relaxed);
            return false;
        }
        // Either who maps the window comes after this and finds the line, or we find it mapped.
        // ORDERING [window]: AcqRel. The line in the list. Other end: `prepare`, in either direction.
        if !Windows::is_unfilled(slot.fetch_add(0, Ordering::AcqRel), window) {
            self.serve(output);
        }
        true
    }

    /// Puts the lines that wait, those that have to wait again excepted.
    fn serve(&self, output: &Output) {
        self.waiting.take(core::ptr::null_mut(), &mut |at, text, copied| {
            if !self.put_part(at, text, copied, output) {
                self.ends_at(at);
            }
            // ORDERING [copied]: Release. Our last access to the window. Other end: `prepare`.
            self.held_of(at / WINDOW).fetch_sub(1, Ordering::Release);
        });
    }

    /// How many lines of a window are held, and of those that come much later.
    fn held_of(&self, window: u64) -> &AtomicU64 {
        let [[even, _], ..] = &self.held;
        let slot = self.held.get(window as usize % SLOTS);
        slot.and_then(|two| two.get(window as usize / SLOTS % 2)).unwrap_or(even)
    }

    /// Whether somebody may be copying into a window that was replaced.
    fn is_used(&self, window: u64, others: Announcements) -> bool {
        let copies = |announced: &Announced| {
            // ORDERING [copied]: Acquire. Who announces nothing has copied. Other end: `put`.
            concerns(announced.load(Ordering::Acquire), window)
        };
        // ORDERING [copied]: Acquire. Other end: `serve`.
        others(&copies) || self.held_of(window).load(Ordering::Acquire) != 0
    }

    /// Unmaps windows that could not be unmapped before.
    fn reap(&self, others: Announcements) {
        self.orphans.take(core::ptr::null_mut(), &mut |base, number, _| {
            let window = number.try_into().map_or(0, u64::from_le_bytes);
            if self.is_used(window, others) {
                self.orphans.push(base, number, false);
            } else {
                // SAFETY: a whole window, which nobody copies into (invariant 2), and nobody can find any more.
                unsafe { pages::unmap(base as *mut u8, WINDOW as usize) };
            }
        });
    }

    /// Writes a line without a window.
    fn write(&self, at: u64, pieces: [&[u8]; 2], output: &Output) -> bool {
        // ORDERING [none]: Relaxed. A line that is written behind the end is cut off.
        if at >= self.end.load(Ordering::Relaxed) {
            return false;
        }
        output.write(pieces, at).inspect_err(|&error| output.fail(error)).is_ok()
    }

    /// Maps a window, unless it is, or somebody else is about to, or its slot is still needed.
    #[cold]
    #[inline(never)]
    fn prepare(&self, window: u64, output: &Output, others: Announcements) {
        let Some(slot) = self.slots.0.get(window as usize % SLOTS) else { return };
        // ORDERING [window]: Acquire. The former window's address. Other end: below.
        let word = slot.load(Ordering::Acquire);
        let tag = window << ADDRESS_BITS;
        let former = word & ADDRESS;
        // The first windows have none before them: their slots have a number, and are as if being filled.
        if Windows::behind(word, window) <= 0 || (former == FILLING && window >= SLOTS as u64) {
            return;
        }
        // ORDERING [none]: Relaxed and Relaxed. Decides who maps the window; nothing is published yet.
        if slot.compare_exchange(word, tag | FILLING, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        if former > UNMAPPED {
            // Without memory for that it stays for ever.
            self.orphans.push(former, &window.saturating_sub(SLOTS as u64).to_le_bytes(), false);
        }
        self.reap(others);
        let base = match output.map(window * WINDOW, WINDOW as usize) {
            Ok(base) => base as u64,
            // What room is left on the disk is the program's.
            Err(error @ (libc::ENOSPC | libc::EDQUOT)) => {
                self.ends_at(window * WINDOW);
                output.fail(error);
                UNMAPPED
            }
            // Lines are written, and who cannot do that says why.
            Err(_) => UNMAPPED,
        };
        // ORDERING [window]: AcqRel. The mapping before its address; lines that wait. Other ends: `copy`, `wait`.
        slot.swap(tag | base, Ordering::AcqRel);
        self.serve(output);
        if base > UNMAPPED && window > 0 {
            pages::touch(base as *mut u8, WINDOW as usize);
        }
    }

    /// A line that comes when the file is to be cut, or has been.
    #[cold]
    #[inline(never)]
    fn put_late(&self, at: u64, pieces: [&[u8]; 2], output: &Output) -> bool {
        let [first, second] = pieces;
        let then = at + first.len() as u64;
        let late =
            |at: u64, text: &[u8]| self.late.push(at, text, false) || self.write(at, [text, &[]], output);
        late(at, first) & late(then, second)
    }

    /// Cuts the file where it ends now; further lines are written one by one.
    pub(super) fn cut(&self, output: &Output) {
        // ORDERING [announce]: AcqRel. Decides which lines come before the cut.
        let at = self.position.0.fetch_or(LATE, Ordering::AcqRel);
        if at & LATE != 0 {
            return;
        }
        // ORDERING [none]: Relaxed. Lines behind the end that were copied are cut off.
        output.set_length(at.min(self.end.load(Ordering::Relaxed)));
        for (list, instead) in [(&self.waiting, core::ptr::null_mut()), (&self.late, CLOSED)] {
            list.take(instead, &mut |at, text, _| {
                self.write(at, [text, &[]], output);
            });
        }
    }

    /// Nothing from this place on is of use: a line there could not be written.
    #[cold]
    fn ends_at(&self, at: u64) {
        // ORDERING [none]: Relaxed. The smallest counts.
        self.end.fetch_min(at, Ordering::Relaxed);
    }

    /// Replaces a line at its place, where its text from `from` on is to be `text`, longer than before by
    /// `more`. False if other lines follow already: then only the first byte of `text` is written.
    pub(super) fn replace(&self, at: u64, len: u64, from: u64, text: &[u8], output: &Output) -> bool {
        let more = (from + text.len() as u64).saturating_sub(len);
        // ORDERING [announce]: AcqRel and Relaxed. Takes the place behind the line, if nobody has.
        let alone =
            self.position.0.compare_exchange(at + len, at + len + more, Ordering::AcqRel, Ordering::Relaxed);
        let text = if alone.is_ok() { text } else { text.get(..1).unwrap_or(&[]) };
        in_parts(at + from, text, &mut |at, part| self.put_part(at, part, false, output));
        alone.is_ok()
    }

    /// Ends the file with a last line, and unmaps it.
    ///
    /// # Safety
    ///
    /// Nobody writes lines any more.
    pub(super) unsafe fn finish(&self, last: &[u8], output: &Output) {
        self.waiting.take(core::ptr::null_mut(), &mut |at, text, _| {
            self.write(at, [text, &[]], output);
        });
        // ORDERING [none]: Relaxed. Nobody else is there (the caller's contract).
        let at = self.position.0.fetch_add(last.len() as u64, Ordering::Relaxed) & !LATE;
        // ORDERING [none]: Relaxed. As above.
        let end = self.end.load(Ordering::Relaxed);
        if at + last.len() as u64 <= end {
            self.write(at, [last, &[]], output);
            output.set_length(at + last.len() as u64);
        } else {
            output.set_length(at.min(end));
        }
        // SAFETY: the caller's contract.
        unsafe { self.unmap() };
    }

    /// Unmaps all windows.
    ///
    /// # Safety
    ///
    /// Nobody writes lines any more.
    pub(super) unsafe fn unmap(&self) {
        self.orphans.take(core::ptr::null_mut(), &mut |base, _, _| {
            // SAFETY: a whole window, and nobody uses it (the caller's contract).
            unsafe { pages::unmap(base as *mut u8, WINDOW as usize) };
        });
        for slot in &self.slots.0 {
            // ORDERING [window]: Acquire. Other end: `prepare`.
            let base = slot.swap(0, Ordering::Acquire) & ADDRESS;
            if base > UNMAPPED {
                // SAFETY: a whole window, and nobody uses it (the caller's contract).
                unsafe { pages::unmap(base as *mut u8, WINDOW as usize) };
            }
        }
    }
}
