//! Calls from inside a callback that something else than the backend answers: those that callbacks
//! make which were written for glibc's variables, where calling malloc is how a call is passed on.

use super::{Ask, How};
use crate::backend;
use crate::guard::{self, Record};
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
    /// Is told what the backend has answered.
    pub(crate) answered: unsafe fn(*const Inner, *mut c_void),
}

/// What answers this thread's callback now, as its functions take it: a pointer made of a reference would lead to no
/// more than an [`Inner`].
fn current(record: &Record) -> Option<(&Inner, *const Inner)> {
    // ORDERING [none]: Relaxed. Written by this thread.
    let inner = record.inner.load(Ordering::Relaxed).cast_const().cast::<Inner>();
    // SAFETY: null, or on the stack of a call that has not returned: `grace::abandon` takes it away
    // from a call that never will.
    unsafe { inner.as_ref() }.map(|known| (known, inner))
}

fn ask(
    record: &Record,
    request: Request,
    caller: usize,
    backend: impl FnOnce() -> *mut c_void,
) -> *mut c_void {
    let Some((functions, inner)) = current(record) else { return backend() };
    // SAFETY: `inner` is what its functions take.
    let answer = || unsafe { (functions.answer)(inner, request, caller) };
    // Nobody is asked while the thread has suspended hooks.
    if record.suspensions() == 0
        && let Some(block) = answer()
    {
        return block;
    }
    let block = backend();
    note(record, block);
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

/// Another size for a block that nobody owns, for a callback.
pub(super) fn resize(block: *mut c_void, bytes: usize, caller: usize, record: &Record) -> *mut c_void {
    // SAFETY: the program's block, and the backend made it.
    ask(record, Request::Realloc { block, bytes }, caller, || unsafe { backend::realloc(block, bytes) })
}

/// A block that nobody owns, or NULL, is given back by a callback.
pub(super) fn free(block: *mut c_void, caller: usize, record: &Record) {
    ask(record, Request::Free { block }, caller, || {
        // SAFETY: the program's block, and the backend made it; or NULL.
        unsafe { backend::free(block) };
        core::ptr::null_mut()
    });
}

/// If this thread is in a callback, that got the block from the backend itself.
pub(crate) fn note_backends(block: *mut c_void) {
    if let Some(record) = guard::known() {
        note(record, block);
    }
}

/// A callback was given a block that it did not get through [`allocate`] and [`resize`].
pub(super) fn note(record: &Record, block: *mut c_void) {
    if let Some((functions, inner)) = current(record) {
        // SAFETY: `inner` is what its functions take.
        unsafe { (functions.answered)(inner, block) };
    }
}
