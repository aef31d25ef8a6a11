//! Hooks, and the immutable chain of them that one allocation call walks.
//!
//! Never: frees a chain (see `registry`), runs a callback of an allocation call.
//!
//! # State
//!
//! ```text
//!            publish                    grace period over
//!  building ─────────► current ─► retired ─────────────────► reclaimed
//! ```
//!
//! `CURRENT` points to a *head*: one entry table and the chain. The entry stubs jump through the
//! table of whichever head they find, without a read section; so a head is never unmapped, and
//! its table stays what it was made for when the head is used again. With no hook in force the
//! table holds the backend's own functions, and the stub is all there is.
//!
//! # Invariants
//!
//! 1. `CURRENT` is never null.
//! 2. A chain is not written after it was published.
//! 3. A chain is reclaimed only after a grace period that began after it was retired.
//! 4. A head's table is written once, before the head is first published.
//! 5. A hook's table is written before its id and not again while anybody holds the hook.
//!
//! # Edges
//!
//! | edge      | from                    | to                    | carries |
//! | --------- | ----------------------- | --------------------- | ------- |
//! | `publish` | `publish` Release       | `current` Acquire     | the hooks, and all that whoever registered them wrote before |
//! | `hook`    | `Hook::create` Release  | `pin` Acquire         | the hook's table |
//! | `unpin`   | `unpin` Release         | `Hook::create` AcqRel | the last look at a hook that is gone |
//! | `unpin`   | `Hook::create` AcqRel   | `try_pin` Acquire     | that the hook has lost its id, for who pins it behind `create` |
//! | `dead`    | `decide` Release        | `barrier::heavy` in `grace::advance` | what was done about a decision that was taken back |
//! | `phase`   | `forget` Release        | `registry::settled` Acquire | what the release callback did |
//! | `head`    | `Head::give_back` Release | `Head::take` Acquire | the end of a head's last use |
//! | `hold`    | `give_back` AcqRel      | the same              | the last use of a hook before its release |

mod head;
mod hook;

pub(crate) use head::{
    Base, CURRENT, Head, Mode, Tables, base, current, enter_briefly, entries, is_first, publish, reclaim,
};
#[cfg(target_arch = "x86_64")]
pub(crate) use head::{at, named};
pub(crate) use hook::{ALIVE, Hook, LEAVING, LINKED, NEW, OWNING, RELEASED, REPLACING, Table};

use crate::abi::*;
use crate::entry::TABLES;
use crate::grace::Deferred;
use crate::guard::{NO_OBSERVER, Record};
use crate::ownership;
use crate::scratch;
use core::ffi::c_void;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// A walk through more interceptors than this announces all of them at its start, and passes none by. The section
/// may have begun long before: who removes one waits for all sections.
pub(crate) const MANY: usize = 64;

/// How many chains have more interceptors, of those that sections may be open on.
static LONG: AtomicUsize = AtomicUsize::new(0);

/// Whether a section may be open on such a chain. Asked by who has put another chain in force.
fn some_are_long() -> bool {
    // ORDERING [none]: Relaxed. Counted before the chain came into force, which `base` has acquired.
    LONG.load(Ordering::Relaxed) != 0
}

/// `memhook_after_alloc_fn` and `memhook_realloc_commit_fn` that are not NULL.
pub(crate) type AfterAlloc = unsafe extern "C" fn(*const memhook_call, *mut c_void, *mut c_void);
/// A `memhook_before_fn` that is not NULL.
pub(crate) type Before = unsafe extern "C" fn(*const memhook_call, *mut c_void);

/// One callback of an observer.
#[derive(Clone, Copy)]
pub(crate) struct Told<F> {
    pub(crate) function: F,
    pub(crate) user: *mut c_void,
    pub(crate) hook: *const Hook,
}

/// Whom the short ways tell: nobody, the only observer, or all in turn.
#[derive(Clone, Copy)]
pub(crate) struct Telling<F> {
    pub(crate) function: F,
    pub(crate) user: *mut c_void,
}

unsafe extern "C" fn nobody_after(_: *const memhook_call, _: *mut c_void, _: *mut c_void) {}

unsafe extern "C" fn nobody_before(_: *const memhook_call, _: *mut c_void) {}

impl<F: Copy> Telling<F> {
    const fn nobody(function: F) -> Telling<F> {
        Telling { function, user: core::ptr::null_mut() }
    }

    /// `several` is given the view at `view`, where there are more hooks than one.
    fn to(all: Array<Told<F>>, nobody: F, several: Option<F>, view: *const View) -> Telling<F> {
        match (all.only(), several) {
            (Some(told), None) => Telling { function: told.function, user: told.user },
            (_, Some(several)) if !all.is_empty() => {
                Telling { user: view.cast_mut().cast(), ..Telling::nobody(several) }
            }
            _ => Telling::nobody(nobody),
        }
    }
}

