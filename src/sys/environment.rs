//! The environment, also before the C library knows it.

use super::file::Whole;
use core::ffi::{CStr, c_char};

unsafe extern "C" {
    static environ: *const *const c_char;
}

/// Whether the process has more rights than who started it: its environment is not to be trusted.
pub(crate) fn is_privileged() -> bool {
    super::auxiliary(libc::AT_SECURE) != 0
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
    let whole = Whole::read(b"/proc/self/environ\0").ok()?;
    fn find<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
        text.split(|&byte| byte == 0).find_map(|entry| value(entry, name))
    }
    find(whole.bytes(), name)?;
    find(whole.keep(), name)
}
