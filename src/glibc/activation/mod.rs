//! The callbacks that a thread is running, and the calls that they make.
//!
//! A thread that runs a callback has its own copies of the variables, taken when the callback was entered. A call that
//! the callback makes is answered by what stands in the copy, as glibc answered it by what stood in the variable. What
//! the callback leaves changed is carried to the variables when it returns.
//!
//! Activations are in memory of the thread's record, not on the stack: a callback that was left by longjmp or an exception
//! is noticed by a later call, and its copies must be there until then.
//!
//! # Invariants
//!
//! 1. A record's `inner` leads to one of its activations, or to one on the stack of a call that has not returned.
//! 2. While `Activations::busy`, a call of the same thread (a signal handler's) takes no activation of the record.
//! 3. `active` counts the record's activations whose callback has not returned. Where `inner` is null and `active` is
//!    not 0, their callbacks were left without returning.

mod answers;

use super::set::{self, Set};
use super::variables::{self, Variable, is_plain_memory};
use super::{Callback, NOBODY, Values, windows};
use crate::abi::memhook_next;
use crate::backend;
use crate::dispatch::{self, Inner, Request};
use crate::guard::{self, Record};
use crate::ownership::{self, Mark};
use crate::scratch;
pub(super) use answers::{aim, pass_on_owned};
use answers::{answer, lent, perform, returned};
use core::cell::Cell;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicU64, Ordering, compiler_fence};

/// A callback that was called for the program, and those that its own calls have led to.
#[repr(C)]
pub(super) struct Activation {
    /// First, so that a pointer to it is one to the activation.
    inner: Cell<MaybeUninit<Inner>>,
    /// The thread's variables while it runs, and what they were at entry.
    copies: Cell<Values>,
    given: Cell<Values>,
    /// The block that the callback was called for, what stands behind the callback for it, and what that has answered.
    subject: Cell<*mut c_void>,
    next: Cell<*mut memhook_next>,
    handed: Cell<*mut c_void>,
    /// The set that gets that block before `next`; null where none does.
    keeper: Cell<*const Set>,
    /// Whether it is getting it just now.
    passing: Cell<bool>,
    /// The block that the backend gave last, which is on loan without a mark.
    lent: Cell<*mut c_void>,
    /// Whether what is left in the copies goes to the variables.
    carries: Cell<bool>,
    /// The callbacks that have been called and have not returned, outermost first, how many they are, and the last.
    running: [Running; DEPTH],
    depth: Cell<usize>,
    innermost: Cell<Callback>,
}

/// Where in an activation the copies are, for the stubs that give their addresses.
pub(crate) const COPIES: usize = core::mem::offset_of!(Activation, copies);

/// A callback that has not returned.
struct Running {
    /// What stood in the variables when it was called; of the outermost, the activation knows.
    given: Cell<Values>,
    /// What of that belongs to its set; the same.
    set: Cell<Values>,
}

/// How many callbacks may be running in an activation. One more goes to the allocator: a callback that forgets to
/// take itself out is not called for ever.
const DEPTH: usize = 32;

/// A record's activations. Zeroes are a valid value.
struct Activations {
    busy: Cell<bool>,
    active: Cell<usize>,
    /// How many callbacks the thread has been called for while the variables are plain memory.
    entered: AtomicU64,
    all: [Activation; ACTIVATIONS],
}

/// How far behind the beginning of the block that it was made of a block of a callback's own is looked for at once.
const NEAR: usize = 4096;

/// A callback that takes an owned block back inside another one needs an activation more.
const ACTIVATIONS: usize = 16;

/// What a callback has returned.
#[derive(Clone, Copy)]
pub(super) enum Answer {
    /// NULL, or what stood behind the callback for its block has answered.
    Known,
    /// A block that the backend gave the callback. It has no mark.
    Loan,
    /// An address inside such a block.
    InsideLoan,
    /// Any other block. Of a free: the callback keeps the block, to give it back later.
    Other,
}

/// What a callback is called for.
#[derive(Clone, Copy)]
pub(super) struct Task<'a> {
    pub(super) callback: Callback,
    pub(super) request: Request,
    pub(super) caller: *const c_void,
    /// What the variables hold for it.
    pub(super) values: Values,
    /// What stands behind the callback; null where nothing does.
    pub(super) next: *mut memhook_next,
    /// The set that takes a block of its own back.
    pub(super) owner: Option<&'a Set>,
    /// The set that owns the block that a callback above it is called for, and is to get it from that.
    pub(super) keeper: Option<&'static Set>,
}

impl Activations {
    /// The record's activations; `None` without memory.
    #[inline(always)]
    fn of(record: &Record) -> Option<&Activations> {
        Activations::known(record).or_else(|| Activations::make(record))
    }

