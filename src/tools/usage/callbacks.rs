//! The interceptor: a header in front of each block keeps the size that was asked for.
//!
//! Never: counts a call that failed among those that gave a block.
//!
//! The header has 16 bytes, as libmemusage's: what malloc gives stays aligned, and the allocator below is
//! asked for the same sizes, so that it resizes in place when it would under libmemusage. In front of a
//! block that was asked for with a larger alignment there is as much as the alignment.
//!
//! What malloc and free usually do, with no other interceptor in force, is in line, and decided before anything is
//! written: what is not usual is left to a function for all cases.
//!
//! Blocks are ours by ownership: no magic number that a program's data could have.

use super::counts::{Counts, FAR, Kind, OfKind, add};
use super::session::Session;
use crate::abi::*;
use crate::api::local::Here;
use crate::api::next::{
    is_alone, memhook_next_free, memhook_next_malloc, memhook_next_memalign, memhook_next_realloc,
    memhook_next_usable_size,
};
use crate::sys::barrier::seldom;
use core::ffi::c_void;

/// What stands in front of a block: the bytes that the program asked for (an interceptor above, such as another
/// session, asks for more), and where the block of the allocator below begins further in front than this, [`FAR`] with
/// them, and how far.
type Header = [usize; 2];

const HEADER: usize = size_of::<Header>();

/// The callbacks of a session, for one with a data file or one without.
pub(super) fn table<const DATA: bool>(session: &'static Session, flags: u32) -> memhook_interceptor {
    memhook_interceptor {
        struct_size: size_of::<memhook_interceptor>(),
        name: c"usage".as_ptr(),
        // Nearest to the program: its own requests are what is counted.
        priority: i32::MAX,
        flags,
        user: core::ptr::from_ref(session).cast_mut().cast(),
        object: core::ptr::null(),
        malloc: Some(malloc::<DATA>),
        realloc: Some(realloc::<DATA>),
        memalign: Some(memalign::<DATA>),
        free: Some(free::<DATA>),
        usable_size: Some(usable_size),
        release: Some(super::begin::release),
    }
}

/// # Safety
///
/// `user` is that of a callback of ours.
#[inline(always)]
unsafe fn session(user: *mut c_void) -> &'static Session {
    // SAFETY: sessions are never unmapped (the caller's contract).
    unsafe { &*user.cast::<Session>() }
}

/// The bytes that the program asked for, perhaps with [`FAR`].
///
/// # Safety
///
/// `block` is a block of ours.
#[inline(always)]
unsafe fn asked_or_far(block: *mut c_void) -> usize {
    // SAFETY: in front of each of our blocks (the caller's contract).
    unsafe { block.wrapping_byte_sub(HEADER).cast::<usize>().read() }
}

/// The bytes that the program asked for, and how far in front the block of the allocator below begins.
///
/// # Safety
///
/// `block` is a block of ours.
unsafe fn header(block: *mut c_void) -> (usize, usize) {
    // SAFETY: the caller's contract.
    let asked = unsafe { asked_or_far(block) };
    if asked & FAR == 0 {
        return (asked, HEADER);
    }
    // SAFETY: as above; `dress` wrote both.
    (asked & !FAR, unsafe { block.wrapping_byte_sub(size_of::<usize>()).cast::<usize>().read() })
}

/// Puts a header at the end of the first `HEADER` bytes of `at`; the block behind it.
///
/// # Safety
///
/// `at` has so many bytes at least, and is aligned to 8.
#[inline(always)]
unsafe fn dress(at: *mut c_void, asked: usize) -> *mut c_void {
    // SAFETY: within its first bytes (the caller's contract).
    unsafe { at.cast::<usize>().write(asked) };
    at.wrapping_byte_add(HEADER)
}

/// Puts a header at the end of the first `offset` bytes of `at`; the block behind it.
///
/// # Safety
///
/// `at` has `offset` bytes at least, which is `HEADER` or more, and is aligned to 8.
unsafe fn dress_far(at: *mut c_void, offset: usize, asked: usize) -> *mut c_void {
    let block = at.wrapping_byte_add(offset);
    let far = if offset == HEADER { 0 } else { FAR };
    // SAFETY: within the first `offset` bytes (the caller's contract).
    unsafe { block.wrapping_byte_sub(HEADER).cast::<Header>().write([asked | far, offset]) };
    block
}

/// Ends a call that has changed what is in use.
fn settle<const DATA: bool>(session: &Session, counts: &Counts) {
    // SAFETY: in a callback.
    let at = unsafe { Here::of_callback() }.frame();
    counts.settle(at, &session.peak);
    if DATA {
        super::data::note_depth(session, counts.depth_of(at));
    }
}

fn of_kind(counts: &Counts, kind: Kind) -> Option<&OfKind> {
    counts.kinds.get(kind as usize)
}

