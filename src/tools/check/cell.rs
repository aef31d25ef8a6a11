//! A *cell*: one piece of the backend's memory with the program's block in it, between red zones.
//!
//! ```text
//!  whole          header                          block             end
//!  │ alignment    │ 32 bytes: what is known │ 32 │ requested bytes │ 16 to 31 bytes │
//!  └──────────────┴─────────────────────────┴────┴─────────────────┴────────────────┘
//!                                            zone                   zone
//! ```
//!
//! When the block is freed, half of the zone before it becomes what is known of that, and the zone behind it
//! begins at a multiple of 16.
//!
//! Never: allocates, reports. What is found is said by `report`.
//!
//! # State
//!
//! A word of the header, its *seal*, is made of the cell's address, its other words and the state, so that
//! one that was written over is no seal at all.
//!
//! ```text
//!            make              release            (make again)
//!  changing ──────► live ─ changing ─► freed ─ changing ─► …
//! ```
//!
//! # Invariants
//!
//! 1. Words and zones are written while the seal is `CHANGING` only, by one thread.
//! 2. Two lives of a cell differ in their seal: it has a number that the allocating thread counts up.
//!
//! So who looks at a cell of another thread's, with the cell kept mapped (`places::Look`), and finds the
//! same seal before and after, has seen one state.
//!
//! # Edges
//!
//! | edge   | from                        | to                    | carries |
//! | ------ | --------------------------- | --------------------- | ------- |
//! | `seal` | `set_seal` Release          | `Cell::look` Acquire  | words and zones of this state |
//! | `break` | `open` Release             | `Cell::look` Acquire  | that they change, before they do |

use super::bytes::{self, Sixteen};
use super::kind::{FreedIn, Kind};
use core::sync::atomic::{AtomicU64, Ordering, fence};

/// What is known of a block. Nothing of it is read without `seal` having been checked.
#[repr(C, align(16))]
pub(super) struct Header {
    /// Size, and how the cell was made: see below.
    kind: Word,
    /// Who asked for the block: see [`super::origin::Origin`].
    maker: Word,
    /// The thread that did, and its count of allocations.
    made_in: Word,
    seal: AtomicU64,
    /// Who freed it. Zone before that.
    freer: Word,
    /// The thread that did, and the entry point. Zone before that.
    freed_in: Word,
    zone: Sixteen,
}

/// A word that is read by other threads while it is written.
#[repr(transparent)]
pub(super) struct Word(AtomicU64);

impl Word {
    #[inline(always)]
    pub(super) fn get(&self) -> u64 {
        // ORDERING [none]: Relaxed. The seal orders it.
        self.0.load(Ordering::Relaxed)
    }

    #[inline(always)]
    pub(super) fn set(&self, value: u64) {
        // ORDERING [none]: Relaxed. The seal orders it.
        self.0.store(value, Ordering::Relaxed);
    }
}

/// Bytes of the header, its zone included.
pub(super) const HEADER: usize = size_of::<Header>();
/// Bytes of zone before a live block.
pub(super) const FRONT: usize = HEADER - core::mem::offset_of!(Header, freer);
const _: () = assert!(HEADER == 64 && FRONT == 32);
/// The smallest red zone, on either side.
pub(super) const ZONE: usize = 16;
/// What every cell has beside its block, the end of which is rounded up to this.
pub(super) const ROUND: usize = 16;

/// Every byte of a red zone: no letter, no small number, none of a pointer's high bytes.
pub(super) const ZONE_BYTE: u8 = 0xd7;
const ZONE_WORD: u64 = 0x0101_0101_0101_0101 * ZONE_BYTE as u64;

/// Words that are not the seal of any state with more than a chance of 2^-64. None is what a program is likely to write
/// over one; this one fits into an instruction.
const CHANGING: u64 = 0xffff_ffff_a6e3_59d1;
const LIVE: u64 = 0xa5c3_96e7_d21b_8f4d;
const FREED: u64 = 0x93d1_b8f6_4c2e_a597;

/// A cell of ours.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Cell(*mut Header);

/// What a header says, its seal being right.
#[derive(Clone, Copy)]
pub(super) struct Facts {
    pub(super) kind: Kind,
    pub(super) maker: u64,
    pub(super) made_in: u64,
    pub(super) freer: u64,
    pub(super) freed_in: FreedIn,
}

/// The bytes of memory that a block needs behind its beginning.
#[inline(always)]
pub(super) fn tail(requested: usize) -> usize {
    rounded(requested) + ZONE
}

