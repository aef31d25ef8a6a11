//! One allocation call, from its entry point to its result.
//!
//! Never: meets a writer, takes a lock, waits, allocates.
//!
//! Every function here is given `frame`, the stack pointer of the entry point's caller, and
//! `caller`, its return address. A call runs in a read section on one chain (R1); a call from
//! inside a callback has no section of its own and goes to the backend (R5), except that an
//! owned block goes to its owner wherever it is freed (R6).

mod inner;
mod next;
mod observe;
mod points;
mod zero;

pub(crate) use inner::{Inner, Request};
pub(crate) use next::{
    claim, next_free, next_malloc, next_memalign, next_realloc, next_usable_size, usable_size_of,
};
pub(crate) use observe::{observed_calloc, observed_free, observed_malloc, observed_realloc};
pub(crate) use points::{
    aligned_alloc, calloc, free, free_aligned_sized, free_sized, malloc, memalign, posix_memalign, pvalloc,
    realloc, reallocarray, usable_size, valloc,
};

use crate::abi::*;
use crate::backend;
use crate::chain::{self, BY_MALLOC, BY_MEMALIGN, BY_REALLOC, SEES_NULL, Told, View};
use crate::grace;
use crate::grace::Section;
use crate::guard;
use crate::guard::Record;
use crate::ownership;
use crate::scratch;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use next::Walk;

/// `MEMHOOK_DURING_` bits that hold for the whole process.
static CIRCUMSTANCES: AtomicU32 = AtomicU32::new(MEMHOOK_DURING_STARTUP);

/// Changes the circumstances of the process.
pub(crate) fn set_circumstances(change: &mut dyn FnMut(u32) -> u32) {
    // ORDERING [none]: Relaxed. A description; it orders nothing.
    let now = CIRCUMSTANCES.load(Ordering::Relaxed);
    // ORDERING [none]: Relaxed. As above.
    CIRCUMSTANCES.store(change(now), Ordering::Relaxed);
}

/// Whether the process is at its end, as far as it is known.
pub(crate) fn is_process_exiting() -> bool {
    // ORDERING [none]: Relaxed. As above.
    CIRCUMSTANCES.load(Ordering::Relaxed) & MEMHOOK_DURING_PROCESS_EXIT != 0
}

/// Bit of `Record::probe`: a self-test is running in this thread.
pub(crate) const PROBING: u32 = 1 << 31;

/// Notes that an entry point was reached, for a self-test.
#[inline(always)]
fn note(record: &Record, entry: u32) {
    // ORDERING [none]: Relaxed. Written and read by this thread.
    let probe = record.probe.load(Ordering::Relaxed);
    if probe != 0 {
        // ORDERING [none]: Relaxed. Written and read by this thread.
        record.probe.store(probe | 1 << entry, Ordering::Relaxed);
    }
}

/// What is asked for, as the entry point was given it.
#[derive(Clone, Copy)]
struct Ask {
    entry: u32,
    requested: usize,
    alignment: usize,
    count: usize,
    each: usize,
    block: *mut c_void,
    caller: usize,
}

impl Ask {
    #[inline(always)]
    fn call(self, record: &Record) -> memhook_call {
        // ORDERING [none]: Relaxed. A description; it orders nothing.
        let circumstances =
            CIRCUMSTANCES.load(Ordering::Relaxed) | record.circumstances.load(Ordering::Relaxed);
        memhook_call {
            struct_size: size_of::<memhook_call>(),
            entry: self.entry,
            circumstances,
            requested: self.requested,
            alignment: self.alignment,
            count: self.count,
            each: self.each,
            block: self.block,
            caller: self.caller as *const c_void,
        }
    }
}

/// How the backend is asked for a block.
#[derive(Clone, Copy, PartialEq, Eq)]
enum How {
    Malloc {
        bytes: usize,
    },
    Calloc {
        bytes: usize,
    },
    Realloc {
        bytes: usize,
    },
    Memalign {
        alignment: usize,
        bytes: usize,
    },
    /// The arguments make no sense or cannot be met; the error number.
    Refuse(c_int),
}

