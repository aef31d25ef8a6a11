//! The settings of `check` in the environment variable `MEMHOOK`, and the variables that glibc's users know.

use super::*;
use crate::sys::environment;
use crate::tools::say;
use crate::tools::words::{Tool, Wrong, number, settings};

/// The word `check`.
pub(in crate::tools) const TOOL: Tool = Tool {
    name: b"check",
    settings:
        b"abort report quiet short pedantic quarantine:BYTES frames:N new-byte:N freed-byte:N perturb:N \
                fill-only, with commas between them",
    first: true,
    start,
};

fn start(text: &'static [u8], run: bool) -> Result<(), Wrong> {
    let options = read(text)?;
    if run {
        begin(b"MEMHOOK: check", &options);
    }
    Ok(())
}

fn begin(who: &[u8], options: &memhook_check_options) {
    match super::start(options, None) {
        0 => {}
        libc::EALREADY => say(&[who, b": blocks are being checked already"]),
        _ => say(&[who, b": no memory to start it"]),
    }
}

fn byte(value: &[u8]) -> Option<u8> {
    number(value).and_then(|value| u8::try_from(value).ok())
}

fn read(text: &'static [u8]) -> Result<memhook_check_options, Wrong> {
    let mut options = memhook_check_options::USUAL;
    for (setting, name, value) in settings(text).filter(|_| !text.is_empty()) {
        let wrong = || Wrong::Setting(setting);
        let flag = match (name, value.is_empty()) {
            (b"report", true) => MEMHOOK_CHECK_MESSAGE,
            (b"abort", true) => MEMHOOK_CHECK_MESSAGE | MEMHOOK_CHECK_ABORT,
            (b"quiet", true) => MEMHOOK_CHECK_QUIET,
            (b"short", true) => MEMHOOK_CHECK_SHORT,
            (b"pedantic", true) => MEMHOOK_CHECK_PEDANTIC,
            (b"fill-only", true) => MEMHOOK_CHECK_FILL_ONLY,
            (b"quarantine", false) => {
                let bytes = number(value).and_then(|bytes| usize::try_from(bytes).ok()).ok_or_else(wrong)?;
                options.quarantine = bytes;
                if bytes == 0 { MEMHOOK_CHECK_NO_QUARANTINE } else { 0 }
            }
            (b"frames", false) => {
                let count = number(value).filter(|&count| count <= MOST_FRAMES.into()).ok_or_else(wrong)?;
                options.frames = count as u32;
                0
            }
            (b"new-byte", false) => {
                options.new_byte = byte(value).ok_or_else(wrong)?;
                MEMHOOK_CHECK_FILL_NEW
            }
            (b"freed-byte", false) => {
                options.freed_byte = byte(value).ok_or_else(wrong)?;
                MEMHOOK_CHECK_FILL_FREED
            }
            (b"perturb", false) => perturb(&mut options, byte(value).ok_or_else(wrong)?),
            _ => return Err(wrong()),
        };
        options.flags |= flag;
    }
    if options.is_valid() { Ok(options) } else { Err(Wrong::Needs(b"something to fill blocks with")) }
}

/// As glibc: freed blocks are filled with the byte, new ones with its complement; 0 fills nothing.
fn perturb(options: &mut memhook_check_options, byte: u8) -> u32 {
    if byte == 0 {
        return 0;
    }
    options.freed_byte = byte;
    options.new_byte = !byte;
    MEMHOOK_CHECK_FILL_NEW | MEMHOOK_CHECK_FILL_FREED
}

/// The values of `MALLOC_CHECK_` and `MALLOC_PERTURB_`, or of their tunables.
fn variables() -> (Option<&'static [u8]>, Option<&'static [u8]>) {
    if environment::is_privileged() {
        return (None, None);
    }
    let tunables = environment::variable(b"GLIBC_TUNABLES").unwrap_or(&[]);
    let value =
        |name, name_of_tunable| environment::variable(name).or_else(|| tunable(tunables, name_of_tunable));
    (value(b"MALLOC_CHECK_", b"glibc.malloc.check"), value(b"MALLOC_PERTURB_", b"glibc.malloc.perturb"))
}

/// Whether there is one of the variables that [`by_variables`] looks at.
pub(in crate::tools) fn are_variables_there() -> bool {
    !matches!(variables(), (None, None))
}

/// What the variables `MALLOC_CHECK_`, `MALLOC_PERTURB_` and `GLIBC_TUNABLES` ask for, if anything and if `MEMHOOK`
/// does not.
pub(in crate::tools) fn by_variables() {
    // ORDERING [none]: Relaxed. Written by this thread, if by any.
    if STATE.load(Ordering::Relaxed) != OFF {
        return;
    }
    let (check, perturbed) = variables();
    let mut options = memhook_check_options::USUAL;
    options.flags = perturbed.and_then(number).map_or(0, |value| perturb(&mut options, value as u8));
    match check.map(action) {
        None | Some(Some(0)) => options.flags |= MEMHOOK_CHECK_FILL_ONLY,
        Some(Some(flags)) => options.flags |= flags,
        Some(None) => {
            return say(&[b"MALLOC_CHECK_: takes a number from 0 to 7, not '", check.unwrap_or(&[]), b"'"]);
        }
    }
    if options.is_valid() {
        begin(b"MALLOC_CHECK_", &options);
    }
}

/// What a value of `MALLOC_CHECK_` asks for: bit 0 a message, bit 1 abort, bit 2 a message of one line. 0 where it
/// asks for nothing.
fn action(value: &[u8]) -> Option<u32> {
    if value.is_empty() {
        return Some(0);
    }
    let value = number(value).filter(|&value| value < 8)? as u32;
    if value == 0 {
        return Some(0);
    }
    let flag = |bit: u32, flag: u32| if value & bit == 0 { 0 } else { flag };
    let any = flag(1, MEMHOOK_CHECK_MESSAGE) | flag(2, MEMHOOK_CHECK_ABORT);
    Some(any | flag(4, MEMHOOK_CHECK_SHORT) | if any == 0 { MEMHOOK_CHECK_QUIET } else { 0 })
}

/// The last value of a tunable in `name=value:name=value`.
fn tunable(all: &'static [u8], name: &[u8]) -> Option<&'static [u8]> {
    all.rsplit(|&byte| byte == b':').find_map(|one| one.strip_prefix(name)?.strip_prefix(b"="))
}
