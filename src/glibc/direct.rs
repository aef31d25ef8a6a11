//! malloc and free while the callbacks in the variables are all that stands between the program and the allocator.
//!
//! The usual cases only: a callback that is called for the program, and the call by which it passes that on. What happens
//! seldom is left to the full way, which does the same: `dispatch`, with the interceptor of `callbacks`.

use super::activation::{self, Activation, Answer, First, Task};
use super::{Callback, FREE, MALLOC, Values, callbacks, set, variables};
use crate::backend;
use crate::chain;
use crate::dispatch::{self, Request};
use crate::guard::{self, Record};
use crate::ownership::{self, Mark};
use core::ffi::c_void;
use core::sync::atomic::Ordering;

/// The activation of the callback that makes a call, and whether the call is a usual one: from below the program's call,
/// and with hooks not suspended.
#[inline(always)]
fn of_caller(frame: usize) -> Option<(&'static Activation, bool)> {
    let record = guard::known()?;
    let activation = Activation::of(record)?;
    // ORDERING [none]: Relaxed. Written by this thread.
    let word = record.word.load(Ordering::Relaxed);
    Some((activation, frame < word && record.suspensions() == 0))
}

pub(crate) unsafe extern "C" fn malloc(requested: usize, frame: usize, caller: usize) -> *mut c_void {
    let Some((activation, is_usual)) = of_caller(frame) else {
        return first_malloc(requested, frame, caller);
    };
    if !is_usual || !activation.is_out(MALLOC) {
        return full_malloc(requested, frame, caller);
    }
    // SAFETY: resolved before any entry point leads here.
    let block = unsafe { backend::malloc(requested) };
    if !block.is_null() {
        activation.lend(block);
    }
    block
}

#[cold]
#[inline(never)]
fn full_malloc(requested: usize, frame: usize, caller: usize) -> *mut c_void {
    // SAFETY: the caller's contract is malloc's.
    unsafe { dispatch::malloc(requested, frame, caller) }
}

/// A call of the program's, or another that is not usual.
#[inline(never)]
fn first_malloc(requested: usize, frame: usize, caller: usize) -> *mut c_void {
    let full = || full_malloc(requested, frame, caller);
    let Some(record) = guard::known() else { return full() };
    let Some((section, head)) = chain::enter_briefly(record, frame) else { return full() };
    let usual = activation::first(record).filter(|_| head.is_variables());
    let errno = record.errno();
    let values = variables::all_current();
    let &[callback, ..] = &values;
    let Some(usual) = usual.filter(|_| !callback.is_null()) else {
        drop(section);
        return full();
    };
    set::see(&values);
    let request = Request::Malloc { bytes: requested };
    let (block, answer) = usual.run(&task(callback, request, caller, values));
    let block = match answer {
        Answer::Known => block,
        Answer::Loan if !set::are_any() => block,
        Answer::InsideLoan if set::own_at_once(MALLOC, callback, block, record) => block,
        _ => made(record, callback, request, block, answer, usual),
    };
    drop(section);
    record.set_errno(if block.is_null() { libc::ENOMEM } else { errno });
    block
}

/// The callback has returned a block of its own, and its set is not known yet or there is more to be noted.
#[cold]
#[inline(never)]
fn made(
    record: &Record,
    callback: Callback,
    request: Request,
    block: *mut c_void,
    answer: Answer,
    usual: First<'_>,
) -> *mut c_void {
    let (next, given) = (dispatch::end(), || usual.given());
    // SAFETY: nothing but the backend stands behind the callback.
    unsafe { callbacks::made(Some(record), next, callback, request, block, answer, given) }
}

#[inline(always)]
fn task(callback: Callback, request: Request, caller: usize, values: Values) -> Task<'static> {
    let caller = core::ptr::without_provenance(caller);
    Task { callback, request, caller, values, next: dispatch::end(), owner: None, keeper: None }
}

pub(crate) unsafe extern "C" fn free(block: *mut c_void, frame: usize, caller: usize) {
    let Some((activation, is_usual)) = of_caller(frame) else {
        return first_free(block, frame, caller);
    };
    if !is_usual
        || block.is_null()
        || !activation.is_out(FREE)
        || !ownership::all_in_table()
        || !activation.is_for_backend(block)
    {
        return full_free(block, frame, caller);
    }
    // SAFETY: the backend's block, by its mark or by where it comes from.
    unsafe { backend::free(block) }
}

#[cold]
#[inline(never)]
fn full_free(block: *mut c_void, frame: usize, caller: usize) {
    // SAFETY: the caller's contract is free's.
    unsafe { dispatch::free(block, frame, caller) }
}

/// As [`first_malloc`].
#[inline(never)]
fn first_free(block: *mut c_void, frame: usize, caller: usize) {
    let full = || full_free(block, frame, caller);
    let Some(record) = guard::known().filter(|_| !block.is_null() && ownership::all_in_table()) else {
        return full();
    };
    let Some((section, head)) = chain::enter_briefly(record, frame) else { return full() };
    let usual = activation::first(record).filter(|_| head.is_variables());
    let mark = if set::are_any() { Mark::of(block).filter(|mark| mark.owner() != 0) } else { None };
    let errno = record.errno();
    let values = variables::all_current();
    let &[.., standing] = &values;
    let owner = mark.and_then(|mark| set::of_list(mark.owner()));
    // A set's callback that stands in the variable takes its own back, one of no set what nobody owns.
    let callback = owner.map_or(standing, |set| set.callback(FREE));
    let is_usual = callback == standing && !callback.is_null() && mark.is_some() == owner.is_some();
    let Some(usual) =
        usual.filter(|_| is_usual && (owner.is_some() || !set::changes_pointers(FREE, callback)))
    else {
        drop(section);
        return full();
    };
    set::see(&values);
    if let Some(mark) = mark {
        let list = mark.owner();
        mark.clear();
        let _ = usual.run(&Task { owner, ..task(callback, Request::Free { block }, caller, values) });
        ownership::gone(list, record);
    } else {
        let _ = usual.run(&task(callback, Request::Free { block }, caller, values));
    }
    drop(section);
    record.set_errno(errno);
}
