//! What a thread has freed and not given back: the quarantine, and what its next blocks are made of.
//!
//! Small cells stand on a shelf for their size, oldest in front. A shelf that is full enough serves the next
//! block of that size, so that the backend is not asked; what it has no room for, and larger cells, stand in a
//! queue that is bounded in bytes, and go back to the backend from its front.
//!
//! # Invariants
//!
//! 1. The memory of a thread is read and written by this thread only, and by one call at a time: `busy` keeps a
//!    signal handler's calls out, which do without.
//! 2. Every cell here is freed, or was written over since.

use super::cell::{Cell, HEADER, State, tail};
use super::places;
use crate::abi::memhook_local;
use crate::api::local::{memhook_local_create, memory_and_thread};
use core::cell::Cell as Field;
use core::sync::atomic::{AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence};

/// The largest block that has a shelf.
pub(super) const SMALL: usize = 1024;
const CLASSES: usize = SMALL / 16 + 1;
/// How many cells fit on a shelf.
const SHELF: usize = 64;
/// How many cells fit into the queue.
const QUEUE: usize = 2048;

struct Shelf {
    first: Field<u32>,
    count: Field<u32>,
}

/// A thread's memory. Zero is its beginning.
#[repr(C)]
struct Thread {
    /// The thread that it belongs to, as memory goes on to later threads, and the start of the tool: what was put
    /// here before another start is given back.
    owner: Field<u64>,
    busy: Field<bool>,
    /// How many blocks the thread has made.
    made: Field<u32>,
    queue_first: Field<u32>,
    queue_count: Field<u32>,
    queue_bytes: Field<usize>,
    shelves: [Shelf; CLASSES],
    slots: [[Field<usize>; SHELF]; CLASSES],
    queue: [Field<usize>; QUEUE],
    /// The bytes of the cells in the queue.
    lengths: [Field<usize>; QUEUE],
}

static KEY: AtomicU32 = AtomicU32::new(0);

/// How many cells a shelf keeps before it serves.
static DEPTHS: [AtomicU32; CLASSES] = [const { AtomicU32::new(1) }; CLASSES];
/// How many bytes the queue may hold.
static BUDGET: AtomicUsize = AtomicUsize::new(0);
/// How many cells a shelf may hold: none while the tool is stopped.
static LIMIT: AtomicU32 = AtomicU32::new(0);
/// Counts starts and stops, in the bits above a thread's number.
static PERIOD: AtomicU64 = AtomicU64::new(0);
const PERIOD_SHIFT: u32 = 40;

/// The class of a block of at most `SMALL` bytes.
#[inline(always)]
pub(super) fn class_of(requested: usize) -> usize {
    requested.div_ceil(16)
}

/// The bytes of a class's cells.
pub(super) fn cell_bytes(class: usize) -> usize {
    HEADER + tail(class * 16)
}

/// Gives every thread shelves, and a quarantine of about `bytes` bytes. False where that cannot be had.
pub(super) fn prepare(bytes: usize) -> bool {
    for (class, depth) in DEPTHS.iter().enumerate() {
        let fits = bytes / 2 / CLASSES / cell_bytes(class);
        // ORDERING [none]: Relaxed. A bound, no more.
        depth.store(fits.clamp(1, SHELF) as u32, Ordering::Relaxed);
    }
    set_limits(bytes / 2, SHELF as u32);
    // ORDERING [none]: Relaxed. The key alone.
    if KEY.load(Ordering::Relaxed) != 0 {
        return true;
    }
    let mut key: memhook_local = 0;
    // SAFETY: a place for the key.
    if unsafe { memhook_local_create(size_of::<Thread>(), &raw mut key) } != 0 {
        return false;
    }
    // Who starts the tool is alone in it, so there is one key.
    // ORDERING [none]: Relaxed. The key alone.
    KEY.store(key, Ordering::Relaxed);
    true
}

/// From now on nothing is kept.
pub(super) fn stop() {
    set_limits(0, 0);
}