#[inline(always)]
pub(super) fn rounded(requested: usize) -> usize {
    (requested + ROUND - 1) & !(ROUND - 1)
}

/// What the seal of a cell is made of.
#[inline(always)]
fn mixed(header: *mut Header, kind: u64, maker: u64, made_in: u64) -> u64 {
    header as u64 ^ kind.rotate_left(9) ^ maker.rotate_left(23) ^ made_in.rotate_left(41)
}

/// How a cell is, as far as its header tells.
#[derive(Clone, Copy)]
pub(super) enum State {
    Live(Facts),
    Freed(Facts),
    /// Another thread is changing it, or has since it was looked at.
    Changing,
    /// Somebody has written over what is known of it.
    Broken,
}

impl Cell {
    /// The cell whose block begins there.
    #[inline(always)]
    pub(super) fn of(block: *mut u8) -> Cell {
        Cell(block.wrapping_sub(HEADER).cast())
    }

    /// The cell whose header is there.
    pub(super) fn at(header: usize) -> Cell {
        Cell(header as *mut Header)
    }

    pub(super) fn address(self) -> usize {
        self.0 as usize
    }

    #[inline(always)]
    pub(super) fn block(self) -> *mut u8 {
        self.0.cast::<u8>().wrapping_add(HEADER)
    }

    /// # Safety
    ///
    /// The cell is ours, or kept from being given back by a `places::Look`.
    #[inline(always)]
    pub(super) unsafe fn header<'a>(self) -> &'a Header {
        // SAFETY: the caller's contract; all of it is atomic.
        unsafe { &*self.0 }
    }
}

impl Header {
    #[inline(always)]
    fn address(&self) -> *mut Header {
        core::ptr::from_ref(self).cast_mut()
    }

    #[inline(always)]
    fn block(&self) -> *mut u8 {
        Cell(self.address()).block()
    }

    #[inline(always)]
    fn mixed(&self) -> u64 {
        mixed(self.address(), self.kind.get(), self.maker.get(), self.made_in.get())
    }

    /// Begins a change: who looks from now on sees that there is one.
    #[inline(always)]
    pub(super) fn open(&self) {
        // ORDERING [none]: Relaxed. The fence orders it before what follows.
        self.seal.store(CHANGING, Ordering::Relaxed);
        // ORDERING [break]: Release. Before the words and zones change. Other end: `state`.
        fence(Ordering::Release);
    }

    #[inline(always)]
    fn set_seal(&self, seal: u64) {
        // ORDERING [seal]: Release. Words and zones before it. Other end: `state`.
        self.seal.store(seal, Ordering::Release);
    }

    /// Makes it a live cell. Its memory must be `kind.offset()` and `tail()` bytes around the block, and it is
    /// in nobody's hands but the caller's, opened or new.
    ///
    /// # Safety
    ///
    /// That.
    #[inline(always)]
    pub(super) unsafe fn make(&self, kind: Kind, maker: u64, made_in: u64) {
        self.kind.set(kind.0);
        self.maker.set(maker);
        self.made_in.set(made_in);
        let requested = kind.requested();
        self.freer.set(ZONE_WORD);
        self.freed_in.set(ZONE_WORD);
        // SAFETY: the caller's contract: there is a red zone of 16 bytes at the least behind the block.
        unsafe { bytes::write(self.block().wrapping_add(requested), ZONE_WORD) };
        // SAFETY: as above, behind the rounded end.
        unsafe { bytes::write(self.block().wrapping_add(rounded(requested)), ZONE_WORD) };
        self.set_seal(mixed(self.address(), kind.0, maker, made_in) ^ LIVE);
    }

    /// Takes an [`open`](Header::open) back: the cell stays as it was.
    pub(super) fn close(&self) {
        self.set_seal(self.mixed() ^ LIVE);
    }

    /// The zone in front, for new memory. It is never written again.
    pub(super) fn set_front_zone(&self) {
        let at = (&raw const self.zone).cast_mut().cast();
        // SAFETY: 16 bytes of this header, which is nobody's but the caller's.
        unsafe { bytes::write(at, ZONE_WORD) };
    }

