//! What answers the calls that a callback makes: what stands in the variable, or the set that owns the block.

use super::{Activation, Answer, DEPTH};
use crate::backend;
use crate::dispatch::{self, Inner, Request};
use crate::glibc::origin::{self, Origin};
use crate::glibc::owned;
use crate::glibc::set;
use crate::glibc::{Callback, FREE, MALLOC, MEMALIGN, NOBODY, REALLOC, Values};
use crate::glibc::{FreeFn, MallocFn, MemalignFn, ReallocFn};
use crate::guard;
use core::ffi::c_void;
use core::mem::transmute;

impl Activation {
    /// What stands in the variables, all of them.
    pub(in crate::glibc) fn all(&self) -> Values {
        core::array::from_fn(|kind| self.value(kind))
    }

    /// Of these values, what the innermost callback has put into the variables: that is one set's, where the
    /// rest may be its own still.
    fn put_in(&self, values: &Values) -> Values {
        let before = match self.running() {
            [_, .., innermost] => innermost.given.get(),
            _ => self.given.get(),
        };
        core::array::from_fn(|kind| {
            let value = values.get(kind).copied().unwrap_or(NOBODY);
            let is_new = before.get(kind) != Some(&value);
            if is_new { value } else { NOBODY }
        })
    }

    /// What is known to belong to the set of a callback that is called by another: what was put in with it, or, of one that
    /// stays in, what belongs to the set of the callback that is running. What stands in the other variables may be another
    /// library's.
    fn set_of(&self, kind: usize, callback: Callback, put_in: &Values) -> Values {
        let own = match self.running() {
            [_, .., innermost] => innermost.set.get(),
            _ => self.given.get(),
        };
        if put_in.get(kind) == Some(&callback) {
            *put_in
        } else if own.get(kind) == Some(&callback) {
            own
        } else {
            core::array::from_fn(|i| if i == kind { callback } else { NOBODY })
        }
    }

    /// The set that owns the block which a callback was called for learns of the callback that it is handed on to.
    fn teach(&self, kind: usize, callback: Callback, put_in: &Values) {
        // SAFETY: null, or a set, and sets are never unmapped.
        let keeper = unsafe { self.keeper.get().as_ref() };
        let next = self.next.get();
        // SAFETY: `next` is that of the callback that is running.
        let owner = || (!next.is_null()).then(|| unsafe { dispatch::last_owner(next) });
        if put_in.get(kind) == Some(&callback)
            && let Some(set) = keeper.or_else(|| owner().and_then(set::of_hook))
            && set.callback(kind).is_null()
        {
            set.learn(kind, callback);
        }
    }

    /// What the innermost callback has put into a variable; null where it has not.
    pub(in crate::glibc) fn put_in_now(&self, kind: usize) -> Callback {
        self.put_in(&self.all()).get(kind).copied().unwrap_or(NOBODY)
    }

    /// The answer to a call that a callback makes; `None`: the allocator's.
    #[inline(never)]
    fn answer(&self, callback: Callback, request: Request, caller: usize) -> Option<*mut c_void> {
        let (kind, block) = aim(request);
        let is_subject = !block.is_null() && block == self.subject.get();
        if callback.is_null() || self.depth.get() >= DEPTH {
            return if is_subject { self.pass_on(request, caller as *const c_void) } else { None };
        }
        // A block that belongs to nobody was made before such a callback came, or past it.
        if !block.is_null() && !is_subject && set::changes_pointers(kind, callback) {
            return None;
        }
        let given = self.all();
        let put_in = self.put_in(&given);
        let set = self.set_of(kind, callback, &put_in);
        if let Some(running) = self.running.get(self.depth.get()) {
            running.given.set(given);
            running.set.set(set);
        }
        if is_subject {
            self.teach(kind, callback, &put_in);
        }
        // Before the call: once the block is gone, the callback may get another one at the same address. A callback of no set
        // hands it on, and one for realloc may hand it on to the one for free: see `lend`.
        if is_subject && kind == FREE && set::changes_pointers(kind, callback) {
            self.subject.set(core::ptr::null_mut());
        }
        let answer = self.call(callback, || perform(callback, request, caller as *const c_void));
        let is_gone = !answer.is_null() || matches!(request, Request::Realloc { bytes: 0, .. });
        if is_subject && is_gone && block == self.subject.get() {
            self.subject.set(core::ptr::null_mut());
        }
        if !answer.is_null() && answer != self.handed.get() {
            self.note_made(kind, callback, request, &set, answer);
        }
        Some(answer)
    }

    /// A callback that was called by another has returned a block.
    fn note_made(&self, kind: usize, callback: Callback, request: Request, set: &Values, block: *mut c_void) {
        match self.compare_with_loan(block) {
            Answer::InsideLoan => set::own(kind, set, block),
            Answer::Loan => {
                if set::own_as_mixed(kind, callback, block) {
                    self.lent.set(core::ptr::null_mut());
                }
            }
            Answer::Known | Answer::Other => match origin::of(block, request) {
                Origin::Callback => set::own(kind, set, block),
                Origin::Loan | Origin::Backend => {
                    set::own_as_mixed(kind, callback, block);
                }
                Origin::Owned(_) => {}
            },
        }
    }

