//! Copies of this library in one process: the shared one, and the archive in the program or in shared objects.
//!
//! The archive in a shared object that is unloaded would leave the C library with handlers, and threads with return
//! addresses, that lead nowhere. The shared library is linked with `-z nodelete`; an archive cannot say so, hence it
//! asks the loader, by dlopen(3), which is a weak symbol: before glibc 2.34 it came from a library of its own, which a
//! process that unloads objects has loaded.

use super::elf::{Object, for_each_object};
use super::{find, weak};
use core::ffi::{c_char, c_int, c_void};

core::arch::global_asm!(".weak dlopen");

/// Has the object that this code lies in stay until the process ends; false where that cannot be had. Takes the loader's
/// lock and may allocate: for constructors.
pub(crate) fn stay() -> bool {
    let own = stay as *const () as usize;
    let Some(found) = find::find_any(own) else { return true };
    if found.is_program() || found.object().is_kept() {
        return true;
    }
    let function = weak!(dlopen);
    // SAFETY: null, or the C library's function, which has this type.
    let function = unsafe {
        core::mem::transmute::<*const (), Option<unsafe extern "C" fn(*const c_char, c_int) -> *mut c_void>>(
            function,
        )
    };
    let flags = libc::RTLD_LAZY | libc::RTLD_NOLOAD | libc::RTLD_NODELETE;
    // SAFETY: the loader's own string. The object is loaded: no code of it runs.
    function.is_some_and(|open| !unsafe { open(found.listed_name(), flags) }.is_null())
}

/// What stands directly before malloc in the archive (entry/archive.S).
const MARK: &[u8; 16] = b"memhook archive\0";

/// Whether the object's malloc is that of a copy of this library.
fn is_copy(object: &Object) -> bool {
    let Some(malloc) = object.function(c"malloc") else { return false };
    let before = malloc.wrapping_sub(MARK.len());
    // SAFETY: the object's own bytes: what lies before a function in a segment is mapped as the function is.
    let is_marked = || object.contains(before) && unsafe { &*(before as *const [u8; MARK.len()]) } == MARK;
    object.function(c"memhook_version").is_some() || is_marked()
}

/// The name of the object whose copy of this library comes first in link order, where that is not the copy that this
/// code is in; empty for the program. All copies that others can call agree on which is the first, whenever each comes:
/// objects that are loaded later stand behind. The loader's strings live as long as the objects.
pub(crate) fn first_other() -> Option<&'static [u8]> {
    let own = first_other as *const () as usize;
    let mut first = None;
    for_each_object(&mut |object| {
        if is_copy(object) {
            first = Some((object.contains(own), object.name()));
        }
        first.is_none()
    });
    first.and_then(|(is_own, name)| (!is_own).then_some(name.to_bytes()))
}
