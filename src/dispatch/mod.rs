//! One allocation call, from its entry point to its result.
//!
//! Never: meets a writer, takes a lock, waits, allocates.
//!
//! Every function here is given `frame`, the stack pointer of the entry point's caller, and
//! `caller`, its return address. A call runs in a read section on one chain (R1); a call from
//! inside a callback has no section of its own and goes to the backend (R5), except that an
//! owned block goes to its owner wherever it is freed (R6).

#[cfg(target_arch = "x86_64")]
mod for_stubs;
mod inner;
mod lists;
mod next;
mod observe;
mod points;
mod refused;
mod resize;
mod single;
mod tell;
mod zero;

#[cfg(target_arch = "x86_64")]
pub(crate) use for_stubs::{free_for_stub, made_by_stub, observed_nothing};
pub(crate) use inner::{Inner, Request, end_loan, forget, note_backends};
#[cfg(target_arch = "x86_64")]
pub(crate) use next::END;
pub(crate) use next::{
    claim, end, is_alone, last_owner, next_free, next_is_backend, next_malloc, next_memalign, next_realloc,
    next_usable_size, usable_size_of,
};
pub(crate) use observe::{observed_calloc, observed_free, observed_malloc, observed_realloc};
pub(crate) use points::{
    aligned_alloc, calloc, free_aligned_sized, free_sized, memalign, posix_memalign, pvalloc, realloc,
    reallocarray, usable_size, valloc,
};
pub(crate) use single::{free, malloc};
pub(crate) use tell::{several_after, several_before};

use crate::abi::*;
use crate::backend;
use crate::chain::{self, BY_MALLOC, BY_MEMALIGN, BY_REALLOC, Head, Hook, View};
use crate::grace;
use crate::grace::{Brief, Section};
use crate::guard;
use crate::guard::Record;
use crate::ownership;
use crate::scratch;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicBool, Ordering};
use lists::Lists;
use next::Walk;

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

/// The section of a short way: of a thread that is known and at rest.
#[inline(always)]
fn short_section(frame: usize) -> Option<(Brief, &'static Head)> {
    chain::enter_briefly(guard::known()?, frame)
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
    /// A call that takes a size and nothing else, or none.
    #[inline(always)]
    fn bytes(entry: u32, requested: usize, caller: usize) -> Ask {
        Ask { entry, requested, alignment: 0, count: 0, each: 0, block: NONE, caller }
    }

    /// A call that takes a number of elements and the size of each.
    #[inline(always)]
    fn array(entry: u32, requested: usize, [count, each]: [usize; 2], caller: usize) -> Ask {
        Ask { count, each, ..Ask::bytes(entry, requested, caller) }
    }

    /// The same call about a block.
    #[inline(always)]
    fn of(self, block: *mut c_void) -> Ask {
        Ask { block, ..self }
    }

    /// The same call with an alignment.
    #[inline(always)]
    fn aligned(self, alignment: usize) -> Ask {
        Ask { alignment, ..self }
    }

    #[inline(always)]
    fn call(&self, record: &Record) -> memhook_call {
        memhook_call {
            struct_size: size_of::<memhook_call>(),
            entry: self.entry,
            circumstances: record.circumstances(),
            requested: self.requested,
            alignment: self.alignment,
            count: self.count,
            each: self.each,
            block: self.block,
            caller: core::ptr::without_provenance(self.caller),
        }
    }
}

/// No block, for this reason.
#[cold]
fn refuse(error: c_int) -> *mut c_void {
    // SAFETY: errno of this thread.
    unsafe { crate::sys::thread::errno_location().write(error) };
    NONE
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
            How::Refuse(error) => refuse(error),
        }
    }
}

/// Every call that makes a block. On failure the result is NULL and errno says why.
#[inline(never)]
fn allocate(ask: Ask, how: How, frame: usize) -> *mut c_void {
    let Some(record) = guard::record() else {
        // No memory for what the library must know of this thread: there is none for the block.
        return refuse(libc::ENOMEM);
    };
    allocate_in(grace::enter(record, frame), &ask, how, record)
}

