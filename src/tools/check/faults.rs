//! What can be wrong with a cell, and where.
//!
//! Never: reports, writes to a cell.

use super::cell::{Cell, FRONT, Facts, Header, State, ZONE, ZONE_BYTE, rounded};
use super::{MEMHOOK_CHECK_OVERFLOW, MEMHOOK_CHECK_UNDERFLOW, MEMHOOK_CHECK_WRITE_AFTER_FREE};

/// As many bytes of damage are kept, for a person.
pub(super) const SHOWN: usize = 32;

/// One thing that is wrong.
#[derive(Clone, Copy)]
pub(super) struct Fault {
    /// A `MEMHOOK_CHECK_` number.
    pub(super) kind: u32,
    /// The pointer that the program gave, 0 where it gave none.
    pub(super) given: usize,
    /// Where the block begins that it is about, 0 where there is none.
    pub(super) block: usize,
    /// What is known of the block.
    pub(super) facts: Option<Facts>,
    /// Whether the block is a freed one.
    pub(super) is_freed: bool,
    /// From the block's beginning to the damage, or to the pointer that was given.
    pub(super) offset: isize,
    /// From the first byte of damage to behind the last.
    pub(super) span: usize,
    pub(super) shown: Shown,
}

/// Bytes around the damage.
#[derive(Clone, Copy)]
pub(super) struct Shown {
    pub(super) bytes: [u8; SHOWN],
    pub(super) len: usize,
    /// From the block's beginning to the first of them.
    pub(super) offset: isize,
    /// What each of them should be.
    pub(super) expected: Option<u8>,
}

const NOTHING: Shown = Shown { bytes: [0; SHOWN], len: 0, offset: 0, expected: None };

impl Fault {
    /// About no block.
    pub(super) fn of(kind: u32, given: usize) -> Fault {
        Fault { kind, given, block: 0, facts: None, is_freed: false, offset: 0, span: 0, shown: NOTHING }
    }

    /// About a block.
    pub(super) fn about(self, cell: Cell, facts: Option<Facts>, is_freed: bool) -> Fault {
        let block = cell.block() as usize;
        let offset = if self.given == 0 { 0 } else { self.given.wrapping_sub(block) as isize };
        Fault { block, facts, is_freed, offset, ..self }
    }

    /// With damage `at` so many bytes from the block's beginning, `span` bytes of it; shown are the bytes `from` the one
    /// `to` the other.
    fn damaged(
        self,
        (at, span): (isize, usize),
        (from, to): (isize, isize),
        expected: impl Into<Option<u8>>,
    ) -> Fault {
        let mut shown = Shown { offset: from, expected: expected.into(), ..NOTHING };
        let len = usize::try_from(to - from).unwrap_or(0).min(SHOWN);
        for byte in shown.bytes.iter_mut().take(len) {
            // SAFETY: `from` and `to` are within the cell, by who calls.
            *byte = unsafe { (self.block as *const u8).wrapping_offset(from + shown.len as isize).read() };
            shown.len += 1;
        }
        Fault { offset: at, span, shown, ..self }
    }
}

/// The first byte from `from` to `to`, counted from the block's beginning, that is not `expected`, and how many
/// there are from it to the last.
///
/// # Safety
///
/// The bytes may be read.
unsafe fn damage(block: *const u8, from: isize, to: isize, expected: u8) -> Option<(isize, usize)> {
    // SAFETY: the caller's contract.
    let differs = |&at: &isize| unsafe { block.wrapping_offset(at).read_volatile() } != expected;
    let first = (from..to).find(differs)?;
    let last = (first..to).rev().find(differs)?;
    Some((first, (last - first) as usize + 1))
}

/// What is wrong with a cell, if anything is: at most one thing before the block and one in or behind it.
/// `Changing` cells have nothing wrong, as nobody can tell.
///
/// # Safety
///
/// The cell is the caller's own, or kept by a `places::Look`.
pub(super) unsafe fn of_cell(cell: Cell, is_own: bool) -> [Option<Fault>; 2] {
    // SAFETY: the caller's contract.
    let header = unsafe { cell.header() };
    let (state, seal) = header.state();
    let found = match state {
        State::Changing if !is_own => [None, None],
        State::Changing | State::Broken => {
            let fault = Fault::of(MEMHOOK_CHECK_UNDERFLOW, 0).about(cell, None, false);
            let (front, header) = (-(ZONE as isize), -(size_of::<Header>() as isize));
            // SAFETY: the header's own bytes.
            let near = unsafe { damage(cell.block(), front, 0, ZONE_BYTE) };
            let (_, beyond) = near.unwrap_or((front, 0));
            [Some(fault.damaged((front - 1, beyond + 1), (header, header + SHOWN as isize), None)), None]
        }
        // SAFETY: as above, and the state is known.
        State::Live(facts) => unsafe { of_live(cell, facts) },
        // SAFETY: as above.
        State::Freed(facts) => unsafe { of_freed(cell, facts) },
    };
    if is_own || header.is_still(seal) { found } else { [None, None] }
}

/// # Safety
///
/// As [`of_cell`], and `facts` are what its header says.
unsafe fn of_live(cell: Cell, facts: Facts) -> [Option<Fault>; 2] {
    // SAFETY: the caller's contract.
    let front = unsafe { of_front(cell, facts, false) };
    let requested = facts.kind.requested() as isize;
    let end = (rounded(facts.kind.requested()) + ZONE) as isize;
    // SAFETY: the zone behind the block.
    let behind = unsafe { damage(cell.block(), requested, end, ZONE_BYTE) }.map(|(at, span)| {
        let fault = Fault::of(MEMHOOK_CHECK_OVERFLOW, 0).about(cell, Some(facts), false);
        fault.damaged((at, span), (requested, end), ZONE_BYTE)
    });
    [front, behind]
}

/// # Safety
///
/// As [`of_live`].
unsafe fn of_freed(cell: Cell, facts: Facts) -> [Option<Fault>; 2] {
    // SAFETY: the caller's contract.
    let front = unsafe { of_front(cell, facts, true) };
    let body = rounded(facts.kind.requested()) as isize;
    let end = body + ZONE as isize;
    let poison = facts.freed_in.poison();
    // SAFETY: the block, up to its rounded end.
    let inside = unsafe { damage(cell.block(), 0, body, poison) };
    // SAFETY: the zone behind it.
    let behind = unsafe { damage(cell.block(), body, end, ZONE_BYTE) };
    let fault = Fault::of(MEMHOOK_CHECK_WRITE_AFTER_FREE, 0).about(cell, Some(facts), true);
    let last = match (inside, behind) {
        (Some(found), _) => {
            let from = found.0 & !(ZONE as isize - 1);
            Some(fault.damaged(found, (from, body.min(from + SHOWN as isize)), poison))
        }
        (None, Some(found)) => Some(fault.damaged(found, (body, end), ZONE_BYTE)),
        (None, None) => None,
    };
    [front, last]
}

/// # Safety
///
/// As [`of_live`].
unsafe fn of_front(cell: Cell, facts: Facts, is_freed: bool) -> Option<Fault> {
    let from = if is_freed { -(ZONE as isize) } else { -(FRONT as isize) };
    // SAFETY: the zone before the block.
    let found = unsafe { damage(cell.block(), from, 0, ZONE_BYTE) }?;
    let kind = if is_freed { MEMHOOK_CHECK_WRITE_AFTER_FREE } else { MEMHOOK_CHECK_UNDERFLOW };
    let fault = Fault::of(kind, 0).about(cell, Some(facts), is_freed);
    Some(fault.damaged(found, (from, 0), ZONE_BYTE))
}
