//! What the allocator below and the system have given for what is in use.
//!
//! Never: allocates. mallinfo2 takes locks of the allocator's: not in a signal handler.

use super::memhook_usage;
use crate::sys::elf::for_each_object;
use crate::sys::{self, file};
use core::ffi::c_void;
use core::sync::atomic::{AtomicUsize, Ordering};

/// glibc's `struct mallinfo2`.
#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Mallinfo2 {
    arena: usize,
    ordblks: usize,
    smblks: usize,
    hblks: usize,
    hblkhd: usize,
    usmblks: usize,
    fsmblks: usize,
    uordblks: usize,
    fordblks: usize,
    keepcost: usize,
}

/// What [`find`] has found.
static FOUND: AtomicUsize = AtomicUsize::new(NOT_YET);
const NOT_YET: usize = usize::MAX;

/// mallinfo2 of the allocator below; 0 where it has none. It is looked for once: in a fork child, the dynamic linker's
/// lock may be that of a thread that did not come along.
pub(super) fn find() -> usize {
    // ORDERING [none]: Relaxed. An address that does not change.
    match FOUND.load(Ordering::Relaxed) {
        NOT_YET => {
            let found = look_for();
            // ORDERING [none]: Relaxed. As above.
            FOUND.store(found, Ordering::Relaxed);
            found
        }
        found => found,
    }
}

/// The library finds that allocator in the same way: the next object behind it that defines malloc, or, where it came
/// by dlopen, the first of all.
fn look_for() -> usize {
    let own = find as *const () as usize;
    let mut is_behind = false;
    let mut behind = None;
    let mut first = None;
    for_each_object(&mut |object| {
        if object.contains(own) {
            is_behind = true;
        } else if object.function(c"malloc").is_some() {
            let view = object.function(c"mallinfo2").unwrap_or(0);
            first = first.or(Some(view));
            if is_behind {
                behind = behind.or(Some(view));
            }
        }
        behind.is_none()
    });
    behind.or(first).unwrap_or(0)
}

/// Enters the allocator's own view.
pub(super) fn view(function: usize, to: &mut memhook_usage) {
    if function == 0 {
        return;
    }
    let function = function as *const c_void;
    // SAFETY: what the allocator exports under this name has this type, by glibc's <malloc.h>.
    let function =
        unsafe { core::mem::transmute::<*const c_void, unsafe extern "C" fn() -> Mallinfo2>(function) };
    // SAFETY: no precondition.
    let info = unsafe { function() };
    to.has_allocator = 1;
    to.allocator_system = (info.arena + info.hblkhd) as u64;
    to.allocator_in_use = (info.uordblks + info.hblkhd) as u64;
    to.allocator_free = info.fordblks as u64;
    to.allocator_mapped = info.hblkhd as u64;
    to.allocator_mapped_blocks = info.hblks as u64;
}

/// Bytes of the process that are in memory; 0 where that cannot be had.
pub(super) fn resident() -> u64 {
    let pages_of = |path: &[u8]| {
        let fd = file::open(path, libc::O_RDONLY, 0).ok()?;
        let mut text = [0; 128];
        let len = file::read_at(fd, &mut text, 0).unwrap_or(0);
        file::close(fd);
        let second = text.get(..len)?.split(|&byte| byte == b' ').nth(1);
        second.and_then(crate::tools::words::number).filter(|&pages| pages > 0)
    };
    // The first has nothing but zeroes once the process's first thread has ended.
    let paths = [&b"/proc/self/statm\0"[..], b"/proc/thread-self/statm\0"];
    let pages = paths.into_iter().find_map(pages_of).unwrap_or(0);
    pages * sys::auxiliary(libc::AT_PAGESZ)
}
