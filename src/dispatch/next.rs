//! The walk through the interceptors of one call, and the `next` that each of them is given.
//!
//! # Invariants
//!
//! 1. A `memhook_next` that a callback is given points to a live [`Place`] on the stack below it.
//! 2. A walk is used in the read section in which it was made.

use super::How;
use crate::abi::*;
use crate::backend;
use crate::chain::{Hook, View};
use crate::grace;
use crate::guard::{self, Record};
use crate::ownership;
use core::cell::Cell;
use core::ffi::c_void;

/// The interceptors of one call, in order: two sorted arrays that are merged on the way.
pub(super) struct Walk<'a> {
    call: &'a memhook_call,
    record: &'a Record,
    /// Hooks of the chain: those that are being unregistered are passed by.
    chain: &'a [*const Hook],
    /// Hooks that own the block: each must see it.
    owners: &'a [*const Hook],
    /// How far into the chain the walk has come, and which of the hooks up to there it has passed
    /// by, one bit each.
    seen: Cell<(usize, u64)>,
    /// A hook outside the chain that owns what the walk made, below all others.
    claimed: Cell<*const Hook>,
    /// The errno of the last failure of the backend.
    failure: Cell<i32>,
    /// What the backend's calloc gave: address and bytes.
    pub(super) zeroed: Cell<(usize, usize)>,
}

/// How many hooks of a chain have a bit each in `Walk::seen`. A walk of a longer chain announces
/// all hooks at its start, and passes none by.
pub(super) const MANY: usize = 64;

/// The bit of hook `i`; 0 for one that is never passed by.
#[inline(always)]
fn bit(i: usize) -> u64 {
    if i < MANY { 1 << i } else { 0 }
}

/// Where in a walk a callback stands: the rest of the chain.
#[derive(Clone, Copy)]
struct Place<'a> {
    walk: &'a Walk<'a>,
    chain: usize,
    owner: usize,
}

impl<'a> Walk<'a> {
    /// The walk of a call that makes a block.
    #[inline(always)]
    pub(super) fn making(call: &'a memhook_call, view: &'a View, record: &'a Record) -> Walk<'a> {
        Walk {
            call,
            record,
            seen: Cell::new((0, 0)),
            chain: view.interceptors.get(),
            owners: &[],
            claimed: Cell::new(core::ptr::null()),
            failure: Cell::new(0),
            zeroed: Cell::new((0, 0)),
        }
    }

    /// The walk of a call about a block: its owners, and those who see every block.
    #[inline(always)]
    pub(super) fn taking(
        call: &'a memhook_call,
        view: Option<&'a View>,
        owner: u16,
        record: &'a Record,
    ) -> Walk<'a> {
        Walk {
            call,
            record,
            seen: Cell::new((0, 0)),
            chain: view.map_or(&[], |view| view.keepers.get()),
            // SAFETY: in the section of the call (invariant 2).
            owners: if owner == 0 { &[] } else { unsafe { ownership::members(owner) } },
            claimed: Cell::new(core::ptr::null()),
            failure: Cell::new(0),
            zeroed: Cell::new((0, 0)),
        }
    }

