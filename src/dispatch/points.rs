//! The entry points on the full way: each says what is asked for and hands on. `malloc` and `free` come
//! here from the shorter ways only.

use super::Ask;
use super::How;
use super::allocate;
use super::lists::Lists;
use super::next::Walk;
use super::note;
use super::release;
use super::release_nothing;
use super::resize::resize;
use crate::abi::*;
use crate::backend;
use crate::chain;
use crate::grace;
use crate::guard;
use crate::ownership;
use core::ffi::c_int;
use core::ffi::c_void;

#[cold]
#[inline(never)]
pub(crate) unsafe extern "C" fn malloc(requested: usize, frame: usize, caller: usize) -> *mut c_void {
    let ask = Ask::bytes(MEMHOOK_ENTRY_MALLOC, requested, caller);
    allocate(ask, How::Malloc { bytes: requested }, frame)
}

pub(crate) unsafe extern "C" fn calloc(
    count: usize,
    each: usize,
    frame: usize,
    caller: usize,
) -> *mut c_void {
    let bytes = count.checked_mul(each);
    let requested = bytes.unwrap_or(usize::MAX);
    let ask = Ask::array(MEMHOOK_ENTRY_CALLOC, requested, [count, each], caller);
    allocate(ask, bytes.map_or(How::Refuse(libc::ENOMEM), |bytes| How::Calloc { bytes }), frame)
}

pub(crate) unsafe extern "C" fn realloc(
    block: *mut c_void,
    requested: usize,
    frame: usize,
    caller: usize,
) -> *mut c_void {
    let ask = Ask::bytes(MEMHOOK_ENTRY_REALLOC, requested, caller).of(block);
    any_realloc(ask, How::Realloc { bytes: requested }, frame)
}

pub(crate) unsafe extern "C" fn reallocarray(
    block: *mut c_void,
    count: usize,
    each: usize,
    frame: usize,
    caller: usize,
) -> *mut c_void {
    let bytes = count.checked_mul(each);
    if let (Some(bytes), Some(realloc)) = (bytes, backend::realloc_before_us()) {
        // SAFETY: the caller's contract is that of realloc.
        return unsafe { realloc(block, bytes) };
    }
    let requested = bytes.unwrap_or(usize::MAX);
    let ask = Ask::array(MEMHOOK_ENTRY_REALLOCARRAY, requested, [count, each], caller).of(block);
    any_realloc(ask, bytes.map_or(How::Refuse(libc::ENOMEM), |bytes| How::Realloc { bytes }), frame)
}

fn any_realloc(ask: Ask, how: How, frame: usize) -> *mut c_void {
    if ask.block.is_null() { allocate(ask, how, frame) } else { resize(ask, how, frame) }
}

fn aligned(entry: u32, alignment: usize, requested: usize, frame: usize, caller: usize) -> *mut c_void {
    let ask = Ask::bytes(entry, requested, caller).aligned(alignment);
    allocate(ask, How::Memalign { alignment, bytes: requested }, frame)
}

pub(crate) unsafe extern "C" fn memalign(
    alignment: usize,
    requested: usize,
    frame: usize,
    caller: usize,
) -> *mut c_void {
    aligned(MEMHOOK_ENTRY_MEMALIGN, alignment, requested, frame, caller)
}

pub(crate) unsafe extern "C" fn aligned_alloc(
    alignment: usize,
    requested: usize,
    frame: usize,
    caller: usize,
) -> *mut c_void {
    aligned(MEMHOOK_ENTRY_ALIGNED_ALLOC, alignment, requested, frame, caller)
}

