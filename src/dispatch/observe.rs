//! The four commonest entry points while there are observers and nothing else: no interceptor, no
//! block that is not the backend's, no hook that is limited to one thread.
//!
//! What happens seldom is left to the full way: a thread that the library does not know, one that is
//! inside a callback, a call that fails.

use super::{Ask, NONE, points, short_section, tell};
use crate::abi::*;
use crate::backend;
use crate::chain::{Head, Telling};
use crate::grace::Brief;
use crate::guard::Call;
use core::ffi::c_void;

/// The section of a call of this file, on a head for such calls. The entry point has led here by another
/// head, perhaps: the one in force may have interceptors by now.
#[inline(always)]
fn observing_section(frame: usize) -> Option<(Brief, &'static Head)> {
    short_section(frame).filter(|(_, head)| head.is_observing())
}

/// Asks the backend for a block and tells observers of it. What is to be told is complete in the
/// thread's record, and in no register, when the backend is asked. `ARRAY`: it has numbers of elements, which
/// are to be taken back.
#[inline(always)]
fn made<const ARRAY: bool>(
    section: Brief,
    head: &Head,
    call: &Call,
    make: impl FnOnce() -> *mut c_void,
) -> *mut c_void {
    let record = section.record();
    let errno = record.errno();
    let block = make();
    if block.is_null() {
        failed(section, head, call);
        return block;
    }
    tell_made(&section, head, call, block);
    if ARRAY {
        record.describe_array(0, 0);
    }
    drop(section);
    record.set_errno(errno);
    block
}

#[inline(always)]
fn tell_made(_section: &Brief, head: &Head, call: &Call, block: *mut c_void) {
    // SAFETY: in this section.
    let &Telling { function, user } = unsafe { &head.view().after };
    // SAFETY: the program's own function, by the contract of memhook_observe, or the library's.
    unsafe { function(call.get(), block, user) };
}

/// Tells observers of a call for which the backend has no block. Its errno stays.
#[cold]
#[inline(never)]
pub(super) fn failed(section: Brief, head: &Head, call: &Call) {
    let record = section.record();
    let errno = record.errno();
    tell_made(&section, head, call, NONE);
    record.describe_array(0, 0);
    drop(section);
    record.set_errno(errno);
}

pub(crate) unsafe extern "C" fn observed_malloc(
    requested: usize,
    frame: usize,
    caller: usize,
) -> *mut c_void {
    let Some((section, head)) = observing_section(frame) else {
        // SAFETY: the caller's contract is malloc's.
        return unsafe { points::malloc(requested, frame, caller) };
    };
    let call = section.record().describe_malloc(requested, caller);
    // SAFETY: resolved before any hook could be registered.
    made::<false>(section, head, call, || unsafe { backend::malloc(requested) })
}

pub(crate) unsafe extern "C" fn observed_calloc(
    count: usize,
    each: usize,
    frame: usize,
    caller: usize,
) -> *mut c_void {
    let Some((section, head)) = observing_section(frame) else {
        // SAFETY: the caller's contract is calloc's.
        return unsafe { points::calloc(count, each, frame, caller) };
    };
    let record = section.record();
    let call = record.describe(MEMHOOK_ENTRY_CALLOC, count.saturating_mul(each), caller);
    record.describe_array(count, each);
    // SAFETY: resolved before any hook could be registered.
    made::<true>(section, head, call, || unsafe { backend::calloc(count, each) })
}

pub(crate) unsafe extern "C" fn observed_free(block: *mut c_void, frame: usize, caller: usize) {
    if block.is_null() {
        return;
    }
    let Some((section, head)) = observing_section(frame) else {
        // SAFETY: the caller's contract is free's.
        return unsafe { points::free(block, frame, caller) };
    };
    before_free(section, head, block, caller);
    // SAFETY: the program's block; no interceptor has ever made one in this mode.
    unsafe { backend::free(block) };
}

/// Before the backend frees it: once freed, another thread may own the same address.
#[inline(always)]
fn before_free(section: Brief, head: &Head, block: *mut c_void, caller: usize) {
    let record = section.record();
    let call = record.describe_free(block, caller);
    let errno = record.errno();
    // SAFETY: in this section.
    let &Telling { function, user } = unsafe { &head.view().before };
    // SAFETY: the program's own function, by the contract of memhook_observe, or the library's.
    unsafe { function(call.get(), user) };
    drop(section);
    record.set_errno(errno);
}

pub(crate) unsafe extern "C" fn observed_realloc(
    block: *mut c_void,
    requested: usize,
    frame: usize,
    caller: usize,
) -> *mut c_void {
    let Some((section, head)) = observing_section(frame) else {
        // SAFETY: the caller's contract is realloc's.
        return unsafe { points::realloc(block, requested, frame, caller) };
    };
    if !block.is_null() {
        return resized(section, head, block, requested, caller);
    }
    let call = section.record().describe(MEMHOOK_ENTRY_REALLOC, requested, caller);
    // SAFETY: resolved before any hook could be registered.
    made::<false>(section, head, call, || unsafe { backend::realloc(block, requested) })
}

/// realloc of a block.
#[inline(never)]
fn resized(section: Brief, head: &Head, block: *mut c_void, requested: usize, caller: usize) -> *mut c_void {
    let record = section.record();
    // SAFETY: in this section.
    let view = unsafe { head.view() };
    let ask = Ask::bytes(MEMHOOK_ENTRY_REALLOC, requested, caller).of(block);
    let call = ask.call(record);
    let errno = record.errno();
    tell::before(record, view.realloc_begin, &call);
    // SAFETY: the program's block; no interceptor has ever made one in this mode.
    let new = unsafe { backend::realloc(block, requested) };
    // Resized to nothing, it is gone.
    if !new.is_null() || requested == 0 {
        tell::after(record, view.realloc_commit, &call, new);
        drop(section);
        record.set_errno(errno);
    } else {
        let outcome = record.errno();
        tell::before(record, view.realloc_abort, &call);
        drop(section);
        record.set_errno(outcome);
    }
    new
}
