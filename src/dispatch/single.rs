//! malloc and free while one interceptor is all that stands between the program and the backend, and
//! owns what it makes.
//!
//! What happens seldom is left to the full way, in the section that is open: other chains, blocks that
//! are older than the interceptor, calls that fail. The interceptor is not asked whether it is to be
//! passed by, nor whether its code is gone: who unregisters it waits for the section, which is narrowed
//! to it.

use super::{Ask, How, NONE, allocate_in, give_back, next, points, refuse, release_in, short_section, tell};
use crate::abi::*;
use crate::chain::Head;
use crate::grace::{self, Brief};
use crate::ownership;
use core::ffi::c_void;

pub(crate) unsafe extern "C" fn malloc(requested: usize, frame: usize, caller: usize) -> *mut c_void {
    let Some((section, head)) = short_section(frame) else {
        // SAFETY: the caller's contract is malloc's.
        return unsafe { points::malloc(requested, frame, caller) };
    };
    let record = section.record();
    // SAFETY: in this section.
    let view = unsafe { head.view() };
    let Some(single) = view.single.as_ref() else {
        return malloc_of_many(section, requested, caller);
    };
    let call = record.describe_malloc(requested, caller).get();
    let errno = record.errno();
    // SAFETY: the program's own function, by the contract of memhook_register.
    let block = unsafe { (single.malloc)(next::end(), requested, call, single.user) };
    if !ownership::is_near(block, record) || view.is_observed {
        return made(section, block, head, errno);
    }
    // SAFETY: a block is near.
    unsafe { record.count_at_once(single.owner, 1) };
    // SAFETY: near.
    unsafe { ownership::mark_near(block, single.owner, record) };
    drop(section);
    record.set_errno(errno);
    block
}

/// The chain in force has more interceptors, or other ones.
#[inline(never)]
fn malloc_of_many(section: Brief, requested: usize, caller: usize) -> *mut c_void {
    let record = section.record();
    let ask = Ask::bytes(MEMHOOK_ENTRY_MALLOC, requested, caller);
    allocate_in(Some(section.announcing()), &ask, How::Malloc { bytes: requested }, record)
}

/// What the interceptor gave, which may be nothing, is to be marked and counted, and observers are to be
/// told. The interceptor counts as entered until that.
#[inline(never)]
pub(super) fn made(section: Brief, block: *mut c_void, head: &Head, errno: i32) -> *mut c_void {
    let record = section.record();
    // SAFETY: in this section.
    let view = unsafe { head.view() };
    let Some(single) = &view.single else { return block };
    grace::announce_interceptor(record, single.hook.bit());
    let section = section.announcing();
    // SAFETY: the call of this section.
    let call = unsafe { &*record.malloc_call.get() };
    let kept = !block.is_null() && ownership::mark(block, single.owner);
    let (block, given) = if kept { (block, NONE) } else { (NONE, block) };
    if !given.is_null() {
        give_back(given, call, view, view.interceptors.get(), record);
    }
    if kept {
        ownership::made(single.owner, record);
        ownership::bring_near(block, record);
    }
    tell::after(record, view.after_alloc, call, block);
    drop(section);
    if !kept {
        return refuse(libc::ENOMEM);
    }
    record.set_errno(errno);
    block
}

pub(crate) unsafe extern "C" fn free(block: *mut c_void, frame: usize, caller: usize) {
    let entered = if block.is_null() { None } else { short_section(frame) };
    let Some((section, head)) = entered else {
        // SAFETY: the caller's contract is free's.
        return unsafe { points::free(block, frame, caller) };
    };
    let record = section.record();
    // SAFETY: in this section.
    let view = unsafe { head.view() };
    let Some(single) = view.single.as_ref() else {
        return free_by_many(section, block, frame, caller);
    };
    if !ownership::is_near(block, record) || view.is_observed {
        return free_by_many(section, block, frame, caller);
    }
    // SAFETY: near.
    if !unsafe { ownership::is_near_of(single.owner, block, record) } {
        return free_by_many(section, block, frame, caller);
    }
    // SAFETY: near.
    unsafe { ownership::mark_near(block, 0, record) };
    // Before its end, and in the thread's own count: whoever drains the list waits for this section first.
    // SAFETY: near.
    unsafe { record.count_at_once(single.owner, -1) };
    let call = record.describe_free(block, caller).get();
    let errno = record.errno();
    // SAFETY: as in `malloc`.
    unsafe { (single.free)(next::end(), block, call, single.user) };
    drop(section);
    record.set_errno(errno);
}

/// As [`malloc_of_many`], or the block is older than the interceptor, or was made far away.
#[inline(never)]
pub(super) fn free_by_many(section: Brief, block: *mut c_void, frame: usize, caller: usize) {
    let record = section.record();
    ownership::bring_near(block, record);
    let ask = Ask::bytes(MEMHOOK_ENTRY_FREE, 0, caller).of(block);
    release_in(Some(section.announcing()), &ask, record, frame);
}