pub(crate) unsafe extern "C" fn posix_memalign(
    out: *mut *mut c_void,
    alignment: usize,
    requested: usize,
    frame: usize,
    caller: usize,
) -> c_int {
    let valid = alignment.is_power_of_two() && alignment >= size_of::<usize>();
    let how = if valid { How::Memalign { alignment, bytes: requested } } else { How::Refuse(libc::EINVAL) };
    let ask = Ask::bytes(MEMHOOK_ENTRY_POSIX_MEMALIGN, requested, caller).aligned(alignment);
    let errno = crate::sys::thread::errno_location();
    // SAFETY: errno of this thread.
    let before = unsafe { errno.read() };
    let block = allocate(ask, how, frame);
    if !block.is_null() {
        // SAFETY: posix_memalign's caller gives a writable pointer.
        unsafe { out.write(block) };
        return 0;
    }
    if valid {
        // As glibc's, which leaves the ENOMEM of its allocation in errno.
        return libc::ENOMEM;
    }
    // SAFETY: errno of this thread; a refused call leaves it alone.
    unsafe { errno.write(before) };
    libc::EINVAL
}

pub(crate) unsafe extern "C" fn valloc(requested: usize, frame: usize, caller: usize) -> *mut c_void {
    let alignment = backend::page_size();
    let ask = Ask::bytes(MEMHOOK_ENTRY_VALLOC, requested, caller);
    allocate(ask, How::Memalign { alignment, bytes: requested }, frame)
}

pub(crate) unsafe extern "C" fn pvalloc(requested: usize, frame: usize, caller: usize) -> *mut c_void {
    let alignment = backend::page_size();
    let how = match backend::whole_pages(requested) {
        Some(bytes) => How::Memalign { alignment, bytes },
        None => How::Refuse(libc::ENOMEM),
    };
    let ask = Ask::bytes(MEMHOOK_ENTRY_PVALLOC, requested, caller);
    allocate(ask, how, frame)
}

fn any_free(entry: u32, block: *mut c_void, requested: usize, alignment: usize, frame: usize, caller: usize) {
    let ask = Ask::bytes(entry, requested, caller).aligned(alignment).of(block);
    if block.is_null() { release_nothing(ask, frame) } else { release(ask, frame) }
}

#[cold]
#[inline(never)]
pub(crate) unsafe extern "C" fn free(block: *mut c_void, frame: usize, caller: usize) {
    any_free(MEMHOOK_ENTRY_FREE, block, 0, 0, frame, caller);
}

pub(crate) unsafe extern "C" fn free_sized(block: *mut c_void, bytes: usize, frame: usize, caller: usize) {
    if let Some(free) = backend::free_before_us() {
        // SAFETY: the caller's contract is that of free.
        return unsafe { free(block) };
    }
    any_free(MEMHOOK_ENTRY_FREE_SIZED, block, bytes, 0, frame, caller);
}

pub(crate) unsafe extern "C" fn free_aligned_sized(
    block: *mut c_void,
    alignment: usize,
    bytes: usize,
    frame: usize,
    caller: usize,
) {
    if let Some(free) = backend::free_before_us() {
        // SAFETY: as in `free_sized`.
        return unsafe { free(block) };
    }
    any_free(MEMHOOK_ENTRY_FREE_ALIGNED_SIZED, block, bytes, alignment, frame, caller);
}

pub(crate) unsafe extern "C" fn usable_size(block: *mut c_void, frame: usize, caller: usize) -> usize {
    let ask = Ask::bytes(MEMHOOK_ENTRY_USABLE_SIZE, 0, caller).of(block);
    let Some(record) = guard::record() else { return 0 };
    note(record, ask.entry);
    if block.is_null() {
        return 0;
    }
    let owner = ownership::owner(block);
    let errno = record.errno();
    let entered = grace::enter(record, frame);
    let nested = entered.is_none();
    let section = entered.unwrap_or_else(|| grace::enter_anyhow(record, frame));
    let call = ask.call(record);
    let view = chain::current(&section).view(record);
    let lists = Lists::taking((!nested).then_some(view), owner, record);
    let usable = Walk::new(&call, lists).usable_size(block);
    drop(section);
    record.set_errno(errno);
    usable
}