fn set_limits(budget: usize, limit: u32) {
    // ORDERING [none]: Relaxed. Whoever sees it later keeps a cell that is given back later.
    PERIOD.fetch_add(1 << PERIOD_SHIFT, Ordering::Relaxed);
    // ORDERING [none]: Relaxed. A bound, no more.
    BUDGET.store(budget, Ordering::Relaxed);
    // ORDERING [none]: Relaxed. A bound, no more.
    LIMIT.store(limit, Ordering::Relaxed);
}

/// The thread with this number at this time.
#[inline(always)]
fn owner_now(number: u64) -> u64 {
    // ORDERING [none]: Relaxed. See `set_limits`.
    number | PERIOD.load(Ordering::Relaxed)
}

/// This thread's shelves, as long as one call uses them.
pub(super) struct Shelves(&'static Thread);

impl Shelves {
    /// `None` where a call of this thread was interrupted while using them, or there is no memory.
    #[inline(always)]
    pub(super) fn open() -> Option<Shelves> {
        // ORDERING [none]: Relaxed. The key alone.
        let (memory, number) = memory_and_thread(KEY.load(Ordering::Relaxed));
        // SAFETY: NULL, or memory for a `Thread` that is this thread's; zero is a valid one.
        let thread = unsafe { memory.cast::<Thread>().as_ref() }?;
        if thread.owner.get() != owner_now(number) {
            inherit(thread, number);
        }
        if thread.busy.get() {
            return None;
        }
        thread.busy.set(true);
        // ORDERING [none]: SeqCst. For the compiler: a signal handler sees `busy` before what it keeps.
        compiler_fence(Ordering::SeqCst);
        Some(Shelves(thread))
    }

    /// This thread and the number of its next block, in one word.
    #[inline(always)]
    pub(super) fn next_number(&self) -> u64 {
        let made = self.0.made.get().wrapping_add(1);
        self.0.made.set(made);
        self.0.owner.get() << 32 | u64::from(made)
    }

    /// The oldest cell of a class, if there are enough.
    #[inline(always)]
    pub(super) fn take(&self, class: usize) -> Option<Cell> {
        let shelf = self.0.shelves.get(class)?;
        let count = shelf.count.get();
        // ORDERING [none]: Relaxed. A bound, no more.
        if count < DEPTHS.get(class)?.load(Ordering::Relaxed) {
            return None;
        }
        shelf.count.set(count - 1);
        let first = shelf.first.get() as usize % SHELF;
        shelf.first.set(first as u32 + 1);
        let slot = self.0.slots.get(class)?.get(first)?;
        Some(Cell::at(slot.get()))
    }

    /// The oldest cell of a class.
    pub(super) fn take_any(&self, class: usize) -> Option<Cell> {
        let (shelf, slots) = (self.0.shelves.get(class)?, self.0.slots.get(class)?);
        pop(&shelf.first, &shelf.count, slots)
    }

    /// The thread whose shelves these are.
    #[inline(always)]
    pub(super) fn thread(&self) -> u64 {
        self.0.owner.get()
    }

    /// Puts a cell on the shelf of its class; false where that is full.
    #[inline(always)]
    pub(super) fn put(&self, class: usize, cell: Cell) -> bool {
        let (Some(shelf), Some(slots)) = (self.0.shelves.get(class), self.0.slots.get(class)) else {
            return false;
        };
        let count = shelf.count.get();
        // ORDERING [none]: Relaxed. A bound, no more.
        if count >= LIMIT.load(Ordering::Relaxed) {
            return false;
        }
        let last = (shelf.first.get() + count) as usize % SHELF;
        let Some(slot) = slots.get(last) else { return false };
        slot.set(cell.address());
        shelf.count.set(count + 1);
        true
    }

    /// Puts a cell of so many bytes at the end of the queue. False where it may not wait.
    pub(super) fn enqueue(&self, cell: Cell, bytes: usize) -> bool {
        if !may_wait(bytes) || self.0.queue_count.get() as usize >= QUEUE {
            return false;
        }
        let last = (self.0.queue_first.get() + self.0.queue_count.get()) as usize % QUEUE;
        let (Some(slot), Some(length)) = (self.0.queue.get(last), self.0.lengths.get(last)) else {
            return false;
        };
        slot.set(cell.address());
        length.set(bytes);
        self.0.queue_count.set(self.0.queue_count.get() + 1);
        self.0.queue_bytes.set(self.0.queue_bytes.get() + bytes);
        true
    }

    /// The front of the queue, as long as that is too long.
    pub(super) fn dequeue(&self) -> Option<Cell> {
        // ORDERING [none]: Relaxed. A bound, no more.
        let over = self.0.queue_bytes.get() > BUDGET.load(Ordering::Relaxed);
        if !over && (self.0.queue_count.get() as usize) < QUEUE {
            return None;
        }
        let length = self.0.lengths.get(self.0.queue_first.get() as usize % QUEUE)?;
        let cell = pop(&self.0.queue_first, &self.0.queue_count, &self.0.queue)?;
        self.0.queue_bytes.set(self.0.queue_bytes.get() - length.get());
        Some(cell)
    }
}

/// Whether a cell of so many bytes is kept at all.
pub(super) fn may_wait(bytes: usize) -> bool {
    // ORDERING [none]: Relaxed. A bound, no more.
    bytes <= BUDGET.load(Ordering::Relaxed) / 4
}

fn pop(first: &Field<u32>, count: &Field<u32>, slots: &[Field<usize>]) -> Option<Cell> {
    let rest = count.get().checked_sub(1)?;
    let at = first.get() as usize % slots.len();
    first.set(at as u32 + 1);
    count.set(rest);
    Some(Cell::at(slots.get(at)?.get()))
}

impl Drop for Shelves {
    #[inline(always)]
    fn drop(&mut self) {
        // ORDERING [none]: SeqCst. For the compiler: all is done when `busy` says so.
        compiler_fence(Ordering::SeqCst);
        self.0.busy.set(false);
    }
}

/// The memory is another thread's than before, which has ended, or, in a fork child, has stayed behind; or the tool was
/// started or stopped: then what is kept from before goes back unchecked, as other bytes may be expected in it.
#[cold]
#[inline(never)]
fn inherit(thread: &Thread, number: u64) {
    let (before, now) = (thread.owner.get(), owner_now(number));
    if before << (64 - PERIOD_SHIFT) != now << (64 - PERIOD_SHIFT) && thread.busy.replace(false) {
        // In the middle of a call: shelves and queue may be half changed. What they keep is left alone.
        thread.shelves.iter().for_each(|shelf| shelf.count.set(0));
        thread.queue_count.set(0);
        thread.queue_bytes.set(0);
    }
    if thread.busy.get() {
        return;
    }
    thread.owner.set(now);
    if before >> PERIOD_SHIFT == now >> PERIOD_SHIFT {
        return;
    }
    thread.busy.set(true);
    for (shelf, slots) in thread.shelves.iter().zip(&thread.slots) {
        empty(&shelf.first, &shelf.count, slots);
    }
    empty(&thread.queue_first, &thread.queue_count, &thread.queue);
    thread.queue_bytes.set(0);
    thread.busy.set(false);
}

fn empty(first: &Field<u32>, count: &Field<u32>, slots: &[Field<usize>]) {
    while let Some(cell) = pop(first, count, slots) {
        give_back(cell);
    }
}

/// Gives a freed cell back to the backend, unless what is known of it was written over.
pub(super) fn give_back(cell: Cell) {
    // SAFETY: on a shelf or in a queue of the caller's, hence its own (invariant 2).
    match unsafe { cell.header() }.state() {
        (State::Freed(facts), _) => places::give_back(cell, facts.kind.whole(cell)),
        _ => places::forget(cell),
    }
}
