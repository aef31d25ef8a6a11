//! Sixteen bytes at a time: what zones and filled blocks are made of.
//!
//! On x86-64 in its vector registers; elsewhere as two words.

use core::cell::UnsafeCell;

/// Sixteen bytes of a header, which are written through [`write`].
#[repr(C, align(16))]
pub(super) struct Sixteen(UnsafeCell<[u64; 2]>);

#[cfg(target_arch = "x86_64")]
mod vector {
    use core::arch::x86_64::{
        __m128i, _mm_cmpeq_epi8, _mm_loadu_si128, _mm_movemask_epi8, _mm_or_si128, _mm_set1_epi64x,
        _mm_setzero_si128, _mm_storeu_si128, _mm_xor_si128,
    };

    pub(super) type Vector = __m128i;

    #[inline(always)]
    pub(super) unsafe fn load(at: *const u8) -> Vector {
        // SAFETY: the caller's contract.
        unsafe { _mm_loadu_si128(at.cast()) }
    }

    #[inline(always)]
    pub(super) unsafe fn store(at: *mut u8, value: Vector) {
        // SAFETY: the caller's contract.
        unsafe { _mm_storeu_si128(at.cast(), value) }
    }

    #[inline(always)]
    pub(super) fn twice(word: u64) -> Vector {
        // SAFETY: every x86-64 has SSE2.
        unsafe { _mm_set1_epi64x(word.cast_signed()) }
    }

    #[inline(always)]
    pub(super) fn zero() -> Vector {
        // SAFETY: as above.
        unsafe { _mm_setzero_si128() }
    }

    #[inline(always)]
    pub(super) fn add_difference(all: Vector, value: Vector, expected: Vector) -> Vector {
        // SAFETY: as above.
        let difference = unsafe { _mm_xor_si128(value, expected) };
        // SAFETY: as above.
        unsafe { _mm_or_si128(all, difference) }
    }

    #[inline(always)]
    pub(super) fn is_zero(all: Vector) -> bool {
        // SAFETY: as above.
        let equal = unsafe { _mm_cmpeq_epi8(all, zero()) };
        // SAFETY: as above.
        unsafe { _mm_movemask_epi8(equal) == 0xffff }
    }
}

#[cfg(not(target_arch = "x86_64"))]
mod vector {
    pub(super) type Vector = [u64; 2];

    #[inline(always)]
    pub(super) unsafe fn load(at: *const u8) -> Vector {
        // SAFETY: the caller's contract.
        unsafe { at.cast::<Vector>().read_unaligned() }
    }

    #[inline(always)]
    pub(super) unsafe fn store(at: *mut u8, value: Vector) {
        // SAFETY: the caller's contract.
        unsafe { at.cast::<Vector>().write_unaligned(value) }
    }

    #[inline(always)]
    pub(super) fn twice(word: u64) -> Vector {
        [word; 2]
    }

    #[inline(always)]
    pub(super) fn zero() -> Vector {
        [0; 2]
    }

    #[inline(always)]
    pub(super) fn add_difference([a, b]: Vector, [c, d]: Vector, [e, f]: Vector) -> Vector {
        [a | (c ^ e), b | (d ^ f)]
    }

    #[inline(always)]
    pub(super) fn is_zero([a, b]: Vector) -> bool {
        a | b == 0
    }
}

use vector::Vector;

/// Writes a word twice.
///
/// # Safety
///
/// 16 bytes may be written there.
#[inline(always)]
pub(super) unsafe fn write(at: *mut u8, word: u64) {
    // SAFETY: the caller's contract.
    unsafe { vector::store(at, vector::twice(word)) }
}

/// # Safety
///
/// 16 bytes may be read there.
#[inline(always)]
pub(super) unsafe fn read(at: *mut u8) -> Vector {
    // SAFETY: the caller's contract.
    unsafe { vector::load(at) }
}

/// Writes a word again and again.
///
/// # Safety
///
/// `len` bytes, a multiple of 16, may be written there.
#[inline(always)]
pub(super) unsafe fn fill(at: *mut u8, len: usize, word: u64) {
    let (mut at, end) = (at, at.wrapping_add(len));
    while at < end {
        // SAFETY: below the end, of which the caller says that it may be written.
        unsafe { write(at, word) };
        at = at.wrapping_add(16);
    }
}

/// What bytes should be, and whether all were so far.
pub(super) struct Expectation(Vector);

impl Expectation {
    #[inline(always)]
    pub(super) fn new() -> Expectation {
        Expectation(vector::zero())
    }

    /// They should be this word, twice.
    #[inline(always)]
    pub(super) fn expect(&mut self, value: Vector, word: u64) {
        self.0 = vector::add_difference(self.0, value, vector::twice(word));
    }

    /// All should be this word, again and again.
    ///
    /// # Safety
    ///
    /// `len` bytes, a multiple of 16, may be read there.
    #[inline(always)]
    pub(super) unsafe fn expect_all(&mut self, at: *mut u8, len: usize, word: u64) {
        let (mut at, end) = (at, at.wrapping_add(len));
        while at < end {
            // SAFETY: below the end, of which the caller says that it may be read.
            self.expect(unsafe { read(at) }, word);
            at = at.wrapping_add(16);
        }
    }

    #[inline(always)]
    pub(super) fn is_met(&self) -> bool {
        vector::is_zero(self.0)
    }
}
