//! The walk through the interceptors of one call, and the `next` that each of them is given.
//!
//! What a walk usually comes to is in line: an end, a hook that is to be called. The rest is not, so
//! that a call which meets none of it saves no registers for it.
//!
//! # Invariants
//!
//! 1. A `memhook_next` that a callback is given points to a live [`Place`] on the stack below it, or to
//!    [`END`] or [`NOTHING`]: to something that begins with its operations.
//! 2. A walk is used in the read section in which it was made.

use super::How;
use super::lists::Lists;
use crate::abi::*;
use crate::backend;
use crate::chain::{Free, Hook, Malloc};
use crate::guard;
use crate::ownership;
use crate::sys::barrier::seldom;
use core::cell::Cell;
use core::ffi::c_void;

/// One way through the interceptors down to the backend, and what the backend said.
pub(super) struct Walk<'a> {
    pub(super) call: &'a memhook_call,
    pub(super) lists: Lists<'a>,
    /// The errno of the last failure of the backend.
    failure: Cell<i32>,
    /// What the backend's calloc gave: address and bytes.
    pub(super) zeroed: Cell<(usize, usize)>,
}

/// What the `next` functions do with what `next` points to.
pub(crate) struct Operations {
    malloc: unsafe fn(*mut memhook_next, usize) -> *mut c_void,
    realloc: unsafe fn(*mut memhook_next, *mut c_void, usize) -> *mut c_void,
    memalign: unsafe fn(*mut memhook_next, usize, usize) -> *mut c_void,
    free: unsafe fn(*mut memhook_next, *mut c_void),
    usable_size: unsafe fn(*mut memhook_next, *mut c_void) -> usize,
    claim: unsafe fn(*mut memhook_next, &'static Hook),
    is_backend: unsafe fn(*mut memhook_next) -> bool,
    last_owner: unsafe fn(*mut memhook_next) -> *const Hook,
}

/// The `next` of an interceptor behind which there is the backend only.
pub(crate) static END: &Operations = &Operations {
    // SAFETY: the backend is resolved before any hook is called. The same for those below.
    malloc: |_, bytes| unsafe { backend::malloc(bytes) },
    // SAFETY: the block is the backend's, by the contract of the `next` functions.
    realloc: |_, block, bytes| unsafe { backend::realloc(block, bytes) },
    // SAFETY: as above.
    memalign: |_, alignment, bytes| unsafe { backend::memalign(alignment, bytes) },
    // SAFETY: as above.
    free: |_, block| unsafe { backend::free(block) },
    // SAFETY: as above.
    usable_size: |_, block| unsafe { backend::usable_size(block) },
    claim: |_, _| (),
    is_backend: |_| true,
    last_owner: |_| core::ptr::null(),
};

/// Nobody stands behind a call that is refused. What does not make blocks leads to the backend.
static NOTHING: &Operations = &Operations {
    malloc: |_, _| super::refuse(libc::ENOMEM),
    realloc: |_, _, _| super::refuse(libc::ENOMEM),
    memalign: |_, _, _| super::refuse(libc::ENOMEM),
    ..*END
};

/// What stands behind a place of a walk.
static WALK: &Operations = &Operations {
    // SAFETY: the caller's contract. The same for those below.
    malloc: |next, bytes| unsafe { place(next) }.malloc(bytes),
    // SAFETY: as above.
    realloc: |next, block, bytes| unsafe { place(next) }.realloc(block, bytes),
    // SAFETY: as above.
    memalign: |next, alignment, bytes| unsafe { place(next) }.memalign(alignment, bytes),
    // SAFETY: as above.
    free: |next, block| unsafe { place(next) }.free(block),
    // SAFETY: as above.
    usable_size: |next, block| unsafe { place(next) }.usable_size(block),
    claim: |next, hook| {
        // SAFETY: as above.
        unsafe { place(next) }.walk.lists.claim(hook);
    },
    // SAFETY: as above.
    is_backend: |next| unsafe { place(next) }.is_end(),
    // SAFETY: as above.
    last_owner: |next| unsafe { place(next) }.last_owner(),
};

/// The `next` for a callback that stands alone before the backend, in a malloc or free.
#[inline(always)]
pub(crate) fn end() -> *mut memhook_next {
    (&raw const END).cast_mut().cast()
}

/// Whether a malloc or free callback that was given `next` stands alone before the backend. Then the program's own
/// request is what it is asked for, by the entry point of its name, and no block is NULL.
#[inline(always)]
pub(crate) fn is_alone(next: *mut memhook_next) -> bool {
    core::ptr::eq(next, end())
}

/// The `next` of a call that is refused, whoever is asked.
pub(super) fn nothing() -> *mut memhook_next {
    (&raw const NOTHING).cast_mut().cast()
}

/// # Safety
///
/// `next` was given to a callback that has not returned.
#[inline(always)]
unsafe fn operations(next: *mut memhook_next) -> &'static Operations {
    // SAFETY: the caller's contract and invariant 1.
    unsafe { next.cast::<&'static Operations>().read() }
}

/// Where in a walk a callback stands: how many of each list are still to come.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Place<'a> {
    operations: &'static Operations,
    walk: &'a Walk<'a>,
    chain: u32,
    owners: u32,
}