    /// Gives the block that a callback was called for to what stands behind the callback.
    fn pass_on(&self, request: Request, caller: *const c_void) -> Option<*mut c_void> {
        let next = self.next.get();
        if next.is_null() {
            return None;
        }
        self.subject.set(core::ptr::null_mut());
        // SAFETY: null, or a set, and sets are never unmapped.
        let keeper = unsafe { self.keeper.get().as_ref() };
        self.passing.set(true);
        let answer = match (keeper, request) {
            (Some(set), _) => owned::take_back_by(set, next, request, caller),
            (None, Request::Free { block }) => {
                // SAFETY: `next` is that of the callback that is running, which was called for this block.
                unsafe { dispatch::next_free(next, block) };
                core::ptr::null_mut()
            }
            // SAFETY: as above.
            (None, Request::Realloc { block, bytes }) => unsafe {
                dispatch::next_realloc(next, block, bytes)
            },
            (None, _) => return None,
        };
        self.passing.set(false);
        self.handed.set(answer);
        if answer.is_null() && matches!(request, Request::Realloc { bytes: 1.., .. }) {
            self.subject.set(aim(request).1);
        }
        Some(answer)
    }
}

/// A callback gives the block that it was called for to the C library. Where a set owns the block, the set gets it.
#[inline(always)]
pub(in crate::glibc) fn pass_on_owned(request: Request) -> Option<*mut c_void> {
    let activation = Activation::of(guard::known()?)?;
    let (_, block) = aim(request);
    let is_subject = backend::is_libc() && !block.is_null() && block == activation.subject.get();
    let is_behind = !dispatch::is_alone(activation.next.get()) || !activation.keeper.get().is_null();
    if is_subject && is_behind { activation.pass_on(request, core::ptr::null()) } else { None }
}

/// What a request is made to: a variable, and the block that it is about.
#[inline(always)]
pub(in crate::glibc) fn aim(request: Request) -> (usize, *mut c_void) {
    match request {
        Request::Malloc { .. } => (MALLOC, core::ptr::null_mut()),
        Request::Memalign { .. } => (MEMALIGN, core::ptr::null_mut()),
        Request::Realloc { block, .. } => (REALLOC, block),
        Request::Free { block } => (FREE, block),
    }
}

/// Calls what stood in the request's variable. NULL for a free.
#[inline(always)]
pub(super) fn perform(callback: Callback, request: Request, caller: *const c_void) -> *mut c_void {
    match request {
        Request::Malloc { bytes } => {
            // SAFETY: what stands in this variable is of this type (invariant 2 of the module above).
            let callback = unsafe { transmute::<Callback, MallocFn>(callback) };
            // SAFETY: the program's own function, put there to be called like this.
            unsafe { callback(bytes, caller) }
        }
        Request::Memalign { alignment, bytes } => {
            // SAFETY: invariant 2 of the module above.
            let callback = unsafe { transmute::<Callback, MemalignFn>(callback) };
            // SAFETY: the program's own function, put there to be called like this.
            unsafe { callback(alignment, bytes, caller) }
        }
        Request::Realloc { block, bytes } => {
            // SAFETY: invariant 2 of the module above.
            let callback = unsafe { transmute::<Callback, ReallocFn>(callback) };
            // SAFETY: the program's own function, put there to be called like this.
            unsafe { callback(block, bytes, caller) }
        }
        Request::Free { block } => {
            // SAFETY: invariant 2 of the module above.
            let callback = unsafe { transmute::<Callback, FreeFn>(callback) };
            // SAFETY: the program's own function, put there to be called like this.
            unsafe { callback(block, caller) };
            core::ptr::null_mut()
        }
    }
}

pub(super) unsafe fn answer(inner: *const Inner, request: Request, caller: usize) -> Option<*mut c_void> {
    // SAFETY: `inner` is an activation's first field; invariant 1.
    let activation = unsafe { &*inner.cast::<Activation>() };
    let (kind, block) = aim(request);
    if !block.is_null() && block == activation.lent.get() {
        activation.lent.set(core::ptr::null_mut());
    }
    let callback = activation.value(kind);
    // Usually it has taken itself out, and asks for a block or gives one of its own back.
    if callback.is_null() && (block.is_null() || block != activation.subject.get()) {
        return None;
    }
    activation.answer(callback, request, caller)
}

pub(super) unsafe fn lent(inner: *const Inner, block: *mut c_void) {
    // SAFETY: `inner` is an activation's first field; invariant 1.
    let activation = unsafe { &*inner.cast::<Activation>() };
    if !block.is_null() {
        activation.lend(block);
    }
}

pub(super) unsafe fn returned(inner: *const Inner, block: *mut c_void) {
    // SAFETY: `inner` is an activation's first field; invariant 1.
    let activation = unsafe { &*inner.cast::<Activation>() };
    if block == activation.lent.get() {
        activation.lent.set(core::ptr::null_mut());
    }
    if block == activation.subject.get() {
        activation.subject.set(core::ptr::null_mut());
    }
}