    /// The same where there are some.
    #[inline(always)]
    fn known(record: &Record) -> Option<&Activations> {
        // ORDERING [none]: Relaxed. Zeroed memory that is never unmapped; other threads read `entered` only.
        let known = record.frames.load(Ordering::Relaxed).cast::<Activations>();
        // SAFETY: null, or what `make` has stored.
        unsafe { known.as_ref() }
    }

    #[cold]
    #[inline(never)]
    fn make(record: &Record) -> Option<&Activations> {
        let memory =
            scratch::permanent(size_of::<Activations>(), align_of::<Activations>())?.cast::<Activations>();
        // SAFETY: of its size and alignment, and zeroes are a value of every field.
        let activations = unsafe { memory.as_ref() }?;
        // ORDERING [none]: Relaxed. As above.
        record.frames.store(memory.cast(), Ordering::Relaxed);
        Some(activations)
    }

    #[inline(always)]
    fn set_busy(&self, now: bool) {
        self.busy.set(now);
        // ORDERING [none]: AcqRel. For a signal handler of this thread.
        compiler_fence(Ordering::AcqRel);
    }
}

/// How many callbacks all threads have been called for while the variables are plain memory.
pub(super) fn entered() -> u64 {
    // ORDERING [none]: Relaxed. Only whether it changed; the caller's fence orders it.
    let count = |record| Activations::known(record).map_or(0, |known| known.entered.load(Ordering::Relaxed));
    guard::records().map(count).fold(0, u64::wrapping_add)
}

/// Carries what the callbacks have assigned that this thread has left without returning: by longjmp, an exception,
/// pthread_exit. To be called before the variables are read.
#[inline(always)]
pub(super) fn notice_left(record: &Record) {
    // ORDERING [none]: Relaxed. Written by this thread.
    if record.inner.load(Ordering::Relaxed).is_null()
        && let Some(activations) = Activations::known(record)
        && activations.active.get() != 0
        && !activations.busy.get()
    {
        carry_left(activations);
    }
}

/// Whether [`notice_left`] has anything to do.
#[inline(always)]
pub(super) fn has_left(record: &Record) -> bool {
    Activations::known(record).is_some_and(|activations| activations.active.get() != 0)
}

#[cold]
#[inline(never)]
fn carry_left(activations: &Activations) {
    let active = activations.active.replace(0);
    for i in (0..active).rev() {
        let outer = i.checked_sub(1).and_then(|i| activations.all.get(i));
        if let Some(left) = activations.all.get(i).filter(|left| left.carries.get()) {
            left.carry(outer);
        }
    }
}

/// Runs a callback with copies of the variables of its own. Gives its answer.
///
/// In line, as the callers know what the request is; and a backtrace has a frame less.
#[inline(always)]
pub(super) fn run(record: Option<&Record>, task: Task<'_>) -> (*mut c_void, Answer) {
    if let Some(record) = record
        && let Some(activations) = Activations::of(record)
        && !activations.busy.get()
        && let Some(activation) = activations.all.get(activations.active.get())
    {
        return activation.run_in::<false>(record, activations, &task);
    }
    run_on_stack(record, task)
}

/// The first activation of a thread that runs no callback and has left none without returning, and has had one before.
#[inline(always)]
pub(super) fn first(record: &Record) -> Option<First<'_>> {
    let activations = Activations::known(record)?;
    let is_free = activations.active.get() == 0 && !activations.busy.get();
    let activation = activations.all.first().filter(|_| is_free)?;
    Some(First { record, activations, activation })
}

/// See [`first`].
pub(super) struct First<'a> {
    record: &'a Record,
    activations: &'a Activations,
    activation: &'a Activation,
}

impl First<'_> {
    /// As [`run`], of a callback that stands in its variable.
    #[inline(always)]
    pub(super) fn run(&self, task: &Task<'_>) -> (*mut c_void, Answer) {
        self.activation.run_in::<true>(self.record, self.activations, task)
    }

    /// What the variables held for it.
    pub(super) fn given(&self) -> Values {
        self.activation.given.get()
    }
}

/// Where the record has no activation for it.
#[cold]
#[inline(never)]
fn run_on_stack(record: Option<&Record>, task: Task<'_>) -> (*mut c_void, Answer) {
    let memory = MaybeUninit::<Activation>::zeroed();
    // SAFETY: zeroes are a value of every field.
    let activation = unsafe { memory.assume_init() };
    activation.begin(&task);
    let Some(record) = record else {
        return activation.call_first(&task);
    };
    let outer = activation.show(record);
    let answer = activation.call_first(&task);
    // ORDERING [none]: Relaxed. As in `show`.
    record.inner.store(outer, Ordering::Relaxed);
    if activation.carries.get() {
        activation.carry(Activation::of(record));
    }
    answer
}

