//! The four commonest entry points while there are observers and nothing else: no interceptor, no
//! block that is not the backend's, no hook that is limited to one thread.
//!
//! What happens seldom is left to the full way: a thread that the library does not know, one that is
//! inside a callback, a call that fails.

use super::{Ask, NONE, points, tell};
use crate::abi::*;
use crate::backend;
use crate::chain;
use crate::grace;
use crate::grace::Section;
use crate::guard;
use crate::guard::Record;
use core::ffi::c_void;

/// Asks the backend for a block and tells observers of it; `otherwise` for a thread that is not known
/// yet, or not at rest.
#[inline(always)]
fn made(
    ask: Ask,
    frame: usize,
    make: impl FnOnce() -> *mut c_void,
    otherwise: impl FnOnce() -> *mut c_void,
) -> *mut c_void {
    let Some(record) = guard::known() else { return otherwise() };
    // The backend is asked in the section: what is to be told is then complete on the stack, and in
    // no register, when it answers.
    let Some(section) = grace::enter_from_rest(record, frame) else { return otherwise() };
    let call = ask.call(record);
    let errno = record.errno();
    let block = make();
    if block.is_null() {
        failed(&call, record, section);
        return block;
    }
    tell::after(record, chain::current(&section).main_view().after_alloc, &call, block);
    drop(section);
    record.set_errno(errno);
    block
}

/// Tells observers of a call for which the backend has no block. Its errno stays.
#[cold]
#[inline(never)]
fn failed(call: &memhook_call, record: &Record, section: Section) {
    let errno = record.errno();
    tell::after(record, chain::current(&section).main_view().after_alloc, call, NONE);
    drop(section);
    record.set_errno(errno);
}

pub(crate) unsafe extern "C" fn observed_malloc(
    requested: usize,
    frame: usize,
    caller: usize,
) -> *mut c_void {
    let ask = Ask::bytes(MEMHOOK_ENTRY_MALLOC, requested, caller);
    // SAFETY: resolved before any hook could be registered.
    let make = || unsafe { backend::malloc(requested) };
    // SAFETY: the caller's contract is malloc's.
    made(ask, frame, make, || unsafe { points::malloc(requested, frame, caller) })
}

pub(crate) unsafe extern "C" fn observed_calloc(
    count: usize,
    each: usize,
    frame: usize,
    caller: usize,
) -> *mut c_void {
    let requested = count.saturating_mul(each);
    let ask = Ask::array(MEMHOOK_ENTRY_CALLOC, requested, [count, each], caller);
    // SAFETY: resolved before any hook could be registered.
    let make = || unsafe { backend::calloc(count, each) };
    // SAFETY: the caller's contract is calloc's.
    made(ask, frame, make, || unsafe { points::calloc(count, each, frame, caller) })
}

pub(crate) unsafe extern "C" fn observed_free(block: *mut c_void, frame: usize, caller: usize) {
    if block.is_null() {
        return;
    }
    let entered = guard::known().and_then(|record| Some((record, grace::enter_from_rest(record, frame)?)));
    let Some((record, section)) = entered else {
        // SAFETY: the caller's contract is free's.
        return unsafe { points::free(block, frame, caller) };
    };
    before_free(block, caller, record, section);
    // SAFETY: the program's block; no interceptor has ever made one in this mode.
    unsafe { backend::free(block) };
}

/// Before the backend frees it: once freed, another thread may own the same address.
#[inline(always)]
fn before_free(block: *mut c_void, caller: usize, record: &'static Record, section: Section) {
    let errno = record.errno();
    let view = chain::current(&section).main_view();
    let call = Ask::bytes(MEMHOOK_ENTRY_FREE, 0, caller).of(block).call(record);
    tell::before(record, view.before_free, &call);
    drop(section);
    record.set_errno(errno);
}

pub(crate) unsafe extern "C" fn observed_realloc(
    block: *mut c_void,
    requested: usize,
    frame: usize,
    caller: usize,
) -> *mut c_void {
    // SAFETY: the caller's contract is realloc's.
    let fully = || unsafe { points::realloc(block, requested, frame, caller) };
    if !block.is_null() {
        return fully();
    }
    let ask = Ask::bytes(MEMHOOK_ENTRY_REALLOC, requested, caller);
    // SAFETY: resolved before any hook could be registered.
    made(ask, frame, || unsafe { backend::realloc(block, requested) }, fully)
}
