//! Plain memory, and the window of the classic idiom.
//!
//! `__malloc_hook = old; block = malloc(n); __malloc_hook = mine;` in plain memory hides the calls of all other threads, and a
//! second thread's last assignment puts the callback in again while the first has it out. So the memory alone does not
//! say whether a callback *takes itself out*, or stays in and wants its own calls back. What was seen before says it:
//!
//! - a callback whose variable holds something else when it makes a call has taken itself out: certain, and noted;
//! - where no second thread runs callbacks, a variable that holds the callback still was left as it is: certain;
//! - where one does, and the variable holds the callback, what was noted decides. Whoever put it in again had it out
//!   before, and was noted then, at its own call.
//!
//! # Edges
//!
//! | edge     | from                      | to                       | carries |
//! | -------- | ------------------------- | ------------------------ | ------- |
//! | `window` | `run_in` Release          | `changed` fence Acquire   | that a callback is running, before it takes itself out |
//! | `out`    | `note_all` Release        | `inside_seldom` Acquire  | what was noted, before the callback puts itself in again |

use super::activation;
use super::variables::{Variable, read_plain};
use super::{Callback, NOBODY, Values};
use crate::guard::{self, Record};
use core::cell::Cell;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering, fence};

/// The last callback seen in each variable.
static LAST: [Variable; 4] = [const { AtomicPtr::new(NOBODY) }; 4];

/// What a call meets that comes from outside all callbacks.
#[inline(always)]
pub(super) fn value_outside(kind: usize) -> Callback {
    let now = read_plain(kind);
    let Some(last) = LAST.get(kind) else { return now };
    // ORDERING [none]: Relaxed. A function of the program, which was there before its address was.
    let before = last.load(Ordering::Relaxed);
    if now == before { now } else { changed(kind, last, before, now) }
}

#[cold]
#[inline(never)]
fn changed(kind: usize, last: &Variable, before: Callback, now: Callback) -> Callback {
    if !now.is_null() {
        // ORDERING [none]: Relaxed. As above.
        last.store(now, Ordering::Relaxed);
        return now;
    }
    // A 0 is a callback's window if one is running in some thread. As long as callbacks come and go under the look, one
    // may have been missed.
    loop {
        // ORDERING [window]: Acquire. The 0 was read before: whoever wrote it was inside by then. Other end: `run_in`.
        fence(Ordering::Acquire);
        let entered = activation::entered();
        // ORDERING [window]: Acquire. The count before the look.
        fence(Ordering::Acquire);
        let is_window = guard::records().any(is_inside);
        let now = read_plain(kind);
        if !now.is_null() {
            return now;
        }
        if is_window {
            return before;
        }
        // ORDERING [window]: Acquire. The look, and what was read behind it, before the second count.
        fence(Ordering::Acquire);
        if activation::entered() == entered {
            // ORDERING [none]: Relaxed and Relaxed. As above.
            let _ = last.compare_exchange(before, NOBODY, Ordering::Relaxed, Ordering::Relaxed);
            return NOBODY;
        }
    }
}

fn is_inside(record: &Record) -> bool {
    // ORDERING [none]: Relaxed. The fences around it order it.
    !record.inner.load(Ordering::Relaxed).is_null() && !record.is_dead()
}

/// The first record whose thread has run a callback, and whether another has.
static FIRST: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
static MANY: AtomicBool = AtomicBool::new(false);

/// A thread begins a callback.
#[inline(always)]
pub(super) fn enter(record: &Record) {
    let own = core::ptr::from_ref(record).cast_mut().cast::<()>();
    // ORDERING [none]: Relaxed. Written once.
    if FIRST.load(Ordering::Relaxed) != own {
        enter_second(own);
    }
}

#[cold]
#[inline(never)]
fn enter_second(own: *mut ()) {
    // ORDERING [none]: Relaxed and Relaxed. Decides who is the first.
    let first = FIRST.compare_exchange(core::ptr::null_mut(), own, Ordering::Relaxed, Ordering::Relaxed);
    // ORDERING [none]: Relaxed. Mostly written once.
    if first.is_err() && !MANY.load(Ordering::Relaxed) {
        // ORDERING [none]: Relaxed. The fence below puts it before what the callback writes.
        MANY.store(true, Ordering::Relaxed);
    }
    // ORDERING [out]: Release. Whoever reads what the callback writes sees that there are many. Other end: `inside_seldom`.
    fence(Ordering::Release);
}

