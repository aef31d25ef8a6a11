//! The library's own memory, each block a block of Miri's: used after its end, given back twice or left, it is
//! found out. The library's own text for it is run with `--features scratch`.

use crate::want::Left;
use core::sync::atomic::{AtomicIsize, Ordering};
use std::alloc::Layout;

#[repr(C, align(16))]
struct Header(Layout);

const HEADER: usize = size_of::<Header>();

/// Blocks that were not given back.
static ALIVE: AtomicIsize = AtomicIsize::new(0);

thread_local! {
    static LEFT: Left = const { Left::all() };
}

/// Has this thread's next allocations fail, after `blocks` more.
pub(crate) fn fail_after(blocks: usize) {
    LEFT.with(|left| left.set(blocks));
}

fn may_go_on() -> bool {
    LEFT.with(Left::take)
}

pub(crate) fn alive() -> isize {
    ALIVE.load(Ordering::Relaxed)
}

pub(crate) fn malloc(bytes: usize) -> *mut u8 {
    let layout = Layout::from_size_align(bytes + HEADER, 16).ok().filter(|_| may_go_on());
    let Some(layout) = layout else { return core::ptr::null_mut() };
    // SAFETY: not of size 0.
    let at = unsafe { std::alloc::alloc(layout) };
    // SAFETY: there is room for the header.
    unsafe { at.cast::<Header>().write(Header(layout)) };
    ALIVE.fetch_add(1, Ordering::Relaxed);
    at.wrapping_add(HEADER)
}

pub(crate) unsafe fn free(block: *mut u8) {
    if !block.is_null() {
        let at = block.wrapping_sub(HEADER);
        // SAFETY: a block of `malloc` (the caller's contract).
        let Header(layout) = unsafe { at.cast::<Header>().read() };
        // SAFETY: allocated with this layout.
        unsafe { std::alloc::dealloc(at, layout) };
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Reachable from statics of the library, or Miri says that it is lost.
pub(crate) fn permanent(bytes: usize, align: usize) -> Option<*mut u8> {
    let layout = Layout::from_size_align(bytes, align).ok().filter(|_| may_go_on())?;
    // SAFETY: not of size 0.
    Some(unsafe { std::alloc::alloc_zeroed(layout) })
}
