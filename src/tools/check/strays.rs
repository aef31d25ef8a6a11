//! Pointers that are given back, resized or measured and that no interceptor owns: blocks from before the tool was
//! started, blocks that were made in callbacks, and pointers that are no blocks at all.
//!
//! Never: condemns a block. What is not known to be wrong goes to the backend.
//!
//! What can be known: whether the pointer leads into a cell of the tool's, and whether there is memory at all. If
//! the C library is the backend, also whether a chunk of its begins there: every one that is in use has a size
//! that can be one, is aligned, and is called in use by the chunk behind it, or is a mapping of whole pages.

use super::cell::{Cell, State, tail};
use super::faults::Fault;
use super::places::Look;
use super::report::{Finder, deliver};
use super::{
    MEMHOOK_CHECK_DOUBLE_FREE, MEMHOOK_CHECK_FOREIGN, MEMHOOK_CHECK_INTERIOR, MEMHOOK_CHECK_USE_OF_FREED,
    MEMHOOK_CHECK_WILD,
};
use crate::abi::*;
use crate::api::backend::{memhook_backend_free, memhook_backend_malloc};
use crate::api::next::{
    memhook_next_free, memhook_next_is_backend, memhook_next_realloc, memhook_next_usable_size,
};
use crate::sys::elf::for_each_object;
use crate::sys::pages::PAGE;
use crate::sys::probe;
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, Ordering};

pub(super) fn table() -> memhook_interceptor {
    memhook_interceptor {
        struct_size: size_of::<memhook_interceptor>(),
        name: c"check: strays".as_ptr(),
        // Whoever has a use for such pointers comes first.
        priority: i32::MIN + 1,
        flags: MEMHOOK_OF_NOBODY,
        object: core::ptr::null(),
        user: core::ptr::null_mut(),
        malloc: None,
        realloc: Some(realloc),
        memalign: None,
        free: Some(free),
        usable_size: Some(usable_size),
        release: None,
    }
}

unsafe extern "C" fn free(
    next: *mut memhook_next,
    block: *mut c_void,
    call: *const memhook_call,
    _: *mut c_void,
) {
    // SAFETY: of this call.
    if unsafe { is_sound(next, block, call) } {
        // SAFETY: of this call.
        unsafe { memhook_next_free(next, block) }
    }
}

unsafe extern "C" fn realloc(
    next: *mut memhook_next,
    block: *mut c_void,
    requested: usize,
    call: *const memhook_call,
    _: *mut c_void,
) -> *mut c_void {
    // SAFETY: of this call.
    if !block.is_null() && !unsafe { is_sound(next, block, call) } {
        return core::ptr::null_mut();
    }
    // SAFETY: of this call.
    unsafe { memhook_next_realloc(next, block, requested) }
}

unsafe extern "C" fn usable_size(
    next: *mut memhook_next,
    block: *mut c_void,
    call: *const memhook_call,
    _: *mut c_void,
) -> usize {
    // SAFETY: of this call.
    if !unsafe { is_sound(next, block, call) } {
        return 0;
    }
    // SAFETY: of this call.
    unsafe { memhook_next_usable_size(next, block) }
}

/// Whether a pointer may go to the backend; reports it if not.
///
/// # Safety
///
/// The arguments are those of a callback that is running.
unsafe fn is_sound(next: *mut memhook_next, block: *mut c_void, call: *const memhook_call) -> bool {
    // An interceptor below may have made it.
    // SAFETY: the caller's contract.
    if unsafe { memhook_next_is_backend(next) } == 0 {
        return true;
    }
    // SAFETY: the caller's contract.
    let call = unsafe { &*call };
    let Some(fault) = judge(block as usize, call.entry) else { return true };
    deliver(&fault, Finder::Call(call));
    false
}

/// What is certainly wrong with a pointer.
fn judge(given: usize, entry: u32) -> Option<Fault> {
    if let Some(fault) = in_cell(given, entry) {
        return Some(fault);
    }
    if !given.is_multiple_of(8) {
        return Some(Fault::of(MEMHOOK_CHECK_WILD, given));
    }
    // What a sandbox may forbid is asked last: sound blocks do not come to it.
    // ORDERING [none]: Relaxed. Written before the hook was registered.
    let is_known = IS_GLIBC.load(Ordering::Relaxed);
    let is_sound = if is_known { is_chunk(given) } else { probe::is_readable(given) };
    if is_sound {
        return None;
    }
    let kind = if probe::is_mapped(given) { MEMHOOK_CHECK_FOREIGN } else { MEMHOOK_CHECK_WILD };
    (is_known || kind == MEMHOOK_CHECK_WILD).then(|| Fault::of(kind, given))
}

