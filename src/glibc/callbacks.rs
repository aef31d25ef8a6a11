//! The interceptors through which the callbacks in the variables are called: one in the chain for the
//! variables, and one outside it for each set that owns blocks.

use super::activation::{self, Answer, Task};
use super::origin::{self, Origin};
use super::owned::{free_own, realloc_own, usable_size_own};
use super::set::{self, Set};
use super::{Callback, FREE, MALLOC, MEMALIGN, NOBODY, REALLOC, Values, released, variables};
use crate::abi::*;
use crate::dispatch::{self, Request};
use crate::guard::{self, Record};
use crate::ownership;
use crate::sys::{thread, tls};
use core::ffi::c_void;

const EMPTY: memhook_interceptor = memhook_interceptor {
    struct_size: size_of::<memhook_interceptor>(),
    name: core::ptr::null(),
    priority: i32::MIN,
    flags: 0,
    user: core::ptr::null_mut(),
    object: core::ptr::null(),
    malloc: None,
    realloc: None,
    memalign: None,
    free: None,
    usable_size: None,
    release: None,
};

/// The interceptor in the chain.
pub(super) fn table() -> memhook_interceptor {
    memhook_interceptor {
        name: c"__malloc_hook".as_ptr(),
        flags: MEMHOOK_KEEPS_POINTERS | MEMHOOK_SEES_NULL,
        malloc: Some(malloc),
        realloc: Some(realloc),
        memalign: Some(memalign),
        free: Some(free),
        release: Some(released),
        ..EMPTY
    }
}

/// The interceptor that owns a set's blocks.
pub(super) fn table_for_set(set: *mut Set) -> memhook_interceptor {
    memhook_interceptor {
        user: set.cast(),
        realloc: Some(realloc_own),
        free: Some(free_own),
        usable_size: Some(usable_size_own),
        ..EMPTY
    }
}

/// The caller of the entry point.
///
/// # Safety
///
/// `call` is that of the callback which is running.
#[inline(always)]
pub(super) unsafe fn caller(call: *const memhook_call) -> *const c_void {
    // SAFETY: the caller's contract.
    unsafe { (*call).caller }
}

/// Runs a callback that makes a block, and has the block owned if the callback made it of something else than a block of the
/// backend's.
///
/// # Safety
///
/// `next` is that of the interceptor's callback which is running.
#[inline(always)]
pub(super) unsafe fn make(
    next: *mut memhook_next,
    callback: Callback,
    request: Request,
    caller: *const c_void,
) -> *mut c_void {
    let record = guard::record();
    let values = variables::all_current();
    set::see(&values);
    let task = Task { callback, request, caller, values, next, owner: None, keeper: None };
    let (block, answer) = activation::run(record, task);
    // SAFETY: the caller's contract.
    unsafe { made(record, next, callback, request, block, answer, || values) }
}

/// What the program gets of a callback's answer: NULL where there is no memory to note whose the block is.
///
/// # Safety
///
/// `next` is that of the interceptor's callback which is running.
#[inline(always)]
pub(super) unsafe fn made(
    record: Option<&Record>,
    next: *mut memhook_next,
    callback: Callback,
    request: Request,
    block: *mut c_void,
    answer: Answer,
    values: impl FnOnce() -> Values,
) -> *mut c_void {
    let origin = match answer {
        Answer::Known => return block,
        Answer::Loan if !set::are_any() => return block,
        Answer::Loan => Origin::Backend,
        Answer::InsideLoan => Origin::Callback,
        Answer::Other => origin::of(block, request),
    };
    // SAFETY: the caller's contract.
    unsafe { note_made(record, next, callback, request, values(), block, origin) }
}

/// As [`made`], of a block that comes from there.
///
/// # Safety
///
/// `next` is that of the interceptor's callback which is running.
#[allow(clippy::too_many_arguments, reason = "one call, in line")]
#[inline(never)]
unsafe fn note_made(
    record: Option<&Record>,
    next: *mut memhook_next,
    callback: Callback,
    request: Request,
    values: Values,
    block: *mut c_void,
    origin: Origin,
) -> *mut c_void {
    let (kind, _) = activation::aim(request);
    let set = match origin {
        Origin::Loan | Origin::Backend => {
            ownership::end_loan(block);
            match set::mixed(kind, callback) {
                Some(set) => Some(set),
                None => return block,
            }
        }
        // Who was asked behind the callback owns it, unless the callback's own set makes blocks too.
        Origin::Owned(list) => {
            let (Some(maker), Some(record)) = (set::of_list(list), record) else { return block };
            maker.disown(block, record);
            Some(set::mixed(kind, callback).unwrap_or(maker))
        }
        Origin::Callback => set::of_maker(kind, &values),
    };
    let Some(set) = set else {
        give_back(block, &values);
        return no_memory();
    };
    if !dispatch::is_alone(next) {
        // SAFETY: the caller's contract.
        unsafe { dispatch::claim(next, set.hook()) };
    } else if !set.try_own(block, record) {
        give_back(block, &values);
        return no_memory();
    }
    block
}

/// Nobody could take the block back later.
#[cold]
#[inline(never)]
fn give_back(block: *mut c_void, values: &Values) {
    let &[.., free] = values;
    if !free.is_null() {
        let task = Task {
            callback: free,
            request: Request::Free { block },
            caller: core::ptr::null(),
            values: *values,
            next: core::ptr::null_mut(),
            owner: None,
            keeper: None,
        };
        let _ = activation::run(guard::record(), task);
    }
}

pub(super) fn no_memory() -> *mut c_void {
    // SAFETY: errno of this thread.
    unsafe { thread::errno_location().write(libc::ENOMEM) };
    core::ptr::null_mut()
}