    /// The walk that gives a new block back to its makers.
    #[cold]
    pub(super) fn giving_back(
        call: &'a memhook_call,
        view: &'a View,
        makers: &'a [*const Hook],
        record: &'a Record,
    ) -> Walk<'a> {
        Walk { owners: makers, ..Walk::taking(call, Some(view), 0, record) }
    }

    #[inline(always)]
    fn start(&'a self) -> Place<'a> {
        if self.chain.len() > MANY {
            grace::announce_interceptor(self.record, u64::MAX);
        }
        Place { walk: self, chain: 0, owner: 0 }
    }

    /// Whether no hook of the chain was passed by: then the owner lists of the view hold for what
    /// this walk made.
    #[inline(always)]
    pub(super) fn is_whole(&self) -> bool {
        let (reached, _) = self.seen.get();
        if reached < self.chain.len() {
            self.reach_the_end(reached);
        }
        let (_, passed_by) = self.seen.get();
        passed_by == 0
    }

    /// An interceptor that answered by itself has left those below it unasked.
    #[cold]
    fn reach_the_end(&self, reached: usize) {
        for (i, &hook) in self.chain.iter().enumerate().skip(reached) {
            // SAFETY: hooks in a chain live as long as the section (invariant 2).
            self.enters(i, unsafe { &*hook });
        }
    }

    /// Which hooks had a part in what this walk made. Not taken from the view's owner list, which
    /// may have come to its end: a member that was passed by is gone.
    #[cold]
    pub(super) fn makers<'m>(
        &self,
        makes: fn(&memhook_interceptor) -> bool,
        room: &'m mut [*const Hook],
    ) -> &'m [*const Hook] {
        let (_, passed_by) = self.seen.get();
        let mut len = 0;
        for (i, &pointer) in self.chain.iter().enumerate() {
            // SAFETY: hooks in a chain live as long as the section (invariant 2).
            let hook = unsafe { &*pointer };
            let had_part = passed_by & bit(i) == 0 && hook.may_own();
            // Chains in which something is passed by have at most MANY hooks.
            if let (true, Some(place)) =
                (had_part && hook.interceptor().is_some_and(makes), room.get_mut(len))
            {
                *place = pointer;
                len += 1;
            }
        }
        if let (Some(hook), Some(place)) = (self.claimed(), room.get_mut(len)) {
            *place = hook;
            len += 1;
        }
        room.get(..len).unwrap_or(&[])
    }

    /// The hook that [`claim`] was called for.
    #[inline(always)]
    pub(super) fn claimed(&self) -> Option<*const Hook> {
        let hook = self.claimed.get();
        (!hook.is_null()).then_some(hook)
    }

    /// Whether hook `i` of the chain is to be called. Asked again, the answer stays the same: who
    /// had a part in a block is there when it is given back.
    #[inline(always)]
    fn enters(&self, i: usize, hook: &Hook) -> bool {
        let (reached, passed_by) = self.seen.get();
        if i < reached {
            return passed_by & bit(i) == 0;
        }
        let before = grace::announce_interceptor(self.record, hook.bit());
        if self.chain.len() <= MANY && hook.is_passed_by() {
            grace::retract_interceptor(self.record, before);
            self.seen.set((i + 1, passed_by | bit(i)));
            return false;
        }
        self.seen.set((i + 1, passed_by));
        true
    }

    /// Why the call failed: the backend's reason, or `ENOMEM` where an interceptor refused.
    pub(super) fn failure(&self) -> i32 {
        match self.failure.get() {
            0 => libc::ENOMEM,
            errno => errno,
        }
    }

    fn failed(&self, block: *mut c_void) -> *mut c_void {
        if block.is_null() {
            // SAFETY: errno of this thread.
            self.failure.set(unsafe { crate::sys::thread::errno_location().read() });
        }
        block
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
    hook: &'a Hook,
    rest: Place<'a>,
}

