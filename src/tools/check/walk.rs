//! Looking at cells outside the calls that they belong to, while other threads go on.

use super::cell::{Cell, HEADER, State};
use super::faults::{self, Fault};
use super::places::{self, Look};
use super::report::{Finder, deliver, status_of};
use super::{MEMHOOK_CHECK_USE_OF_FREED, mcheck};
use core::ffi::c_int;

/// Looks at all cells; how many faults there are. No look is open while the program's handler runs.
pub(super) fn all(finder: Finder) -> usize {
    let mut count = 0;
    places::each(&mut |cell| {
        let look = Look::new();
        let found = match look.find(cell.address()) {
            // SAFETY: kept by the look.
            Some(cell) => unsafe { faults::of_cell(cell, false) },
            None => [None, None],
        };
        drop(look);
        for fault in found.iter().flatten() {
            count += 1;
            deliver(fault, finder);
        }
        true
    });
    count
}

/// Looks at the cell of one block: its status, `None` where there is no such cell.
pub(super) fn one(block: usize, name: &'static str) -> Option<c_int> {
    let look = Look::new();
    let cell: Cell = look.find(block.wrapping_sub(HEADER))?;
    // SAFETY: kept by the look.
    let mut found = unsafe { faults::of_cell(cell, false) };
    // SAFETY: as above.
    if let (None, State::Freed(facts)) = (found[0], unsafe { cell.header() }.state().0) {
        found = [Some(Fault::of(MEMHOOK_CHECK_USE_OF_FREED, block).about(cell, Some(facts), true)), None];
    }
    drop(look);
    let mut status = mcheck::OK;
    for fault in found.iter().flatten() {
        status = status_of(fault.kind);
        deliver(fault, Finder::Look(name));
    }
    Some(status)
}
