//! The settings of `usage` in the environment variable `MEMHOOK`, and libmemusage's variables.

use super::begin::{DataFile, Start};
use super::*;
use crate::sys::paged::Paged;
use crate::sys::{environment, program};
use crate::tools::path::Path;
use crate::tools::say;
use crate::tools::words::{Tool, Wrong, number, settings};

/// The word `usage`.
pub(in crate::tools) const TOOL: Tool = Tool {
    name: b"usage",
    settings: b"file:NAME signal:NAME data:NAME buffer:ENTRIES timer batch:BYTES program:NAME peak:BYTES \
                total:BYTES calls:N live:BYTES blocks:N status:N abort maps, with commas between them",
    first: true,
    start,
};

/// How long a path or a program's name may be, its NUL included.
const LONGEST: usize = 4096;

/// What the word says.
struct Words {
    start: Start<'static>,
    program: Option<&'static [u8]>,
}

fn start(text: &'static [u8], run: bool) -> Result<(), Wrong> {
    let words = read(text)?;
    if !run {
        return Ok(());
    }
    let program = words.program.or_else(|| environment::variable(b"MEMUSAGE_PROG_NAME"));
    if program.is_some_and(|name| !is_running(name)) {
        return Ok(());
    }
    let mut room = Paged::<[u8; LONGEST]>::zero();
    let mut start: Start = words.start;
    libmemusages_variables(&mut start, room.as_deref_mut().map_or(&mut [][..], |room| room));
    let go_on = |what: &[u8], error| {
        go_on_without(what, error);
        Ok(())
    };
    if let Err(error) = start.begin(&go_on) {
        say(&[b"MEMHOOK: usage: not started: ", not_begun(error)]);
    }
    Ok(())
}

/// Why a session has not begun. What is wrong with its files is said by itself, and it begins without.
fn not_begun(error: c_int) -> &'static [u8] {
    match error {
        libc::ENOSPC => b"there are too many",
        libc::EBUSY => b"somebody else has its signal",
        _ => b"no memory",
    }
}

fn read(text: &'static [u8]) -> Result<Words, Wrong> {
    let mut words = Words { start: Start { flags: MEMHOOK_USAGE_AT_EXIT, ..Start::PLAIN }, program: None };
    let start = &mut words.start;
    for (setting, name, value) in settings(text).filter(|(setting, _, _)| !setting.is_empty()) {
        let wrong = Wrong::Setting(setting);
        let mut flags = 0;
        let mut flag = |flag| {
            flags = flag;
            Some(())
        };
        let mut limit = |which: u32, member: fn(&mut memhook_usage_limits) -> &mut u64| {
            let limit = bytes(value)?;
            start.limits.which |= which;
            *member(&mut start.limits) = limit;
            Some(())
        };
        let done = match name {
            b"peak" => limit(MEMHOOK_USAGE_PEAK, |limits| &mut limits.peak),
            b"total" => limit(MEMHOOK_USAGE_TOTAL, |limits| &mut limits.total),
            b"calls" => limit(MEMHOOK_USAGE_CALLS, |limits| &mut limits.calls),
            b"live" => limit(MEMHOOK_USAGE_LIVE_BYTES, |limits| &mut limits.live_bytes),
            b"blocks" => limit(MEMHOOK_USAGE_LIVE_BLOCKS, |limits| &mut limits.live_blocks),
            b"file" => Path::is_pattern(value).then(|| start.report = Some(value)),
            b"data" => Path::is_pattern(value).then(|| start.data = Some(DataFile::Pattern(value))),
            b"program" => (!value.is_empty()).then(|| words.program = Some(value)),
            b"signal" => signal_number(value).map(|number| start.signal = number),
            b"buffer" => small(value, data::LARGEST_BATCH).map(|number| start.data_buffer = number),
            b"status" => small(value, 255).map(|number| start.exit_status = number as c_int),
            b"batch" => bytes(value).filter(|&n| n > 0 && n < 1 << 48).map(|n| start.batch = n as usize),
            b"timer" if value.is_empty() => flag(MEMHOOK_USAGE_TIMER),
            b"maps" if value.is_empty() => flag(MEMHOOK_USAGE_MAPS),
            b"abort" if value.is_empty() => flag(MEMHOOK_USAGE_ABORT),
            _ => None,
        };
        done.ok_or(wrong)?;
        start.flags |= flags;
    }
    if start.flags & MEMHOOK_USAGE_ABORT != 0 && start.limits.which & MEMHOOK_USAGE_PEAK == 0 {
        return Err(Wrong::Needs(b"peak, where it has abort"));
    }
    if start.flags & MEMHOOK_USAGE_TIMER != 0 && start.data.is_none() {
        return Err(Wrong::Needs(b"data, where it has timer"));
    }
    Ok(words)
}

