//! Memory that hooks have in each thread.
//!
//! Never: is given back. It belongs to a record, and goes with it to the next thread that has the record.
//!
//! # Edges
//!
//! | edge    | from                  | to             | carries |
//! | ------- | --------------------- | -------------- | ------- |
//! | `local` | `first` Release       | `each` Acquire | the zeroes in a thread's new memory |
//! | `key`   | `create` Release      | `first` Acquire | the size that goes with a key |

use crate::guard::{self, Record};
use crate::scratch;
use core::sync::atomic::{AtomicUsize, Ordering};

/// How many keys there can be.
const KEYS: usize = guard::LOCALS;

/// Memory of different threads shares no cache line, nor a pair of them.
const ALIGN: usize = 128;

/// The bytes that go with each key; 0: not given out.
static BYTES: [AtomicUsize; KEYS] = [const { AtomicUsize::new(0) }; KEYS];

/// A new key, for `bytes` in each thread; `None` when all are given out. `bytes` is not 0.
pub(crate) fn create(bytes: usize) -> Option<u32> {
    let free = |place: &AtomicUsize| {
        // ORDERING [key]: Release and Relaxed. Before anybody is told of the key. Other end: `first`.
        place.compare_exchange(0, bytes, Ordering::Release, Ordering::Relaxed).is_ok()
    };
    BYTES.iter().position(free).and_then(|index| u32::try_from(index + 1).ok())
}

/// The calling thread's memory; null for an unknown key, or where there is no memory.
#[inline(always)]
pub(crate) fn of_this_thread(key: u32) -> *mut u8 {
    let memory = known(key);
    if memory.is_null() { first(key) } else { memory }
}

/// As [`of_this_thread`]; the record is this thread's.
#[inline(always)]
pub(crate) fn of(record: &'static Record, key: u32) -> *mut u8 {
    let memory = known_of(record, key);
    if memory.is_null() { first(key) } else { memory }
}

/// The calling thread's memory, if it has been asked for before; else null.
#[inline(always)]
pub(crate) fn known(key: u32) -> *mut u8 {
    guard::known().map_or(core::ptr::null_mut(), |record| known_of(record, key))
}

/// As [`known`], with nothing to be looked at twice.
///
/// # Safety
///
/// The record is this thread's; the key is 0, or was given out.
#[inline(always)]
pub(crate) unsafe fn known_surely(record: &'static Record, key: u32) -> *mut u8 {
    // SAFETY: keys that were given out have a place, and so has 0 (the caller's contract).
    let place = unsafe { record.locals.get_unchecked(key as usize) };
    // ORDERING [none]: Relaxed. Written by this thread.
    place.load(Ordering::Relaxed)
}

#[inline(always)]
fn known_of(record: &Record, key: u32) -> *mut u8 {
    let place = record.locals.get(key as usize);
    // ORDERING [none]: Relaxed. Written by this thread.
    place.map_or(core::ptr::null_mut(), |place| place.load(Ordering::Relaxed))
}

/// A signal handler of this thread may do the same at the same time: the place is decided by an exchange.
#[cold]
#[inline(never)]
fn first(key: u32) -> *mut u8 {
    let null = core::ptr::null_mut;
    let bytes = BYTES.get((key as usize).wrapping_sub(1));
    // ORDERING [key]: Acquire. Other end: `create`.
    let Some(bytes @ 1..) = bytes.map(|bytes| bytes.load(Ordering::Acquire)) else { return null() };
    let Some(place) = guard::record().and_then(|record| record.locals.get(key as usize)) else {
        return null();
    };
    // A thread that had no record until now may have that of one that has ended, and its memory.
    // ORDERING [none]: Relaxed. Whoever stored it had the record before this thread, which the claim acquired.
    let before = place.load(Ordering::Relaxed);
    if !before.is_null() {
        return before;
    }
    // Not where a record may begin: where the lowest eight bits of its address and of this one are the same, a pair of
    // calls that used both took half a nanosecond more.
    let room = scratch::permanent(bytes.next_multiple_of(ALIGN) + ALIGN, align_of::<Record>());
    let Some(fresh) = room.map(|room| room.wrapping_add(ALIGN)) else { return null() };
    // ORDERING [local]: Release and Relaxed. Zeroes before the place of the memory. Other end: `each`.
    match place.compare_exchange(null(), fresh, Ordering::Release, Ordering::Relaxed) {
        Ok(_) => fresh,
        Err(before) => before,
    }
}

/// Shows every thread's memory, that of ended threads too, with the identity of its latest thread,
/// until `visit` answers false.
pub(crate) fn each(key: u32, visit: &mut dyn FnMut(*mut u8, u64) -> bool) {
    for record in guard::records() {
        let Some(place) = record.locals.get(key as usize) else { return };
        // ORDERING [local]: Acquire. Other end: `first`.
        let memory = place.load(Ordering::Acquire);
        if !memory.is_null() && !visit(memory, record.identity()) {
            return;
        }
    }
}

/// Whether a key was given out.
pub(crate) fn exists(key: u32) -> bool {
    let place = BYTES.get((key as usize).wrapping_sub(1));
    // ORDERING [key]: Acquire. Other end: `create`.
    place.is_some_and(|bytes| bytes.load(Ordering::Acquire) != 0)
}
