//! The settings of `fail` in the environment variable `MEMHOOK`.

use super::{memhook_fail_rule, memhook_fail_start};
use crate::tools::say;
use crate::tools::words::{Tool, Wrong, number, settings, split};

/// The word `fail`.
pub(in crate::tools) const TOOL: Tool = Tool {
    name: b"fail",
    settings: b"nth:N every:N chance:0.P seed:N above:BYTES after:BYTES from:PART-OF-A-PATH, \
                with commas between them",
    first: false,
    start,
};

fn start(text: &'static [u8], run: bool) -> Result<(), Wrong> {
    let rule = read(text)?;
    if run {
        let mut id = 0;
        // SAFETY: a whole rule, and a place for the id.
        let error = unsafe { memhook_fail_start(&raw const rule, &raw mut id) };
        if error == libc::ENOENT {
            say(&[b"MEMHOOK: fail: no object that is loaded at the start has this in its path"]);
        } else if error != 0 {
            say(&[b"MEMHOOK: fail: no memory to start it"]);
        }
    }
    Ok(())
}

fn read(text: &'static [u8]) -> Result<memhook_fail_rule, Wrong> {
    let mut rule = memhook_fail_rule::NONE;
    for (setting, name, value) in settings(text) {
        let number = || number(value).ok_or(Wrong::Setting(setting));
        match name {
            b"nth" => rule.nth = number()?,
            b"every" => rule.every = number()?,
            b"chance" => rule.per_million = millionths(value).ok_or(Wrong::Setting(setting))?,
            b"seed" => rule.seed = number()?,
            b"above" => rule.above = usize::try_from(number()?).map_err(|_| Wrong::Setting(setting))?,
            b"after" => rule.after_bytes = number()?,
            // The value lives in the environment, which ends or goes on with a comma.
            b"from" if !value.is_empty() => {
                (rule.object, rule.object_len) = (value.as_ptr().cast(), value.len());
            }
            _ => return Err(Wrong::Setting(setting)),
        }
    }
    if rule.fails_anything() { Ok(rule) } else { Err(Wrong::Needs(b"one of nth, every, chance and after")) }
}

/// A probability from 0 to 1, in millionths.
fn millionths(text: &'static [u8]) -> Option<u32> {
    let (whole, part) = split(text, b'.');
    let whole = if whole.is_empty() { 0 } else { number(whole)? };
    let places = u32::try_from(part.len()).ok().filter(|&places| places <= 6)?;
    let part = if part.is_empty() { 0 } else { number(part)? } * 10u64.pow(6 - places);
    let sum = whole.checked_mul(1_000_000)?.checked_add(part)?;
    u32::try_from(sum).ok().filter(|&sum| sum <= 1_000_000)
}
