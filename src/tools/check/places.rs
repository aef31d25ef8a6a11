//! Where cells are: a bit for every 16 bytes of address space, in a table of lazily touched pages.
//!
//! Written when memory comes from the backend and when it goes back, not when a cell is used again. So all
//! cells can be walked, and one can be found by an address within it, while other threads allocate and free.
//!
//! # Invariants
//!
//! 1. Branches and leaves are never unmapped.
//! 2. A bit of a summary is set before the first bit that it stands for, and never cleared.
//! 3. While a [`Look`] lives, no cell that it has found is given back to the backend: who gives one back
//!    clears its bit, then counts those who look; who looks counts himself, then reads bits. With a full fence
//!    between the two on either side, one of them sees the other. Cells that wait for the last look to end
//!    stand in `WAITING`.
//!
//! # Edges
//!
//! | edge      | from                 | to                   | carries |
//! | --------- | -------------------- | -------------------- | ------- |
//! | `page`    | `install` Release    | `install`, `slot` Acquire | a zeroed branch or leaf |
//! | `place`   | `insert` Release     | `word` Acquire       | the header of a cell |
//! | `look`    | `Look::drop` Release | `give_back`, `drain` Acquire | the last look at a cell |
//! | `look-fence` | `give_back`, `drain` | `Look::new`       | see invariant 3 |
//! | `waiting` | `wait` Release       | `drain` Acquire      | the link in a cell that waits |

use super::cell::{Cell, ROUND};
use crate::api::backend::memhook_backend_free;
use crate::sys::pages;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering, fence};

const ADDRESS_BITS: u32 = 48;
/// Address space of a leaf.
const LEAF_BITS: u32 = 22;
/// Address space of a branch.
const BRANCH_BITS: u32 = 35;
const GRANULE_BITS: u32 = ROUND.trailing_zeros();
const WORDS: usize = 1 << (LEAF_BITS - GRANULE_BITS - 6);
const LEAVES: usize = 1 << (BRANCH_BITS - LEAF_BITS);
const BRANCHES: usize = 1 << (ADDRESS_BITS - BRANCH_BITS);

struct Leaf {
    /// A bit for each word that may not be 0.
    summary: [AtomicU64; WORDS / 64],
    words: [AtomicU64; WORDS],
}

struct Branch {
    /// A bit for each leaf that there is.
    summary: [AtomicU64; LEAVES / 64],
    leaves: [AtomicPtr<Leaf>; LEAVES],
}

static ROOT: [AtomicPtr<Branch>; BRANCHES] = [const { AtomicPtr::new(core::ptr::null_mut()) }; BRANCHES];

fn slot<T>(place: &AtomicPtr<T>) -> Option<&'static T> {
    // ORDERING [page]: Acquire. Other end: `install`.
    let known = place.load(Ordering::Acquire);
    // SAFETY: null, or zeroed or valid and never unmapped (invariant 1).
    unsafe { known.as_ref() }
}

/// What `place` leads to; maps a zeroed one where there is none.
fn install<T>(place: &AtomicPtr<T>) -> Option<&'static T> {
    if let Some(known) = slot(place) {
        return Some(known);
    }
    let fresh = pages::reserve(size_of::<T>())?;
    let null = core::ptr::null_mut();
    // ORDERING [page]: Release and Acquire. Zeroes before the pointer. Other end: `slot`.
    if place.compare_exchange(null, fresh.cast(), Ordering::Release, Ordering::Acquire).is_err() {
        // SAFETY: our own mapping, which nobody has seen.
        unsafe { pages::unmap(fresh, size_of::<T>()) };
    }
    slot(place)
}

fn summarise(summary: &[AtomicU64], index: usize) {
    if let Some(word) = summary.get(index / 64) {
        // ORDERING [none]: Relaxed. Before the bit below it, which a release orders.
        let known = word.load(Ordering::Relaxed);
        if known >> (index % 64) & 1 == 0 {
            // ORDERING [none]: Relaxed. As above.
            word.fetch_or(1 << (index % 64), Ordering::Relaxed);
        }
    }
}

/// Where the bit of an address is.
#[derive(Clone, Copy)]
struct Index {
    branch: usize,
    leaf: usize,
    word: usize,
    bit: u32,
}

impl Index {
    fn of(address: usize) -> Index {
        Index {
            branch: address >> BRANCH_BITS,
            leaf: address >> LEAF_BITS & (LEAVES - 1),
            word: address >> (GRANULE_BITS + 6) & (WORDS - 1),
            bit: (address >> GRANULE_BITS & 63) as u32,
        }
    }

    fn cell(self) -> Cell {
        let granule = self.word << 6 | self.bit as usize;
        Cell::at(self.branch << BRANCH_BITS | self.leaf << LEAF_BITS | granule << GRANULE_BITS)
    }
}

