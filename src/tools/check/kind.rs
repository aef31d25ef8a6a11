//! What a header keeps in a word: size and form of a cell, who freed it.

use super::cell::{Cell, HEADER};
use crate::abi::memhook_call;

// Of `Header::kind`: bits 0 to 46 are the requested size.
const SIZE_BITS: u32 = 47;
const SIZE: u64 = (1 << SIZE_BITS) - 1;
/// 6 bits: from the beginning of the backend's memory to the block, as a power of two.
const OFFSET_SHIFT: u32 = SIZE_BITS;
/// 4 bits: the entry point.
const ENTRY_SHIFT: u32 = OFFSET_SHIFT + 6;
/// The memory came straight from the backend: it can be given back to it at any time. Else it came through
/// other interceptors, and goes back through them in the call that frees it.
const DIRECT: u64 = 1 << 62;

/// Another interceptor stands between: it asked for another size than the program did, which is not known.
const NOT_AS_ASKED: u64 = 1 << 61;

/// The largest size that a block can have.
pub(super) const LARGEST: usize = 1 << (SIZE_BITS - 1);

/// The memory begins 8 bytes further before the block: an interceptor below gave an odd pointer.
const ODD: u64 = 1 << 63;

/// The first word of a header.
#[derive(Clone, Copy)]
pub(super) struct Kind(pub(super) u64);

impl Kind {
    /// Of a block of `requested` bytes, at most `LARGEST`, that `call` makes, `1 << offset_bits` bytes into its
    /// memory.
    #[inline(always)]
    pub(super) fn new(requested: usize, offset_bits: u32, call: &memhook_call, direct: bool) -> Kind {
        let direct = if direct { DIRECT } else { 0 };
        Kind(u64::from(offset_bits) << OFFSET_SHIFT | direct).resized(requested, call)
    }

    #[inline(always)]
    pub(super) fn requested(self) -> usize {
        (self.0 & SIZE) as usize
    }

    #[inline(always)]
    pub(super) fn entry(self) -> u32 {
        (self.0 >> ENTRY_SHIFT) as u32 & 15
    }

    #[inline(always)]
    pub(super) fn offset(self) -> usize {
        1 << (self.0 >> OFFSET_SHIFT & 63)
    }

    /// The same, with the memory beginning 8 bytes further before.
    pub(super) fn odd(self) -> Kind {
        Kind(self.0 | ODD)
    }

    /// Undoes [`Kind::odd`].
    pub(super) fn even(self) -> Kind {
        Kind(self.0 & !ODD)
    }

    /// Where the backend's memory begins, or what the interceptors below gave.
    pub(super) fn whole(self, cell: Cell) -> *mut u8 {
        let odd = if self.0 & ODD == 0 { 0 } else { 8 };
        cell.block().wrapping_sub(self.offset() + odd)
    }

    #[inline(always)]
    pub(super) fn is_direct(self) -> bool {
        self.0 & DIRECT != 0
    }

    /// Whether the cell has the usual form, in memory straight from the backend.
    #[inline(always)]
    pub(super) fn is_usual(self) -> bool {
        const USUAL: u64 = DIRECT | (HEADER.trailing_zeros() as u64) << OFFSET_SHIFT;
        self.0 & (DIRECT | 63 << OFFSET_SHIFT) == USUAL
    }

    /// The same block, changed by a realloc.
    #[inline(always)]
    pub(super) fn resized(self, requested: usize, call: &memhook_call) -> Kind {
        let as_asked = if requested == call.requested { 0 } else { NOT_AS_ASKED };
        Kind(
            self.0 & !(SIZE | 15 << ENTRY_SHIFT | NOT_AS_ASKED)
                | requested as u64
                | u64::from(call.entry) << ENTRY_SHIFT
                | as_asked,
        )
    }

    /// Whether the size is what the program asked for.
    pub(super) fn is_as_asked(self) -> bool {
        self.0 & NOT_AS_ASKED == 0
    }
}

/// Who freed a block, by which entry point, and what it was filled with: `Header::freed_in`.
#[derive(Clone, Copy)]
pub(super) struct FreedIn(pub(super) u64);

impl FreedIn {
    #[inline(always)]
    pub(super) fn new(thread: u64, entry: u32, poison: u64) -> FreedIn {
        FreedIn(thread & 0xffff_ffff | u64::from(entry) << 32 | poison << 56)
    }

    pub(super) fn thread(self) -> u64 {
        self.0 & 0xffff_ffff
    }

    pub(super) fn entry(self) -> u32 {
        (self.0 >> 32) as u32 & 15
    }

    pub(super) fn poison(self) -> u8 {
        (self.0 >> 56) as u8
    }
}
