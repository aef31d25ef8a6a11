//! The hooks that own a set's blocks: how a set takes back what it has made.

use super::activation::{self, Activation, Answer, Task};
use super::callbacks::{caller, no_memory};
use super::set::{self, Set};
use super::{Callback, FREE, NOBODY, REALLOC, Values, origin, variables};
use crate::abi::*;
use crate::dispatch::{self, Request};
use crate::guard;
use core::ffi::c_void;

/// What becomes of a block that a set owns.
enum Taken {
    /// The set's callback was called; its answer.
    By(*mut c_void),
    /// No callback of this kind was ever seen beside the set: as in glibc, the allocator is asked.
    Never,
    /// The callback's code is not there any more.
    Unloaded,
}

/// Has a set take back a block of its own.
///
/// # Safety
///
/// `call` and `user` are those of a callback of `callbacks::table_for_set`.
#[inline(always)]
unsafe fn take_back(
    next: *mut memhook_next,
    kind: usize,
    request: Request,
    call: *const memhook_call,
    user: *mut c_void,
) -> Taken {
    // SAFETY: the caller's contract; sets are never unmapped.
    let set: &'static Set = unsafe { &*user.cast::<Set>() };
    // SAFETY: the caller's contract.
    give_to_set(set, next, kind, request, unsafe { caller(call) })
}

/// As [`take_back`].
#[inline(always)]
fn give_to_set(
    set: &'static Set,
    next: *mut memhook_next,
    kind: usize,
    request: Request,
    caller: *const c_void,
) -> Taken {
    let record = guard::record();
    let inside = record.and_then(Activation::of);
    let values = match inside {
        None => {
            if let Some(record) = record {
                activation::notice_left(record);
            }
            let values = variables::all_current();
            set::see(&values);
            values
        }
        Some(activation) => {
            // The variables may hold another set's callbacks still, beside those that were put there for this call.
            if set.callback(kind).is_null() {
                set.learn(kind, activation.put_in_now(kind));
            }
            activation.all()
        }
    };
    let callback = set.callback(kind);
    if let (Some(activation), Some(&standing)) = (inside, values.get(kind))
        && standing != callback
        && activation.may_be_asked(kind, standing)
    {
        return ask_above(set, next, standing, request, caller, values);
    }
    // As in glibc, where the set has none of this kind: what stands in the variable.
    let standing = values.get(kind).copied().unwrap_or(NOBODY);
    let callback = if callback.is_null() { standing } else { callback };
    if callback.is_null() {
        return Taken::Never;
    }
    if values.get(kind) != Some(&callback) && set.is_unloaded(kind) {
        return Taken::Unloaded;
    }
    let task = Task { callback, request, caller, values, next, owner: Some(set), keeper: None };
    Taken::By(activation::run(record, task).0)
}

/// A callback has a block of a set's taken back while one that makes no blocks stands in the variable: that sees it first, as in
/// glibc, and hands it on.
#[cold]
#[inline(never)]
fn ask_above(
    set: &'static Set,
    next: *mut memhook_next,
    callback: Callback,
    request: Request,
    caller: *const c_void,
    values: Values,
) -> Taken {
    let record = guard::record();
    let task = Task { callback, request, caller, values, next, owner: None, keeper: Some(set) };
    let (answer, kind) = activation::run(record, task);
    if let (Request::Free { block }, Answer::Other, Some(record)) = (request, kind, record) {
        set.own(block, record);
    }
    Taken::By(answer)
}

/// A callback above a set hands on a block that the set owns. NULL for a free.
pub(super) fn take_back_by(
    set: &'static Set,
    next: *mut memhook_next,
    request: Request,
    caller: *const c_void,
) -> *mut c_void {
    let (kind, block) = activation::aim(request);
    let taken = give_to_set(set, next, kind, request, caller);
    match request {
        Request::Realloc { bytes, .. } => realloc_taken(taken, next, block, bytes),
        _ => {
            free_taken(taken, next, block);
            core::ptr::null_mut()
        }
    }
}

pub(super) unsafe extern "C" fn realloc_own(
    next: *mut memhook_next,
    block: *mut c_void,
    requested: usize,
    call: *const memhook_call,
    user: *mut c_void,
) -> *mut c_void {
    let request = Request::Realloc { block, bytes: requested };
    // SAFETY: both are this callback's.
    realloc_taken(unsafe { take_back(next, REALLOC, request, call, user) }, next, block, requested)
}

#[inline(always)]
fn realloc_taken(taken: Taken, next: *mut memhook_next, block: *mut c_void, requested: usize) -> *mut c_void {
    match taken {
        Taken::By(block) => block,
        Taken::Unloaded if !origin::is_backends(block, 0) => no_memory(),
        // SAFETY: `next` is that of the callback that is running, which was called for this block.
        _ => unsafe { dispatch::next_realloc(next, block, requested) },
    }
}

pub(super) unsafe extern "C" fn free_own(
    next: *mut memhook_next,
    block: *mut c_void,
    call: *const memhook_call,
    user: *mut c_void,
) {
    // SAFETY: both are this callback's.
    free_taken(unsafe { take_back(next, FREE, Request::Free { block }, call, user) }, next, block);
}

#[inline(always)]
fn free_taken(taken: Taken, next: *mut memhook_next, block: *mut c_void) {
    match taken {
        Taken::By(_) => {}
        // Whatever it was made of is lost: nobody is left who could give that back.
        Taken::Unloaded if !origin::is_backends(block, 0) => {}
        // SAFETY: `next` is that of the callback that is running, which was called for this block.
        _ => unsafe { dispatch::next_free(next, block) },
    }
}

/// Where the block that it lies in begins, nobody knows.
pub(super) unsafe extern "C" fn usable_size_own(
    _next: *mut memhook_next,
    _block: *mut c_void,
    _call: *const memhook_call,
    _user: *mut c_void,
) -> usize {
    0
}