impl How {
    /// Asks the backend, past all hooks.
    #[inline(always)]
    fn ask_backend(self, entry: u32) -> *mut c_void {
        match self {
            // SAFETY: resolved before any entry point leads here.
            How::Malloc { bytes } => unsafe { backend::malloc(bytes) },
            // SAFETY: as above.
            How::Calloc { bytes } => unsafe { backend::calloc(1, bytes) },
            // SAFETY: as above; NULL is a valid block.
            How::Realloc { bytes } => unsafe { backend::realloc(core::ptr::null_mut(), bytes) },
            How::Memalign { alignment, bytes } if entry == MEMHOOK_ENTRY_ALIGNED_ALLOC => {
                // SAFETY: as above.
                unsafe { backend::aligned_alloc(alignment, bytes) }
            }
            // SAFETY: as above.
            How::Memalign { alignment, bytes } => unsafe { backend::memalign(alignment, bytes) },
            How::Refuse(error) => {
                // SAFETY: errno of this thread.
                unsafe { crate::sys::thread::errno_location().write(error) };
                core::ptr::null_mut()
            }
        }
    }
}

/// Every call that makes a block. On failure the result is NULL and errno says why.
fn allocate(ask: Ask, how: How, frame: usize) -> *mut c_void {
    let Some(record) = guard::record() else {
        // No memory for what the library must know of this thread: there is none for the block.
        return How::Refuse(libc::ENOMEM).ask_backend(ask.entry);
    };
    note(record, ask.entry);
    let errno = record.errno();
    let block = match grace::enter(record, frame) {
        None => inner::allocate(&ask, how, record),
        Some(section) => {
            let view = chain::current(&section).view(record);
            let call = ask.call(record);
            let block = if view.interceptors.get().is_empty() {
                how.ask_backend(ask.entry)
            } else {
                through(&call, how, view, record)
            };
            let outcome = record.errno();
            tell(record, view.after_alloc.get(), |told| {
                // SAFETY: the program's own function, by the contract of memhook_observe.
                unsafe { (told.function)(&raw const call, block, told.user) }
            });
            drop(section);
            record.set_errno(outcome);
            block
        }
    };
    if !block.is_null() {
        record.set_errno(errno);
    }
    block
}

/// Calls observers, except those that are being unregistered.
#[inline(always)]
fn tell<F: Copy>(record: &Record, all: &[Told<F>], mut one: impl FnMut(Told<F>)) {
    for &told in all {
        grace::announce_observer(record, told.hook as usize);
        // SAFETY: in the chain of the call's section.
        if !unsafe { &*told.hook }.is_passed_by() {
            one(told);
        }
    }
}

/// A new block through the interceptors of `view`, marked as theirs.
fn through(call: &memhook_call, how: How, view: &View, record: &Record) -> *mut c_void {
    let walk = Walk::making(call, view, record);
    let (block, kind) = match how {
        How::Malloc { bytes } => (walk.malloc(bytes), BY_MALLOC),
        How::Calloc { bytes } => {
            let block = walk.malloc(bytes);
            zero::clear(&walk, block, bytes);
            (block, BY_MALLOC)
        }
        How::Realloc { bytes } => (walk.realloc(core::ptr::null_mut(), bytes), BY_REALLOC),
        How::Memalign { alignment, bytes } => (walk.memalign(alignment, bytes), BY_MEMALIGN),
        How::Refuse(_) => (how.ask_backend(call.entry), BY_MALLOC),
    };
    if block.is_null() {
        record.set_errno(match how {
            How::Refuse(error) => error,
            _ => walk.failure(),
        });
        return block;
    }
    let [by_malloc, by_realloc, by_memalign] = view.owners;
    type Makes = fn(&memhook_interceptor) -> bool;
    let (owner, makes): (u16, Makes) = match kind {
        BY_MALLOC => (by_malloc, |table| table.malloc.is_some()),
        BY_REALLOC => (by_realloc, |table| table.realloc.is_some()),
        _ => (by_memalign, |table| table.memalign.is_some()),
    };
    if owner == 0 && walk.claimed().is_none() {
        return block;
    }
    if walk.is_whole() && walk.claimed().is_none() {
        if ownership::mark(block, owner) {
            ownership::made(owner, record);
            return block;
        }
        // SAFETY: in the section of the call.
        let makers = unsafe { ownership::members(owner) };
        Walk::giving_back(call, view, makers, record).free(block);
        record.set_errno(libc::ENOMEM);
        return core::ptr::null_mut();
    }
    through_others(call, how, view, record, &walk, makes, block)
}

