//! The interceptors through which the callbacks in the variables are called: one in the chain for the
//! variables, and one outside it for each set that owns blocks.

use super::frame::{Frame, aim};
use super::set::{self, Set};
use super::{Callback, FREE, MALLOC, MEMALIGN, NOBODY, REALLOC, Values, in_force, released};
use crate::abi::*;
use crate::dispatch::{self, Request};
use crate::guard;
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
unsafe fn caller(call: *const memhook_call) -> *const c_void {
    // SAFETY: the caller's contract.
    unsafe { (*call).caller }
}

/// Runs a callback that makes a block, and has the block owned if it is not the backend's.
///
/// # Safety
///
/// `next` and `call` are those of the interceptor's callback which is running.
#[inline(always)]
unsafe fn make(
    next: *mut memhook_next,
    callback: Callback,
    request: Request,
    call: *const memhook_call,
) -> *mut c_void {
    let values = Frame::values();
    set::see(&values);
    // SAFETY: the caller's contract.
    let (block, is_backends) = Frame::run(values, callback, None, request, unsafe { caller(call) });
    if block.is_null() || is_backends {
        return block;
    }
    // SAFETY: the caller's contract.
    unsafe { made_by_set(next, aim(request).0, values, block) }
}

/// The callbacks in the variables have made a block that is not the backend's.
///
/// # Safety
///
/// As [`make`].
#[inline(never)]
unsafe fn made_by_set(
    next: *mut memhook_next,
    kind: usize,
    values: Values,
    block: *mut c_void,
) -> *mut c_void {
    if let Some(set) = set::of_maker(kind, &values) {
        // SAFETY: the caller's contract.
        unsafe { dispatch::claim(next, set.hook()) };
        return block;
    }
    // Nobody could take it back later.
    let [.., free] = values;
    if !free.is_null() {
        let _ = Frame::run(values, free, None, Request::Free { block }, core::ptr::null());
    }
    no_memory()
}

fn no_memory() -> *mut c_void {
    // SAFETY: errno of this thread.
    unsafe { thread::errno_location().write(libc::ENOMEM) };
    core::ptr::null_mut()
}

unsafe extern "C" fn malloc(
    next: *mut memhook_next,
    requested: usize,
    call: *const memhook_call,
    _user: *mut c_void,
) -> *mut c_void {
    let callback = in_force(MALLOC);
    if callback.is_null() {
        // SAFETY: of this call.
        return unsafe { dispatch::next_malloc(next, requested) };
    }
    // SAFETY: of this call.
    unsafe { make(next, callback, Request::Malloc { bytes: requested }, call) }
}

unsafe extern "C" fn memalign(
    next: *mut memhook_next,
    alignment: usize,
    requested: usize,
    call: *const memhook_call,
    _user: *mut c_void,
) -> *mut c_void {
    let callback = in_force(MEMALIGN);
    if callback.is_null() {
        // SAFETY: of this call.
        return unsafe { dispatch::next_memalign(next, alignment, requested) };
    }
    // SAFETY: of this call.
    unsafe { make(next, callback, Request::Memalign { alignment, bytes: requested }, call) }
}

unsafe extern "C" fn realloc(
    next: *mut memhook_next,
    block: *mut c_void,
    requested: usize,
    call: *const memhook_call,
    _user: *mut c_void,
) -> *mut c_void {
    let callback = in_force(REALLOC);
    // A block that is nobody's was made before such a callback came, or past it.
    let foreign = !block.is_null() && set::changes_pointers(REALLOC, callback);
    if callback.is_null() || foreign {
        // SAFETY: of this call.
        return unsafe { dispatch::next_realloc(next, block, requested) };
    }
    if !block.is_null() && ownership::is_crowded() {
        return no_memory();
    }
    // SAFETY: of this call.
    unsafe { make(next, callback, Request::Realloc { block, bytes: requested }, call) }
}

