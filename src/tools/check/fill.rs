//! Bytes in new and freed blocks, and nothing else: what `MALLOC_PERTURB_` is for, over every allocator, and for
//! every block. Where the allocator does not say how large its blocks are, new ones only.

use super::{MEMHOOK_CHECK_FILL_FREED, MEMHOOK_CHECK_FILL_NEW, settings};
use crate::abi::*;
use crate::api::backend::backend_knows_sizes;
use crate::api::next::{
    memhook_next_free, memhook_next_malloc, memhook_next_memalign, memhook_next_realloc,
    memhook_next_usable_size,
};
use core::ffi::c_void;

/// The interceptor. It changes no pointer, and sees every block.
pub(super) fn table(_freed: u8, flags: u32) -> memhook_interceptor {
    memhook_interceptor {
        struct_size: size_of::<memhook_interceptor>(),
        name: c"check: fill".as_ptr(),
        priority: i32::MAX - 2,
        flags: MEMHOOK_KEEPS_POINTERS,
        object: core::ptr::null(),
        user: (flags as usize) as *mut c_void,
        malloc: Some(malloc),
        realloc: Some(realloc),
        memalign: Some(memalign),
        free: Some(free),
        usable_size: None,
        release: None,
    }
}

fn asks(user: *mut c_void, what: u32) -> bool {
    user as usize & what as usize != 0
}

/// # Safety
///
/// `block` is null or has so many bytes.
unsafe fn fill_new(block: *mut c_void, from: usize, to: usize, entry: u32, user: *mut c_void) -> *mut c_void {
    let wanted = asks(user, MEMHOOK_CHECK_FILL_NEW) && entry != MEMHOOK_ENTRY_CALLOC && from < to;
    if let (false, true, Some(byte)) = (block.is_null(), wanted, settings::fresh()) {
        // SAFETY: the caller's contract.
        unsafe { block.cast::<u8>().wrapping_add(from).write_bytes(byte, to - from) };
    }
    block
}

unsafe extern "C" fn malloc(
    next: *mut memhook_next,
    requested: usize,
    call: *const memhook_call,
    user: *mut c_void,
) -> *mut c_void {
    // SAFETY: of this call.
    let block = unsafe { memhook_next_malloc(next, requested) };
    // SAFETY: of this call.
    let entry = unsafe { &*call }.entry;
    // SAFETY: a block of so many bytes, or null.
    unsafe { fill_new(block, 0, requested, entry, user) }
}

unsafe extern "C" fn memalign(
    next: *mut memhook_next,
    alignment: usize,
    requested: usize,
    _: *const memhook_call,
    user: *mut c_void,
) -> *mut c_void {
    // SAFETY: of this call.
    let block = unsafe { memhook_next_memalign(next, alignment, requested) };
    // SAFETY: a block of so many bytes, or null.
    unsafe { fill_new(block, 0, requested, MEMHOOK_ENTRY_MEMALIGN, user) }
}

unsafe extern "C" fn realloc(
    next: *mut memhook_next,
    block: *mut c_void,
    requested: usize,
    _: *const memhook_call,
    user: *mut c_void,
) -> *mut c_void {
    let before = if backend_knows_sizes() {
        // SAFETY: of this call.
        unsafe { memhook_next_usable_size(next, block) }
    } else {
        requested
    };
    // SAFETY: of this call.
    let new = unsafe { memhook_next_realloc(next, block, requested) };
    // What the program may have written to stays.
    // SAFETY: a block of so many bytes, or null.
    unsafe { fill_new(new, before, requested, MEMHOOK_ENTRY_REALLOC, user) }
}

unsafe extern "C" fn free(
    next: *mut memhook_next,
    block: *mut c_void,
    _: *const memhook_call,
    user: *mut c_void,
) {
    if asks(user, MEMHOOK_CHECK_FILL_FREED) && backend_knows_sizes() {
        // SAFETY: of this call.
        let usable = unsafe { memhook_next_usable_size(next, block) };
        // SAFETY: the program's block, which it has given up.
        unsafe { block.cast::<u8>().write_bytes(settings::poison() as u8, usable) };
    }
    // SAFETY: of this call.
    unsafe { memhook_next_free(next, block) }
}
