//! Tools that stand on the public interface only: what C programs reached for the old hooks to get.
//!
//! Each is a set of hooks like any program's. It is started by a function of the header, or, in a preloaded
//! process, by a word in the environment variable `MEMHOOK`, which is read when the library's constructor
//! runs, and ignored in a privileged process.

pub mod fail;
mod words;

use crate::sys;
use core::ffi::{CStr, c_char, c_int};

/// The value of an environment variable.
fn variable(environment: *const *const c_char, name: &[u8]) -> Option<&'static [u8]> {
    let mut at = environment;
    if at.is_null() {
        return None;
    }
    // SAFETY: the C library gave a list that ends with NULL.
    while let Some(entry) = core::ptr::NonNull::new(unsafe { at.read() }.cast_mut()) {
        // SAFETY: entries are strings that live as long as the process.
        let entry: &'static [u8] = unsafe { CStr::from_ptr(entry.as_ptr()) }.to_bytes();
        if let Some(value) = entry.strip_prefix(name).and_then(|rest| rest.strip_prefix(b"=")) {
            return Some(value);
        }
        at = at.wrapping_add(1);
    }
    None
}

/// Starts what the environment asks for.
unsafe extern "C" fn constructor(_: c_int, _: *const *const c_char, environment: *const *const c_char) {
    // SAFETY: getauxval reads a vector that the kernel made.
    let privileged = unsafe { libc::getauxval(libc::AT_SECURE) } != 0;
    if let (false, Some(text)) = (privileged, variable(environment, b"MEMHOOK")) {
        words::start(text);
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: unsafe extern "C" fn(c_int, *const *const c_char, *const *const c_char) = constructor;

/// Says why a tool cannot do its work. One line, cut at 240 bytes.
fn say(parts: &[&[u8]]) {
    let mut line = [0u8; 240];
    let mut len = 0;
    for &byte in [b"memhook: ".as_slice()].iter().chain(parts).copied().flatten() {
        if let Some(place) = line.get_mut(len) {
            *place = byte;
            len += 1;
        }
    }
    if let Some(last) = line.get_mut(len.min(239)) {
        *last = b'\n';
    }
    sys::write_error(line.get(..(len + 1).min(240)).unwrap_or(&[]));
}
