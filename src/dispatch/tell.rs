//! Telling observers, except those that are being unregistered.
//!
//! One is told in line and several are told out of line, so that the usual call keeps nothing in
//! registers for those that might come.

use crate::abi::memhook_call;
use crate::chain::{AfterAlloc, Array, Before, Told};
use crate::grace;
use crate::guard::Record;
use core::ffi::c_void;

/// Tells of what is about to happen.
#[inline(always)]
pub(super) fn before(record: &Record, all: Array<Told<Before>>, call: &memhook_call) {
    if let Some(only) = all.only() {
        one_before(record, only, call);
    } else if !all.is_empty() {
        several_before(record, all, call);
    }
}

/// Tells of what happened.
#[inline(always)]
pub(super) fn after(record: &Record, all: Array<Told<AfterAlloc>>, call: &memhook_call, block: *mut c_void) {
    if let Some(only) = all.only() {
        one_after(record, only, call, block);
    } else if !all.is_empty() {
        several_after(record, all, call, block);
    }
}

#[inline(never)]
fn several_before(record: &Record, all: Array<Told<Before>>, call: &memhook_call) {
    all.get().iter().for_each(|told| one_before(record, told, call));
}

#[inline(never)]
fn several_after(record: &Record, all: Array<Told<AfterAlloc>>, call: &memhook_call, block: *mut c_void) {
    all.get().iter().for_each(|told| one_after(record, told, call, block));
}

#[inline(always)]
fn one_before(record: &Record, told: &Told<Before>, call: &memhook_call) {
    if enters(record, told) {
        // SAFETY: the program's own function, by the contract of memhook_observe.
        unsafe { (told.function)(call, told.user) }
    }
}

#[inline(always)]
fn one_after(record: &Record, told: &Told<AfterAlloc>, call: &memhook_call, block: *mut c_void) {
    if enters(record, told) {
        // SAFETY: the program's own function, by the contract of memhook_observe.
        unsafe { (told.function)(call, block, told.user) }
    }
}

/// Announces an observer; whether it is to be called.
#[inline(always)]
fn enters<F>(record: &Record, told: &Told<F>) -> bool {
    grace::announce_observer(record, told.hook as usize);
    // SAFETY: in the chain of the call's section.
    !unsafe { &*told.hook }.is_passed_by()
}
