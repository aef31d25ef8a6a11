//! A callback at work in a thread: its own copies of the variables, and the calls that it makes.
//!
//! Frames are in memory of the record's own, not on the stack: a callback that was left by longjmp is noticed by the
//! thread's next call from the same depth or above only, and what its `inner` leads to must be a frame until then.
//!
//! # Invariants
//!
//! 1. A record's `inner` leads to a frame of its `frames`, or to one on the stack of a call that has not returned.
//! 2. While a `Frames` is busy, a call of the same thread (a signal handler's) takes no frame of it.

use super::set::Set;
use super::{Callback, FREE, MALLOC, MEMALIGN, NOBODY, REALLOC, Values, Variable};
use super::{FreeFn, MallocFn, MemalignFn, ReallocFn, all_in_force, callbacks, is_plain_memory, place, set};
use crate::dispatch::{Inner, Request};
use crate::guard::{self, Record};
use crate::scratch;
use core::cell::Cell;
use core::ffi::c_void;
use core::mem::{MaybeUninit, transmute};
use core::sync::atomic::{AtomicU64, Ordering, compiler_fence};

/// How many of the blocks that a callback was given are remembered: as many of the first as of the last.
const REMEMBERED: usize = 8;

/// A callback at work.
#[repr(C)]
pub(super) struct Frame {
    /// First, so that a pointer to it is one to the frame.
    inner: Cell<MaybeUninit<Inner>>,
    copies: Cell<Values>,
    /// What the copies were at entry.
    given: Cell<Values>,
    /// The block that an owner's callback takes back, which it may hand on as it is.
    subject: Cell<*mut c_void>,
    /// The number of this frame, and whether no other was open when it was entered: for plain memory.
    number: Cell<u64>,
    alone: Cell<bool>,
    blocks: Blocks,
    /// The callbacks that have been called and have not returned, outermost first, and how many they are.
    running: [Running; DEPTH],
    depth: Cell<usize>,
}

/// The frames of a record.
struct Frames {
    busy: Cell<bool>,
    frames: [Frame; FRAMES],
}

/// How many frames a record has: a callback that takes an owned block back inside another one needs one more.
const FRAMES: usize = 16;

/// Blocks that the backend gave a callback: the first, and the last.
struct Blocks {
    first: [Cell<*mut c_void>; REMEMBERED],
    last: [Cell<*mut c_void>; REMEMBERED],
    count: Cell<usize>,
}

impl Blocks {
    const fn new() -> Blocks {
        Blocks {
            first: [const { Cell::new(core::ptr::null_mut()) }; REMEMBERED],
            last: [const { Cell::new(core::ptr::null_mut()) }; REMEMBERED],
            count: Cell::new(0),
        }
    }

    fn clear(&self) {
        self.count.set(0);
    }

    fn add(&self, block: *mut c_void) {
        let n = self.count.get();
        self.count.set(n.wrapping_add(1));
        if let Some(place) = self.first.get(n).or_else(|| self.last.get(n % REMEMBERED)) {
            place.set(block);
        }
    }

    #[inline(always)]
    fn have(&self, block: *mut c_void) -> bool {
        let count = self.count.get();
        let is_it = |place: &Cell<*mut c_void>| place.get() == block;
        self.first.iter().take(count).any(is_it)
            || (count > REMEMBERED && self.last.iter().take(count - REMEMBERED).any(is_it))
    }
}

/// Frames that were entered, and that were left, while the variables are plain memory.
static ENTERED: AtomicU64 = AtomicU64::new(0);
static LEFT: AtomicU64 = AtomicU64::new(0);

/// How many frames were entered so far.
pub(super) fn entered() -> u64 {
    // ORDERING [window]: Acquire. What is read of the variables after it is as late. Other end: `run`.
    ENTERED.load(Ordering::Acquire)
}

struct Running {
    callback: Cell<Callback>,
    /// What stood in the variables when it was called; of the outermost, the frame knows.
    given: Cell<Values>,
    /// Which variables it has asked for, one bit each.
    touched: Cell<u32>,
}

/// How many callbacks may be running in a frame.
const DEPTH: usize = 32;

impl Running {
    const fn new() -> Running {
        Running { callback: Cell::new(NOBODY), given: Cell::new([NOBODY; 4]), touched: Cell::new(0) }
    }
}

impl Frames {
    /// The record's frames; `None` without memory.
    #[inline(always)]
    fn of(record: &Record) -> Option<&Frames> {
        // ORDERING [none]: Relaxed. Written by this thread, or by a former one of the record.
        let known = record.frames.load(Ordering::Relaxed).cast::<Frames>();
        // SAFETY: null, or what `make` has stored.
        unsafe { known.as_ref() }.or_else(|| Frames::make(record))
    }