#[cold]
#[inline(never)]
fn failed(session: &Session, kind: Kind) -> *mut c_void {
    if let Some(of_kind) = session.counts().and_then(|counts| of_kind(counts, kind)) {
        add(&of_kind.failed, 1);
    }
    core::ptr::null_mut()
}

/// Counts a new block.
fn made<const DATA: bool>(session: &Session, counts: &Counts, kind: Kind, asked: usize) {
    if let (true, Some(of_kind)) = (kind != Kind::Malloc, of_kind(counts, kind)) {
        add(&of_kind.made, 1);
        add(&of_kind.bytes, asked as u64);
    }
    counts.block_made(asked);
    settle::<DATA>(session, counts);
}

unsafe extern "C" fn malloc<const DATA: bool>(
    next: *mut memhook_next,
    requested: usize,
    call: *const memhook_call,
    user: *mut c_void,
) -> *mut c_void {
    // SAFETY: of this call.
    let session = unsafe { session(user) };
    if DATA || !is_alone(next) {
        seldom();
        // SAFETY: of this call.
        return unsafe { malloc_fully::<DATA>(next, requested, call, session) };
    }
    // SAFETY: in a callback.
    let here = unsafe { Here::of_callback() };
    if let Some(counts) = session.counts_of(here)
        && counts.usual_block_made(requested, here.frame())
    {
        // SAFETY: of this call. What is usual is small.
        let at = unsafe { memhook_next_malloc(next, requested.wrapping_add(HEADER)) };
        if at.is_null() {
            return take_back(session, requested);
        }
        // SAFETY: a fresh block, larger by a header.
        return unsafe { dress(at, requested) };
    }
    // SAFETY: of this call.
    unsafe { malloc_fully::<DATA>(next, requested, call, session) }
}

/// The allocator below has no memory for a block that was counted.
#[cold]
#[inline(never)]
fn take_back(session: &Session, requested: usize) -> *mut c_void {
    if let Some(counts) = session.counts() {
        counts.take_back(requested);
    }
    failed(session, Kind::Malloc)
}

/// # Safety
///
/// `next` and `call` were given to the callback that is running.
#[inline(never)]
unsafe fn malloc_fully<const DATA: bool>(
    next: *mut memhook_next,
    requested: usize,
    call: *const memhook_call,
    session: &'static Session,
) -> *mut c_void {
    // SAFETY: the caller's contract.
    let call = unsafe { &*call };
    let kind = if call.entry == MEMHOOK_ENTRY_CALLOC { Kind::Calloc } else { Kind::Malloc };
    // SAFETY: the caller's contract. More than there can be, rounded, fails.
    let at = unsafe { memhook_next_malloc(next, requested.saturating_add(HEADER)) };
    // SAFETY: null, or a fresh block, larger by a header.
    unsafe { new::<DATA>(session, at, kind, call.requested) }
}

/// Counts what a call gave.
///
/// # Safety
///
/// `at` is null, or a new block with room for a header and `asked` bytes.
#[inline(never)]
unsafe fn new<const DATA: bool>(
    session: &'static Session,
    at: *mut c_void,
    kind: Kind,
    asked: usize,
) -> *mut c_void {
    if at.is_null() {
        return failed(session, kind);
    }
    if let Some(counts) = session.counts() {
        made::<DATA>(session, counts, kind, asked);
    }
    // SAFETY: the caller's contract.
    unsafe { dress(at, asked) }
}

unsafe extern "C" fn memalign<const DATA: bool>(
    next: *mut memhook_next,
    alignment: usize,
    requested: usize,
    call: *const memhook_call,
    user: *mut c_void,
) -> *mut c_void {
    // SAFETY: of this call.
    let session = unsafe { session(user) };
    // SAFETY: of this call.
    let asked = unsafe { (*call).requested };
    // What is no power of two is refused below, or rounded up to one. Without room for such an offset
    // there is none for the block: it fails below.
    let offset = alignment.checked_next_power_of_two().unwrap_or(1 << 63).max(HEADER);
    // SAFETY: of this call.
    let at = unsafe { memhook_next_memalign(next, alignment, requested.saturating_add(offset)) };
    if at.is_null() {
        return failed(session, Kind::Aligned);
    }
    if let Some(counts) = session.counts() {
        made::<DATA>(session, counts, Kind::Aligned, asked);
    }
    // SAFETY: a fresh block, larger by the offset.
    unsafe { dress_far(at, offset, asked) }
}

unsafe extern "C" fn free<const DATA: bool>(
    next: *mut memhook_next,
    block: *mut c_void,
    _call: *const memhook_call,
    user: *mut c_void,
) {
    // SAFETY: of this call.
    let session = unsafe { session(user) };
    if DATA || !is_alone(next) {
        seldom();
        // SAFETY: of this call.
        return unsafe { free_fully::<DATA>(next, block, session) };
    }
    // SAFETY: in a callback.
    let here = unsafe { Here::of_callback() };
    if let Some(counts) = session.counts_of(here)
        // SAFETY: the interceptor is given its own blocks.
        && counts.usual_block_gone(unsafe { asked_or_far(block) }, here.frame())
    {
        // SAFETY: of this call; what the rest of the chain gave, for what is usual is not far.
        return unsafe { memhook_next_free(next, block.wrapping_byte_sub(HEADER)) };
    }
    // SAFETY: of this call.
    unsafe { free_fully::<DATA>(next, block, session) }
}