/// An immutable array in a chain's own memory.
pub(crate) struct Array<T> {
    at: *const T,
    end: *const T,
}

impl<T> Clone for Array<T> {
    fn clone(&self) -> Array<T> {
        *self
    }
}

impl<T> Copy for Array<T> {}

impl<T> Array<T> {
    const EMPTY: Array<T> = {
        let at = core::ptr::NonNull::<T>::dangling().as_ptr().cast_const();
        Array { at, end: at }
    };

    #[inline(always)]
    pub(crate) fn is_empty(&self) -> bool {
        core::ptr::eq(self.at, self.end)
    }

    /// The element of an array that has no other.
    #[inline(always)]
    pub(crate) fn only(&self) -> Option<&T> {
        // SAFETY: an element, alive as long as the chain (invariants 2 and 3).
        core::ptr::eq(self.at.wrapping_add(1), self.end).then(|| unsafe { &*self.at })
    }

    /// The elements, for as long as the chain may be used.
    #[inline(always)]
    pub(crate) fn get(&self) -> &[T] {
        // SAFETY: both lead into the same array, or are equal.
        let len = unsafe { self.end.offset_from(self.at) } as usize;
        // SAFETY: written by `build` and alive as long as the chain (invariants 2 and 3).
        unsafe { core::slice::from_raw_parts(self.at, len) }
    }
}

/// What one thread sees of a chain.
#[derive(Clone, Copy)]
pub(crate) struct View {
    /// The identity of the thread, 0 for all that have no view of their own.
    thread: u64,
    /// The same as `after_alloc`, for the short ways.
    pub(crate) after: Telling<AfterAlloc>,
    /// The same as `before_free`, for the short ways.
    pub(crate) before: Telling<Before>,
    pub(crate) after_alloc: Array<Told<AfterAlloc>>,
    pub(crate) before_free: Array<Told<Before>>,
    pub(crate) realloc_begin: Array<Told<Before>>,
    pub(crate) realloc_commit: Array<Told<AfterAlloc>>,
    pub(crate) realloc_abort: Array<Told<Before>>,
    /// All interceptors of new blocks, outermost first.
    pub(crate) interceptors: Array<*const Hook>,
    /// Those of them that see every free.
    pub(crate) keepers: Array<*const Hook>,
    /// The same and those that see blocks of nobody only.
    pub(crate) of_strays: Array<*const Hook>,
    /// The owner lists of what malloc, realloc of NULL and memalign make; 0: the backend's.
    pub(crate) owners: [u16; 3],
    /// Whether there is any observer.
    pub(crate) is_observed: bool,
    /// Set where one interceptor is all there is, and this the view of all threads.
    pub(crate) single: Option<Single>,
}

/// The interceptor of a chain that has no other, laid out for a call that walks no list.
#[derive(Clone, Copy)]
pub(crate) struct Single {
    pub(crate) hook: &'static Hook,
    pub(crate) user: *mut c_void,
    pub(crate) malloc: Malloc,
    pub(crate) free: Free,
    /// The owner list of what its malloc makes; not 0, and it has no other member. So whoever drains it waits
    /// for every section that may be in this hook.
    pub(crate) owner: u16,
}

/// A `memhook_malloc_fn` that is not NULL.
pub(crate) type Malloc =
    unsafe extern "C" fn(*mut memhook_next, usize, *const memhook_call, *mut c_void) -> *mut c_void;
/// A `memhook_free_fn` that is not NULL.
pub(crate) type Free = unsafe extern "C" fn(*mut memhook_next, *mut c_void, *const memhook_call, *mut c_void);

impl Single {
    /// Where it owns what its malloc makes, which the list `owner` says.
    fn among(hooks: &[*const Hook], owner: u16) -> Option<Single> {
        // SAFETY: the caller's hooks are in force or pinned, and hooks live for ever.
        let mut alive = hooks.iter().map(|&hook| unsafe { &*hook });
        if alive.clone().any(|hook| hook.thread() != 0) {
            return None;
        }
        let makes = |hook: &'static Hook| hook.interceptor().is_some() && !hook.is_for_strays();
        let hook: &'static Hook = alive.find(|&hook| makes(hook))?;
        let alone = !alive.any(makes);
        let table = hook.interceptor().filter(|_| alone && hook.may_own())?;
        // SAFETY: in the section in which the chain is built.
        let members = unsafe { ownership::members(owner) };
        let (malloc, free) = (table.malloc?, table.free?);
        (members == [core::ptr::from_ref(hook)]).then_some(Single {
            hook,
            user: table.user,
            malloc,
            free,
            owner,
        })
    }
}