    #[cold]
    #[inline(never)]
    fn make(record: &Record) -> Option<&Frames> {
        let memory = scratch::permanent(size_of::<Frames>(), align_of::<Frames>())?.cast::<Frames>();
        // SAFETY: of its size and alignment, and zeroes are a value of every field.
        let frames = unsafe { memory.as_ref() }?;
        // ORDERING [none]: Relaxed. As above.
        record.frames.store(memory.cast(), Ordering::Relaxed);
        Some(frames)
    }

    /// The frame for a callback that is called inside `outer`, a frame or null.
    #[inline(always)]
    fn next(&self, outer: *mut c_void) -> Option<&Frame> {
        if outer.is_null() {
            return self.frames.first();
        }
        let outer_index = self.frames.iter().position(|frame| core::ptr::eq(frame, outer.cast::<Frame>()))?;
        self.frames.get(outer_index + 1)
    }
}

impl Frame {
    /// The innermost frame of the thread; in a callback only.
    #[inline(always)]
    pub(super) fn of(record: &Record) -> Option<&Frame> {
        // ORDERING [none]: Relaxed. Written by this thread.
        let inner = record.inner.load(Ordering::Relaxed).cast::<Frame>();
        // SAFETY: only frames are stored there; invariant 1.
        unsafe { inner.as_ref() }
    }

    /// The copy of a variable.
    #[inline(always)]
    pub(super) fn copy(&self, kind: usize) -> Option<&Variable> {
        let place = (kind < 4).then(|| self.copies.as_ptr().cast::<Callback>().wrapping_add(kind))?;
        // SAFETY: one of the four copies. This thread only reads and writes them.
        Some(unsafe { Variable::from_ptr(place) })
    }

    /// What stands in the variables for the calling thread's next call.
    #[inline(always)]
    pub(super) fn values() -> Values {
        match guard::record().and_then(Frame::of) {
            Some(frame) => frame.all(),
            None => all_in_force(),
        }
    }

    /// Runs a callback for a request in a frame of its own, with these values as its copies of the
    /// variables, its own among them. Gives its answer, and whether that is a block that the backend gave it.
    ///
    /// What it leaves in its copies is carried to the variables, except for an `owner`, which takes a block
    /// back, that is not in force there: it must not come back with its blocks.
    ///
    /// In line, as the callers know what the request is; and a backtrace has a frame less.
    #[inline(always)]
    pub(super) fn run(
        values: Values,
        callback: Callback,
        owner: Option<&Set>,
        request: Request,
        caller: *const c_void,
    ) -> (*mut c_void, bool) {
        let record = guard::record();
        // ORDERING [none]: Relaxed. Written by this thread.
        let outer = record.map_or(core::ptr::null_mut(), |record| record.inner.load(Ordering::Relaxed));
        let frames = record.and_then(Frames::of).filter(|frames| !frames.busy.get());
        match frames.and_then(|frames| Some((frames.next(outer)?, frames))) {
            Some((frame, frames)) => {
                frame.run_in(record, outer, Some(&frames.busy), values, callback, owner, request, caller)
            }
            None => Frame::run_on_stack(record, outer, values, callback, owner, request, caller),
        }
    }

    /// Where the record has no frame for it.
    #[cold]
    #[inline(never)]
    fn run_on_stack(
        record: Option<&Record>,
        outer: *mut c_void,
        values: Values,
        callback: Callback,
        owner: Option<&Set>,
        request: Request,
        caller: *const c_void,
    ) -> (*mut c_void, bool) {
        let frame = Frame {
            inner: Cell::new(MaybeUninit::uninit()),
            copies: Cell::new([NOBODY; 4]),
            given: Cell::new([NOBODY; 4]),
            subject: Cell::new(core::ptr::null_mut()),
            number: Cell::new(0),
            alone: Cell::new(true),
            blocks: Blocks::new(),
            running: [const { Running::new() }; DEPTH],
            depth: Cell::new(0),
        };
        frame.run_in(record, outer, None, values, callback, owner, request, caller)
    }