impl<'a> Walk<'a> {
    #[inline(always)]
    pub(super) fn new(call: &'a memhook_call, lists: Lists<'a>) -> Walk<'a> {
        Walk { call, lists, failure: Cell::new(0), zeroed: Cell::new((0, 0)) }
    }

    /// Whether no hook of the chain was passed by: then the owner lists of the view hold for what
    /// this walk made.
    #[inline(always)]
    pub(super) fn is_whole(&self) -> bool {
        self.lists.is_whole()
    }

    /// The hook that [`claim`] was called for.
    #[inline(always)]
    pub(super) fn claimed(&self) -> Option<*const Hook> {
        self.lists.claimed()
    }

    #[inline(always)]
    fn start(&'a self) -> Place<'a> {
        let (chain, owners) = self.lists.begin();
        Place { operations: WALK, walk: self, chain, owners }
    }

    /// Why the call failed: the backend's reason, or `ENOMEM` where an interceptor refused.
    pub(super) fn failure(&self) -> i32 {
        match self.failure.get() {
            0 => libc::ENOMEM,
            errno => errno,
        }
    }

    /// Notes why the backend has no block, if it has none.
    #[inline(always)]
    fn failed(&self, block: *mut c_void) -> *mut c_void {
        if block.is_null() {
            self.note_failure();
        }
        block
    }

    #[cold]
    #[inline(never)]
    fn note_failure(&self) {
        // SAFETY: errno of this thread.
        self.failure.set(unsafe { crate::sys::thread::errno_location().read() });
    }

    pub(super) fn malloc(&self, bytes: usize) -> *mut c_void {
        self.start().malloc(bytes)
    }

    pub(super) fn realloc(&self, block: *mut c_void, bytes: usize) -> *mut c_void {
        self.start().realloc(block, bytes)
    }

    pub(super) fn memalign(&self, alignment: usize, bytes: usize) -> *mut c_void {
        self.start().memalign(alignment, bytes)
    }

    pub(super) fn free(&self, block: *mut c_void) {
        self.start().free(block);
    }

    pub(super) fn usable_size(&self, block: *mut c_void) -> usize {
        self.start().usable_size(block)
    }
}

/// The next interceptor with a callback.
struct Step<'a, F> {
    callback: F,
    user: *mut c_void,
    hook: &'a Hook,
    rest: Place<'a>,
}

impl<'a> Place<'a> {
    /// Whether nobody is left to be called.
    #[inline(always)]
    fn is_end(&self) -> bool {
        self.chain | self.owners == 0
    }

