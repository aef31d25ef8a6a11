//! The little language of the environment variable `MEMHOOK`: words with spaces between them, each a tool
//! with its settings, `fail=nth:3,above:4096`. One wrong word, and nothing is started.

use super::fail::{self, memhook_fail_rule};
use super::say;

/// Starts the tools that `text` names.
pub(super) fn start(text: &[u8]) {
    let words = || text.split(|&byte| byte == b' ').filter(|word| !word.is_empty());
    // All are read before any is started.
    for run in [false, true] {
        for word in words() {
            let (name, settings) = split(word, b'=');
            match name {
                b"fail" => match read_fail(settings) {
                    Ok(rule) if run => start_fail(&rule),
                    Ok(_) => {}
                    Err(()) => return,
                },
                _ => {
                    return say(&[b"MEMHOOK: there is no tool '", name, b"'; there is: fail"]);
                }
            }
        }
    }
}

fn split(word: &[u8], at: u8) -> (&[u8], &[u8]) {
    let mut parts = word.splitn(2, |&byte| byte == at);
    let first = parts.next().unwrap_or(&[]);
    (first, parts.next().unwrap_or(&[]))
}

const SETTINGS: &[u8] =
    b"nth:N every:N chance:0.P seed:N above:BYTES after:BYTES from:PART-OF-A-PATH, with commas between them";

/// Reads the settings of `fail`. What is wrong with them is said.
fn read_fail(settings: &[u8]) -> Result<memhook_fail_rule, ()> {
    let mut rule = memhook_fail_rule::NONE;
    for setting in settings.split(|&byte| byte == b',') {
        let (name, value) = split(setting, b':');
        let number = || number(value).ok_or(());
        let read = (|| {
            match name {
                b"nth" => rule.nth = number()?,
                b"every" => rule.every = number()?,
                b"chance" => rule.per_million = millionths(value).ok_or(())?,
                b"seed" => rule.seed = number()?,
                b"above" => rule.above = usize::try_from(number()?).map_err(drop)?,
                b"after" => rule.after_bytes = number()?,
                // The value lives in the environment, which ends or goes on with a comma.
                b"from" if !value.is_empty() => {
                    (rule.object, rule.object_len) = (value.as_ptr().cast(), value.len());
                }
                _ => return Err(()),
            }
            Ok(())
        })();
        if read.is_err() {
            say(&[b"MEMHOOK: fail does not know '", setting, b"'; it knows: ", SETTINGS]);
            return Err(());
        }
    }
    if !rule.fails_anything() {
        say(&[b"MEMHOOK: fail needs one of nth, every, chance and after"]);
        return Err(());
    }
    Ok(rule)
}

fn start_fail(rule: &memhook_fail_rule) {
    let mut id = 0;
    // SAFETY: a whole rule, and a place for the id.
    let error = unsafe { fail::memhook_fail_start(rule, &raw mut id) };
    if error == libc::ENOENT {
        say(&[b"MEMHOOK: fail: no object that is loaded at the start has this in its path"]);
    } else if error != 0 {
        say(&[b"MEMHOOK: fail: no memory to start it"]);
    }
}

fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |sum, &digit| {
        let digit = digit.checked_sub(b'0').filter(|&digit| digit < 10)?;
        sum.checked_mul(10)?.checked_add(digit.into())
    })
}

/// A probability from 0 to 1, in millionths.
fn millionths(text: &[u8]) -> Option<u32> {
    let (whole, part) = split(text, b'.');
    let whole = if whole.is_empty() { 0 } else { number(whole)? };
    let places = u32::try_from(part.len()).ok().filter(|&places| places <= 6)?;
    let part = if part.is_empty() { 0 } else { number(part)? } * 10u64.pow(6 - places);
    let sum = whole.checked_mul(1_000_000)?.checked_add(part)?;
    u32::try_from(sum).ok().filter(|&sum| sum <= 1_000_000)
}
