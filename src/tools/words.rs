//! The little language of the environment variable `MEMHOOK`: words with spaces between them, each a tool
//! with its settings, `fail=nth:3,above:4096`. One wrong word, and nothing is started.

use super::{check, fail, glibc, say, trace, usage};
use crate::sys::{copies, environment};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// A tool that a word can start.
pub(super) struct Tool {
    /// The word.
    pub(super) name: &'static [u8],
    /// The settings that it knows, for a person.
    pub(super) settings: &'static [u8],
    /// Whether it begins with the first allocation call; else with the library's constructor, and leaves
    /// alone what the dynamic linker and earlier constructors allocate.
    pub(super) first: bool,
    /// Checks the settings and, if `run`, starts the tool; says itself why it could not.
    pub(super) start: fn(settings: &'static [u8], run: bool) -> Result<(), Wrong>,
}

/// What is wrong with the settings of a tool.
pub(super) enum Wrong {
    /// This one is not known, or its value is none.
    Setting(&'static [u8]),
    /// Something is missing: what.
    Needs(&'static [u8]),
}

/// All tools, in the order in which they are started.
const TOOLS: [&Tool; 5] = [&glibc::TOOL, &usage::TOOL, &trace::TOOL, &check::TOOL, &fail::TOOL];

/// Every word is right, and those for the first call are started.
static IS_RIGHT: AtomicBool = AtomicBool::new(false);

fn variable() -> Option<&'static [u8]> {
    environment::variable(b"MEMHOOK").filter(|_| !environment::is_privileged())
}

/// Whether the environment asks for a tool, rightly or wrongly.
fn asks() -> bool {
    variable().is_some() || check::are_variables_there()
}

/// Whether the environment asks this copy of the library for a tool.
pub(super) fn are_there() -> bool {
    asks() && is_ours()
}

/// Whether this copy of the library is the one that obeys the environment: of several in one process, the first in link
/// order, which is called first. Another says so.
fn is_ours() -> bool {
    /// Not known yet.
    const OPEN: u32 = 0;
    const OURS: u32 = 1;
    const OTHERS: u32 = 2;
    static STATE: AtomicU32 = AtomicU32::new(OPEN);
    // ORDERING [none]: Relaxed. Comes out the same for every thread.
    let known = STATE.load(Ordering::Relaxed);
    if known != OPEN {
        return known == OURS;
    }
    let other = copies::first_other();
    let state = if other.is_some() { OTHERS } else { OURS };
    // ORDERING [none]: Relaxed and Relaxed. As above; one thread says it.
    let is_first = STATE.compare_exchange(OPEN, state, Ordering::Relaxed, Ordering::Relaxed).is_ok();
    if let (true, Some(name)) = (is_first, other) {
        let program: &[u8] = if name.is_empty() { b"the program" } else { name };
        say(&[b"two copies of the library: MEMHOOK and MALLOC_CHECK_ are left to the one in ", program]);
    }
    state == OURS
}

/// Reads the variable and starts the tools that begin with the first allocation call. Part of the library's
/// start: were it the first call, the initialize hook would run inside the start of the first tool.
pub(super) extern "C" fn begin() {
    if !are_there() {
        return;
    }
    if let Some(text) = variable()
        && is_right(text)
    {
        // ORDERING [none]: Relaxed. Read by the constructor, in the same thread or after it.
        IS_RIGHT.store(true, Ordering::Relaxed);
        run(text, true);
    }
    check::by_variables();
}

/// Starts the other tools.
pub(super) fn go_on() {
    // ORDERING [none]: Relaxed. See `begin`.
    if IS_RIGHT.load(Ordering::Relaxed)
        && let Some(text) = variable()
    {
        run(text, false);
    }
}

fn words(text: &'static [u8]) -> impl Iterator<Item = (&'static [u8], &'static [u8])> {
    text.split(|&byte| byte == b' ').filter(|word| !word.is_empty()).map(|word| split(word, b'='))
}

fn tool(name: &[u8]) -> Option<&'static Tool> {
    TOOLS.into_iter().find(|tool| tool.name == name)
}

/// Whether all words are right. What is wrong is said. Not a part of `begin`, whose frame lies below the tools' starts.
#[inline(never)]
fn is_right(text: &'static [u8]) -> bool {
    for (number, (name, settings)) in words(text).enumerate() {
        // Rules of fail may be many, files of trace too, and check says so itself.
        let before = || words(text).take(number).any(|word| word == (name, settings));
        if name == usage::TOOL.name && before() {
            let equals: &[u8] = if settings.is_empty() { b"" } else { b"=" };
            say(&[b"MEMHOOK: '", name, equals, settings, b"' is there twice"]);
            return false;
        }
        let Some(tool) = tool(name) else {
            let mut names: [&[u8]; 2 * TOOLS.len() + 4] = [b""; _];
            let parts = [b"MEMHOOK: there is no tool '", name, b"'; there is: "].into_iter();
            let listed = TOOLS.iter().enumerate();
            let listed = listed.flat_map(|(i, tool)| [if i == 0 { &b""[..] } else { b", " }, tool.name]);
            for (place, part) in names.iter_mut().zip(parts.chain(listed)) {
                *place = part;
            }
            say(&names);
            return false;
        };
        match (tool.start)(settings, false) {
            Ok(()) => {}
            Err(Wrong::Setting(setting)) => {
                let knows =
                    [b"MEMHOOK: ", name, b" does not know '", setting, b"'; it knows: ", tool.settings];
                say(&knows);
                return false;
            }
            Err(Wrong::Needs(what)) => {
                say(&[b"MEMHOOK: ", name, b" needs ", what]);
                return false;
            }
        }
    }
    true
}

fn run(text: &'static [u8], first: bool) {
    for tool in TOOLS.into_iter().filter(|tool| tool.first == first) {
        for (_, settings) in words(text).filter(|&(name, _)| name == tool.name) {
            let _ = (tool.start)(settings, true);
        }
    }
}

/// What stands before and behind the first `at`.
pub(super) fn split(word: &'static [u8], at: u8) -> (&'static [u8], &'static [u8]) {
    let mut parts = word.splitn(2, |&byte| byte == at);
    let first = parts.next().unwrap_or(&[]);
    (first, parts.next().unwrap_or(&[]))
}

/// The settings of a word, each a name and a value: `name:value,name:value`.
pub(super) fn settings(
    text: &'static [u8],
) -> impl Iterator<Item = (&'static [u8], &'static [u8], &'static [u8])> {
    text.split(|&byte| byte == b',').map(|setting| {
        let (name, value) = split(setting, b':');
        (setting, name, value)
    })
}

/// A decimal number.
pub(super) fn number(text: &[u8]) -> Option<u64> {
    if text.is_empty() {
        return None;
    }
    text.iter().try_fold(0u64, |sum, &digit| {
        let digit = digit.checked_sub(b'0').filter(|&digit| digit < 10)?;
        sum.checked_mul(10)?.checked_add(digit.into())
    })
}
