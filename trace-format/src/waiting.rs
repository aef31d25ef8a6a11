//! Events that wait for a block, found by what they wait for in a time that hardly depends on how many there are.

use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A chunk whose next event would make a block that is there.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Waiter {
    /// When it has waited long enough.
    pub(crate) until_ns: u64,
    /// Which chunk.
    pub(crate) index: usize,
    /// The block.
    pub(crate) block: u64,
    /// The thread of the event.
    pub(crate) thread: u64,
}

/// All that wait, by numbers in the order in which they began to.
#[derive(Default)]
pub(crate) struct Waiting {
    next: u64,
    all: BTreeMap<u64, Waiter>,
    of_block: HashMap<u64, BTreeSet<u64>>,
    of_thread: HashMap<u64, BTreeSet<u64>>,
    /// For each block that is not there and that somebody waits for: the first who does.
    ready: BTreeSet<u64>,
}

impl Waiting {
    /// Begins to wait; the block is there.
    pub(crate) fn push(&mut self, waiter: Waiter) {
        let number = self.next;
        self.next += 1;
        self.all.insert(number, waiter);
        self.of_block.entry(waiter.block).or_default().insert(number);
        self.of_thread.entry(waiter.thread).or_default().insert(number);
    }

    /// Waits no longer.
    pub(crate) fn remove(&mut self, number: u64) -> Option<Waiter> {
        let waiter = self.all.remove(&number)?;
        for (map, key) in [(&mut self.of_block, waiter.block), (&mut self.of_thread, waiter.thread)] {
            if let Some(numbers) = map.get_mut(&key) {
                numbers.remove(&number);
                if numbers.is_empty() {
                    map.remove(&key);
                }
            }
        }
        if self.ready.remove(&number) {
            self.block_goes(waiter.block);
        }
        Some(waiter)
    }

    /// A block that was there is not: the first who waits for it need not.
    pub(crate) fn block_goes(&mut self, block: u64) {
        self.ready.extend(self.first_for(block));
    }

    /// A block that was not there is.
    pub(crate) fn block_comes(&mut self, block: u64) {
        if let Some(first) = self.first_for(block) {
            self.ready.remove(&first);
        }
    }

    fn first_for(&self, block: u64) -> Option<u64> {
        self.of_block.get(&block)?.first().copied()
    }

    /// Who waits longest.
    pub(crate) fn first(&self) -> Option<(u64, &Waiter)> {
        self.all.first_key_value().map(|(&number, waiter)| (number, waiter))
    }

    /// Who waits longest for a block that is not there any more.
    pub(crate) fn first_ready(&self) -> Option<u64> {
        self.ready.first().copied()
    }

    /// Who waits longest of a thread's.
    pub(crate) fn first_of(&self, thread: u64) -> Option<u64> {
        self.of_thread.get(&thread)?.first().copied()
    }

    /// Whether nobody waits.
    pub(crate) fn is_empty(&self) -> bool {
        self.all.is_empty()
    }
}