impl Activation {
    /// The innermost activation of the thread; in a callback only.
    #[inline(always)]
    pub(super) fn of(record: &Record) -> Option<&Activation> {
        // ORDERING [none]: Relaxed. Written by this thread.
        let inner = record.inner.load(Ordering::Relaxed).cast::<Activation>();
        // SAFETY: only activations are stored there; invariant 1.
        unsafe { inner.as_ref() }
    }

    /// The copy of a variable.
    #[inline(always)]
    pub(super) fn copy(&self, kind: usize) -> Option<&Variable> {
        let place = (kind < 4).then(|| self.copies.as_ptr().cast::<Callback>().wrapping_add(kind))?;
        // SAFETY: one of the four copies. This thread only reads and writes them.
        Some(unsafe { Variable::from_ptr(place) })
    }

    /// `STANDS`: the callback is the thread's first and stands in its variable.
    #[inline(always)]
    fn run_in<const STANDS: bool>(
        &self,
        record: &Record,
        activations: &Activations,
        task: &Task<'_>,
    ) -> (*mut c_void, Answer) {
        let before = activations.active.get();
        activations.set_busy(true);
        self.begin(task);
        activations.active.set(before + 1);
        let outer = self.show(record);
        activations.set_busy(false);
        if is_plain_memory() {
            // ORDERING [none]: Relaxed. Written by this thread.
            let entered = activations.entered.load(Ordering::Relaxed);
            // ORDERING [window]: Release. After `inner`: whoever sees it sees us inside. Other end: `windows::changed`.
            activations.entered.store(entered.wrapping_add(1), Ordering::Release);
            windows::enter(record);
        }
        let answer = if STANDS {
            self.depth.set(1);
            self.innermost.set(task.callback);
            let block = perform(task.callback, task.request, task.caller);
            (block, self.compare(task.request, block))
        } else {
            self.call_first(task)
        };
        activations.set_busy(true);
        // ORDERING [none]: Relaxed. As in `show`.
        record.inner.store(outer, Ordering::Relaxed);
        if STANDS {
            self.carry(None);
        } else if self.carries.get() {
            self.carry(Activation::of(record));
        }
        activations.active.set(before);
        activations.set_busy(false);
        answer
    }

    #[inline(always)]
    fn begin(&self, task: &Task<'_>) {
        let (kind, block) = aim(task.request);
        let mut values = task.values;
        let mut stands = true;
        if let Some(value) = values.get_mut(kind)
            && *value != task.callback
        {
            *value = task.callback;
            stands = task.owner.is_none();
        }
        self.inner.set(MaybeUninit::new(Inner { answer, lent, returned }));
        self.copies.set(values);
        self.given.set(values);
        self.subject.set(block);
        self.next.set(task.next);
        self.passing.set(false);
        self.keeper.set(task.keeper.map_or(core::ptr::null(), core::ptr::from_ref));
        self.handed.set(core::ptr::null_mut());
        self.lent.set(core::ptr::null_mut());
        // An owner that is not in force takes its block back and must not come back with it.
        self.carries.set(stands);
        self.depth.set(0);
    }

    /// The thread's calls are answered here from now on. Gives what they were answered by.
    #[inline(always)]
    fn show(&self, record: &Record) -> *mut c_void {
        // ORDERING [none]: Relaxed. Written by this thread.
        let outer = record.inner.load(Ordering::Relaxed);
        let own = core::ptr::from_ref(self).cast_mut().cast::<c_void>();
        // ORDERING [none]: Relaxed. Read by this thread, and by others whether it is null.
        record.inner.store(own, Ordering::Relaxed);
        outer
    }

    #[inline(always)]
    fn call_first(&self, task: &Task<'_>) -> (*mut c_void, Answer) {
        let memory = if self.carries.get() { None } else { variables::in_plain_memory() };
        let block = self.call(task.callback, || perform(task.callback, task.request, task.caller));
        if let (Some(memory), Some(set)) = (memory, task.owner) {
            put_back(set, memory);
        }
        (block, self.compare(task.request, block))
    }

    /// What a callback has returned. Of the last loan a mark is made, where it may be needed.
    #[inline(always)]
    fn compare(&self, request: Request, block: *mut c_void) -> Answer {
        let is_kept =
            matches!(request, Request::Free { block } if !block.is_null() && block == self.subject.get());
        let answer = if is_kept {
            Answer::Other
        } else if block.is_null() || block == self.handed.get() {
            Answer::Known
        } else {
            self.compare_with_loan(block)
        };
        // One that lies inside it says itself that the loan is used; glibc's header will say so of the loan.
        if matches!(answer, Answer::Known | Answer::Other) {
            self.lend(core::ptr::null_mut());
        }
        answer
    }

