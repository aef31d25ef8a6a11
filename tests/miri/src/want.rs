//! Want of memory, for one thread, after so many blocks more.

use std::cell::Cell;

/// How many more blocks a thread gets of a kind.
pub(crate) struct Left(Cell<usize>);

impl Left {
    pub(crate) const fn all() -> Left {
        Left(Cell::new(usize::MAX))
    }

    pub(crate) fn set(&self, blocks: usize) {
        self.0.set(blocks);
    }

    /// Whether there is another, which is taken.
    pub(crate) fn take(&self) -> bool {
        let left = self.0.get();
        if left != usize::MAX {
            self.0.set(left.saturating_sub(1));
        }
        left != 0
    }
}