/// What stands in a variable for a call that a callback makes, whose variables held `given` when it was called.
#[inline(always)]
pub(super) fn value_inside(kind: usize, running: Callback, given: &Cell<Values>) -> Callback {
    let now = read_plain(kind);
    let before = given.get().get(kind).copied().unwrap_or(NOBODY);
    if before.is_null() || now.is_null() && is_last_noted(kind, running, before) {
        return now;
    }
    inside_seldom(kind, running, &given.get(), now, before)
}

#[inline(never)]
fn inside_seldom(
    kind: usize,
    running: Callback,
    given: &Values,
    now: Callback,
    before: Callback,
) -> Callback {
    if now != before {
        note_all(kind, running, given);
        return now;
    }
    // ORDERING [out]: Acquire. What whoever wrote `now` has done before. Other ends: `enter_second`, `note_all`.
    fence(Ordering::Acquire);
    // ORDERING [none]: Relaxed. Ordered by the fence.
    if MANY.load(Ordering::Relaxed) && takes_out(running, before) { NOBODY } else { now }
}

/// What was seen: pairs of a callback and of one that stood in a variable and that it took out. A pair is one number,
/// and 0 is none. With `NOBODY` in the first place: somebody takes it out; in the second: it was seen at a call.
static TAKEN_OUT: [AtomicUsize; 256] = [const { AtomicUsize::new(0) }; 256];
/// The pair that was noted last, by variable.
static LAST_NOTED: [AtomicUsize; 4] = [const { AtomicUsize::new(0) }; 4];

fn pair(running: Callback, taken_out: Callback) -> usize {
    (running as usize).rotate_left(24) ^ taken_out as usize
}

#[inline(always)]
fn is_last_noted(kind: usize, running: Callback, taken_out: Callback) -> bool {
    // ORDERING [none]: Relaxed. Another pair is looked up.
    let last = LAST_NOTED.get(kind).map_or(0, |last| last.load(Ordering::Relaxed));
    last == pair(running, taken_out)
}

/// The running callback makes a call and has its variables changed: notes which.
#[cold]
#[inline(never)]
fn note_all(kind: usize, running: Callback, given: &Values) {
    for (i, &before) in given.iter().enumerate() {
        let now = read_plain(i);
        if !before.is_null() && now != before {
            note(pair(running, before));
            note(pair(NOBODY, before));
        }
    }
    note(pair(running, NOBODY));
    if let (Some(last), Some(&before)) = (LAST_NOTED.get(kind), given.get(kind)) {
        // ORDERING [none]: Relaxed. As in `is_last_noted`.
        last.store(pair(running, before), Ordering::Relaxed);
    }
    // ORDERING [out]: Release. The notes before what the callback writes next. Other end: `inside_seldom`.
    fence(Ordering::Release);
}

/// A table that is full notes nothing: such callbacks count as staying in.
fn note(pair: usize) {
    for place in &TAKEN_OUT {
        // ORDERING [none]: Relaxed and Relaxed. Ordered by the fence of `note_all`.
        match place.compare_exchange(0, pair, Ordering::Relaxed, Ordering::Relaxed) {
            Ok(_) => break,
            Err(known) if known == pair => break,
            Err(_) => {}
        }
    }
}

fn is_noted(pair: usize) -> bool {
    // ORDERING [none]: Relaxed. Ordered by the fence of `inside_seldom`.
    let all = TAKEN_OUT.iter().map(|place| place.load(Ordering::Relaxed));
    all.take_while(|&noted| noted != 0).any(|noted| noted == pair)
}

/// Whether the running callback takes this one out. Of one that was never seen at a call, what is known of others.
fn takes_out(running: Callback, callback: Callback) -> bool {
    is_noted(pair(running, callback)) || !is_noted(pair(running, NOBODY)) && is_noted(pair(NOBODY, callback))
}