fn small(text: &[u8], most: u32) -> Option<u32> {
    number(text).and_then(|number| u32::try_from(number).ok()).filter(|number| (1..=most).contains(number))
}

/// A number, in bytes or in units of 1024, 1024² or 1024³ bytes.
fn bytes(text: &[u8]) -> Option<u64> {
    let (digits, shift) = match text {
        [digits @ .., b'k' | b'K'] => (digits, 10),
        [digits @ .., b'M'] => (digits, 20),
        [digits @ .., b'G'] => (digits, 30),
        digits => (digits, 0),
    };
    number(digits)?.checked_mul(1 << shift)
}

fn signal_number(text: &[u8]) -> Option<c_int> {
    const NAMES: [(&[u8], c_int); 14] = [
        (b"HUP", libc::SIGHUP),
        (b"INT", libc::SIGINT),
        (b"QUIT", libc::SIGQUIT),
        (b"USR1", libc::SIGUSR1),
        (b"USR2", libc::SIGUSR2),
        (b"ALRM", libc::SIGALRM),
        (b"TERM", libc::SIGTERM),
        (b"CONT", libc::SIGCONT),
        (b"URG", libc::SIGURG),
        (b"WINCH", libc::SIGWINCH),
        (b"IO", libc::SIGIO),
        (b"PWR", libc::SIGPWR),
        (b"XCPU", libc::SIGXCPU),
        (b"VTALRM", libc::SIGVTALRM),
    ];
    let name = text.strip_prefix(b"SIG").unwrap_or(text);
    let named = NAMES.iter().find(|(known, _)| *known == name).map(|&(_, number)| number);
    let number = || small(name, 64).map(|number| number as c_int);
    named.or_else(number).filter(|&number| signal::is_possible(number))
}

/// Whether this process runs the program: its argv[0] is `name`, or ends with a slash and `name`.
fn is_running(name: &[u8]) -> bool {
    let Some(mut text) = Paged::<[u8; LONGEST]>::zero() else { return false };
    let len = program::first_argument(&mut *text);
    let before = text.get(..len).unwrap_or(&[]).strip_suffix(name);
    before.is_some_and(|before| before.last().is_none_or(|&byte| byte == b'/'))
}

/// What libmemusage takes from the environment. Words go before.
fn libmemusages_variables<'a>(start: &mut Start<'a>, room: &'a mut [u8]) {
    let variable = |name| environment::variable(name);
    if let Some(size) = variable(b"MEMUSAGE_BUFFER_SIZE").filter(|_| start.data_buffer == 0) {
        let len = size.iter().take_while(|byte| byte.is_ascii_digit()).count();
        start.data_buffer =
            size.get(..len).and_then(|digits| small(digits, data::LARGEST_BATCH)).unwrap_or(0);
    }
    let output = variable(b"MEMUSAGE_OUTPUT").filter(|name| !name.is_empty() && start.data.is_none());
    if let Some(name) = output {
        if let Some(to) = room.get_mut(..=name.len())
            && let Some((_, bytes)) = to.split_last_mut()
        {
            bytes.copy_from_slice(name);
            start.data = Some(DataFile::Name(to));
            if variable(b"MEMUSAGE_NO_TIMER").is_none() {
                start.flags |= MEMHOOK_USAGE_TIMER;
            }
        } else {
            go_on_without(b"there is no data file: ", libc::ENAMETOOLONG);
        }
    }
    if variable(b"MEMUSAGE_TRACE_MMAP").is_some() {
        start.flags |= MEMHOOK_USAGE_MAPS;
    }
    if start.flags & MEMHOOK_USAGE_MAPS != 0 && !maps::are_led_here() {
        say(&[
            b"MEMHOOK: usage: mappings are not counted: for that, ",
            b"libmemhook-mmap.so must be preloaded too, behind libmemhook.so",
        ]);
    }
}

/// Says that a session goes on without something.
fn go_on_without(what: &[u8], error: c_int) {
    say(&[b"MEMHOOK: usage: ", what, data::reason(error)]);
}
