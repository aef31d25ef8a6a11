//! Sets of callbacks that make blocks of their own, and the hooks that own these.
//!
//! A set is known by its callback for malloc. It begins with the first block that is not the backend's, and stays: the
//! block may outlive the variables. From then on it owns all that its callbacks make. Its other callbacks are the
//! latest that stood in the variables together with that one, and are not another set's.

use super::{Callback, MALLOC, MEMALIGN, NOBODY, REALLOC, Values, callbacks};
use crate::chain::{Hook, Table};
use crate::guard::{self, Record};
use crate::ownership::{self, Mark};
use crate::roster::{Link, Linked, Roster};
use crate::scratch;
use crate::sys::find;
use core::ffi::c_void;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// A set of callbacks.
pub(super) struct Set {
    key: Callback,
    callbacks: [Known; 4],
    hook: &'static Hook,
    /// The owner list of `hook` alone.
    list: u16,
    link: Link<Set>,
}

/// A callback of a set, and the object in which its code is; 0 where that is not known.
struct Known {
    callback: AtomicPtr<()>,
    object: AtomicUsize,
}

// SAFETY: `key`, `hook` and `list` are not written after the set was made; the rest is atomic.
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
    let Some(latest) = SETS.iter().next() else { return };
    if values.iter().enumerate().any(|(kind, &value)| latest.callback(kind) != value) {
        see_others(*values);
    }
}

#[cold]
#[inline(never)]
fn see_others(values: Values) {
    for set in SETS.iter().filter(|set| set.key == key(&values)) {
        for (kind, &value) in values.iter().enumerate() {
            let before = set.callback(kind);
            if !value.is_null() && before != value {
                set.learn_instead(kind, before, value);
            }
        }
    }
}

/// Whether any callback has made a block of its own.
#[inline(always)]
pub(super) fn are_any() -> bool {
    SETS.iter().next().is_some()
}

/// Whether the callback belongs to a set: then it is called for blocks of its own only.
#[inline(always)]
pub(super) fn changes_pointers(kind: usize, callback: Callback) -> bool {
    !callback.is_null() && SETS.iter().any(|set| set.callback(kind) == callback)
}

/// The set that the callback belongs to. Of several the first: it may stand beside another set's callbacks too.
fn of_callback(kind: usize, callback: Callback) -> Option<&'static Set> {
    SETS.iter().filter(|set| set.callback(kind) == callback).last()
}

/// The set with this owner list.
pub(super) fn of_list(list: u16) -> Option<&'static Set> {
    SETS.iter().find(|set| set.list == list)
}

/// The set of the callback that stands in the variable `kind` and has made a block of its own, among these values;
/// `None` without memory. Called in a section.
pub(super) fn of_maker(kind: usize, values: &Values) -> Option<&'static Set> {
    let (wanted, callback) = (key(values), values.get(kind).copied().unwrap_or(NOBODY));
    let known = of_callback(kind, callback).or_else(|| SETS.iter().find(|set| set.key == wanted));
    if let Some(set) = known {
        set.learn_missing(values);
        return Some(set);
    }
    let memory = scratch::permanent(size_of::<Set>(), align_of::<Set>())?.cast::<Set>();
    let table = Table::Interceptor(callbacks::table_for_set(memory));
    // Stays pinned: it is never unregistered.
    let hook = Hook::create(table, 0, None).ok()?;
    // Of a hook that is never unregistered, the list never ends.
    let list = ownership::find_or_create(&[core::ptr::from_ref(hook)]).ok()?;
    let fresh = Set { key: wanted, callbacks: values.map(Known::new), hook, list, link: Link::new() };
    // SAFETY: fresh memory of a set's size and alignment.
    unsafe { memory.write(fresh) };
    // SAFETY: just written, and never unmapped.
    let set = unsafe { &*memory };
    SETS.push(set);
    Some(set)
}

/// The set with this hook.
pub(super) fn of_hook(hook: *const Hook) -> Option<&'static Set> {
    SETS.iter().find(|set| core::ptr::eq(set.hook, hook))
}

