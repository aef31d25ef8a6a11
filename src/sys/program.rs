//! Which program this process runs.
//!
//! Where the dynamic linker was started with the program as its argument (`ld.so ./program`), the kernel calls the linker
//! the process's executable. The linker puts right what the kernel told the process of it: where the program's headers
//! are, and its name.

use super::file;
use super::maps::Maps;
use core::ffi::{CStr, c_char};

/// The path of the program, not ended by NUL; how many bytes it has, 0 where it cannot be had. Without /proc, the name by
/// which it was started.
pub(crate) fn path(buffer: &mut [u8]) -> usize {
    if is_an_argument() {
        let maps = Maps::read();
        let headers = super::auxiliary(libc::AT_PHDR) as usize;
        if let Some(region) = maps.find(headers).filter(|region| region.path.starts_with(b"/")) {
            return copy(region.path, buffer);
        }
    } else {
        let len = file::executable(buffer);
        if len > 0 {
            return len;
        }
    }
    copy(started_as(), buffer)
}

/// What the program was called by who started it, argv[0]; how many bytes of it `buffer` takes.
pub(crate) fn first_argument(buffer: &mut [u8]) -> usize {
    if is_an_argument() {
        return copy(started_as(), buffer);
    }
    let Ok(fd) = file::open(b"/proc/self/cmdline\0", libc::O_RDONLY, 0) else {
        return copy(started_as(), buffer);
    };
    let len = file::read_at(fd, buffer, 0).unwrap_or(0);
    file::close(fd);
    buffer.iter().take(len).position(|&byte| byte == 0).unwrap_or(len)
}

fn copy(from: &[u8], to: &mut [u8]) -> usize {
    to.iter_mut().zip(from).for_each(|(to, from)| *to = *from);
    from.len().min(to.len())
}

/// The name that execve(2) was given; where the program is an argument, that one, or what `--argv0` says.
fn started_as() -> &'static [u8] {
    let name = super::auxiliary(libc::AT_EXECFN) as *const c_char;
    if name.is_null() {
        return &[];
    }
    // SAFETY: a string of the process's initial stack, which nobody unmaps.
    unsafe { CStr::from_ptr(name) }.to_bytes()
}

/// Whether the process began with the dynamic linker, and the program is its argument: the program asks for a linker,
/// and the kernel has loaded none beside the executable.
fn is_an_argument() -> bool {
    has_no_interpreter() && asks_for_linker()
}

/// Whether the program has no dynamic linker.
pub(crate) fn is_static() -> bool {
    has_no_interpreter() && !asks_for_linker()
}

/// Whether the kernel has loaded nothing beside the executable.
fn has_no_interpreter() -> bool {
    super::auxiliary(libc::AT_BASE) == 0
}

fn asks_for_linker() -> bool {
    let value = |kind| super::auxiliary(kind) as usize;
    let (first, count) = (value(libc::AT_PHDR) as *const libc::Elf64_Phdr, value(libc::AT_PHNUM));
    if first.is_null() || value(libc::AT_PHENT) != size_of::<libc::Elf64_Phdr>() {
        return false;
    }
    // SAFETY: the program's headers, which are mapped as long as the program is, and as many as the vector says.
    let headers = unsafe { core::slice::from_raw_parts(first, count) };
    headers.iter().any(|header| header.p_type == libc::PT_INTERP)
}
