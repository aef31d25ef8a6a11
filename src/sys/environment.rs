//! The environment, also before the C library knows it.

use super::file;
use super::pages;
use core::ffi::{CStr, c_char};

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// Whether the process has more rights than who started it: its environment is not to be trusted.
pub(crate) fn is_privileged() -> bool {
    // SAFETY: getauxval reads a vector that the kernel made.
    unsafe { libc::getauxval(libc::AT_SECURE) != 0 }
}

/// The value of a variable. Lives as long as the process, if it does not change its environment.
pub(crate) fn variable(name: &[u8]) -> Option<&'static [u8]> {
    // SAFETY: the C library's variable; null before it has initialised itself.
    let mut at = unsafe { environ };
    if at.is_null() {
        return initial(name);
    }
    // SAFETY: the list ends with NULL.
    while let Some(entry) = core::ptr::NonNull::new(unsafe { at.read() }.cast_mut()) {
        // SAFETY: entries are strings that live as long as the process.
        let entry: &'static [u8] = unsafe { CStr::from_ptr(entry.as_ptr()) }.to_bytes();
        if let Some(value) = value(entry, name) {
            return Some(value);
        }
        at = at.wrapping_add(1);
    }
    None
}

fn value<'a>(entry: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    entry.strip_prefix(name)?.strip_prefix(b"=")
}

/// The same from the kernel, for an allocation call that comes before the C library is initialised. The
/// copy is kept if the variable is there.
fn initial(name: &[u8]) -> Option<&'static [u8]> {
    let fd = file::open(b"/proc/self/environ\0", libc::O_RDONLY, 0).ok()?;
    let mut room = 64 * 1024;
    let found = loop {
        let Some(at) = pages::map(room) else { break None };
        // SAFETY: fresh pages of this length.
        let buffer: &'static mut [u8] = unsafe { core::slice::from_raw_parts_mut(at, room) };
        let mut len = 0;
        while let Some(rest) = buffer.get_mut(len..)
            && let Ok(got) = file::read_at(fd, rest, len)
            && got > 0
        {
            len += got;
        }
        if len < room {
            let mut entries = buffer.get(..len).unwrap_or(&[]).split(|&byte| byte == 0);
            if let Some(found) = entries.find_map(|entry| value(entry, name)) {
                break Some(found);
            }
        }
        // SAFETY: mapped above, and nothing of it is kept.
        unsafe { pages::unmap(at, room) };
        if len < room {
            break None;
        }
        room *= 8;
    };
    file::close(fd);
    found
}