/// Marks a new block as made by others than the view says: some of its interceptors were passed
/// by, or one has claimed the block for another hook.
#[cold]
fn through_others(
    call: &memhook_call,
    how: How,
    view: &View,
    record: &Record,
    walk: &Walk,
    makes: fn(&memhook_interceptor) -> bool,
    block: *mut c_void,
) -> *mut c_void {
    let mut room = [core::ptr::null(); next::MANY + 1];
    let many = view.interceptors.get().len() >= room.len();
    let larger = if many { scratch::malloc(size_of_val(view.interceptors.get()) + 8) } else { NONE.cast() };
    let room = if larger.is_null() {
        &mut room[..]
    } else {
        // SAFETY: a fresh block with room for one more than the view's interceptors.
        unsafe { core::slice::from_raw_parts_mut(larger.cast(), view.interceptors.get().len() + 1) }
    };
    let makers = walk.makers(makes, room);
    let list = if makers.is_empty() { Ok(0) } else { ownership::find_or_create(makers) };
    let block = match list {
        Ok(0) => block,
        Ok(list) if ownership::mark(block, list) => {
            ownership::made(list, record);
            block
        }
        _ => {
            // Nothing can say who made it: the program gets a block that nobody owns.
            Walk::giving_back(call, view, makers, record).free(block);
            how.ask_backend(call.entry)
        }
    };
    // SAFETY: null, or the block from above, which is not used any more.
    unsafe { scratch::free(larger) };
    block
}

/// Every call that gives a block back. `block` is not NULL.
fn release(ask: Ask, frame: usize) {
    let block = ask.block;
    let owner = ownership::owner(block);
    let Some(record) = guard::record() else {
        // Without a record no section can be entered: an owned block is lost, any other is not.
        if owner == 0 {
            // SAFETY: the program's block, and the backend made it.
            unsafe { backend::free(block) };
        }
        return;
    };
    note(record, ask.entry);
    let errno = record.errno();
    let entered = grace::enter(record, frame);
    if owner == 0 && entered.is_none() {
        inner::free(block, ask.caller, record);
        record.set_errno(errno);
        return;
    }
    let call = ask.call(record);
    let nested = entered.is_none();
    let section = entered.unwrap_or_else(|| grace::enter_anyhow(record, frame));
    let view = chain::current(&section).view(record);
    if !nested {
        tell(record, view.before_free.get(), |told| {
            // SAFETY: the program's own function, by the contract of memhook_observe.
            unsafe { (told.function)(&raw const call, told.user) }
        });
    }
    if owner != 0 {
        ownership::clear(block);
    }
    Walk::taking(&call, (!nested).then_some(view), owner, record).free(block);
    if owner != 0 {
        ownership::gone(owner, record);
    }
    drop(section);
    record.set_errno(errno);
}

/// Whether an interceptor wants to see free(NULL), which hooks of programs do not.
static NULL_FREES: AtomicBool = AtomicBool::new(false);

/// Has interceptors with the flag [`SEES_NULL`] called for free(NULL).
pub(crate) fn give_null_frees(whether: bool) {
    // ORDERING [none]: Relaxed. The publication of the interceptor follows.
    NULL_FREES.store(whether, Ordering::Relaxed);
}

/// free(NULL).
#[inline(always)]
fn release_nothing(ask: Ask, frame: usize) {
    let Some(record) = guard::record() else { return };
    note(record, ask.entry);
    // ORDERING [none]: Relaxed. See `give_null_frees`.
    if NULL_FREES.load(Ordering::Relaxed) {
        show_nothing(ask, record, frame);
    }
}

#[cold]
fn show_nothing(ask: Ask, record: &'static Record, frame: usize) {
    let errno = record.errno();
    match grace::enter(record, frame) {
        None => inner::free(ask.block, ask.caller, record),
        Some(section) => {
            let view = chain::current(&section).view(record);
            let call = ask.call(record);
            for &hook in view.keepers.get() {
                // SAFETY: in the chain of the call's section.
                let hook = unsafe { &*hook };
                let table = hook.interceptor().filter(|table| table.flags & SEES_NULL != 0);
                let Some((free, user)) = table.and_then(|t| Some((t.free?, t.user))) else { continue };
                let before = grace::announce_interceptor(record, hook.bit());
                if hook.is_passed_by() {
                    grace::retract_interceptor(record, before);
                    continue;
                }
                // SAFETY: the library's own, which takes NULL for `next` and the block.
                unsafe { free(core::ptr::null_mut(), NONE, &raw const call, user) }
            }
            drop(section);
        }
    }
    record.set_errno(errno);
}