/// # Safety
///
/// `next` and `block` were given to the callback that is running.
#[inline(never)]
unsafe fn free_fully<const DATA: bool>(
    next: *mut memhook_next,
    block: *mut c_void,
    session: &'static Session,
) {
    if block.is_null() {
        return free_nothing(session);
    }
    // SAFETY: the interceptor is given its own blocks.
    let (asked, offset) = unsafe { header(block) };
    if let Some(counts) = session.counts() {
        counts.block_gone(asked);
        settle::<DATA>(session, counts);
    }
    // SAFETY: of this call; what the rest of the chain gave.
    unsafe { memhook_next_free(next, block.wrapping_byte_sub(offset)) };
}

#[cold]
#[inline(never)]
fn free_nothing(session: &Session) {
    if let Some(counts) = session.counts() {
        add(&counts.null_frees, 1);
    }
}

unsafe extern "C" fn realloc<const DATA: bool>(
    next: *mut memhook_next,
    block: *mut c_void,
    requested: usize,
    call: *const memhook_call,
    user: *mut c_void,
) -> *mut c_void {
    // SAFETY: of this call.
    let session = unsafe { session(user) };
    // SAFETY: of this call.
    let asked = unsafe { (*call).requested };
    if block.is_null() {
        // SAFETY: of this call.
        let at = unsafe { memhook_next_realloc(next, block, requested.saturating_add(HEADER)) };
        if let Some(counts) = session.counts().filter(|_| !at.is_null()) {
            add(&counts.realloc_new, 1);
        }
        // SAFETY: null, or a fresh block, larger by a header.
        return unsafe { new::<DATA>(session, at, Kind::Realloc, asked) };
    }
    // SAFETY: the interceptor is given its own blocks.
    let (was, offset) = unsafe { header(block) };
    let whole = block.wrapping_byte_sub(offset);
    let new = if requested == 0 {
        // SAFETY: of this call; what the rest of the chain gave.
        unsafe { to_nothing(next, whole, offset) }
    } else {
        // SAFETY: of this call; what the rest of the chain gave.
        unsafe { memhook_next_realloc(next, whole, requested.saturating_add(offset)) }
    };
    if new.is_null() && requested != 0 {
        return failed(session, Kind::Realloc);
    }
    if let Some(counts) = session.counts() {
        if new.is_null() {
            freed(counts, was);
        } else {
            resized(counts, was, asked, new == whole);
        }
        settle::<DATA>(session, counts);
    }
    if new.is_null() {
        return new;
    }
    // SAFETY: a block of `requested` bytes and the offset.
    unsafe { dress_far(new, offset, asked) }
}

/// A realloc to nothing, which is a free where the allocator below makes one of it; else the block that it
/// gives, with room for what stands in front.
///
/// # Safety
///
/// `next` was given to the callback that is running; `whole` came from it.
unsafe fn to_nothing(next: *mut memhook_next, whole: *mut c_void, offset: usize) -> *mut c_void {
    // SAFETY: the caller's contract.
    let small = unsafe { memhook_next_realloc(next, whole, 0) };
    if small.is_null() {
        return small;
    }
    // SAFETY: of this call; the block from above.
    let new = unsafe { memhook_next_realloc(next, small, offset) };
    if new.is_null() {
        // SAFETY: of this call; the block from above.
        unsafe { memhook_next_free(next, small) };
    }
    new
}

/// A realloc gave the block back.
fn freed(counts: &Counts, was: usize) {
    add(&counts.realloc_free, 1);
    counts.less(was);
}

fn resized(counts: &Counts, was: usize, asked: usize, in_place: bool) {
    let Some(of_kind) = of_kind(counts, Kind::Realloc) else { return };
    add(&of_kind.made, 1);
    counts.enter(asked);
    counts.more(asked.saturating_sub(was));
    add(&of_kind.bytes, asked.saturating_sub(was) as u64);
    if in_place {
        add(&counts.realloc_in_place, 1);
    }
    if was > asked {
        add(&counts.realloc_decreasing, 1);
        add(&counts.shrunk, (was - asked) as u64);
        counts.less(was - asked);
    }
}

unsafe extern "C" fn usable_size(
    next: *mut memhook_next,
    block: *mut c_void,
    _call: *const memhook_call,
    _user: *mut c_void,
) -> usize {
    // SAFETY: the interceptor is given its own blocks.
    let (_, offset) = unsafe { header(block) };
    // SAFETY: of this call; what the rest of the chain gave.
    unsafe { memhook_next_usable_size(next, block.wrapping_byte_sub(offset)) }.saturating_sub(offset)
}
