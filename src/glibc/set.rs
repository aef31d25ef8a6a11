//! Sets of callbacks that change pointers, and the hooks that own their blocks.
//!
//! A set is known by its callback for malloc. It begins with the first block whose pointer that
//! callback has changed, and stays: the block may outlive the variables. The other callbacks are the
//! latest that stood in the variables together with that one, and are not another set's.

use super::{Callback, MALLOC, MEMALIGN, NOBODY, REALLOC, Values, Variable, callbacks};
use crate::chain::{Hook, Table};
use crate::guard;
use crate::ownership;
use crate::roster::{Link, Linked, Roster};
use crate::scratch;
use core::ffi::c_void;
use core::sync::atomic::{AtomicPtr, Ordering};

/// A set of callbacks.
pub(super) struct Set {
    key: Callback,
    callbacks: [Variable; 4],
    hook: &'static Hook,
    link: Link<Set>,
}

// SAFETY: `key` is not written after the set was made; the rest is atomic.
unsafe impl Sync for Set {}

// SAFETY: the link is the set's own and is written by the roster only.
unsafe impl Linked for Set {
    fn link(&self) -> &Link<Set> {
        &self.link
    }
}

static SETS: Roster<Set> = Roster::new();

/// By what the set that stands in the variables is known: the first of its callbacks that can make
/// a block.
fn key(values: &Values) -> Callback {
    let made_by = [MALLOC, MEMALIGN, REALLOC].map(|kind| values.get(kind).copied().unwrap_or(NOBODY));
    made_by.into_iter().find(|callback| !callback.is_null()).unwrap_or(NOBODY)
}

/// Sets learn what stands in the variables beside them. Not what is known as another set's, in the place of what is
/// known: whoever puts callbacks in or takes them out does so with one variable after the other.
#[inline(always)]
pub(super) fn see(values: &Values) {
    for set in SETS.iter().filter(|set| set.key == key(values)) {
        for (kind, (known, &value)) in set.callbacks.iter().zip(values).enumerate() {
            // ORDERING [none]: Relaxed. A function of the program.
            let before = known.load(Ordering::Relaxed);
            if !value.is_null() && before != value {
                set.learn_instead(kind, before, value);
            }
        }
    }
}

/// Whether the callback belongs to a set that changes pointers: then it is called for blocks of its
/// own only.
#[inline(always)]
pub(super) fn changes_pointers(kind: usize, callback: Callback) -> bool {
    !callback.is_null() && SETS.iter().any(|set| set.callback(kind) == callback)
}

/// The set of the callback that stands in the variable `kind` and has changed a pointer, among these values; `None`
/// without memory. Called in a section.
pub(super) fn of_maker(kind: usize, values: &Values) -> Option<&'static Set> {
    let (wanted, callback) = (key(values), values.get(kind).copied().unwrap_or(NOBODY));
    // The first that was seen with it: it may stand beside another set's callbacks too.
    let known = SETS.iter().filter(|set| set.callback(kind) == callback).last();
    if let Some(set) = known.or_else(|| SETS.iter().find(|set| set.key == wanted)) {
        set.learn_missing(values);
        return Some(set);
    }
    let memory = scratch::permanent(size_of::<Set>(), align_of::<Set>())?.cast::<Set>();
    let table = Table::Interceptor(callbacks::table_for_set(memory));
    // Stays pinned: it is never unregistered.
    let hook = Hook::create(table, 0, None).ok()?;
    // For a realloc, which cannot be undone, the list must be there.
    ownership::find_or_create(&[core::ptr::from_ref(hook)]).ok()?;
    let fresh = Set { key: wanted, callbacks: values.map(AtomicPtr::new), hook, link: Link::new() };
    // SAFETY: fresh memory of a set's size and alignment.
    unsafe { memory.write(fresh) };
    // SAFETY: just written, and never unmapped.
    let set = unsafe { &*memory };
    SETS.push(set);
    Some(set)
}

/// A callback that was called by another has made a block. `values`: it, and what of its set is known. Without
/// memory for a set the block is nobody's: the callback sees it as long as the other leads there. Called in a section.
pub(super) fn own(kind: usize, values: &Values, block: *mut c_void) {
    see(values);
    let Some(set) = of_maker(kind, values) else { return };
    let Some(record) = guard::record() else { return };
    if let Ok(list) = ownership::find_or_create(&[core::ptr::from_ref(set.hook)]) {
        ownership::mark_surely(block, list);
        ownership::made(list, record);
    }
}

impl Set {
    /// The latest callback of this kind; null where there never was one.
    pub(super) fn callback(&self, kind: usize) -> Callback {
        // ORDERING [none]: Relaxed. A function of the program.
        self.callbacks.get(kind).map_or(NOBODY, |callback| callback.load(Ordering::Relaxed))
    }

    #[cold]
    #[inline(never)]
    fn learn_instead(&self, kind: usize, before: Callback, callback: Callback) {
        let is_anothers = |set: &Set| !core::ptr::eq(set, self) && set.callback(kind) == callback;
        if before.is_null() || !SETS.iter().any(is_anothers) {
            self.learn(kind, callback);
        }
    }

    /// The callbacks of kinds of which none is known.
    fn learn_missing(&self, values: &Values) {
        for (kind, &value) in values.iter().enumerate() {
            if !value.is_null() && self.callback(kind).is_null() {
                self.learn(kind, value);
            }
        }
    }

    /// The set has a callback of a kind for which none was known.
    pub(super) fn learn(&self, kind: usize, callback: Callback) {
        if let Some(known) = self.callbacks.get(kind) {
            // ORDERING [none]: Relaxed. A function of the program.
            known.store(callback, Ordering::Relaxed);
        }
    }

    /// The hook that owns the set's blocks.
    pub(super) fn hook(&self) -> &'static Hook {
        self.hook
    }
}
