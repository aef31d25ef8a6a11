//! Text without stdio and without allocation: into a buffer that is cut, or that is written to a file
//! whenever it is full.
//!
//! Never: allocates, touches errno.

use crate::sys::file;

/// Text in a buffer of the caller's.
pub(crate) struct Text<'a> {
    buffer: &'a mut [u8],
    len: usize,
    sink: Sink,
    failure: i32,
}

#[derive(Clone, Copy)]
enum Sink {
    /// What finds no room is lost.
    Cut,
    /// A full buffer is written to this file.
    File(i32),
    /// The same, and no signal says that it cannot be.
    Quiet(i32),
}

/// How one value is shown in a line.
#[derive(Clone, Copy, Default)]
pub(crate) struct Field {
    /// At least so many bytes.
    pub(crate) width: usize,
    /// Filled up at the right.
    pub(crate) left: bool,
    /// Filled up with zeroes.
    pub(crate) zero: bool,
}

#[allow(dead_code, reason = "for the tools that write files")]
impl Field {
    /// Filled up with spaces at the left.
    pub(crate) const fn of(width: usize) -> Field {
        Field { width, left: false, zero: false }
    }
}

#[allow(dead_code, reason = "for the tools that write files")]
impl<'a> Text<'a> {
    /// Text that is cut where the buffer ends.
    pub(crate) fn cut(buffer: &'a mut [u8]) -> Text<'a> {
        Text { buffer, len: 0, sink: Sink::Cut, failure: 0 }
    }

    /// Text that is written to the file descriptor `fd`, at the latest by [`Text::flush`].
    pub(crate) fn to(fd: i32, buffer: &'a mut [u8]) -> Text<'a> {
        Text { buffer, len: 0, sink: Sink::File(fd), failure: 0 }
    }

    /// As [`Text::to`], but a pipe that nobody reads and a file that may not become longer are only failures.
    pub(crate) fn quietly_to(fd: i32, buffer: &'a mut [u8]) -> Text<'a> {
        Text { buffer, len: 0, sink: Sink::Quiet(fd), failure: 0 }
    }

    /// Adds bytes as they are.
    pub(crate) fn add(&mut self, more: &[u8]) -> &mut Text<'a> {
        for &byte in more {
            if self.len == self.buffer.len() && !matches!(self.sink, Sink::Cut) {
                self.flush();
            }
            if let Some(at) = self.buffer.get_mut(self.len) {
                *at = byte;
                self.len += 1;
            }
        }
        self
    }

    /// Adds a decimal number.
    pub(crate) fn decimal(&mut self, value: u64) -> &mut Text<'a> {
        self.number(b"", value, 10, false, Field::default())
    }

    /// Adds a hexadecimal number with `0x` in front.
    pub(crate) fn hex(&mut self, value: u64) -> &mut Text<'a> {
        self.number(b"0x", value, 16, false, Field::default())
    }

    /// Adds bytes, filled up to the field's width.
    pub(crate) fn field(&mut self, sign: &[u8], body: &[u8], field: Field) -> &mut Text<'a> {
        let fill = field.width.saturating_sub(sign.len() + body.len());
        if field.left {
            self.add(sign).add(body).pad(b' ', fill)
        } else if field.zero {
            self.add(sign).pad(b'0', fill).add(body)
        } else {
            self.pad(b' ', fill).add(sign).add(body)
        }
    }

    /// Adds a number behind its sign, filled up to the field's width. `base` is 2 to 16.
    pub(crate) fn number(
        &mut self,
        sign: &[u8],
        mut value: u64,
        base: u64,
        upper: bool,
        field: Field,
    ) -> &mut Text<'a> {
        let digits = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
        let mut text = [0; 64];
        let mut start = text.len();
        loop {
            start -= 1;
            if let (Some(to), Some(&digit)) = (text.get_mut(start), digits.get((value % base) as usize)) {
                *to = digit;
            }
            value /= base;
            if value == 0 || start == 0 {
                break;
            }
        }
        self.field(sign, text.get(start..).unwrap_or(&[]), field)
    }

    fn pad(&mut self, with: u8, count: usize) -> &mut Text<'a> {
        for _ in 0..count {
            self.add(&[with]);
        }
        self
    }

    /// Writes out what stands in the buffer.
    pub(crate) fn flush(&mut self) {
        let bytes = self.buffer.get(..self.len).unwrap_or(&[]);
        let wrote = match self.sink {
            Sink::Cut => return,
            Sink::File(fd) => file::write_all(fd, bytes),
            Sink::Quiet(fd) => file::write_quietly(fd, [bytes, &[]]),
        };
        if let (Err(error), 0) = (wrote, self.failure) {
            self.failure = error;
        }
        self.len = 0;
    }

    /// The error number of the first write that failed, 0 if none did.
    pub(crate) fn failure(&self) -> i32 {
        self.failure
    }

    /// What stands in the buffer.
    pub(crate) fn bytes(&self) -> &[u8] {
        self.buffer.get(..self.len).unwrap_or(&[])
    }

    /// Ends the text with NUL, cutting it if need be.
    pub(crate) fn end(self) {
        let last = self.buffer.len().saturating_sub(1).min(self.len);
        if let Some(at) = self.buffer.get_mut(last) {
            *at = 0;
        }
    }
}