impl<'a> Place<'a> {
    /// The next interceptor for which `pick` has a callback.
    #[inline(always)]
    fn step<F>(mut self, pick: impl Fn(&memhook_interceptor) -> Option<F>) -> Option<Step<'a, F>> {
        loop {
            let ours = self.walk.chain.get(self.chain);
            let theirs = self.walk.owners.get(self.owner);
            let from_chain = match (ours, theirs) {
                (None, None) => return None,
                (Some(_), None) => true,
                (None, Some(_)) => false,
                // SAFETY: hooks in a chain or a list live as long as the section (invariant 2).
                (Some(&a), Some(&b)) => unsafe { &*a }.is_before(
                    // SAFETY: as above.
                    unsafe { &*b },
                ),
            };
            let hook = if from_chain {
                self.chain += 1;
                ours
            } else {
                self.owner += 1;
                theirs
            };
            // SAFETY: as above.
            let hook = hook.map(|&hook| unsafe { &*hook })?;
            // Asked also of hooks that have no such callback: another may be called later in the walk.
            if !from_chain {
                grace::announce_interceptor(self.walk.record, hook.bit());
            } else if !self.walk.enters(self.chain - 1, hook) {
                continue;
            }
            if let Some(callback) = hook.interceptor().and_then(&pick) {
                return Some(Step { callback, hook, rest: self });
            }
        }
    }

    #[inline(always)]
    fn malloc(self, bytes: usize) -> *mut c_void {
        match self.step(|table| table.malloc) {
            Some(mut step) => {
                let user = step.hook.user();
                // SAFETY: the program's own function, by the contract of memhook_register;
                // `rest` lives during the call (invariant 1).
                unsafe { (step.callback)((&raw mut step.rest).cast(), bytes, self.walk.call, user) }
            }
            None if self.walk.call.entry == MEMHOOK_ENTRY_CALLOC => {
                let block = self.walk.failed(How::Calloc { bytes }.ask_backend(self.walk.call.entry));
                self.walk.zeroed.set((block as usize, bytes));
                block
            }
            None => self.walk.failed(How::Malloc { bytes }.ask_backend(self.walk.call.entry)),
        }
    }

    #[inline(always)]
    fn memalign(self, alignment: usize, bytes: usize) -> *mut c_void {
        match self.step(|table| table.memalign) {
            Some(mut step) => {
                let user = step.hook.user();
                // SAFETY: as in `malloc`.
                unsafe {
                    (step.callback)((&raw mut step.rest).cast(), alignment, bytes, self.walk.call, user)
                }
            }
            None => self.walk.failed(How::Memalign { alignment, bytes }.ask_backend(self.walk.call.entry)),
        }
    }

    #[inline(always)]
    fn realloc(self, block: *mut c_void, bytes: usize) -> *mut c_void {
        match self.step(|table| table.realloc) {
            Some(step) if step.hook.is_orphaned() => core::ptr::null_mut(),
            Some(mut step) => {
                let user = step.hook.user();
                // SAFETY: as in `malloc`.
                unsafe { (step.callback)((&raw mut step.rest).cast(), block, bytes, self.walk.call, user) }
            }
            // SAFETY: the chain has come down to a block of the backend, or to NULL.
            None => self.walk.failed(unsafe { backend::realloc(block, bytes) }),
        }
    }

    #[inline(always)]
    fn free(self, block: *mut c_void) {
        match self.step(|table| table.free) {
            // Its code is gone: only it knew where the block really begins.
            Some(step) if step.hook.is_orphaned() => {}
            Some(mut step) => {
                let user = step.hook.user();
                // SAFETY: as in `malloc`.
                unsafe { (step.callback)((&raw mut step.rest).cast(), block, self.walk.call, user) }
            }
            // SAFETY: the chain has come down to a block of the backend.
            None => unsafe { backend::free(block) },
        }
    }

    #[inline(always)]
    fn usable_size(self, block: *mut c_void) -> usize {
        match self.step(|table| table.usable_size) {
            Some(step) if step.hook.is_orphaned() => 0,
            Some(mut step) => {
                let user = step.hook.user();
                // SAFETY: as in `malloc`.
                unsafe { (step.callback)((&raw mut step.rest).cast(), block, self.walk.call, user) }
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
unsafe fn place<'a>(next: *mut memhook_next) -> Place<'a> {
    // SAFETY: the caller's contract and invariant 1.
    unsafe { *next.cast::<Place<'a>>() }
}

/// What this call makes is owned by `hook` too, which is in no chain and never goes: it stands below all
/// others.
///
/// # Safety
///
/// `next` was given to a callback that has not returned.
pub(crate) unsafe fn claim(next: *mut memhook_next, hook: &'static Hook) {
    // SAFETY: the caller's contract.
    unsafe { place(next) }.walk.claimed.set(hook);
}

/// # Safety
///
/// `next` was given to a callback that has not returned.
pub(crate) unsafe fn next_malloc(next: *mut memhook_next, requested: usize) -> *mut c_void {
    // SAFETY: the caller's contract.
    unsafe { place(next) }.malloc(requested)
}

/// # Safety
///
/// As [`next_malloc`].
pub(crate) unsafe fn next_memalign(
    next: *mut memhook_next,
    alignment: usize,
    requested: usize,
) -> *mut c_void {
    // SAFETY: the caller's contract.
    unsafe { place(next) }.memalign(alignment, requested)
}

/// # Safety
///
/// As [`next_malloc`]; `block` is NULL or a block of the rest of the chain.
pub(crate) unsafe fn next_realloc(
    next: *mut memhook_next,
    block: *mut c_void,
    requested: usize,
) -> *mut c_void {
    // SAFETY: the caller's contract.
    unsafe { place(next) }.realloc(block, requested)
}

/// # Safety
///
/// As [`next_realloc`].
pub(crate) unsafe fn next_free(next: *mut memhook_next, block: *mut c_void) {
    if !block.is_null() {
        // SAFETY: the caller's contract.
        unsafe { place(next) }.free(block);
    }
}

/// # Safety
///
/// As [`next_realloc`].
pub(crate) unsafe fn next_usable_size(next: *mut memhook_next, block: *mut c_void) -> usize {
    if block.is_null() {
        return 0;
    }
    // SAFETY: the caller's contract.
    unsafe { place(next) }.usable_size(block)
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
    Walk::taking(call, None, ownership::owner(call.block), record).usable_size(call.block)
}
