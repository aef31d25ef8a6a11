//! Calls from inside a callback that something else than the backend answers: those that callbacks
//! make which were written for glibc's variables, where calling malloc is how a call is passed on.

use super::{Ask, How};
use crate::backend;
use crate::grace;
use crate::guard::{self, Record};
use crate::ownership;
use core::ffi::c_void;
use core::sync::atomic::Ordering;

/// What a callback asks for.
#[derive(Clone, Copy)]
pub(crate) enum Request {
    Malloc { bytes: usize },
    Realloc { block: *mut c_void, bytes: usize },
    Memalign { alignment: usize, bytes: usize },
    Free { block: *mut c_void },
}

/// Answers what a thread's callback asks for. `Record::inner` leads to it while the callback runs.
#[repr(C)]
pub(crate) struct Inner {
    /// The answer, or `None`: the backend is to be asked. With the caller of the entry point.
    pub(crate) answer: unsafe fn(*const Inner, Request, usize) -> Option<*mut c_void>,
    /// Is told of a block that the backend gives the callback: it has that on loan.
    pub(crate) lent: unsafe fn(*const Inner, *mut c_void),
    /// Is told of a block that the callback gives back past all hooks.
    pub(crate) returned: unsafe fn(*const Inner, *mut c_void),
}

/// What answers this thread's callback now; null: the backend.
#[inline(always)]
fn current(record: &Record) -> *const Inner {
    // ORDERING [none]: Relaxed. Written by this thread.
    record.inner.load(Ordering::Relaxed).cast_const().cast::<Inner>()
}

#[inline(always)]
fn ask(
    record: &Record,
    request: Request,
    caller: usize,
    backend: impl FnOnce() -> *mut c_void,
) -> *mut c_void {
    let inner = current(record);
    // SAFETY: null, or of a call that has not returned: `grace::abandon` takes it away from one that never will.
    let Some(functions) = (unsafe { inner.as_ref() }) else { return backend() };
    // SAFETY: `inner` is what its function takes: a pointer made of `functions` would lead to no more than an `Inner`.
    let answer = || unsafe { (functions.answer)(inner, request, caller) };
    // Nobody is asked while the thread has suspended hooks.
    if record.suspensions() == 0
        && let Some(block) = answer()
    {
        return block;
    }
    let block = backend();
    // SAFETY: as for `answer`.
    unsafe { (functions.lent)(inner, block) };
    block
}

/// A new block for a callback. On failure errno says why.
pub(super) fn allocate(what: &Ask, how: How, record: &Record) -> *mut c_void {
    let request = match how {
        How::Malloc { bytes } | How::Calloc { bytes } => Request::Malloc { bytes },
        How::Realloc { bytes } => Request::Realloc { block: core::ptr::null_mut(), bytes },
        How::Memalign { alignment, bytes } => Request::Memalign { alignment, bytes },
        How::Refuse(_) => return how.ask_backend(what.entry),
    };
    let mut asked = false;
    let block = ask(record, request, what.caller, || {
        asked = true;
        how.ask_backend(what.entry)
    });
    if let (false, false, How::Calloc { bytes }) = (asked, block.is_null(), how) {
        // SAFETY: a callback gave a block of at least this size.
        unsafe { block.cast::<u8>().write_bytes(0, bytes) };
    }
    block
}

/// Another size for a block that nobody owns, for a callback. Where that fails, the block is on loan as it was.
pub(super) fn resize(block: *mut c_void, bytes: usize, caller: usize, record: &Record) -> *mut c_void {
    let request = Request::Realloc { block, bytes };
    // SAFETY: the program's block, and the backend made it.
    let new = ask(record, request, caller, || unsafe { backend::realloc(block, bytes) });
    if new.is_null() && bytes != 0 && !current(record).is_null() {
        ownership::lend(block);
    }
    new
}

/// A block that nobody owns, or NULL, is given back by a callback.
pub(super) fn free(block: *mut c_void, caller: usize, record: &Record) {
    ask(record, Request::Free { block }, caller, || {
        // SAFETY: the program's block, and the backend made it; or NULL.
        unsafe { backend::free(block) };
        core::ptr::null_mut()
    });
}

/// The backend made this block. If this thread is in a callback, that has it on loan.
pub(crate) fn note_backends(block: *mut c_void) {
    tell(|functions| functions.lent, block);
}

/// Tells what answers this thread's callback of a block.
#[inline(always)]
fn tell(which: impl FnOnce(&Inner) -> unsafe fn(*const Inner, *mut c_void), block: *mut c_void) {
    let inner = guard::known().map_or(core::ptr::null(), current);
    // SAFETY: null, or of a call that has not returned.
    if let Some(functions) = unsafe { inner.as_ref() } {
        // SAFETY: `inner` is what its function takes.
        unsafe { which(functions)(inner, block) };
    }
}

/// A block of the backend's is given back past all hooks.
#[inline(always)]
pub(crate) fn end_loan(block: *mut c_void) {
    tell(|functions| functions.returned, block);
    ownership::end_loan(block);
}

/// The same for one that may be owned: no mark of it stays.
#[inline(always)]
pub(crate) fn forget(block: *mut c_void) {
    tell(|functions| functions.returned, block);
    let owner = ownership::last_owner(block);
    if owner != 0 {
        forget_owner(block, owner);
    }
}

#[cold]
#[inline(never)]
fn forget_owner(block: *mut c_void, owner: u16) {
    let Some(record) = guard::record() else { return };
    let section = grace::enter_here(record);
    ownership::clear(block);
    ownership::gone(owner, record);
    drop(section);
}
