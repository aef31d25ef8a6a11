//! malloc and free while one interceptor is all that stands between the program and the backend, and
//! owns what it makes.
//!
//! What happens seldom is left to the full way, in the section that is open: other chains, blocks that
//! are older than the interceptor, one that is being unregistered, calls that fail.

use super::next::Walk;
use super::{Ask, How, NONE, allocate_in, give_back, points, refuse, release_in, tell};
use crate::abi::*;
use crate::chain::{self, Single, View};
use crate::grace::{self, Section};
use crate::guard::{self, Record};
use crate::ownership::{self, Mark};
use core::ffi::c_void;

pub(crate) unsafe extern "C" fn malloc(requested: usize, frame: usize, caller: usize) -> *mut c_void {
    let entered = guard::known().and_then(|record| Some((record, grace::enter_from_rest(record, frame)?)));
    let Some((record, section)) = entered else {
        // SAFETY: the caller's contract is malloc's.
        return unsafe { points::malloc(requested, frame, caller) };
    };
    let view = chain::current(&section).main_view();
    let Some(single) = view.single.as_ref().filter(|single| enters(single, record)) else {
        return malloc_of_many(section, record, requested, caller);
    };
    let call = Ask::bytes(MEMHOOK_ENTRY_MALLOC, requested, caller).call(record);
    let errno = record.errno();
    let walk = Walk::to_the_backend(&call);
    let mut rest = walk.end();
    // SAFETY: the program's own function, by the contract of memhook_register; `rest` lives during
    // the call (invariant 1 of `next`).
    let block = unsafe { (single.malloc)((&raw mut rest).cast(), requested, &call, single.user) };
    if block.is_null() || !ownership::mark(block, single.owner) {
        let outcome = not_made(block, &walk, &call, view, record);
        drop(section);
        return refuse(outcome);
    }
    ownership::made(single.owner, record);
    if !view.after_alloc.is_empty() {
        told_after(record, view, &call, block);
    }
    drop(section);
    record.set_errno(errno);
    block
}

/// Whether the interceptor is to be called for a new block.
#[inline(always)]
fn enters(single: &Single, record: &Record) -> bool {
    grace::announce_first_interceptor(record, single.bit);
    let passed_by = single.hook.is_passed_by();
    if passed_by {
        grace::retract_interceptor(record, 0);
    }
    !passed_by
}

/// The chain in force has more interceptors, or other ones.
#[inline(never)]
fn malloc_of_many(section: Section, record: &'static Record, requested: usize, caller: usize) -> *mut c_void {
    let ask = Ask::bytes(MEMHOOK_ENTRY_MALLOC, requested, caller);
    allocate_in(Some(section), &ask, How::Malloc { bytes: requested }, record)
}

/// The interceptor gave nothing, or there is no memory for the mark of what it gave. Returns why.
#[cold]
#[inline(never)]
fn not_made(block: *mut c_void, walk: &Walk, call: &memhook_call, view: &View, record: &Record) -> i32 {
    let mut outcome = walk.failure();
    if !block.is_null() {
        give_back(block, call, view, view.interceptors.get(), record);
        outcome = libc::ENOMEM;
    }
    told_after(record, view, call, NONE);
    outcome
}

#[inline(never)]
fn told_after(record: &Record, view: &View, call: &memhook_call, block: *mut c_void) {
    tell::after(record, view.after_alloc, call, block);
}

pub(crate) unsafe extern "C" fn free(block: *mut c_void, frame: usize, caller: usize) {
    let known = guard::known().filter(|_| !block.is_null());
    let entered = known.and_then(|record| Some((record, grace::enter_from_rest(record, frame)?)));
    let Some((record, section)) = entered else {
        // SAFETY: the caller's contract is free's.
        return unsafe { points::free(block, frame, caller) };
    };
    let view = chain::current(&section).main_view();
    let ours = view.single.as_ref().and_then(|single| Some((single, Mark::by(single.owner, block)?)));
    let Some((single, mark)) = ours else {
        return free_by_many(section, record, block, frame, caller);
    };
    let call = Ask::bytes(MEMHOOK_ENTRY_FREE, 0, caller).of(block).call(record);
    let errno = record.errno();
    if !view.before_free.is_empty() {
        told_before(record, view, &call);
    }
    mark.clear();
    let walk = Walk::to_the_backend(&call);
    let mut rest = walk.end();
    // It made the block and must see it, whether or not it is being unregistered.
    grace::announce_first_interceptor(record, single.bit);
    // If its code is gone: only it knew where the block really begins.
    if !single.hook.is_orphaned() {
        // SAFETY: as in `malloc`.
        unsafe { (single.free)((&raw mut rest).cast(), block, &call, single.user) };
    }
    // SAFETY: the chain of the section names the list.
    unsafe { &*single.list }.lose(single.owner, record);
    drop(section);
    record.set_errno(errno);
}

#[inline(never)]
fn told_before(record: &Record, view: &View, call: &memhook_call) {
    tell::before(record, view.before_free, call);
}

/// As [`malloc_of_many`], or the block is older than the interceptor.
#[inline(never)]
fn free_by_many(section: Section, record: &'static Record, block: *mut c_void, frame: usize, caller: usize) {
    release_in(Some(section), &Ask::bytes(MEMHOOK_ENTRY_FREE, 0, caller).of(block), record, frame);
}
