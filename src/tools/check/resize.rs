//! realloc of the tool's blocks.
//!
//! A small block is made anew unless its cell fits, so that a stale pointer to the former one is noticed; a larger one
//! is left to the backend, which may resize it where it is.

use super::cell::{Cell, tail};
use super::hooks::{
    before, dress, fill, free, judge_free, make, make_fresh, malloc, origin, overflows, release_large,
};
use super::kind::{FreedIn, Kind, LARGEST};
use super::places;
use super::settings;
use super::shelves::{SMALL, Shelves, class_of};
use crate::abi::*;
use crate::api::backend::{memhook_backend_free, memhook_backend_realloc};
use crate::api::local::memhook_thread;
use crate::api::next::memhook_next_realloc;
use core::ffi::c_void;

pub(super) unsafe extern "C" fn realloc<const EXTRA: bool>(
    next: *mut memhook_next,
    block: *mut c_void,
    requested: usize,
    call: *const memhook_call,
    user: *mut c_void,
) -> *mut c_void {
    if block.is_null() {
        // SAFETY: of this call.
        return unsafe { malloc::<EXTRA>(next, requested, call, user) };
    }
    if requested == 0 {
        // SAFETY: of this call.
        unsafe { free::<EXTRA>(next, block, call, user) };
        return core::ptr::null_mut();
    }
    // SAFETY: of this call.
    let call = unsafe { &*call };
    if EXTRA {
        before(call);
    }
    let cell = Cell::of(block.cast());
    // SAFETY: a block that this interceptor made.
    let header = unsafe { cell.header() };
    // SAFETY: as above; it is live.
    let Some(kind) = unsafe { header.sound_live() }.or_else(|| judge_free(cell, call)) else {
        return core::ptr::null_mut();
    };
    let before = kind.requested();
    // SAFETY: of this call.
    let new = unsafe { resize::<EXTRA>(next, cell, kind, requested, call) };
    if EXTRA && requested > before {
        // SAFETY: a block of so many bytes, or null.
        unsafe { fill(new, before, requested, call) };
    }
    new.cast()
}

/// # Safety
///
/// As [`release_large`].
unsafe fn resize<const EXTRA: bool>(
    next: *mut memhook_next,
    cell: Cell,
    kind: Kind,
    requested: usize,
    call: &memhook_call,
) -> *mut u8 {
    // SAFETY: the caller's contract.
    let header = unsafe { cell.header() };
    let before = kind.requested();
    if requested > LARGEST {
        return core::ptr::null_mut();
    }
    if kind.is_usual() && before <= SMALL && requested <= SMALL && class_of(before) == class_of(requested) {
        header.open();
        let number = Shelves::open().map_or(memhook_thread() << 32, |shelves| shelves.next_number());
        // SAFETY: the caller's contract; the room is the same.
        unsafe { header.make(kind.resized(requested, call), origin::<EXTRA>(call), number) };
        return cell.block();
    }
    // Larger blocks are left where they are if the backend can, which may also move pages instead of bytes.
    if !kind.is_direct() || (before.min(requested) > SMALL && places::take_away(cell)) {
        // SAFETY: the caller's contract.
        return unsafe { resize_whole::<EXTRA>(next, cell, kind, requested, call) };
    }
    // SAFETY: the caller's contract.
    let new = unsafe { make::<EXTRA>(next, requested, call) };
    if !new.is_null() {
        // SAFETY: both blocks have so many bytes, and do not overlap.
        unsafe { new.copy_from_nonoverlapping(cell.block(), before.min(requested)) };
        // A stale pointer to the block is noticed, as after a free.
        // SAFETY: the caller's contract.
        unsafe { release_old::<EXTRA>(next, cell, kind, call) };
    }
    new
}

/// # Safety
///
/// As [`release_large`].
unsafe fn release_old<const EXTRA: bool>(
    next: *mut memhook_next,
    cell: Cell,
    kind: Kind,
    call: &memhook_call,
) {
    if !(kind.is_usual() && kind.requested() <= SMALL) {
        // SAFETY: the caller's contract.
        return unsafe { release_large(next, cell, kind, origin::<EXTRA>(call), call) };
    }
    let poison = settings::poison();
    let by = FreedIn::new(memhook_thread(), call.entry, poison);
    // SAFETY: the caller's contract.
    let header = unsafe { cell.header() };
    // SAFETY: the caller's contract.
    unsafe { header.release(kind, origin::<EXTRA>(call), by, poison) };
    let class = class_of(kind.requested());
    if !Shelves::open().is_some_and(|shelves| shelves.put(class, cell)) {
        overflows(class, cell, call);
    }
}

/// Leaves it to the backend, or to the interceptors below, to find another place.
///
/// # Safety
///
/// As [`release_large`], and nobody looks at the cell.
unsafe fn resize_whole<const EXTRA: bool>(
    next: *mut memhook_next,
    cell: Cell,
    kind: Kind,
    requested: usize,
    call: &memhook_call,
) -> *mut u8 {
    // SAFETY: the caller's contract.
    let header = unsafe { cell.header() };
    let whole = kind.whole(cell);
    let shift = cell.block() as usize - whole as usize;
    let bytes = kind.offset() + tail(requested) + 8;
    // Before the memory may be given up: until it is made again, the cell is no state at all.
    header.open();
    let moved = if kind.is_direct() {
        // SAFETY: memory of the backend's that is this call's alone.
        unsafe { memhook_backend_realloc(whole.cast(), bytes) }
    } else {
        // SAFETY: as above, of the interceptors below.
        unsafe { memhook_next_realloc(next, whole.cast(), bytes) }
    };
    if moved.is_null() {
        header.close();
        if kind.is_direct() {
            let _ = places::insert(cell);
        }
        return core::ptr::null_mut();
    }
    let moved = moved.cast::<u8>();
    let now = kind.resized(requested, call).even();
    let odd = if (moved as usize).is_multiple_of(16) { 0 } else { 8 };
    let kept = kind.requested().min(requested);
    let place = moved.wrapping_add(kind.offset() + odd);
    // SAFETY: the bytes went along; both places are in the memory.
    unsafe { place.copy_from(moved.wrapping_add(shift), kept) };
    if odd != 0 && kind.is_direct() {
        // A backend that aligns less than the C library does.
        // SAFETY: of this call.
        let new = unsafe { make_fresh::<EXTRA>(next, requested, call) };
        if new.is_null() {
            return new;
        }
        // SAFETY: both have so many bytes.
        unsafe { new.copy_from_nonoverlapping(place, kept) };
        // SAFETY: nobody's any more.
        unsafe { memhook_backend_free(moved.cast()) };
        return new;
    }
    // SAFETY: memory of so many bytes.
    unsafe { dress(moved, now, origin::<EXTRA>(call)) }
}
