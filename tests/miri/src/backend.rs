//! An allocator below, whose blocks are Miri's: used after their end, or beyond it, they are found out.

use crate::want::Left;
use core::ffi::{CStr, c_int, c_void};
use core::sync::atomic::{AtomicPtr, Ordering};
use std::alloc::Layout;

pub(crate) type Entries = [AtomicPtr<()>; 13];

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

/// No block, for want of memory.
pub(crate) fn nothing() -> *mut c_void {
    // SAFETY: errno of this thread.
    unsafe { crate::sys::thread::errno_location().write(libc::ENOMEM) };
    core::ptr::null_mut()
}

pub(crate) fn entry_name(entry: u32) -> &'static CStr {
    if entry == 0 { c"malloc" } else { c"?" }
}

pub(crate) fn resolve() {}

pub(crate) fn is_libc() -> bool {
    false
}

pub(crate) fn knows_sizes() -> bool {
    true
}

/// What an idle head leads to.
pub(crate) fn function(entry: usize) -> *mut () {
    crate::entry::BACKEND[entry] as *mut ()
}

/// What stands before a block.
#[derive(Clone, Copy)]
#[repr(C)]
struct Header {
    start: *mut u8,
    layout: Layout,
    bytes: usize,
}

const HEADER: usize = size_of::<Header>();

fn header(block: *mut c_void) -> *mut Header {
    block.cast::<u8>().wrapping_sub(HEADER).cast()
}

fn allocate(alignment: usize, bytes: usize, zeroed: bool) -> *mut c_void {
    let alignment = alignment.max(16);
    let before = HEADER.next_multiple_of(alignment);
    let whole = before.checked_add(bytes).and_then(|all| Layout::from_size_align(all, alignment).ok());
    let Some(layout) = whole.filter(|_| may_go_on()) else { return nothing() };
    // SAFETY: not of size 0.
    let start = unsafe { if zeroed { std::alloc::alloc_zeroed(layout) } else { std::alloc::alloc(layout) } };
    let block = start.wrapping_add(before).cast::<c_void>();
    // SAFETY: room was left before the block.
    unsafe { header(block).write(Header { start, layout, bytes }) };
    block
}

pub(crate) unsafe fn malloc(requested: usize) -> *mut c_void {
    allocate(16, requested, false)
}

pub(crate) unsafe fn free(block: *mut c_void) {
    if !block.is_null() {
        // SAFETY: a block of this allocator (the caller's contract).
        let Header { start, layout, .. } = unsafe { header(block).read() };
        // SAFETY: allocated with this layout.
        unsafe { std::alloc::dealloc(start, layout) };
    }
}

pub(crate) unsafe fn calloc(count: usize, each: usize) -> *mut c_void {
    match count.checked_mul(each) {
        Some(bytes) => allocate(16, bytes, true),
        None => nothing(),
    }
}

pub(crate) unsafe fn realloc(block: *mut c_void, requested: usize) -> *mut c_void {
    // As glibc's.
    if !block.is_null() && requested == 0 {
        // SAFETY: the caller's contract.
        unsafe { free(block) };
        return core::ptr::null_mut();
    }
    let new = allocate(16, requested, false);
    if !block.is_null() && !new.is_null() {
        // SAFETY: as in `free`.
        let bytes = unsafe { header(block).read() }.bytes.min(requested);
        // SAFETY: both are as long.
        unsafe { new.cast::<u8>().copy_from_nonoverlapping(block.cast(), bytes) };
        // SAFETY: the caller's contract.
        unsafe { free(block) };
    }
    new
}

pub(crate) unsafe fn memalign(alignment: usize, requested: usize) -> *mut c_void {
    allocate(alignment.next_power_of_two(), requested, false)
}

pub(crate) unsafe fn aligned_alloc(alignment: usize, requested: usize) -> *mut c_void {
    // SAFETY: none is needed.
    unsafe { memalign(alignment, requested) }
}

pub(crate) unsafe fn usable_size(block: *mut c_void) -> usize {
    // SAFETY: as in `free`.
    if block.is_null() { 0 } else { unsafe { header(block).read() }.bytes }
}

pub(crate) fn realloc_before_us() -> Option<unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void> {
    None
}

pub(crate) fn free_before_us() -> Option<unsafe extern "C" fn(*mut c_void)> {
    None
}

pub(crate) fn page_size() -> usize {
    crate::sys::pages::PAGE
}

pub(crate) fn whole_pages(requested: usize) -> Option<usize> {
    let page = page_size();
    Some(requested.checked_add(page - 1)? & !(page - 1))
}