/// What is wrong with a pointer that leads into a cell: a live one would have an owner, if it began there.
fn in_cell(given: usize, entry: u32) -> Option<Fault> {
    let look = Look::new();
    let cell: Cell = look.last_before(given)?;
    let begins = cell.block() as usize == given;
    // SAFETY: kept by the look.
    let (facts, is_freed) = match unsafe { cell.header() }.state().0 {
        // Another thread is freeing it at this moment, or has begun to.
        State::Live(facts) => (Some(facts), false),
        State::Freed(facts) => (Some(facts), true),
        State::Changing | State::Broken if begins => (None, true),
        State::Changing | State::Broken => return None,
    };
    let end = cell.block() as usize + facts.map_or(1, |facts| tail(facts.kind.requested()));
    if given >= end {
        return None;
    }
    let is_free =
        ![MEMHOOK_ENTRY_REALLOC, MEMHOOK_ENTRY_REALLOCARRAY, MEMHOOK_ENTRY_USABLE_SIZE].contains(&entry);
    let kind = match (begins, is_free) {
        (false, _) => MEMHOOK_CHECK_INTERIOR,
        (true, true) => MEMHOOK_CHECK_DOUBLE_FREE,
        (true, false) => MEMHOOK_CHECK_USE_OF_FREED,
    };
    Some(Fault::of(kind, given).about(cell, facts, is_freed))
}

/// Whether the backend is the C library's allocator.
static IS_GLIBC: AtomicBool = AtomicBool::new(false);
static IS_KNOWN: AtomicBool = AtomicBool::new(false);

/// Finds out what the backend is, once: in a fork child, the dynamic linker's lock may be that of a thread that did not
/// come along.
pub(super) fn prepare() {
    // ORDERING [none]: Relaxed. Only who starts the tool writes it.
    if IS_KNOWN.load(Ordering::Relaxed) {
        return;
    }
    let probe = memhook_backend_malloc(100).cast::<u8>();
    if probe.is_null() {
        return;
    }
    let looks = is_chunk(probe as usize) && size_word(probe as usize) & !7 == 112;
    // SAFETY: made above.
    unsafe { memhook_backend_free(probe.cast()) };
    // ORDERING [none]: Relaxed. The hook is registered afterwards.
    IS_GLIBC.store(looks && comes_from_the_c_library(), Ordering::Relaxed);
    // ORDERING [none]: Relaxed. As above.
    IS_KNOWN.store(true, Ordering::Relaxed);
}

/// Whether malloc below us is defined by the C library itself, or the program is static.
fn comes_from_the_c_library() -> bool {
    let own = prepare as *const () as usize;
    let (mut behind_us, mut first, mut any) = (false, None, None);
    for_each_object(&mut |object| {
        let ours = object.contains(own);
        behind_us |= ours;
        if !ours && object.function(c"malloc").is_some() {
            any = any.or(Some(object.name()));
            if behind_us {
                first = first.or(Some(object.name()));
            }
        }
        first.is_none()
    });
    first.or(any).is_none_or(|name| super::origin::file_name(name.to_bytes()).starts_with(b"libc.so"))
}

const MAPPED: usize = 2;
const IN_USE_BEFORE: usize = 1;
const SMALLEST: usize = 32;

/// The word before a block, which can be read.
fn size_word(block: usize) -> usize {
    // SAFETY: by who calls.
    unsafe { ((block - 8) as *const usize).read_volatile() }
}

/// Whether a chunk of glibc's that is in use may have its memory there. False is certain: each of these holds for
/// every one that there is.
fn is_chunk(block: usize) -> bool {
    if !block.is_multiple_of(16) || block < 16 || !probe::is_readable(block - 16) {
        return false;
    }
    let (chunk, word) = (block - 16, size_word(block));
    let bytes = word & !7;
    if word & MAPPED != 0 {
        // SAFETY: the kernel could read it (above).
        let before = unsafe { (chunk as *const usize).read_volatile() };
        let place = block & (PAGE - 1);
        return (chunk.wrapping_sub(before) | before.wrapping_add(bytes)) & (PAGE - 1) == 0
            && (place == 0 || place.is_power_of_two());
    }
    if bytes < SMALLEST || !bytes.is_multiple_of(16) {
        return false;
    }
    let Some(behind) = chunk.checked_add(bytes).and_then(|behind| behind.checked_add(16)) else {
        return false;
    };
    probe::is_readable(behind - 8) && size_word(behind) & IN_USE_BEFORE != 0
}
