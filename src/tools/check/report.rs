//! Says what was found: a message in one write, then the program's handler, then the end, as asked.
//!
//! Never: holds a lock, or anything that a signal handler or the program's handler could wait for; allocates.

use super::faults::Fault;
use super::frames;
use super::origin::{Code, file_name};
use super::settings;
use super::*;
use crate::api::diagnose::memhook_entry_name;
use crate::sys::paged::Paged;
use crate::sys::{self, find, stack};
use core::ffi::CStr;

/// Who found it.
#[derive(Clone, Copy)]
pub(super) enum Finder<'a> {
    /// An allocation call of the program.
    Call(&'a memhook_call),
    /// A look at all blocks, or at one, by this name.
    Look(&'static str),
}

/// As long as a message gets; longer ones are cut.
const LONGEST: usize = 4096;
/// The same where there is no memory for it.
const WITHOUT_MEMORY: usize = 128;

/// Says it.
#[cold]
#[inline(never)]
pub(super) fn deliver(fault: &Fault, finder: Finder) {
    let (handler, user) = settings::handler();
    let status = settings::status();
    let action = if status.is_some() { 0 } else { settings::action() };
    let (mut pages, mut shorter) = (Paged::<[u8; LONGEST]>::zero(), [0; WITHOUT_MEMORY]);
    let mut text = Text::cut(pages.as_deref_mut().map_or(&mut shorter[..], |whole| whole));
    if action & MEMHOOK_CHECK_MESSAGE != 0 || handler.is_some() {
        let code = Code::now();
        describe(&mut text, fault, &code);
        if action & MEMHOOK_CHECK_SHORT == 0 {
            details(&mut text, fault, finder, &code);
        }
    }
    if action & MEMHOOK_CHECK_MESSAGE != 0 {
        sys::write_error(text.bytes());
    }
    if let Some(status) = status {
        // SAFETY: the program's own function, by the contract of mcheck.
        unsafe { status(status_of(fault.kind)) };
    }
    if let Some(handler) = handler {
        let maker = fault.facts.map(|facts| frames::Stack::of(facts.maker));
        let freer = fault.facts.filter(|_| fault.is_freed).map(|facts| frames::Stack::of(facts.freer));
        let report = report_of(fault, finder, [&maker, &freer], text.bytes());
        // SAFETY: the program's own function, by the contract of memhook_check_start.
        unsafe { handler(&raw const report, user) };
    }
    if action & MEMHOOK_CHECK_ABORT != 0 {
        // SAFETY: no precondition.
        unsafe { libc::abort() }
    }
}

/// What `mcheck` and `mprobe` call it.
pub(super) fn status_of(kind: u32) -> c_int {
    match kind {
        MEMHOOK_CHECK_OVERFLOW => mcheck::TAIL,
        MEMHOOK_CHECK_WRITE_AFTER_FREE | MEMHOOK_CHECK_DOUBLE_FREE | MEMHOOK_CHECK_USE_OF_FREED => {
            mcheck::FREE
        }
        _ => mcheck::HEAD,
    }
}

/// What the handler is given; it points to the stacks and the text.
fn report_of(
    fault: &Fault,
    finder: Finder,
    [maker, freer]: [&Option<frames::Stack>; 2],
    text: &[u8],
) -> memhook_check_report {
    let none = core::ptr::null();
    let call = match finder {
        Finder::Call(call) => Some(call),
        Finder::Look(_) => None,
    };
    memhook_check_report {
        struct_size: size_of::<memhook_check_report>(),
        kind: fault.kind,
        entry: call.map_or(MEMHOOK_ENTRY_COUNT, |call| call.entry),
        caller: call.map_or(none, |call| call.caller),
        thread: memhook_thread(),
        given: fault.given as *const c_void,
        block: fault.block as *const c_void,
        requested: fault.facts.map_or(0, |facts| facts.kind.requested()),
        offset: fault.offset,
        span: fault.span,
        made_by: maker.as_ref().map_or(none.cast(), frames::Stack::pointer),
        made_by_count: maker.as_ref().map_or(0, frames::Stack::len),
        made_in: fault.facts.map_or(0, |facts| facts.made_in >> 32),
        freed_by: freer.as_ref().map_or(none.cast(), frames::Stack::pointer),
        freed_by_count: freer.as_ref().map_or(0, frames::Stack::len),
        freed_in: fault.facts.filter(|_| fault.is_freed).map_or(0, |facts| facts.freed_in.thread()),
        text: text.as_ptr().cast(),
        text_len: text.len(),
    }
}

fn bytes<'t, 'b>(text: &'t mut Text<'b>, count: usize) -> &'t mut Text<'b> {
    text.decimal(count as u64).add(if count == 1 { b" byte" } else { b" bytes" })
}

/// ` 0x.. of 24 bytes`.
fn block<'t, 'b>(text: &'t mut Text<'b>, fault: &Fault) -> &'t mut Text<'b> {
    text.add(b" ").hex(fault.block as u64);
    if let Some(facts) = fault.facts {
        bytes(text.add(b" of "), facts.kind.requested());
    }
    text
}

/// The first line.
fn describe(text: &mut Text, fault: &Fault, code: &Code) {
    let requested = fault.facts.map_or(0, |facts| facts.kind.requested() as isize);
    let (first, end) = (fault.offset, fault.offset + fault.span as isize);
    text.add(b"memhook: check: ");
    match fault.kind {
        MEMHOOK_CHECK_UNDERFLOW if fault.facts.is_none() => {
            text.add(b"underflow: written before block");
            block(text, fault).add(b", over what is known of it: its size, where it was made");
        }
        MEMHOOK_CHECK_UNDERFLOW => {
            bytes(text.add(b"underflow: "), fault.span).add(b" changed before block");
            block(text, fault).add(b", the first ").decimal(first.unsigned_abs() as u64);
            text.add(b" before its beginning");
        }
        MEMHOOK_CHECK_OVERFLOW => {
            bytes(text.add(b"overflow: "), fault.span).add(b" changed behind block");
            block(text, fault).add(b", the last ").decimal((end - requested).unsigned_abs() as u64);
            text.add(b" behind its end");
        }
        MEMHOOK_CHECK_WRITE_AFTER_FREE => {
            bytes(text.add(b"write after free: "), fault.span).add(b" changed in freed block");
            block(text, fault).add(b", the first ");
            let place = first.unsigned_abs() as u64;
            text.decimal(place).add(if first < 0 {
                b" before its beginning"
            } else {
                b" behind its beginning"
            });
        }
        MEMHOOK_CHECK_DOUBLE_FREE => {
            block(text.add(b"double free: block"), fault).add(b" is freed already");
        }
        MEMHOOK_CHECK_USE_OF_FREED => {
            block(text.add(b"use of a freed block:"), fault).add(b" is freed already");
        }
        MEMHOOK_CHECK_INTERIOR => interior(text, fault),
        MEMHOOK_CHECK_WRONG_SIZE => {
            bytes(text.add(b"wrong size: "), fault.span).add(b" said of block");
            block(text, fault);
        }
        MEMHOOK_CHECK_WILD => {
            text.add(b"wild pointer: ").hex(fault.given as u64);
            text.add(if fault.given.is_multiple_of(8) {
                b" is an address where no memory is"
            } else {
                b" is no multiple of 8"
            });
        }
        _ => foreign(text, fault, code),
    }
    text.add(b"\n");
}

fn interior(text: &mut Text, fault: &Fault) {
    let requested = fault.facts.map_or(0, |facts| facts.kind.requested() as isize);
    text.add(b"interior pointer: ").hex(fault.given as u64).add(b" is ");
    let distance = if fault.offset < requested { fault.offset } else { fault.offset - requested };
    bytes(text, distance.unsigned_abs()).add(match fault.offset {
        ..0 => b" before ",
        offset if offset < requested => b" inside ",
        _ => b" behind the end of ",
    });
    block(text.add(if fault.is_freed { b"freed block" } else { b"block" }), fault);
}

fn foreign(text: &mut Text, fault: &Fault, code: &Code) {
    text.add(b"foreign pointer: ").hex(fault.given as u64).add(b" is no block of the allocator; ");
    if !code.maps().are_known() {
        // The dynamic linker knows objects.
        match find::find(fault.given) {
            Some(found) => text.add(b"it lies in ").add(file_name(found.name())),
            None => text.add(b"where it lies is not known, as /proc cannot be read"),
        };
        return;
    }
    text.add(b"it lies ");
    if stack::holds(fault.given) {
        text.add(b"on this thread's stack");
        return;
    }
    match code.maps().find(fault.given) {
        None => text.add(b"nowhere"),
        Some(region) => match region.path {
            b"" => text.add(b"in memory without a name"),
            b"[heap]" => text.add(b"in the heap"),
            path => text.add(b"in ").add(file_name(path)),
        },
    };
}

/// The other lines.
fn details(text: &mut Text, fault: &Fault, finder: Finder, code: &Code) {
    match finder {
        Finder::Call(call) => {
            doer(text, b"found", (call.entry, frames::origin(call), memhook_thread()), code);
        }
        Finder::Look(name) => {
            text.add(b"  found by ").add(name.as_bytes());
            text.add(b", thread ").decimal(memhook_thread()).add(b"\n");
        }
    }
    if let Some(facts) = fault.facts {
        let thread = facts.made_in >> 32;
        doer(text, b"made", (facts.kind.entry(), facts.maker, thread), code);
        if fault.is_freed {
            let by = (facts.freed_in.entry(), facts.freer, facts.freed_in.thread());
            doer(text, b"freed", by, code);
        }
    }
    let shown = &fault.shown;
    if shown.len > 0 {
        dump(text, fault);
    }
}

/// `  made by malloc at 0x.. (..), thread 1`, and where that was called from.
fn doer(text: &mut Text, what: &[u8], (entry, origin, thread): (u32, u64, u64), code: &Code) {
    let stack = frames::Stack::of(origin);
    text.add(b"  ").add(what).add(b" by ").add(entry_name(entry)).add(b" at ");
    for (number, &address) in stack.addresses().iter().enumerate() {
        if number > 0 {
            text.add(b"\n    called at ");
        }
        code.add(text, address);
        if number == 0 {
            text.add(b", thread ").decimal(thread);
        }
    }
    text.add(b"\n");
}

/// The bytes, and what they should have been.
fn dump(text: &mut Text, fault: &Fault) {
    let shown = &fault.shown;
    text.add(b"  bytes from ").add(if shown.offset < 0 { b"-" } else { b"+" });
    text.decimal(shown.offset.unsigned_abs() as u64).add(b":");
    for byte in shown.bytes.iter().take(shown.len) {
        let two = Field { width: 2, left: false, zero: true };
        text.add(b" ").number(b"", (*byte).into(), 16, false, two);
    }
    if let Some(byte) = shown.expected {
        text.add(b", untouched they are ").number(b"", byte.into(), 16, false, Field::of(2));
    }
    text.add(b"\n");
}

fn entry_name(entry: u32) -> &'static [u8] {
    // SAFETY: a string that lives for ever.
    unsafe { CStr::from_ptr(memhook_entry_name(entry)) }.to_bytes()
}
