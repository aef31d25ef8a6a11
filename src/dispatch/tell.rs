//! Telling observers, except those that are being unregistered.

use crate::abi::memhook_call;
use crate::chain::{AfterAlloc, Array, Before, Told, View};
use crate::grace;
use crate::guard::{self, Record};
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
    // Interceptors are next, of which one may never return.
    grace::retract_observer(record);
}

#[inline(never)]
fn any_after(record: &Record, all: Array<Told<AfterAlloc>>, call: &memhook_call, block: *mut c_void) {
    // The interceptors have returned, and what they made is counted; an observer may never return.
    grace::retract_interceptor(record, 0);
    each_after(record, all, call, block);
}

/// Calls `$tell` with each of `$all`. The first four have calls of their own, each of which the processor can
/// expect to lead where it led last.
macro_rules! each {
    ($all:expr, $tell:expr) => {
        let mut rest = $all.get().iter();
        each!(@ rest, $tell; 1 2 3 4);
        for told in rest {
            $tell(told);
        }
    };
    (@ $rest:ident, $tell:expr; $($number:literal)*) => {
        $(
            let _ = $number;
            let Some(told) = $rest.next() else { return };
            $tell(told);
        )*
    };
}

#[inline(always)]
fn each_before(record: &Record, all: Array<Told<Before>>, call: *const memhook_call) {
    let tell = |told: &Told<Before>| {
        if enters(record, told) {
            // SAFETY: the program's own function, by the contract of memhook_observe.
            unsafe { (told.function)(call, told.user) }
        }
    };
    each!(all, tell);
}

#[inline(always)]
fn each_after(record: &Record, all: Array<Told<AfterAlloc>>, call: *const memhook_call, block: *mut c_void) {
    let tell = |told: &Told<AfterAlloc>| {
        if enters(record, told) {
            // SAFETY: the program's own function, by the contract of memhook_observe.
            unsafe { (told.function)(call, block, told.user) }
        }
    };
    each!(all, tell);
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
/// In the section of a call; `view` is a [`View`] of its chain.
pub(crate) unsafe extern "C" fn several_before(call: *const memhook_call, view: *mut c_void) {
    // SAFETY: the caller's contract.
    let view = unsafe { &*view.cast::<View>() };
    // SAFETY: the caller's contract.
    each_before(unsafe { guard::of_section() }, view.before_free, call);
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
    each_after(unsafe { guard::of_section() }, view.after_alloc, call, block);
}