    /// The backend gives a callback of this activation a block.
    #[inline(always)]
    pub(super) fn lend(&self, block: *mut c_void) {
        // What was at this address has been given back.
        if block == self.subject.get() {
            self.subject.set(core::ptr::null_mut());
        }
        let before = self.lent.replace(block);
        if !before.is_null() {
            ownership::lend(before);
        }
    }

    /// What a block is, that is not null, as far as the last loan tells.
    #[inline(always)]
    fn compare_with_loan(&self, block: *mut c_void) -> Answer {
        let lent = self.lent.get();
        if block == lent {
            return Answer::Loan;
        }
        let from_begin = (block as usize).wrapping_sub(lent as usize);
        // SAFETY: on loan, hence the backend's and not given back.
        let is_inside = from_begin < NEAR && from_begin < unsafe { backend::usable_size(lent) };
        if is_inside { Answer::InsideLoan } else { Answer::Other }
    }

    /// Whether a callback that stands in a variable is called for a block that a set owns, before the set is.
    pub(super) fn may_be_asked(&self, kind: usize, standing: Callback) -> bool {
        let stands = !standing.is_null() && !set::changes_pointers(kind, standing);
        stands && !self.passing.get() && self.depth.get() < DEPTH
    }

    /// What stands in a variable for the next call of the callback that is running. The block is the callback's own
    /// affair: not the one that the callback was called for, and owned by nobody.
    #[inline(always)]
    pub(super) fn is_out(&self, kind: usize) -> bool {
        self.value(kind).is_null()
    }

    /// A callback gives this block back, with nothing in the variable: whether the allocator below is who gets it.
    #[inline(always)]
    pub(super) fn is_for_backend(&self, block: *mut c_void) -> bool {
        if block == self.lent.get() {
            self.lent.set(core::ptr::null_mut());
            return true;
        }
        if block == self.subject.get() {
            let is_alone = dispatch::is_alone(self.next.get()) && self.keeper.get().is_null();
            if is_alone {
                self.subject.set(core::ptr::null_mut());
            }
            return is_alone;
        }
        is_nobodys(block)
    }

    /// The caller has looked whether there is room for one more.
    #[inline(always)]
    fn call(&self, callback: Callback, call: impl FnOnce() -> *mut c_void) -> *mut c_void {
        let (depth, outer) = (self.depth.get(), self.innermost.get());
        self.depth.set(depth + 1);
        self.innermost.set(callback);
        let result = call();
        self.depth.set(depth);
        self.innermost.set(outer);
        result
    }

    /// The callbacks that are running, outermost first.
    fn running(&self) -> &[Running] {
        self.running.get(..self.depth.get()).unwrap_or(&self.running)
    }

    /// Takes what was changed in the copies to the variables, or to the copies of the outer activation.
    #[inline(always)]
    fn carry(&self, outer: Option<&Activation>) {
        for (kind, (left, given)) in self.copies.get().into_iter().zip(self.given.get()).enumerate() {
            if left != given {
                carry_to(outer, kind, left);
            }
        }
    }

    /// What stands in a variable for the callback: its own copy, or, where it writes to plain memory, that.
    #[inline(always)]
    fn value(&self, kind: usize) -> Callback {
        let copy = self.copies.get().get(kind).copied().unwrap_or(NOBODY);
        if is_plain_memory() && self.given.get().get(kind) == Some(&copy) {
            return windows::value_inside(kind, self.innermost.get(), &self.given);
        }
        copy
    }
}

/// Whether a block that is about to be given back belongs to nobody; it is not on loan any more.
#[inline(always)]
fn is_nobodys(block: *mut c_void) -> bool {
    let Some(mark) = Mark::of(block) else { return true };
    if mark.is_on_loan() {
        mark.clear();
    }
    mark.owner() == 0
}

#[cold]
fn carry_to(outer: Option<&Activation>, kind: usize, left: Callback) {
    let to = outer.and_then(|activation| activation.copy(kind)).unwrap_or_else(|| variables::place(kind));
    // ORDERING [none]: Relaxed. The program's variable: its own synchronisation orders it.
    to.store(left, Ordering::Relaxed);
}

/// Plain memory is as it was before the set's callback was called: where that has put a callback of its set
/// there.
fn put_back(set: &Set, memory: Values) {
    for (kind, to) in memory.into_iter().enumerate().filter(|&(kind, to)| set.callback(kind) != to) {
        let from = set.callback(kind);
        // ORDERING [none]: Relaxed and Relaxed. The program's variable.
        let _ = variables::place(kind).compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
    }
}