    /// The innermost owner of the block, if it is yet to be called; else null.
    fn last_owner(&self) -> *const Hook {
        if self.owners == 0 { core::ptr::null() } else { self.walk.lists.last_owner() }
    }

    /// The next interceptor for which `pick` has a callback.
    #[inline(always)]
    fn step<F>(&self, pick: impl Fn(&memhook_interceptor) -> Option<F>) -> Option<Step<'a, F>> {
        let lists = &self.walk.lists;
        let mut rest = *self;
        while !rest.is_end() {
            let is_chains = match (rest.chain, rest.owners) {
                (_, 0) => true,
                (0, _) => false,
                _ => lists.is_chains_turn(rest.chain, rest.owners),
            };
            // It is entered even if it lacks the callback: another may be called later in the walk.
            let (hook, enters) = if is_chains { rest.next_of_chain(lists)? } else { rest.next_owner(lists)? };
            if enters
                && let Some(step) = hook.interceptor().and_then(|table| Some((pick(table)?, table.user)))
            {
                return Some(Step { callback: step.0, user: step.1, hook, rest });
            }
        }
        None
    }

    /// The same where it is the very next and there are no two lists to be merged. `None`: ask
    /// [`Place::step`].
    #[inline(always)]
    fn usual_step<F>(&self, pick: impl Fn(&memhook_interceptor) -> Option<F>) -> Option<Step<'a, F>> {
        let lists = &self.walk.lists;
        let mut rest = *self;
        let (hook, enters) = match (rest.chain, rest.owners) {
            (_, 0) => rest.next_of_chain(lists)?,
            (0, _) => rest.next_owner(lists)?,
            _ => return None,
        };
        let table = hook.interceptor().filter(|_| enters)?;
        Some(Step { callback: pick(table)?, user: table.user, hook, rest })
    }

    /// Steps over the next hook of the chain, and says whether it is to be called.
    #[inline(always)]
    fn next_of_chain(&mut self, lists: &'a Lists<'a>) -> Option<(&'a Hook, bool)> {
        self.chain -= 1;
        lists.of_chain(self.chain + 1)
    }

    /// Steps over the next owner.
    #[inline(always)]
    fn next_owner(&mut self, lists: &'a Lists<'a>) -> Option<(&'a Hook, bool)> {
        self.owners -= 1;
        lists.of_owners(self.owners + 1)
    }

    #[inline(always)]
    fn malloc(&self, bytes: usize) -> *mut c_void {
        if self.is_end() { self.malloc_of_backend(bytes) } else { self.malloc_of_next(bytes) }
    }

    #[inline(never)]
    fn malloc_of_next(&self, bytes: usize) -> *mut c_void {
        match self.usual_step(|table| table.malloc) {
            // SAFETY: by the contract of memhook_register.
            Some(step) => unsafe { self.malloc_of(step, bytes) },
            None => self.malloc_of_some(bytes),
        }
    }

    #[cold]
    #[inline(never)]
    fn malloc_of_some(&self, bytes: usize) -> *mut c_void {
        match self.step(|table| table.malloc) {
            // SAFETY: by the contract of memhook_register.
            Some(step) => unsafe { self.malloc_of(step, bytes) },
            None => self.malloc_of_backend(bytes),
        }
    }

    /// # Safety
    ///
    /// The callback may be called.
    #[inline(always)]
    unsafe fn malloc_of(&self, mut step: Step<'a, Malloc>, bytes: usize) -> *mut c_void {
        // SAFETY: the caller's contract; `rest` lives during the call (invariant 1).
        unsafe { (step.callback)((&raw mut step.rest).cast(), bytes, self.walk.call, step.user) }
    }

    #[inline(always)]
    fn malloc_of_backend(&self, bytes: usize) -> *mut c_void {
        let entry = self.walk.call.entry;
        if entry == MEMHOOK_ENTRY_CALLOC {
            let block = self.walk.failed(How::Calloc { bytes }.ask_backend(entry));
            self.walk.zeroed.set((block as usize, bytes));
            return block;
        }
        self.walk.failed(How::Malloc { bytes }.ask_backend(entry))
    }

    #[inline(always)]
    fn memalign(&self, alignment: usize, bytes: usize) -> *mut c_void {
        match self.step(|table| table.memalign) {
            Some(mut step) => {
                // SAFETY: as in `malloc`.
                unsafe {
                    (step.callback)((&raw mut step.rest).cast(), alignment, bytes, self.walk.call, step.user)
                }
            }
            None => self.walk.failed(How::Memalign { alignment, bytes }.ask_backend(self.walk.call.entry)),
        }
    }

    #[inline(always)]
    fn realloc(&self, block: *mut c_void, bytes: usize) -> *mut c_void {
        match self.step(|table| table.realloc) {
            Some(step) if step.hook.is_orphaned() => core::ptr::null_mut(),
            Some(mut step) => {
                // SAFETY: as in `malloc`.
                unsafe {
                    (step.callback)((&raw mut step.rest).cast(), block, bytes, self.walk.call, step.user)
                }
            }
            // SAFETY: the chain has come down to a block of the backend, or to NULL.
            None => self.walk.failed(unsafe { backend::realloc(block, bytes) }),
        }
    }

    #[inline(always)]
    fn free(&self, block: *mut c_void) {
        if self.is_end() {
            // SAFETY: the chain has come down to a block of the backend.
            return unsafe { backend::free(block) };
        }
        self.free_by_next(block);
    }

    #[inline(never)]
    fn free_by_next(&self, block: *mut c_void) {
        match self.usual_step(|table| table.free) {
            // SAFETY: by the contract of memhook_register.
            Some(step) => unsafe { self.free_by(step, block) },
            None => self.free_by_some(block),
        }
    }

    #[cold]
    #[inline(never)]
    fn free_by_some(&self, block: *mut c_void) {
        match self.step(|table| table.free) {
            // SAFETY: by the contract of memhook_register.
            Some(step) => unsafe { self.free_by(step, block) },
            // SAFETY: the chain has come down to a block of the backend.
            None => unsafe { backend::free(block) },
        }
    }

    /// # Safety
    ///
    /// The callback may be called.
    #[inline(always)]
    unsafe fn free_by(&self, mut step: Step<'a, Free>, block: *mut c_void) {
        // If its code is gone: only it knew where the block really begins.
        if !step.hook.is_orphaned() {
            // SAFETY: the caller's contract; `rest` lives during the call (invariant 1).
            unsafe { (step.callback)((&raw mut step.rest).cast(), block, self.walk.call, step.user) }
        }
    }

    #[inline(always)]
    fn usable_size(&self, block: *mut c_void) -> usize {
        match self.step(|table| table.usable_size) {
            Some(step) if step.hook.is_orphaned() => 0,
            Some(mut step) => {
                // SAFETY: as in `malloc`.
                unsafe { (step.callback)((&raw mut step.rest).cast(), block, self.walk.call, step.user) }
            }
            // SAFETY: the chain has come down to a block of the backend.
            None => unsafe { backend::usable_size(block) },
        }
    }
}

