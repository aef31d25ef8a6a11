//! The changing part of a line: a sign, an address, a size, as glibc's mtrace prints them.
//!
//! Printing them is most of the work of the text form, hence no loop over digits.

/// At most two numbers with a sign in front, and what a copy of 16 bytes at their end may reach beyond.
const ROOM: usize = 64;

/// A few bytes of text.
pub(super) struct Tail {
    bytes: [u8; ROOM],
    len: usize,
}

impl Tail {
    #[inline(always)]
    pub(super) fn new(sign: u8) -> Tail {
        let mut tail = Tail { bytes: [0; ROOM], len: 0 };
        tail.put(u128::from(sign) | u128::from(b' ') << 8, 2);
        tail
    }

    /// Adds the lowest `count` bytes of `text`, the lowest first; at most 16.
    #[inline(always)]
    fn put(&mut self, text: u128, count: usize) {
        if let Some(to) = self.bytes.get_mut(self.len..).and_then(|rest| rest.first_chunk_mut::<16>()) {
            *to = text.to_le_bytes();
            self.len += count;
        }
    }

    #[inline(always)]
    fn digits(&mut self, value: u64) {
        let both = u128::from(spread(value as u32)) << 64 | u128::from(spread((value >> 32) as u32));
        let leading = (value | 1).leading_zeros() / 4;
        self.put(both >> (8 * leading), (16 - leading) as usize);
    }

    /// Adds an address as `%p` shows it.
    #[inline(always)]
    pub(super) fn address(mut self, value: usize) -> Tail {
        if value == 0 {
            self.put(u128::from_le_bytes(*b"(nil)\0\0\0\0\0\0\0\0\0\0\0"), 5);
        } else {
            self.put(u128::from(b'0') | u128::from(b'x') << 8, 2);
            self.digits(value as u64);
        }
        self
    }

    /// Adds a space and a size as `%#lx` shows it.
    #[inline(always)]
    pub(super) fn size(mut self, value: usize) -> Tail {
        if value == 0 {
            self.put(u128::from(b' ') | u128::from(b'0') << 8, 2);
        } else {
            self.put(u128::from(b' ') | u128::from(b'0') << 8 | u128::from(b'x') << 16, 3);
            self.digits(value as u64);
        }
        self
    }

    /// Ends the line.
    #[inline(always)]
    pub(super) fn end(mut self) -> Tail {
        self.put(u128::from(b'\n'), 1);
        self
    }

    #[inline(always)]
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }
}

/// The eight hexadecimal digits of a number as text, the first in the lowest byte.
#[inline(always)]
fn spread(value: u32) -> u64 {
    let mut v = u64::from(value);
    v = (v | v << 16) & 0x0000_ffff_0000_ffff;
    v = (v | v << 8) & 0x00ff_00ff_00ff_00ff;
    v = (v | v << 4) & 0x0f0f_0f0f_0f0f_0f0f;
    let letters = (v + 0x0606_0606_0606_0606) >> 4 & 0x0101_0101_0101_0101;
    (v + 0x3030_3030_3030_3030 + letters * u64::from(b'a' - b'0' - 10)).swap_bytes()
}