fn leaf(index: Index) -> Option<&'static Leaf> {
    slot(slot(ROOT.get(index.branch)?)?.leaves.get(index.leaf)?)
}

/// Notes a cell; false where there is no memory for the note.
pub(super) fn insert(cell: Cell) -> bool {
    let index = Index::of(cell.address());
    let note = || {
        let branch = install(ROOT.get(index.branch)?)?;
        let leaf = install(branch.leaves.get(index.leaf)?)?;
        summarise(&branch.summary, index.leaf);
        summarise(&leaf.summary, index.word);
        // ORDERING [place]: Release. The header before its place is known. Other end: `word`.
        leaf.words.get(index.word)?.fetch_or(1 << index.bit, Ordering::Release);
        Some(())
    };
    note().is_some()
}

fn remove(cell: Cell) {
    let index = Index::of(cell.address());
    if let Some(word) = leaf(index).and_then(|leaf| leaf.words.get(index.word)) {
        // ORDERING [none]: Relaxed. A fence follows where it matters.
        word.fetch_and(!(1 << index.bit), Ordering::Relaxed);
    }
}

/// How many look at cells. In a page that the kernel empties in fork children, which do not have the threads that
/// looked; where it has no such page, in `LOOKS_OF_ALL`.
static LOOKS: AtomicPtr<AtomicUsize> = AtomicPtr::new(core::ptr::null_mut());
static LOOKS_OF_ALL: AtomicUsize = AtomicUsize::new(0);

/// Must be called before the first cell is made.
pub(super) fn prepare() {
    // ORDERING [none]: Relaxed. Only who starts the tool writes it.
    if LOOKS.load(Ordering::Relaxed).is_null() {
        let page = pages::map_wiped_on_fork(pages::PAGE)
            .map_or((&raw const LOOKS_OF_ALL).cast_mut(), |page| page.cast());
        // ORDERING [none]: Relaxed. The hooks are registered afterwards.
        LOOKS.store(page, Ordering::Relaxed);
    }
}

fn looks() -> &'static AtomicUsize {
    // ORDERING [none]: Relaxed. Written before the hooks were registered.
    let known = LOOKS.load(Ordering::Relaxed);
    // SAFETY: null, or what `prepare` stored, which is never unmapped; what the kernel does to it in a fork child is
    // a store of 0.
    unsafe { known.as_ref() }.unwrap_or(&LOOKS_OF_ALL)
}

/// Keeps what it finds from being given back.
pub(super) struct Look(());

impl Look {
    pub(super) fn new() -> Look {
        // ORDERING [none]: Relaxed. The fence below.
        looks().fetch_add(1, Ordering::Relaxed);
        // ORDERING [look-fence]: SeqCst. Counted before a bit is read. Other end: `give_back`.
        fence(Ordering::SeqCst);
        Look(())
    }

    fn word(&self, leaf: &Leaf, index: usize) -> u64 {
        // ORDERING [place]: Acquire. The headers of the cells. Other end: `insert`.
        leaf.words.get(index).map_or(0, |word| word.load(Ordering::Acquire))
    }

    /// The cell whose header stands there, if one does.
    pub(super) fn find(&self, header: usize) -> Option<Cell> {
        let index = Index::of(header);
        let is_there = self.word(leaf(index)?, index.word) >> index.bit & 1 != 0;
        (is_there && header.is_multiple_of(ROUND)).then(|| index.cell())
    }

    /// The last cell whose header stands at `address` or before.
    pub(super) fn last_before(&self, address: usize) -> Option<Cell> {
        // Pointers that are none may lead anywhere.
        let at = Index::of(address.min((1 << ADDRESS_BITS) - 1));
        for number in (0..=at.branch).rev() {
            let Some(branch) = ROOT.get(number).and_then(slot) else { continue };
            let first = if number == at.branch { at.leaf } else { LEAVES - 1 };
            for leaf_number in bits_down(&branch.summary, first) {
                let Some(leaf) = branch.leaves.get(leaf_number).and_then(slot) else { continue };
                let same = number == at.branch && leaf_number == at.leaf;
                let first = if same { at.word } else { WORDS - 1 };
                for word_number in bits_down(&leaf.summary, first) {
                    let mut word = self.word(leaf, word_number);
                    if same && word_number == at.word {
                        word &= u64::MAX >> (63 - at.bit);
                    }
                    if word != 0 {
                        let bit = 63 - word.leading_zeros();
                        return Some(
                            Index { branch: number, leaf: leaf_number, word: word_number, bit }.cell(),
                        );
                    }
                }
            }
        }
        None
    }
}

impl Drop for Look {
    fn drop(&mut self) {
        // A signal handler may have made this a fork child in the middle.
        let less = |count: usize| count.checked_sub(1);
        // ORDERING [look]: Release and Relaxed. Our looks before a cell is given back. Other end: `drain`.
        let _ = looks().fetch_update(Ordering::Release, Ordering::Relaxed, less);
        drain();
    }
}