impl View {
    const EMPTY: View = View {
        thread: 0,
        after: Telling::nobody(nobody_after),
        before: Telling::nobody(nobody_before),
        after_alloc: Array::EMPTY,
        before_free: Array::EMPTY,
        realloc_begin: Array::EMPTY,
        realloc_commit: Array::EMPTY,
        realloc_abort: Array::EMPTY,
        interceptors: Array::EMPTY,
        keepers: Array::EMPTY,
        of_strays: Array::EMPTY,
        owners: [0; 3],
        is_observed: false,
        single: None,
    };
}

/// Index into [`View::owners`].
pub(crate) const BY_MALLOC: usize = 0;
/// Index into [`View::owners`].
pub(crate) const BY_REALLOC: usize = 1;
/// Index into [`View::owners`].
pub(crate) const BY_MEMALIGN: usize = 2;

/// The hooks in force, outermost first, and what each thread sees of them.
#[repr(C)]
pub(crate) struct Chain {
    /// First, so that a pointer to it is one to the chain.
    pub(crate) deferred: Deferred,
    pub(crate) head: AtomicPtr<Head>,
    /// One more than that of the chain whose place it takes.
    number: u64,
    /// Whether it has more interceptors than [`MANY`].
    is_long: bool,
    /// Whether the interceptor of glibc's variables is all there is, and no self-test runs.
    is_variables: bool,
    main: View,
    hooks: Array<*const Hook>,
    views: Array<View>,
}

// SAFETY: the pointers lead to memory that is not written after publication (invariant 2) or
// whose writes are atomic.
unsafe impl Sync for Chain {}

static EMPTY: Chain = Chain {
    deferred: Deferred::new(),
    head: AtomicPtr::new(core::ptr::null_mut()),
    number: 0,
    is_long: false,
    is_variables: false,
    main: View::EMPTY,
    hooks: Array::EMPTY,
    views: Array::EMPTY,
};

impl Chain {
    /// The hooks, outermost first.
    pub(crate) fn hooks(&self) -> &[*const Hook] {
        self.hooks.get()
    }

    /// Chains that were in force are numbered in their order.
    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    /// The hook that calls on the short ways may be in, where it is one; else `NO_OBSERVER`.
    fn only(&self) -> usize {
        let sole = || match self.hooks.get() {
            &[hook] => hook as usize,
            _ => NO_OBSERVER,
        };
        self.main.single.as_ref().map_or_else(sole, |single| single.hook.address())
    }

    /// The interceptor of a chain that is nothing else.
    fn alone(&self) -> Option<&Single> {
        self.main.single.as_ref().filter(|_| !self.main.is_observed)
    }

    /// Whether there are hooks, and all of them keep errno.
    fn keeps_errno(&self) -> bool {
        // SAFETY: in force or pinned, and hooks live for ever.
        let mut alive = self.hooks.get().iter().map(|&hook| unsafe { &*hook });
        !self.hooks.is_empty() && alive.all(Hook::keeps_errno)
    }

    /// What the thread of `record` sees.
    #[inline(always)]
    pub(crate) fn view(&self, record: &Record) -> &View {
        if self.views.is_empty() { &self.main } else { self.own_view(record) }
    }

    #[cold]
    fn own_view(&self, record: &Record) -> &View {
        let identity = record.identity();
        self.views.get().iter().find(|view| view.thread == identity).unwrap_or(&self.main)
    }