    #[allow(clippy::too_many_arguments, reason = "one call, in two places in line")]
    #[inline(always)]
    fn run_in(
        &self,
        record: Option<&Record>,
        outer: *mut c_void,
        busy: Option<&Cell<bool>>,
        mut values: Values,
        callback: Callback,
        owner: Option<&Set>,
        request: Request,
        caller: *const c_void,
    ) -> (*mut c_void, bool) {
        let set_busy = |now: bool| {
            if let Some(busy) = busy {
                busy.set(now);
                // ORDERING [none]: AcqRel. For a signal handler of this thread.
                compiler_fence(Ordering::AcqRel);
            }
        };
        set_busy(true);
        let (kind, block) = aim(request);
        self.subject.set(if owner.is_some() { block } else { core::ptr::null_mut() });
        let owner = owner.filter(|_| values.get(kind) != Some(&callback));
        if let Some(value) = values.get_mut(kind) {
            *value = callback;
        }
        let plain = is_plain_memory();
        self.copies.set(values);
        self.inner.set(MaybeUninit::new(Inner { answer, answered }));
        self.given.set(values);
        self.number.set(0);
        self.alone.set(true);
        self.depth.set(0);
        self.blocks.clear();
        let memory = owner.filter(|_| plain).map(|_| in_memory());
        let own = core::ptr::from_ref(self).cast_mut().cast::<c_void>();
        if let Some(record) = record {
            // ORDERING [none]: Relaxed. Read by this thread, and by others whether it is null.
            record.inner.store(own, Ordering::Relaxed);
        }
        // ORDERING [none]: AcqRel. As above.
        compiler_fence(Ordering::AcqRel);
        set_busy(false);
        if plain {
            // After `inner`: who counts us as entered finds us inside, and who does not sees the number change.
            // ORDERING [window]: AcqRel. Before the callback takes itself out. Other end: `entered`.
            let number = ENTERED.fetch_add(1, Ordering::AcqRel) + 1;
            self.number.set(number);
            // ORDERING [none]: Relaxed. Two callbacks that race for a variable do so in any order.
            self.alone.set(number.wrapping_sub(LEFT.load(Ordering::Relaxed)) <= 1);
        }
        let result = self.call(callback, || perform(callback, request, caller));
        set_busy(true);
        if let Some(record) = record {
            // ORDERING [none]: Relaxed. As above.
            record.inner.store(outer, Ordering::Relaxed);
        }
        match (owner, memory) {
            (None, _) => self.carry(record.and_then(Frame::of)),
            (Some(set), Some(memory)) => put_back(set, memory),
            _ => {}
        }
        if plain {
            // ORDERING [none]: Relaxed. See `alone`.
            LEFT.fetch_add(1, Ordering::Relaxed);
        }
        let is_backends = self.blocks.have(result);
        // ORDERING [none]: AcqRel. As above.
        compiler_fence(Ordering::AcqRel);
        set_busy(false);
        (result, is_backends)
    }

    /// The caller has looked whether there is room for one more.
    #[inline(always)]
    fn call(&self, callback: Callback, call: impl FnOnce() -> *mut c_void) -> *mut c_void {
        let depth = self.depth.get();
        if let Some(running) = self.running.get(depth) {
            running.callback.set(callback);
            running.touched.set(0);
        }
        self.depth.set(depth + 1);
        let result = call();
        self.depth.set(depth);
        result
    }

    /// The callbacks that are running, outermost first.
    fn running(&self) -> &[Running] {
        self.running.get(..self.depth.get()).unwrap_or(&self.running)
    }

    /// Takes what was changed in the copies to the variables, or to the copies of the outer callback.
    #[inline(always)]
    fn carry(&self, outer: Option<&Frame>) {
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
        let value = match self.given.get().get(kind) {
            Some(&given) if is_plain_memory() && given == copy => {
                // ORDERING [none]: Relaxed. The program's variable.
                let memory = place(kind).load(Ordering::Relaxed);
                // ORDERING [none]: Relaxed. See `run`.
                let alone = self.alone.get() && ENTERED.load(Ordering::Relaxed) == self.number.get();
                // Another thread's callback may have put it in again that ours has taken out.
                if memory == given && !alone { NOBODY } else { memory }
            }
            _ => copy,
        };
        if value.is_null() || callbacks::is_initial(kind, value) { NOBODY } else { value }
    }

    /// Whether a callback of this thread may be called by one. Not by itself if it forgot to take itself out
    /// of the variable; but it may have put itself in again, on behalf of another object. In plain memory
    /// that looks the same.
    fn may_call(&self, kind: usize, callback: Callback) -> bool {
        let running = self.running();
        let chosen = running.last().is_none_or(|innermost| innermost.touched.get() & 1 << kind != 0);
        let times = running.iter().filter(|running| running.callback.get() == callback).count();
        running.len() < DEPTH && (times == 0 || chosen || is_plain_memory())
    }

    /// The innermost callback asks for a variable.
    #[inline(always)]
    pub(super) fn touch(&self, kind: usize) {
        if let Some(running) = self.running().last() {
            running.touched.set(running.touched.get() | 1 << kind);
        }
    }

