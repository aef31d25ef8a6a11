//! Telling observers, except those that are being unregistered.

use crate::abi::memhook_call;
use crate::chain::{AfterAlloc, Array, Before, Told, View};
use crate::grace;
use crate::guard::Record;
use core::ffi::c_void;

/// Tells of what is about to happen.
#[inline(always)]
pub(super) fn before(record: &Record, all: Array<Told<Before>>, call: &memhook_call) {
    if !all.is_empty() {
        any_before(record, all, call);
    }
}

/// Tells of what happened.
#[inline(always)]
pub(super) fn after(record: &Record, all: Array<Told<AfterAlloc>>, call: &memhook_call, block: *mut c_void) {
    if !all.is_empty() {
        any_after(record, all, call, block);
    }
}

#[inline(never)]
fn any_before(record: &Record, all: Array<Told<Before>>, call: &memhook_call) {
    each_before(record, all, call);
}

#[inline(never)]
fn any_after(record: &Record, all: Array<Told<AfterAlloc>>, call: &memhook_call, block: *mut c_void) {
    each_after(record, all, call, block);
}

#[inline(always)]
fn each_before(record: &Record, all: Array<Told<Before>>, call: *const memhook_call) {
    for told in all.get() {
        if enters(record, told) {
            // SAFETY: the program's own function, by the contract of memhook_observe.
            unsafe { (told.function)(call, told.user) }
        }
    }
}

#[inline(always)]
fn each_after(record: &Record, all: Array<Told<AfterAlloc>>, call: *const memhook_call, block: *mut c_void) {
    for told in all.get() {
        if enters(record, told) {
            // SAFETY: the program's own function, by the contract of memhook_observe.
            unsafe { (told.function)(call, block, told.user) }
        }
    }
}

/// Announces an observer; whether it is to be called.
#[inline(always)]
fn enters<F>(record: &Record, told: &Told<F>) -> bool {
    grace::announce_observer(record, told.hook as usize);
    // SAFETY: in the chain of the call's section.
    !unsafe { &*told.hook }.is_passed_by()
}

/// [`before`] for the short ways, with all observers of a view.
///
/// # Safety
///
/// In the section of a call, which stands in its thread's record; `view` is a [`View`] of its chain.
pub(crate) unsafe extern "C" fn several_before(call: *const memhook_call, view: *mut c_void) {
    // SAFETY: the caller's contract.
    let view = unsafe { &*view.cast::<View>() };
    // SAFETY: the caller's contract.
    each_before(unsafe { Record::of(call) }, view.before_free, call);
}

/// [`after`] for the short ways, with all observers of a view.
///
/// # Safety
///
/// As [`several_before`].
pub(crate) unsafe extern "C" fn several_after(
    call: *const memhook_call,
    block: *mut c_void,
    view: *mut c_void,
) {
    // SAFETY: the caller's contract.
    let view = unsafe { &*view.cast::<View>() };
    // SAFETY: the caller's contract.
    each_after(unsafe { Record::of(call) }, view.after_alloc, call, block);
}
