//! Tools that stand on the public interface only: what C programs reached for the old hooks to get.
//!
//! Each is a set of hooks like any program's. It is started by a function of the header, or by a word in the
//! environment variable `MEMHOOK`, which is read at the first allocation call, and ignored in a privileged
//! process.

pub mod check;
pub mod fail;
mod glibc;
mod path;
pub mod trace;
pub mod usage;
mod words;

use crate::api::thread::memhook_is_suspended;
use crate::sys;
use crate::sys::paged::Paged;
use crate::text::Text;

core::arch::global_asm!(
    // The name by which `start` knows what is above it.
    ".globl memhook_begin_tools",
    ".hidden memhook_begin_tools",
    ".set memhook_begin_tools, {begin}",
    begin = sym words::begin,
);

/// The library's constructor for tools: those that leave the start of the process alone begin here.
unsafe extern "C" fn constructor() {
    if words::are_there() {
        // Any call: it starts the library, where nothing has, and with it the other tools.
        let _ = memhook_is_suspended();
    }
    words::go_on();
    usage::at_start();
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: unsafe extern "C" fn() = constructor;

/// As long as a line gets, its end included, and where there is no memory for that.
const LINE: usize = 513;
const WITHOUT_MEMORY: usize = 160;

/// So much of a word or a path is said where a line would be too long, so that there is room for what follows it.
const MOST: usize = 224;

/// Says on standard error why a tool cannot do its work.
fn say(parts: &[&[u8]]) {
    // An allocation call may come here: too much for the stack.
    let (mut pages, mut shorter) = (Paged::<[u8; LINE]>::zero(), [0; WITHOUT_MEMORY]);
    let buffer = pages.as_deref_mut().map_or(&mut shorter[..], |whole| whole);
    let longest = buffer.len() - 1;
    let mut line = Text::cut(buffer.get_mut(..longest).unwrap_or(&mut []));
    line.add(b"memhook: ");
    let fits = line.bytes().len() + parts.iter().map(|part| part.len()).sum::<usize>() <= longest;
    for part in parts {
        match part.get(..MOST.min(longest / 2)) {
            Some(beginning) if part.len() > beginning.len() && !fits => line.add(beginning).add(b"..."),
            _ => line.add(part),
        };
    }
    // One write, so that lines of threads and processes do not mix; a cut one ends all the same.
    let len = line.bytes().len();
    if let Some(end) = buffer.get_mut(len) {
        *end = b'\n';
    }
    sys::write_error(buffer.get(..=len).unwrap_or(&[]));
}
