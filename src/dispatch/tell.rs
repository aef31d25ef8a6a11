//! Telling observers, except those that are being unregistered.

use crate::abi::memhook_call;
use crate::chain::{AfterAlloc, Array, Before, Told};
use crate::grace;
use crate::guard::Record;
use core::ffi::c_void;

/// Tells of what is about to happen.
#[inline(always)]
pub(super) fn before(record: &Record, all: Array<Told<Before>>, call: &memhook_call) {
    each(record, all, |told| {
        // SAFETY: the program's own function, by the contract of memhook_observe.
        unsafe { (told.function)(call, told.user) }
    });
}

/// Tells of what happened.
#[inline(always)]
pub(super) fn after(record: &Record, all: Array<Told<AfterAlloc>>, call: &memhook_call, block: *mut c_void) {
    each(record, all, |told| {
        // SAFETY: the program's own function, by the contract of memhook_observe.
        unsafe { (told.function)(call, block, told.user) }
    });
}

#[inline(always)]
fn each<F: Copy>(record: &Record, all: Array<Told<F>>, one: impl Fn(Told<F>)) {
    for &told in all.get() {
        grace::announce_observer(record, told.hook as usize);
        // SAFETY: in the chain of the call's section.
        if !unsafe { &*told.hook }.is_passed_by() {
            one(told);
        }
    }
}