    /// The first word of a cell of the caller's that is live with both zones untouched; `None` where
    /// something is wrong.
    ///
    /// # Safety
    ///
    /// The cell is live or broken, and the caller's own.
    #[inline(always)]
    pub(super) unsafe fn sound_live(&self) -> Option<Kind> {
        // ORDERING [none]: Relaxed. The program handed the block over to this thread.
        let seal = self.seal.load(Ordering::Relaxed);
        let kind = Kind(self.kind.get());
        if seal ^ mixed(self.address(), kind.0, self.maker.get(), self.made_in.get()) != LIVE {
            return None;
        }
        let requested = kind.requested();
        let mut all = self.front();
        let at = (&raw const self.freer).cast_mut().cast();
        // SAFETY: 16 bytes of this header.
        all.expect(unsafe { bytes::read(at) }, ZONE_WORD);
        // SAFETY: the seal says that the size is the block's; see `make`.
        all.expect(unsafe { bytes::read(self.block().wrapping_add(requested)) }, ZONE_WORD);
        // SAFETY: as above.
        all.expect(unsafe { bytes::read(self.block().wrapping_add(rounded(requested))) }, ZONE_WORD);
        all.is_met().then_some(kind)
    }

    /// The zone in front that is always there, for a comparison.
    #[inline(always)]
    fn front(&self) -> bytes::Expectation {
        let mut all = bytes::Expectation::new();
        let at = (&raw const self.zone).cast_mut().cast();
        // SAFETY: 16 bytes of this header.
        all.expect(unsafe { bytes::read(at) }, ZONE_WORD);
        all
    }

    /// Makes a live cell that is sound a freed one, its block filled with `poison`.
    ///
    /// # Safety
    ///
    /// The cell is the caller's own, and of this kind.
    #[inline(always)]
    pub(super) unsafe fn release(&self, kind: Kind, freer: u64, freed_in: FreedIn, poison: u64) {
        // ORDERING [none]: Relaxed. The cell is this thread's.
        let seal = self.seal.load(Ordering::Relaxed) ^ LIVE ^ FREED;
        self.open();
        self.freer.set(freer);
        self.freed_in.set(freed_in.0);
        let filled = rounded(kind.requested());
        // SAFETY: up to the rounded end, which is the cell's.
        unsafe { bytes::fill(self.block(), filled, poison) };
        self.set_seal(seal);
    }

    /// Two words that are free while the seal is open and the cell is nobody's.
    pub(super) fn freer_word(&self) -> &Word {
        &self.freer
    }

    /// See [`Header::freer_word`].
    pub(super) fn freed_in_word(&self) -> &Word {
        &self.freed_in
    }

    /// Whether the zones of a freed cell of the caller's and `filled` bytes of `poison` are untouched. What is
    /// known of it is not looked at.
    ///
    /// # Safety
    ///
    /// The cell is freed or broken, the caller's own, and has at least so many bytes, a multiple of 16.
    #[inline(always)]
    pub(super) unsafe fn is_sound_freed(&self, filled: usize, poison: u64) -> bool {
        let mut all = self.front();
        // SAFETY: the caller's contract.
        unsafe { all.expect_all(self.block(), filled, poison) };
        // SAFETY: the zone behind them.
        all.expect(unsafe { bytes::read(self.block().wrapping_add(filled)) }, ZONE_WORD);
        all.is_met()
    }

    /// The same for a cell of whatever size and filling.
    ///
    /// # Safety
    ///
    /// The cell is freed or broken, and the caller's own.
    pub(super) unsafe fn is_sound_as_freed(&self) -> bool {
        let (State::Freed(facts), _) = self.state() else { return false };
        let poison = 0x0101_0101_0101_0101 * u64::from(facts.freed_in.poison());
        // SAFETY: so many bytes were filled when it was freed.
        unsafe { self.is_sound_freed(rounded(facts.kind.requested()), poison) }
    }

    /// What the header says at this moment, whoever the cell belongs to.
    pub(super) fn state(&self) -> (State, u64) {
        // ORDERING [seal]: Acquire. The words of this state. Other end: `set_seal`.
        let seal = self.seal.load(Ordering::Acquire);
        let facts = Facts {
            kind: Kind(self.kind.get()),
            maker: self.maker.get(),
            made_in: self.made_in.get(),
            freer: self.freer.get(),
            freed_in: FreedIn(self.freed_in.get()),
        };
        let mixed = self.mixed();
        if seal == CHANGING || !self.is_still(seal) {
            return (State::Changing, seal);
        }
        let state = match seal ^ mixed {
            LIVE => State::Live(facts),
            FREED => State::Freed(facts),
            _ => State::Broken,
        };
        (state, seal)
    }

    /// Whether nothing has changed since `state` gave this seal.
    pub(super) fn is_still(&self, seal: u64) -> bool {
        // ORDERING [break]: Acquire. What was read before this. Other end: `open`.
        fence(Ordering::Acquire);
        // ORDERING [none]: Relaxed. Ordered by the fence.
        self.seal.load(Ordering::Relaxed) == seal
    }
}
