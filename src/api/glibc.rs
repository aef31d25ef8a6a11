//! What stands behind the macros of `memhook/glibc.h`, which declares and documents them. `entry` has
//! the functions that C calls, and adds the caller's stack pointer.

use crate::glibc;
pub(crate) use crate::glibc::{COPIES, FREE, MALLOC, MEMALIGN, REALLOC};
use crate::start;

pub(crate) use crate::glibc::{direct, libc};

type Place = *mut *mut ();

#[inline(always)]
fn variable(kind: usize, frame: usize) -> Place {
    glibc::variable_at_once(kind, frame).unwrap_or_else(|| variable_seldom(kind, frame))
}

#[cold]
#[inline(never)]
fn variable_seldom(kind: usize, frame: usize) -> Place {
    // Leaves errno as it is.
    start::ensure_for_variables();
    super::with_errno_kept(|| glibc::variable(kind, frame))
}

pub(crate) extern "C" fn malloc_hook(frame: usize) -> Place {
    variable(MALLOC, frame)
}

pub(crate) extern "C" fn realloc_hook(frame: usize) -> Place {
    variable(REALLOC, frame)
}

pub(crate) extern "C" fn memalign_hook(frame: usize) -> Place {
    variable(MEMALIGN, frame)
}

pub(crate) extern "C" fn free_hook(frame: usize) -> Place {
    variable(FREE, frame)
}

pub(crate) extern "C" fn after_morecore_hook() -> Place {
    glibc::after_morecore()
}

/// Serves objects from before glibc 2.34, whether or not one is loaded yet. For `tools`.
pub(crate) fn serve_old_variables() {
    start::ensure();
    glibc::serve_old_variables();
}