/// The place that a `next` stands for.
///
/// # Safety
///
/// `next` was given to a callback that has not returned.
#[inline(always)]
unsafe fn place<'a>(next: *mut memhook_next) -> &'a Place<'a> {
    // SAFETY: the caller's contract and invariant 1.
    unsafe { &*next.cast::<Place<'a>>() }
}

/// The innermost owner of the block, if it is yet to be called; else null.
///
/// # Safety
///
/// `next` was given to a callback that has not returned.
pub(crate) unsafe fn last_owner(next: *mut memhook_next) -> *const Hook {
    // SAFETY: the caller's contract. The same for those below.
    let operations = unsafe { operations(next) };
    // SAFETY: as above.
    unsafe { (operations.last_owner)(next) }
}

/// What this call makes is owned by `hook` too, which is in no chain and never goes: it stands below all
/// others.
///
/// # Safety
///
/// `next` was given to a callback that has not returned.
pub(crate) unsafe fn claim(next: *mut memhook_next, hook: &'static Hook) {
    // SAFETY: the caller's contract. The same for those below.
    let operations = unsafe { operations(next) };
    // SAFETY: as above.
    unsafe { (operations.claim)(next, hook) }
}

/// # Safety
///
/// `next` was given to a callback that has not returned.
#[inline(always)]
pub(crate) unsafe fn next_malloc(next: *mut memhook_next, requested: usize) -> *mut c_void {
    if !is_alone(next) {
        seldom();
        // SAFETY: the caller's contract.
        let operations = unsafe { operations(next) };
        // SAFETY: as above.
        return unsafe { (operations.malloc)(next, requested) };
    }
    // SAFETY: the backend is resolved before any hook is called.
    unsafe { backend::malloc(requested) }
}

