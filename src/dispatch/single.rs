//! malloc and free while one interceptor is all that stands between the program and the backend, and
//! owns what it makes.
//!
//! What happens seldom is left to the full way, in the section that is open: other chains, blocks that
//! are older than the interceptor, calls that fail. The interceptor is not asked whether it is to be
//! passed by: who unregisters it waits for the section, which is narrowed to it.

use super::{Ask, How, NONE, allocate_in, give_back, next, points, refuse, release_in, tell};
use crate::abi::*;
use crate::chain::{self, View};
use crate::grace::{self, Brief};
use crate::guard::{self, Record};
use crate::ownership::{self, Mark};
use core::ffi::c_void;

/// The section of a thread that is known and at rest.
#[inline(always)]
fn enter(frame: usize) -> Option<Brief> {
    grace::enter_briefly(guard::known()?, frame)
}

pub(crate) unsafe extern "C" fn malloc(requested: usize, frame: usize, caller: usize) -> *mut c_void {
    let Some(section) = enter(frame) else {
        // SAFETY: the caller's contract is malloc's.
        return unsafe { points::malloc(requested, frame, caller) };
    };
    let record = section.record();
    let view = chain::current(&section).main_view();
    let Some(single) = view.single.as_ref() else {
        return malloc_of_many(section, requested, caller);
    };
    section.narrow_to_interceptor(single.bit);
    let call = record.describe(MEMHOOK_ENTRY_MALLOC, requested, NONE, caller);
    let errno = record.errno();
    // SAFETY: the program's own function, by the contract of memhook_register.
    let block = unsafe { (single.malloc)(next::end(), requested, call, single.user) };
    if block.is_null() || !ownership::mark_briefly(block, single.owner, record) {
        not_made(block, call, view, record);
        section.announced();
        return refuse(libc::ENOMEM);
    }
    ownership::made(single.owner, record);
    if !view.after_alloc.is_empty() {
        told_after(record, view, call, block);
    }
    section.announced();
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

/// The interceptor gave nothing, or there is no memory for the mark of what it gave.
#[cold]
#[inline(never)]
fn not_made(block: *mut c_void, call: *const memhook_call, view: &View, record: &Record) {
    // SAFETY: the call of this section.
    let call = unsafe { &*call };
    if !block.is_null() {
        give_back(block, call, view, view.interceptors.get(), record);
    }
    told_after(record, view, call, NONE);
}

#[inline(never)]
fn told_after(record: &Record, view: &View, call: *const memhook_call, block: *mut c_void) {
    // SAFETY: the call of this section.
    tell::after(record, view.after_alloc, unsafe { &*call }, block);
}

pub(crate) unsafe extern "C" fn free(block: *mut c_void, frame: usize, caller: usize) {
    let entered = if block.is_null() { None } else { enter(frame) };
    let Some(section) = entered else {
        // SAFETY: the caller's contract is free's.
        return unsafe { points::free(block, frame, caller) };
    };
    let record = section.record();
    let view = chain::current(&section).main_view();
    let ours = view.single.as_ref().and_then(|single| Some((single, Mark::by(single.owner, block, record)?)));
    let Some((single, mark)) = ours else {
        return free_by_many(section, block, frame, caller);
    };
    let call = record.describe(MEMHOOK_ENTRY_FREE, 0, block, caller);
    let errno = record.errno();
    section.narrow_to_interceptor(single.bit);
    if !view.before_free.is_empty() {
        told_before(record, view, call);
    }
    mark.clear();
    // If its code is gone: only it knew where the block really begins.
    if !single.hook.is_orphaned() {
        // SAFETY: as in `malloc`.
        unsafe { (single.free)(next::end(), block, call, single.user) };
    }
    // SAFETY: the chain of the section names the list.
    unsafe { &*single.list }.lose_entered(single.owner, record);
    section.announced();
    record.set_errno(errno);
}

#[inline(never)]
fn told_before(record: &Record, view: &View, call: *const memhook_call) {
    // SAFETY: the call of this section.
    tell::before(record, view.before_free, unsafe { &*call });
}

/// As [`malloc_of_many`], or the block is older than the interceptor.
#[inline(never)]
fn free_by_many(section: Brief, block: *mut c_void, frame: usize, caller: usize) {
    let record = section.record();
    let ask = Ask::bytes(MEMHOOK_ENTRY_FREE, 0, caller).of(block);
    release_in(Some(section.announcing()), &ask, record, frame);
}