    /// Makes a chain of these hooks, sorted outermost first. `number` is one more than that of the chain in
    /// force. `plain`: calls may take ways that no self-test sees. An error is `ENOMEM` or `ENOSPC`.
    pub(crate) fn build(hooks: &[*const Hook], number: u64, plain: bool) -> Result<*mut Chain, i32> {
        // SAFETY: the caller's hooks are in force or pinned.
        let alive = || hooks.iter().map(|&hook| unsafe { &*hook });
        // The threads that have hooks of their own; at most one for each hook.
        let views = alive().filter(|h| h.thread() != 0).count();
        let each = 5 * size_of::<Told<Before>>() + 3 * size_of::<*const Hook>();
        let bytes = size_of::<Chain>()
            + 2 * size_of_val(hooks) // the second for what is laid out and overwritten again
            + views * size_of::<View>()
            + (views + 1) * hooks.len() * each
            + 16;
        let memory = scratch::malloc(bytes);
        if memory.is_null() {
            return Err(libc::ENOMEM);
        }
        let mut store = Store { at: memory.wrapping_add(size_of::<Chain>()) };
        let built = (|| {
            let hooks_kept = store.array(hooks.iter().copied());
            let main_at = memory.wrapping_add(core::mem::offset_of!(Chain, main)).cast::<View>();
            let main = view(hooks, 0, plain, main_at, &mut store)?;
            let first = store.at.cast::<View>();
            store.at = first.wrapping_add(views).cast();
            let mut len = 0;
            for hook in alive().filter(|h| h.thread() != 0) {
                // SAFETY: `len` views are written so far.
                let known = unsafe { core::slice::from_raw_parts(first, len) };
                if known.iter().any(|v| v.thread == hook.thread()) {
                    continue;
                }
                let at = first.wrapping_add(len);
                let next = view(hooks, hook.thread(), false, at, &mut store)?;
                // SAFETY: at most `views` views are written, for which there is room.
                unsafe { first.wrapping_add(len).write(next) };
                len += 1;
            }
            Ok(Chain {
                deferred: Deferred::new(),
                head: AtomicPtr::new(core::ptr::null_mut()),
                number,
                is_long: alive().filter(|h| h.interceptor().is_some()).count() > MANY,
                is_variables: plain && hooks.len() == 1 && alive().all(Hook::is_lowest),
                main,
                hooks: hooks_kept,
                views: Array { at: first, end: first.wrapping_add(len) },
            })
        })();
        match built {
            Ok(chain) => {
                let at = memory.cast::<Chain>();
                if chain.is_long {
                    // ORDERING [none]: Relaxed. Published with the chain.
                    LONG.fetch_add(1, Ordering::Relaxed);
                }
                // SAFETY: fresh memory, large enough and aligned to 16.
                unsafe { at.write(chain) };
                Ok(at)
            }
            Err(error) => {
                // SAFETY: never published.
                unsafe { scratch::free(memory) };
                Err(error)
            }
        }
    }
}

/// The rest of a chain's memory while it is built.
struct Store {
    at: *mut u8,
}

impl Store {
    /// Stores the items. There is room: `build` counted every hook in for every array.
    fn array<T>(&mut self, items: impl Iterator<Item = T>) -> Array<T> {
        let at = self.at.cast::<T>();
        let mut end = at;
        for item in items {
            // SAFETY: within the memory that `build` has counted.
            unsafe { end.write(item) };
            end = end.wrapping_add(1);
        }
        self.at = end.cast();
        Array { at, end }
    }
}

/// `at` is where the view will stand.
fn view(
    hooks: &[*const Hook],
    thread: u64,
    plain: bool,
    at: *const View,
    store: &mut Store,
) -> Result<View, i32> {
    // SAFETY: the caller's hooks are in force or pinned.
    let alive = || hooks.iter().map(|&hook| unsafe { &*hook });
    let seen = move || alive().filter(move |h| h.thread() == 0 || h.thread() == thread);
    macro_rules! told {
        ($callback:ident) => {
            store.array(seen().filter_map(|h| {
                let table = h.observer()?;
                Some(Told { function: table.$callback?, user: table.user, hook: h })
            }))
        };
    }
    let after_alloc = told!(after_alloc);
    let before_free = told!(before_free);
    let realloc_begin = told!(realloc_begin);
    let realloc_commit = told!(realloc_commit);
    let realloc_abort = told!(realloc_abort);
    let hooks_that = |which: fn(&Hook) -> bool| seen().filter(move |h| which(h)).map(core::ptr::from_ref);
    let interceptors = store.array(hooks_that(|h| h.interceptor().is_some() && !h.is_for_strays()));
    let keepers = store.array(hooks_that(|h| h.keeps_pointers() && !h.is_for_strays()));
    let of_strays = store.array(hooks_that(Hook::keeps_pointers));
    let mut owners = [0; 3];
    type Makes = fn(&memhook_interceptor) -> bool;
    let kinds: [Makes; 3] = [|t| t.malloc.is_some(), |t| t.realloc.is_some(), |t| t.memalign.is_some()];
    for (owner, makes) in owners.iter_mut().zip(kinds) {
        // Placed where the next array will overwrite it: the list copies its members.
        let keep = store.at;
        let members: Array<*const Hook> = store.array(
            seen()
                .filter(|h| !h.keeps_pointers() && h.interceptor().is_some_and(makes))
                .map(core::ptr::from_ref),
        );
        store.at = keep;
        if !members.is_empty() {
            *owner = ownership::find_or_create(members.get())?;
        }
    }
    let single = if plain { Single::among(hooks, owners[BY_MALLOC]) } else { None };
    let many = seen().nth(1).is_some();
    Ok(View {
        thread,
        after: Telling::to(after_alloc, nobody_after, many.then_some(TABLES.several_after), at),
        before: Telling::to(before_free, nobody_before, many.then_some(TABLES.several_before), at),
        after_alloc,
        before_free,
        realloc_begin,
        realloc_commit,
        realloc_abort,
        interceptors,
        keepers,
        of_strays,
        owners,
        is_observed: seen().any(|h| h.observer().is_some()),
        single,
    })
}