unsafe extern "C" fn free(
    next: *mut memhook_next,
    block: *mut c_void,
    call: *const memhook_call,
    _user: *mut c_void,
) {
    let callback = in_force(FREE);
    // As in `realloc`.
    let foreign = !block.is_null() && set::changes_pointers(FREE, callback);
    if !callback.is_null() && !foreign {
        let values = Frame::values();
        set::see(&values);
        // SAFETY: of this call.
        let _ = Frame::run(values, callback, None, Request::Free { block }, unsafe { caller(call) });
    } else if !block.is_null() {
        // SAFETY: of this call.
        unsafe { dispatch::next_free(next, block) };
    }
}

/// Has a set take back a block of its own; `None` where no callback of this kind was ever seen beside it.
///
/// # Safety
///
/// `call` and `user` are those of a callback of [`table_for_set`].
#[inline(always)]
unsafe fn take_back(
    kind: usize,
    request: Request,
    call: *const memhook_call,
    user: *mut c_void,
) -> Option<*mut c_void> {
    // SAFETY: the caller's contract; sets are never unmapped.
    let set = unsafe { &*user.cast::<Set>() };
    let values = Frame::values();
    match guard::record().and_then(Frame::of) {
        None => set::see(&values),
        // The variables may hold another set's callbacks still, beside those that were put there for this call.
        Some(frame) if set.callback(kind).is_null() => set.learn(kind, frame.put_in_now(kind)),
        Some(_) => {}
    }
    let callback = set.callback(kind);
    // SAFETY: the caller's contract.
    let caller = unsafe { caller(call) };
    (!callback.is_null()).then(|| Frame::run(values, callback, Some(set), request, caller).0)
}

unsafe extern "C" fn realloc_own(
    next: *mut memhook_next,
    block: *mut c_void,
    requested: usize,
    call: *const memhook_call,
    user: *mut c_void,
) -> *mut c_void {
    // SAFETY: of this call.
    let done = unsafe { take_back(REALLOC, Request::Realloc { block, bytes: requested }, call, user) };
    // SAFETY: of this call. As in glibc, which would ask the allocator.
    done.unwrap_or_else(|| unsafe { dispatch::next_realloc(next, block, requested) })
}

unsafe extern "C" fn free_own(
    next: *mut memhook_next,
    block: *mut c_void,
    call: *const memhook_call,
    user: *mut c_void,
) {
    // SAFETY: of this call.
    if unsafe { take_back(FREE, Request::Free { block }, call, user) }.is_none() {
        // SAFETY: of this call. As in glibc, which would ask the allocator.
        unsafe { dispatch::next_free(next, block) };
    }
}

/// Where the block that it lies in begins, nobody knows.
unsafe extern "C" fn usable_size_own(
    _next: *mut memhook_next,
    _block: *mut c_void,
    _call: *const memhook_call,
    _user: *mut c_void,
) -> usize {
    0
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

/// Whether this is what [`initial`] gives for the variable.
#[inline(always)]
pub(super) fn is_initial(kind: usize, callback: Callback) -> bool {
    kind != FREE && callback == initial(kind)
}

unsafe extern "C" fn initial_malloc(requested: usize, caller: *const c_void) -> *mut c_void {
    // SAFETY: as malloc's.
    unsafe { dispatch::malloc(requested, tls::stack_pointer(), caller as usize) }
}

unsafe extern "C" fn initial_realloc(
    block: *mut c_void,
    requested: usize,
    caller: *const c_void,
) -> *mut c_void {
    // SAFETY: as realloc's.
    unsafe { dispatch::realloc(block, requested, tls::stack_pointer(), caller as usize) }
}

unsafe extern "C" fn initial_memalign(
    alignment: usize,
    requested: usize,
    caller: *const c_void,
) -> *mut c_void {
    // SAFETY: as memalign's.
    unsafe { dispatch::memalign(alignment, requested, tls::stack_pointer(), caller as usize) }
}