/// The bits that are set, from `first` downwards.
fn bits_down(summary: &'static [AtomicU64], first: usize) -> impl Iterator<Item = usize> {
    (0..=first / 64).rev().flat_map(move |index| {
        // ORDERING [none]: Relaxed. Invariant 2; the bits below it are read with an acquire.
        let mut bits = summary.get(index).map_or(0, |word| word.load(Ordering::Relaxed));
        if index == first / 64 {
            bits &= u64::MAX >> (63 - first % 64);
        }
        core::iter::from_fn(move || {
            let bit = 63u32.checked_sub(bits.leading_zeros())?;
            bits &= !(1 << bit);
            Some(index * 64 + bit as usize)
        })
    })
}

/// Shows every cell to `visit` until it answers false. Cells that are made or given back meanwhile may be
/// shown or not. A look is open for a few cells at a time; `visit` may end it.
pub(super) fn each(visit: &mut dyn FnMut(Cell) -> bool) {
    for (branch_number, branch) in ROOT.iter().enumerate() {
        let Some(branch) = slot(branch) else { continue };
        for (leaf_number, leaf) in branch.leaves.iter().enumerate() {
            let Some(leaf) = slot(leaf) else { continue };
            for word_number in bits_down(&leaf.summary, WORDS - 1) {
                let look = Look::new();
                let mut word = look.word(leaf, word_number);
                drop(look);
                while word != 0 {
                    let bit = word.trailing_zeros();
                    word &= word - 1;
                    let index = Index { branch: branch_number, leaf: leaf_number, word: word_number, bit };
                    if !visit(index.cell()) {
                        return;
                    }
                }
            }
        }
    }
}

/// Cells that wait for the last look to end, linked through the first words of their headers.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Forgets a cell, and gives its memory, which begins at `whole`, back to the backend.
pub(super) fn give_back(cell: Cell, whole: *mut u8) {
    remove(cell);
    // ORDERING [look-fence]: SeqCst. The bit is clear before looks are counted. Other end: `Look::new`.
    fence(Ordering::SeqCst);
    // ORDERING [look]: Acquire. The last looks at the cell. Other end: `Look::drop`.
    if looks().load(Ordering::Acquire) == 0 {
        // SAFETY: memory of the backend that nobody uses or looks at any more.
        return unsafe { memhook_backend_free(whole.cast()) };
    }
    wait(cell, whole);
    drain();
}

/// Forgets a cell that is about to be moved; false where somebody looks, and it stays.
pub(super) fn take_away(cell: Cell) -> bool {
    remove(cell);
    // ORDERING [look-fence]: SeqCst. The bit is clear before looks are counted. Other end: `Look::new`.
    fence(Ordering::SeqCst);
    // ORDERING [look]: Acquire. The last looks at the cell. Other end: `Look::drop`.
    let free = looks().load(Ordering::Acquire) == 0;
    if !free {
        let _ = insert(cell);
    }
    free
}

/// Forgets a cell whose memory is not given back.
pub(super) fn forget(cell: Cell) {
    remove(cell);
}

#[cold]
fn wait(cell: Cell, whole: *mut u8) {
    // SAFETY: in nobody's hands but the caller's; those who look read words that are atomic.
    let header = unsafe { cell.header() };
    header.open();
    header.freer_word().set(whole as u64);
    // ORDERING [none]: Relaxed. The exchange below checks it.
    let mut first = WAITING.load(Ordering::Relaxed);
    loop {
        header.freed_in_word().set(first as u64);
        // ORDERING [waiting]: Release and Relaxed. The link before the cell. Other end: `drain`.
        match WAITING.compare_exchange_weak(first, cell.address(), Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return,
            Err(now) => first = now,
        }
    }
}

/// Gives back the cells that wait, if nobody looks.
fn drain() {
    // ORDERING [none]: Relaxed. A hint.
    if WAITING.load(Ordering::Relaxed) == 0 {
        return;
    }
    // ORDERING [waiting]: Acquire. The links. Other end: `wait`.
    let mut at = WAITING.swap(0, Ordering::Acquire);
    // ORDERING [look-fence]: SeqCst. Their bits were clear before looks are counted. Other end: `Look::new`.
    fence(Ordering::SeqCst);
    // ORDERING [look]: Acquire. The last looks at them. Other end: `Look::drop`.
    let free = looks().load(Ordering::Acquire) == 0;
    while at != 0 {
        let cell = Cell::at(at);
        // SAFETY: taken from the list, in nobody's hands but ours.
        let header = unsafe { cell.header() };
        at = header.freed_in_word().get() as usize;
        let whole = header.freer_word().get() as usize as *mut u8;
        if free {
            // SAFETY: memory of the backend that nobody uses or looks at any more.
            unsafe { memhook_backend_free(whole.cast()) };
        } else {
            wait(cell, whole);
        }
    }
}