/// A callback that was called by another has made a block. `values`: it, and what of its set is known. Without
/// memory for a set the block is nobody's: the callback sees it as long as the other leads there. Called in a section.
pub(super) fn own(kind: usize, values: &Values, block: *mut c_void) {
    see(values);
    if let (Some(set), Some(record)) = (of_maker(kind, values), guard::record()) {
        set.own(block, record);
    }
}

/// A callback has returned a block of the backend's. If its set makes blocks of its own as well, this one goes back
/// through it too: whether it does. Called in a section.
pub(super) fn own_as_mixed(kind: usize, callback: Callback, block: *mut c_void) -> bool {
    let owner = mixed(kind, callback).zip(guard::record());
    if let Some((set, record)) = owner {
        set.own(block, record);
    }
    owner.is_some()
}

/// Has the set of a callback own a new block, where that takes nothing but to note it; false where more is to be done.
#[inline(always)]
pub(super) fn own_at_once(kind: usize, callback: Callback, block: *mut c_void, record: &Record) -> bool {
    let Some(set) = SETS.iter().next().filter(|set| set.callback(kind) == callback) else { return false };
    let Some(mark) = Mark::of(block).filter(|_| record.can_count()) else { return false };
    mark.set(set.list);
    // SAFETY: just seen.
    unsafe { record.count_at_once(set.list, 1) };
    true
}

/// The set of a callback that has returned a block of the backend's.
#[inline(always)]
pub(super) fn mixed(kind: usize, callback: Callback) -> Option<&'static Set> {
    if changes_pointers(kind, callback) { of_callback(kind, callback) } else { None }
}

impl Known {
    fn new(callback: Callback) -> Known {
        Known { callback: AtomicPtr::new(callback), object: AtomicUsize::new(object(callback)) }
    }
}

/// Which object the callback's code is in.
fn object(callback: Callback) -> usize {
    if callback.is_null() { 0 } else { find::identity(callback as usize) }
}

impl Set {
    /// The latest callback of this kind; null where there never was one.
    #[inline(always)]
    pub(super) fn callback(&self, kind: usize) -> Callback {
        // ORDERING [none]: Relaxed. A function of the program.
        self.callbacks.get(kind).map_or(NOBODY, |known| known.callback.load(Ordering::Relaxed))
    }

    /// Whether the code of that callback has been unloaded.
    pub(super) fn is_unloaded(&self, kind: usize) -> bool {
        // ORDERING [none]: Relaxed. Stored before the callback.
        let known = self.callbacks.get(kind).map_or(0, |known| known.object.load(Ordering::Relaxed));
        known != 0 && known != object(self.callback(kind))
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

    /// The set has another callback of a kind.
    pub(super) fn learn(&self, kind: usize, callback: Callback) {
        if let Some(known) = self.callbacks.get(kind) {
            // ORDERING [none]: Relaxed. A thread that sees only one of the two takes the callback for unloaded or not, once.
            known.object.store(object(callback), Ordering::Relaxed);
            // ORDERING [none]: Relaxed. A function of the program.
            known.callback.store(callback, Ordering::Relaxed);
        }
    }

    /// The hook that owns the set's blocks.
    pub(super) fn hook(&self) -> &'static Hook {
        self.hook
    }

    /// Has the set own a new block, however little memory there is. Called in a section.
    pub(super) fn own(&self, block: *mut c_void, record: &Record) {
        ownership::mark_surely(block, self.list);
        ownership::made(self.list, record);
    }

    /// As [`own`](Set::own) for a block that can still be refused; false where there is no memory.
    #[inline(always)]
    pub(super) fn try_own(&self, block: *mut c_void, record: Option<&Record>) -> bool {
        let Some(record) = record.filter(|_| ownership::mark(block, self.list)) else { return false };
        ownership::made(self.list, record);
        true
    }

    /// Takes a block of the set's from it, to be given to another.
    pub(super) fn disown(&self, block: *mut c_void, record: &Record) {
        ownership::clear(block);
        ownership::gone(self.list, record);
    }
}