/// The callback that is called for a call from outside all callbacks.
#[inline(always)]
pub(super) fn current(kind: usize) -> Callback {
    if let Some(record) = guard::known() {
        activation::notice_left(record);
    }
    variables::notice_allocation();
    variables::current(kind)
}

unsafe extern "C" fn malloc(
    next: *mut memhook_next,
    requested: usize,
    call: *const memhook_call,
    _user: *mut c_void,
) -> *mut c_void {
    let callback = current(MALLOC);
    if callback.is_null() {
        // SAFETY: `next` is this callback's.
        return unsafe { dispatch::next_malloc(next, requested) };
    }
    // SAFETY: `call` is this callback's.
    let caller = unsafe { caller(call) };
    // SAFETY: `next` is this callback's.
    unsafe { make(next, callback, Request::Malloc { bytes: requested }, caller) }
}

unsafe extern "C" fn memalign(
    next: *mut memhook_next,
    alignment: usize,
    requested: usize,
    call: *const memhook_call,
    _user: *mut c_void,
) -> *mut c_void {
    let callback = current(MEMALIGN);
    if callback.is_null() {
        // SAFETY: `next` is this callback's.
        return unsafe { dispatch::next_memalign(next, alignment, requested) };
    }
    // SAFETY: `call` is this callback's.
    let caller = unsafe { caller(call) };
    // SAFETY: `next` is this callback's.
    unsafe { make(next, callback, Request::Memalign { alignment, bytes: requested }, caller) }
}

unsafe extern "C" fn realloc(
    next: *mut memhook_next,
    block: *mut c_void,
    requested: usize,
    call: *const memhook_call,
    _user: *mut c_void,
) -> *mut c_void {
    let callback = current(REALLOC);
    // A block that is nobody's was made before such a callback came, or past it.
    let foreign = !block.is_null() && set::changes_pointers(REALLOC, callback);
    if callback.is_null() || foreign {
        // SAFETY: `next` is this callback's.
        return unsafe { dispatch::next_realloc(next, block, requested) };
    }
    if !block.is_null() && ownership::is_crowded() {
        return no_memory();
    }
    // SAFETY: `call` is this callback's.
    let caller = unsafe { caller(call) };
    // SAFETY: `next` is this callback's.
    unsafe { make(next, callback, Request::Realloc { block, bytes: requested }, caller) }
}

unsafe extern "C" fn free(
    next: *mut memhook_next,
    block: *mut c_void,
    call: *const memhook_call,
    _user: *mut c_void,
) {
    // SAFETY: `call` is this callback's.
    let caller = unsafe { caller(call) };
    if !free_of_nobody(next, block, caller) && !block.is_null() {
        // SAFETY: `next` is this callback's.
        unsafe { dispatch::next_free(next, block) };
    }
}

/// Gives a block that no set owns to the callback in the variable; false where there is none for it.
#[inline(always)]
pub(super) fn free_of_nobody(next: *mut memhook_next, block: *mut c_void, caller: *const c_void) -> bool {
    let callback = current(FREE);
    // As in `realloc`.
    let foreign = !block.is_null() && set::changes_pointers(FREE, callback);
    let is_called = !callback.is_null() && !foreign;
    if is_called {
        let values = variables::all_current();
        set::see(&values);
        let task = Task {
            callback,
            request: Request::Free { block },
            caller,
            values,
            next,
            owner: None,
            keeper: None,
        };
        let (_, answer) = activation::run(guard::record(), task);
        if matches!(answer, Answer::Other) && !next.is_null() && !dispatch::is_alone(next) {
            keep(next, block);
        }
    }
    is_called
}

/// The callback gives the block back later. Its set owns it until then.
#[cold]
fn keep(next: *mut memhook_next, block: *mut c_void) {
    // SAFETY: `next` is that of the callback that is running.
    let owner = unsafe { dispatch::last_owner(next) };
    if let (Some(set), Some(record)) = (set::of_hook(owner), guard::record()) {
        set.own(block, record);
    }
}

/// What stands in a variable before the first call: saved unseen and called later, it does what
/// malloc does then.
#[inline(always)]
pub(super) fn initial(kind: usize) -> Callback {
    match kind {
        MALLOC => initial_malloc as Callback,
        REALLOC => initial_realloc as Callback,
        MEMALIGN => initial_memalign as Callback,
        _ => NOBODY,
    }
}

/// What the initial functions do where a program has put them in again: they take themselves out, all of them.
fn take_initial_out(frame: usize) {
    for kind in [MALLOC, REALLOC, MEMALIGN] {
        let place = super::variable(kind, frame);
        // SAFETY: where the calling thread reads and writes the variable.
        if unsafe { place.read() } == initial(kind) {
            // SAFETY: as the read.
            unsafe { place.write(NOBODY) };
        }
    }
}

unsafe extern "C" fn initial_malloc(requested: usize, caller: *const c_void) -> *mut c_void {
    let frame = tls::stack_pointer();
    take_initial_out(frame);
    // SAFETY: as malloc's.
    unsafe { dispatch::malloc(requested, frame, caller as usize) }
}

unsafe extern "C" fn initial_realloc(
    block: *mut c_void,
    requested: usize,
    caller: *const c_void,
) -> *mut c_void {
    let frame = tls::stack_pointer();
    take_initial_out(frame);
    // SAFETY: as realloc's.
    unsafe { dispatch::realloc(block, requested, frame, caller as usize) }
}

unsafe extern "C" fn initial_memalign(
    alignment: usize,
    requested: usize,
    caller: *const c_void,
) -> *mut c_void {
    let frame = tls::stack_pointer();
    take_initial_out(frame);
    // SAFETY: as memalign's.
    unsafe { dispatch::memalign(alignment, requested, frame, caller as usize) }
}