/// As [`allocate`], in the section; `None` where the thread's calls go to the backend.
#[inline(always)]
fn allocate_in(entered: Option<Section>, ask: &Ask, how: How, record: &'static Record) -> *mut c_void {
    note(record, ask.entry);
    let errno = record.errno();
    let block = match entered {
        None => inner::allocate(ask, how, record),
        Some(section) => {
            let view = chain::current(&section).view(record);
            let call = ask.call(record);
            let block = if view.interceptors.is_empty() {
                how.ask_backend(ask.entry)
            } else {
                through(&call, how, view, record)
            };
            let outcome = record.errno();
            tell::after(record, view.after_alloc, &call, block);
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

/// A new block through the interceptors of `view`, marked as theirs.
#[inline(always)]
fn through(call: &memhook_call, how: How, view: &View, record: &Record) -> *mut c_void {
    let lists = Lists::making(view, record);
    let walk = Walk::new(call, lists);
    let (block, kind) = match how {
        How::Malloc { bytes } => (walk.malloc(bytes), BY_MALLOC),
        How::Calloc { bytes } => {
            let block = walk.malloc(bytes);
            zero::clear(&walk, block, bytes);
            (block, BY_MALLOC)
        }
        How::Realloc { bytes } => (walk.realloc(core::ptr::null_mut(), bytes), BY_REALLOC),
        How::Memalign { alignment, bytes } => (walk.memalign(alignment, bytes), BY_MEMALIGN),
        How::Refuse(_) => (refused::show::<false>(call, view.interceptors.get(), record), BY_MALLOC),
    };
    if block.is_null() {
        record.set_errno(match how {
            How::Refuse(error) => error,
            _ => walk.failure(),
        });
        return block;
    }
    let [by_malloc, by_realloc, by_memalign] = view.owners;
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
        give_back(block, call, view, unsafe { ownership::members(owner) }, record);
        return refuse(libc::ENOMEM);
    }
    made_by_others(block, &walk, how, view, makes, record)
}

type Makes = fn(&memhook_interceptor) -> bool;

/// Marks a new block as made by others than the view says: some of its interceptors were passed
/// by, or one has claimed the block for another hook.
#[cold]
#[inline(never)]
fn made_by_others(
    block: *mut c_void,
    walk: &Walk,
    how: How,
    view: &View,
    makes: Makes,
    record: &Record,
) -> *mut c_void {
    let call = walk.call;
    let all = view.interceptors.get();
    let mut room = [core::ptr::null(); chain::MANY + 1];
    let many = all.len() >= room.len();
    let larger = if many { scratch::malloc(size_of_val(all) + 8) } else { NONE.cast() };
    let room = if larger.is_null() {
        &mut room[..]
    } else {
        // SAFETY: a fresh block with room for one more than the view's interceptors.
        unsafe { core::slice::from_raw_parts_mut(larger.cast(), all.len() + 1) }
    };
    let makers = walk.lists.makers(makes, room);
    let list = if makers.is_empty() { Ok(0) } else { ownership::find_or_create(makers) };
    let block = match list {
        Ok(0) => block,
        Ok(list) if ownership::mark(block, list) => {
            ownership::made(list, record);
            block
        }
        _ => {
            // Nothing can say who made it: the program gets a block that nobody owns.
            give_back(block, call, view, makers, record);
            how.ask_backend(call.entry)
        }
    };
    // SAFETY: null, or the block from above, which is not used any more.
    unsafe { scratch::free(larger) };
    block
}

/// A new block whose mark finds no place goes back to those who made it.
#[cold]
#[inline(never)]
fn give_back(block: *mut c_void, call: &memhook_call, view: &View, makers: &[*const Hook], record: &Record) {
    let lists = Lists::giving_back(view, makers, record);
    Walk::new(call, lists).free(block);
}

/// Every call that gives a block back. `block` is not NULL.
#[inline(never)]
fn release(ask: Ask, frame: usize) {
    let Some(record) = guard::record() else {
        // Without a record no section can be entered: an owned block is lost, any other is not.
        if ownership::owner(ask.block) == 0 {
            // SAFETY: the program's block, and the backend made it.
            unsafe { backend::free(ask.block) };
        }
        return;
    };
    release_in(grace::enter(record, frame), &ask, record, frame);
}

/// As [`release`], in the section; `None` where the thread's calls go to the backend.
#[inline(always)]
fn release_in(entered: Option<Section>, ask: &Ask, record: &'static Record, frame: usize) {
    let block = ask.block;
    let owner = ownership::last_owner(block);
    note(record, ask.entry);
    let errno = record.errno();
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
        tell::before(record, view.before_free, &call);
    }
    if owner != 0 {
        ownership::clear(block);
    }
    let lists = Lists::taking((!nested).then_some(view), owner, record);
    Walk::new(&call, lists).free(block);
    if owner != 0 {
        ownership::gone(owner, record);
    }
    drop(section);
    record.set_errno(errno);
}

/// Whether an interceptor has ever wanted to see free(NULL), which hooks do not.
static NULL_FREES: AtomicBool = AtomicBool::new(false);

/// Has interceptors with the flag [`MEMHOOK_SEES_NULL`] called for free(NULL).
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
            for &hook in view.interceptors.get() {
                // SAFETY: in the chain of the call's section.
                let hook = unsafe { &*hook };
                let table = hook.interceptor().filter(|table| table.flags & MEMHOOK_SEES_NULL != 0);
                let Some((free, user)) = table.and_then(|t| Some((t.free?, t.user))) else { continue };
                let before = grace::announce_interceptor(record, hook.bit());
                if hook.is_passed_by() {
                    grace::retract_interceptor(record, before);
                    continue;
                }
                // SAFETY: who asks for free(NULL) takes NULL for `next` and the block.
                unsafe { free(core::ptr::null_mut(), NONE, &raw const call, user) }
            }
            drop(section);
        }
    }
    record.set_errno(errno);
}

const NONE: *mut c_void = core::ptr::null_mut();
