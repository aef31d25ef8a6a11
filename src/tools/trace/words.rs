//! The settings of `trace` in the environment variable `MEMHOOK`.

use super::calls::{MEMHOOK_TRACE_BINARY, MEMHOOK_TRACE_UNWIND, memhook_trace_options, start as start_trace};
use super::reason::reason;
use super::stack;
use crate::tools::path::Path;
use crate::tools::say;
use crate::tools::words::{Tool, Wrong, number, split};

/// The word `trace`.
pub(in crate::tools) const TOOL: Tool = Tool {
    name: b"trace",
    settings: b"a path first, then text, binary, frames:N, unwind:N, max:BYTES, with commas between them",
    first: true,
    start,
};

fn start(text: &'static [u8], run: bool) -> Result<(), Wrong> {
    let (path, options) = read(text)?;
    if run {
        // A trace that cannot be started is none.
        let _ = start_trace(path, &options, &|tried, error| say(&[b"trace: ", tried, b": ", reason(error)]));
    }
    Ok(())
}

fn read(text: &'static [u8]) -> Result<(&'static [u8], memhook_trace_options), Wrong> {
    let (path, mut rest) = split(text, b',');
    if path.is_empty() {
        return Err(Wrong::Needs(b"the path of a file: trace=PATH"));
    }
    if !Path::is_pattern(path) {
        return Err(Wrong::Setting(path));
    }
    let mut options = memhook_trace_options {
        struct_size: size_of::<memhook_trace_options>(),
        path: core::ptr::null(),
        flags: 0,
        frames: 0,
        most_bytes: 0,
    };
    while !rest.is_empty() {
        let (setting, more) = split(rest, b',');
        rest = more;
        match split(setting, b':') {
            (b"text", b"") => options.flags &= !MEMHOOK_TRACE_BINARY,
            (b"binary", b"") => options.flags |= MEMHOOK_TRACE_BINARY,
            (kind @ (b"frames" | b"unwind"), value) => match number(value) {
                Some(frames) if frames < stack::MOST as u64 => {
                    options.frames = frames as u32;
                    options.flags |= if kind == b"unwind" { MEMHOOK_TRACE_UNWIND } else { 0 };
                }
                _ => return Err(Wrong::Setting(setting)),
            },
            (b"max", value) => match number(value) {
                Some(most) if most > 0 => options.most_bytes = most,
                _ => return Err(Wrong::Setting(setting)),
            },
            _ => return Err(Wrong::Setting(setting)),
        }
    }
    if options.frames != 0 && options.flags & MEMHOOK_TRACE_BINARY == 0 {
        return Err(Wrong::Needs(b"binary with frames and unwind"));
    }
    Ok((path, options))
}