    /// The callback that a call is for which a callback makes: none where it has taken itself out of the
    /// variable, or forgot to, or where the block cannot be that callback's.
    fn callback_for(&self, request: Request) -> Option<Callback> {
        let (kind, block) = aim(request);
        let callback = self.value(kind);
        if callback.is_null() {
            return None;
        }
        let foreign =
            !block.is_null() && block != self.subject.get() && set::changes_pointers(kind, callback);
        (!foreign && self.may_call(kind, callback)).then_some(callback)
    }

    /// What stands in the variables, all of them.
    fn all(&self) -> Values {
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

    /// What the innermost callback has put into a variable; null where it has not.
    pub(super) fn put_in_now(&self, kind: usize) -> Callback {
        self.put_in(&self.all()).get(kind).copied().unwrap_or(NOBODY)
    }

    /// The answer of that callback.
    #[inline(never)]
    fn answer(&self, request: Request, caller: usize) -> Option<*mut c_void> {
        let callback = self.callback_for(request)?;
        let given = self.all();
        if let Some(running) = self.running.get(self.depth.get()) {
            running.given.set(given);
        }
        let block = self.call(callback, || perform(callback, request, caller as *const c_void));
        if !block.is_null() && !self.blocks.have(block) {
            set::own(aim(request).0, &self.put_in(&given), block);
        }
        Some(block)
    }
}

#[cold]
fn carry_to(outer: Option<&Frame>, kind: usize, left: Callback) {
    let to = outer.and_then(|frame| frame.copy(kind)).unwrap_or_else(|| place(kind));
    // ORDERING [none]: Relaxed. The program's variable: its own synchronisation orders it.
    to.store(left, Ordering::Relaxed);
}

/// What stands in the variables themselves.
fn in_memory() -> Values {
    // ORDERING [none]: Relaxed. The program's variable.
    core::array::from_fn(|kind| place(kind).load(Ordering::Relaxed))
}

/// Plain memory is as it was before the set's callback was called: where that has put a callback of its set
/// there.
fn put_back(set: &Set, memory: Values) {
    for (kind, to) in memory.into_iter().enumerate().filter(|&(kind, to)| set.callback(kind) != to) {
        let from = set.callback(kind);
        // ORDERING [none]: Relaxed and Relaxed. The program's variable.
        let _ = place(kind).compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// What a request is made to: a variable, and the block that it is about.
#[inline(always)]
pub(super) fn aim(request: Request) -> (usize, *mut c_void) {
    match request {
        Request::Malloc { .. } => (MALLOC, core::ptr::null_mut()),
        Request::Memalign { .. } => (MEMALIGN, core::ptr::null_mut()),
        Request::Realloc { block, .. } => (REALLOC, block),
        Request::Free { block } => (FREE, block),
    }
}

/// Calls what stood in the request's variable. NULL for a free.
#[inline(always)]
fn perform(callback: Callback, request: Request, caller: *const c_void) -> *mut c_void {
    match request {
        Request::Malloc { bytes } => {
            // SAFETY: what stands in this variable is of this type (invariant 2 of the module above).
            let callback = unsafe { transmute::<Callback, MallocFn>(callback) };
            // SAFETY: the program's own function, put there to be called like this.
            unsafe { callback(bytes, caller) }
        }
        Request::Memalign { alignment, bytes } => {
            // SAFETY: as above.
            let callback = unsafe { transmute::<Callback, MemalignFn>(callback) };
            // SAFETY: as above.
            unsafe { callback(alignment, bytes, caller) }
        }
        Request::Realloc { block, bytes } => {
            // SAFETY: as above.
            let callback = unsafe { transmute::<Callback, ReallocFn>(callback) };
            // SAFETY: as above.
            unsafe { callback(block, bytes, caller) }
        }
        Request::Free { block } => {
            // SAFETY: as above.
            let callback = unsafe { transmute::<Callback, FreeFn>(callback) };
            // SAFETY: as above.
            unsafe { callback(block, caller) };
            core::ptr::null_mut()
        }
    }
}

unsafe fn answer(inner: *const Inner, request: Request, caller: usize) -> Option<*mut c_void> {
    // SAFETY: `inner` is a frame's first field; invariant 1.
    let frame = unsafe { &*inner.cast::<Frame>() };
    let (kind, _) = aim(request);
    // Usually it has taken itself out.
    if frame.value(kind).is_null() { None } else { frame.answer(request, caller) }
}

unsafe fn answered(inner: *const Inner, block: *mut c_void) {
    // SAFETY: `inner` is a frame's first field; invariant 1.
    let frame = unsafe { &*inner.cast::<Frame>() };
    frame.blocks.add(block);
}
