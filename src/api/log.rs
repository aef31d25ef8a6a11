//! memhook_log: printf to standard error without stdio, locks or allocation.

use crate::text::{Field, Text};
use core::ffi::CStr;

/// How an argument is to be shown.
#[derive(Clone, Copy, Default)]
struct Spec {
    field: Field,
    precision: Option<usize>,
    /// How much of the argument counts.
    bits: u32,
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
    let mut line = Text::to(2, &mut buffer);
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
fn convert<'f>(line: &mut Text, mut rest: &'f [u8], arguments: &mut Arguments) -> &'f [u8] {
    let mut spec = Spec { bits: u32::BITS, ..Spec::default() };
    let mut in_precision = false;
    while let [byte, tail @ ..] = rest {
        rest = tail;
        let digit = |old: usize| old.saturating_mul(10).saturating_add((*byte).wrapping_sub(b'0').into());
        match *byte {
            b'-' => spec.field.left = true,
            b'0' if spec.field.width == 0 && !in_precision => spec.field.zero = true,
            b'.' => (in_precision, spec.precision) = (true, Some(0)),
            b'0'..=b'9' if in_precision => spec.precision = spec.precision.map(digit),
            b'0'..=b'9' => spec.field.width = digit(spec.field.width),
            b'*' if in_precision => spec.precision = usize::try_from(arguments.next() as i32).ok(),
            b'*' => {
                let width = arguments.next() as i32;
                spec.field.left |= width < 0;
                spec.field.width = width.unsigned_abs() as usize;
            }
            b'l' | b'z' | b'j' | b't' => spec.bits = u64::BITS,
            b'h' if spec.bits == u16::BITS => spec.bits = u8::BITS,
            b'h' => spec.bits = u16::BITS,
            conversion => {
                show(line, conversion, spec, arguments);
                break;
            }
        }
    }
    rest
}

fn show<'l, 'b>(
    line: &'l mut Text<'b>,
    conversion: u8,
    spec: Spec,
    arguments: &mut Arguments,
) -> &'l mut Text<'b> {
    let unused = u64::BITS - spec.bits;
    match conversion {
        b'%' => line.add(b"%"),
        b'c' => line.field(b"", &[arguments.next() as u8], spec.field),
        b's' => {
            let text = arguments.next() as *const core::ffi::c_char;
            if text.is_null() {
                return line.field(b"", b"(null)", spec.field);
            }
            let limit = spec.precision.unwrap_or(usize::MAX);
            // SAFETY: a string of the caller's, or one of at least `limit` bytes.
            let is_byte = |at: &usize| unsafe { text.wrapping_add(*at).read() } != 0;
            let len = (0..limit).take_while(is_byte).count();
            // SAFETY: `len` bytes were just counted there.
            line.field(b"", unsafe { core::slice::from_raw_parts(text.cast(), len) }, spec.field)
        }
        b'p' => line.number(b"0x", arguments.next(), 16, false, spec.field),
        b'd' | b'i' => {
            let value = ((arguments.next() << unused) as i64) >> unused;
            line.number(if value < 0 { b"-" } else { b"" }, value.unsigned_abs(), 10, false, spec.field)
        }
        b'u' | b'x' | b'X' | b'o' => {
            let value = arguments.next() << unused >> unused;
            let base = match conversion {
                b'u' => 10,
                b'o' => 8,
                _ => 16,
            };
            line.number(b"", value, base, conversion == b'X', spec.field)
        }
        unknown => line.add(&[b'%', unknown]),
    }
}