/// Tells observers of a reallocarray that cannot be met.
#[cold]
fn refuse_resize(ask: Ask, record: &Record, section: Section) {
    let view = chain::current(&section).view(record);
    let call = ask.call(record);
    tell(record, view.realloc_begin.get(), |told| {
        // SAFETY: the program's own function, by the contract of memhook_observe.
        unsafe { (told.function)(&raw const call, told.user) }
    });
    tell(record, view.realloc_abort.get(), |told| {
        // SAFETY: the program's own function, by the contract of memhook_observe.
        unsafe { (told.function)(&raw const call, told.user) }
    });
}

/// realloc and reallocarray of a block. `ask.block` is not NULL; `how` is `Realloc` or `Refuse`.
fn resize(ask: Ask, how: How, frame: usize) -> *mut c_void {
    let block = ask.block;
    let owner = ownership::owner(block);
    let Some(record) = guard::record() else {
        return How::Refuse(libc::ENOMEM).ask_backend(ask.entry);
    };
    note(record, ask.entry);
    let errno = record.errno();
    let entered = grace::enter(record, frame);
    // A realloc that is done cannot be undone: where its new place may not be noted, it does not begin.
    let hopeless = owner != 0 && ownership::is_crowded() && how != How::Realloc { bytes: 0 };
    let how = if hopeless { How::Refuse(libc::ENOMEM) } else { how };
    let How::Realloc { bytes } = how else {
        if let Some(section) = entered {
            refuse_resize(ask, record, section);
        }
        return how.ask_backend(ask.entry);
    };
    if owner == 0 && entered.is_none() {
        let new = inner::resize(block, bytes, ask.caller, record);
        if !new.is_null() {
            record.set_errno(errno);
        }
        return new;
    }
    let call = ask.call(record);
    let nested = entered.is_none();
    let section = entered.unwrap_or_else(|| grace::enter_anyhow(record, frame));
    let view = chain::current(&section).view(record);
    let heard = if nested { None } else { Some(view) };
    if let Some(view) = heard {
        tell(record, view.realloc_begin.get(), |told| {
            // SAFETY: the program's own function, by the contract of memhook_observe.
            unsafe { (told.function)(&raw const call, told.user) }
        });
    }
    if owner != 0 {
        ownership::clear(block);
    }
    let walk = Walk::taking(&call, heard, owner, record);
    let new = walk.realloc(block, bytes);
    // The old block is gone when there is a new one, and when it was resized to nothing.
    let done = !new.is_null() || bytes == 0;
    let outcome = if !new.is_null() || done { errno } else { walk.failure() };
    if owner != 0 {
        match (new.is_null(), done) {
            (false, _) => ownership::mark_surely(new, owner),
            (true, false) => ownership::mark_surely(block, owner),
            (true, true) => ownership::gone(owner, record),
        }
    }
    match walk.claimed() {
        // The list of this hook alone was made with it.
        Some(hook) if owner == 0 && !new.is_null() => {
            if let Ok(list) = ownership::find_or_create(&[hook]) {
                ownership::mark_surely(new, list);
                ownership::made(list, record);
            }
        }
        _ if nested => inner::note(record, new),
        _ => {}
    }
    if let Some(view) = heard {
        if done {
            tell(record, view.realloc_commit.get(), |told| {
                // SAFETY: the program's own function, by the contract of memhook_observe.
                unsafe { (told.function)(&raw const call, new, told.user) }
            });
        } else {
            tell(record, view.realloc_abort.get(), |told| {
                // SAFETY: the program's own function, by the contract of memhook_observe.
                unsafe { (told.function)(&raw const call, told.user) }
            });
        }
    }
    drop(section);
    record.set_errno(outcome);
    new
}

const NONE: *mut c_void = core::ptr::null_mut();