/// # Safety
///
/// As [`next_malloc`].
#[inline(always)]
pub(crate) unsafe fn next_memalign(
    next: *mut memhook_next,
    alignment: usize,
    requested: usize,
) -> *mut c_void {
    // SAFETY: the caller's contract.
    let operations = unsafe { operations(next) };
    // SAFETY: as above.
    unsafe { (operations.memalign)(next, alignment, requested) }
}

/// # Safety
///
/// As [`next_malloc`]; `block` is NULL or a block of the rest of the chain.
#[inline(always)]
pub(crate) unsafe fn next_realloc(
    next: *mut memhook_next,
    block: *mut c_void,
    requested: usize,
) -> *mut c_void {
    // SAFETY: the caller's contract.
    let operations = unsafe { operations(next) };
    // SAFETY: as above.
    unsafe { (operations.realloc)(next, block, requested) }
}

/// # Safety
///
/// As [`next_realloc`].
#[inline(always)]
pub(crate) unsafe fn next_free(next: *mut memhook_next, block: *mut c_void) {
    if !is_alone(next) {
        seldom();
        if !block.is_null() {
            // SAFETY: the caller's contract.
            let operations = unsafe { operations(next) };
            // SAFETY: as above.
            unsafe { (operations.free)(next, block) }
        }
        return;
    }
    // SAFETY: as in `next_malloc`; the block is the backend's (the caller's contract).
    unsafe { backend::free(block) }
}

/// # Safety
///
/// As [`next_realloc`].
pub(crate) unsafe fn next_usable_size(next: *mut memhook_next, block: *mut c_void) -> usize {
    if block.is_null() {
        return 0;
    }
    // SAFETY: the caller's contract.
    let operations = unsafe { operations(next) };
    // SAFETY: as above.
    unsafe { (operations.usable_size)(next, block) }
}

/// Whether nobody is left between the callback and the backend.
///
/// # Safety
///
/// As [`next_malloc`].
pub(crate) unsafe fn next_is_backend(next: *mut memhook_next) -> bool {
    // SAFETY: the caller's contract.
    let operations = unsafe { operations(next) };
    // SAFETY: as above.
    unsafe { (operations.is_backend)(next) }
}

/// The usable size of the block that a call is about, for an observer.
///
/// # Safety
///
/// `call` was given to a callback that has not returned.
pub(crate) unsafe fn usable_size_of(call: *const memhook_call) -> usize {
    // SAFETY: the caller's contract.
    let call = unsafe { &*call };
    if call.block.is_null() {
        return 0;
    }
    let Some(record) = guard::record() else { return 0 };
    let lists = Lists::taking(None, ownership::owner(call.block), record);
    Walk::new(call, lists).usable_size(call.block)
}
