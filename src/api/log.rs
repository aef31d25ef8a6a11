//! memhook_log: printf to standard error without stdio, locks or allocation.

use crate::sys;
use core::ffi::CStr;

/// Text that is written out whenever it fills up.
pub(crate) struct Line<'a> {
    text: &'a mut [u8],
    len: usize,
    /// What is done with full text: written to standard error, or cut off.
    writes: bool,
}

impl<'a> Line<'a> {
    pub(crate) fn new(text: &'a mut [u8], writes: bool) -> Line<'a> {
        Line { text, len: 0, writes }
    }

    pub(crate) fn add(&mut self, more: &[u8]) {
        for &byte in more {
            if self.len == self.text.len() && self.writes {
                self.flush();
            }
            if let Some(at) = self.text.get_mut(self.len) {
                *at = byte;
                self.len += 1;
            }
        }
    }

    fn flush(&mut self) {
        sys::write_error(self.text.get(..self.len).unwrap_or(&[]));
        self.len = 0;
    }

    /// Ends the text with NUL, cutting it if need be.
    pub(crate) fn end(self) {
        let last = self.text.len().saturating_sub(1).min(self.len);
        if let Some(at) = self.text.get_mut(last) {
            *at = 0;
        }
    }

    fn pad(&mut self, with: u8, count: usize) {
        for _ in 0..count {
            self.add(&[with]);
        }
    }

    /// One converted argument, padded to its width.
    fn field(&mut self, sign: &[u8], body: &[u8], spec: Spec) {
        let fill = spec.width.saturating_sub(sign.len() + body.len());
        if spec.left {
            self.add(sign);
            self.add(body);
            self.pad(b' ', fill);
        } else if spec.zero {
            self.add(sign);
            self.pad(b'0', fill);
            self.add(body);
        } else {
            self.pad(b' ', fill);
            self.add(sign);
            self.add(body);
        }
    }

    fn number(&mut self, sign: &[u8], mut value: u64, base: u64, upper: bool, spec: Spec) {
        let digits = if upper { b"0123456789ABCDEF" } else { b"0123456789abcdef" };
        let mut text = [0; 24];
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
        self.field(sign, text.get(start..).unwrap_or(&[]), spec);
    }
}

/// How an argument is to be shown.
#[derive(Clone, Copy, Default)]
struct Spec {
    left: bool,
    zero: bool,
    width: usize,
    precision: Option<usize>,
    /// 8-byte argument.
    long: bool,
}

/// The arguments of a variadic call: some in registers, the rest on the stack.
struct Arguments {
    registers: *const u64,
    in_registers: usize,
    stack: *const u64,
    taken: usize,
}

impl Arguments {
    fn next(&mut self) -> u64 {
        let i = self.taken;
        self.taken += 1;
        let at = if i < self.in_registers {
            self.registers.wrapping_add(i)
        } else {
            self.stack.wrapping_add(i - self.in_registers)
        };
        // SAFETY: the stub saved `in_registers` registers, and the caller passed as many arguments
        // as the format names (memhook_log's contract).
        unsafe { at.read() }
    }
}

/// The work of memhook_log.
///
/// # Safety
///
/// `format` is a string, and the arguments are those that it names.
pub(crate) unsafe extern "C" fn log(
    format: *const core::ffi::c_char,
    registers: *const u64,
    in_registers: usize,
    stack: *const u64,
) {
    if format.is_null() {
        return;
    }
    let mut arguments = Arguments { registers, in_registers, stack, taken: 0 };
    let mut buffer = [0; 512];
    let mut line = Line::new(&mut buffer, true);
    // SAFETY: a string (the caller's contract).
    let mut rest = unsafe { CStr::from_ptr(format) }.to_bytes();
    while let [byte, tail @ ..] = rest {
        if *byte == b'%' {
            rest = convert(&mut line, tail, &mut arguments);
        } else {
            line.add(&[*byte]);
            rest = tail;
        }
    }
    line.flush();
}

/// Shows one argument; `rest` begins behind the percent sign. Returns what follows.
fn convert<'f>(line: &mut Line, mut rest: &'f [u8], arguments: &mut Arguments) -> &'f [u8] {
    let mut spec = Spec::default();
    let mut in_precision = false;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let digit = |old: usize| old.saturating_mul(10).saturating_add((*byte).wrapping_sub(b'0').into());
        match *byte {
            b'-' => spec.left = true,
            b'0' if spec.width == 0 && !in_precision => spec.zero = true,
            b'.' => (in_precision, spec.precision) = (true, Some(0)),
            b'0'..=b'9' if in_precision => spec.precision = spec.precision.map(digit),
            b'0'..=b'9' => spec.width = digit(spec.width),
            b'*' if in_precision => spec.precision = usize::try_from(arguments.next() as i32).ok(),
            b'*' => spec.width = (arguments.next() as i32).unsigned_abs() as usize,
            b'l' | b'z' | b'j' | b't' => spec.long = true,
            b'h' => {}
            conversion => {
                show(line, conversion, spec, arguments);
                break;
            }
        }
    }
    rest
}

fn show(line: &mut Line, conversion: u8, spec: Spec, arguments: &mut Arguments) {
    match conversion {
        b'%' => line.add(b"%"),
        b'c' => line.field(b"", &[arguments.next() as u8], spec),
        b's' => {
            let text = arguments.next() as *const core::ffi::c_char;
            if text.is_null() {
                return line.field(b"", b"(null)", spec);
            }
            let limit = spec.precision.unwrap_or(usize::MAX);
            // SAFETY: a string of the caller's, or one of at least `limit` bytes.
            let len = unsafe { libc::strnlen(text, limit) };
            // SAFETY: `len` bytes were just counted there.
            line.field(b"", unsafe { core::slice::from_raw_parts(text.cast(), len) }, spec);
        }
        b'p' => line.number(b"0x", arguments.next(), 16, false, spec),
        b'd' | b'i' => {
            let raw = arguments.next();
            let value = if spec.long { raw as i64 } else { i64::from(raw as i32) };
            line.number(if value < 0 { b"-" } else { b"" }, value.unsigned_abs(), 10, false, spec);
        }
        b'u' | b'x' | b'X' | b'o' => {
            let raw = arguments.next();
            let value = if spec.long { raw } else { u64::from(raw as u32) };
            let base = match conversion {
                b'u' => 10,
                b'o' => 8,
                _ => 16,
            };
            line.number(b"", value, base, conversion == b'X', spec);
        }
        unknown => line.add(&[b'%', unknown]),
    }
}
