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
//! | `publish` | `publish` AcqRel        | `current` Acquire     | the hooks, and all that whoever registered them wrote before |
//! | `hook`    | `Hook::create` Release  | `pin` Acquire         | the hook's table |
//! | `unpin`   | `unpin` Release         | `Hook::create` Acquire | the last look at a hook that is gone |
//! | `dead`    | `kill` AcqRel           | `is_dead` Acquire     | the decision, before the publication that carries it out |
//! | `phase`   | `forget` Release        | `registry::settled` Acquire | what the release callback did |
//! | `head`    | `Head::give_back` Release | `Head::take` Acquire | the end of a head's last use |
//! | `hold`    | `unhold` AcqRel         | the same              | the last use of a hook before its release |

use crate::abi::*;
use crate::backend::{self, Entries};
use crate::grace::{Deferred, Section};
use crate::guard::{self, Record};
use crate::roster::{Link, Linked, Roster};
use crate::{ownership, scratch};
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char, c_void};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// What a hook calls.
#[derive(Clone, Copy)]
pub(crate) enum Table {
    Interceptor(memhook_interceptor),
    Observer(memhook_observer),
}

/// A hook is in force, or in a chain object.
pub(crate) const LINKED: u32 = 0;
/// It was taken out; a thread may still be in its callbacks.
pub(crate) const LEAVING: u32 = 1;
/// No thread will enter it for new blocks; some of its blocks live on.
pub(crate) const OWNING: u32 = 2;
/// Its release has been called.
pub(crate) const RELEASED: u32 = 3;

/// One registered hook.
#[repr(C)]
pub(crate) struct Hook {
    /// First, so that a pointer to it is one to the hook.
    pub(crate) deferred: Deferred,
    id: AtomicU64,
    /// Who looks at the hook just now. It is used again when it has no id and no pins.
    pins: AtomicU32,
    /// How far its removal is.
    pub(crate) phase: AtomicU32,
    /// Whether its removal was decided. Nobody takes it into a chain from then on.
    dead: AtomicBool,
    /// How many chains name it: the one in force, and chain objects.
    pub(crate) links: AtomicU32,
    /// Owner lists it is a member of, and 1 until its removal is complete.
    holds: AtomicUsize,
    /// Whether its code is gone: blocks that it still owns are left alone.
    orphaned: AtomicBool,
    /// Whether its release is not to be called: it was never in force, or it has been called.
    silent: AtomicBool,
    fixed: UnsafeCell<Fixed>,
    link: Link<Hook>,
}

/// What stays the same while a hook has an id.
struct Fixed {
    /// The only thread it is called in, as a record's identity; 0: all.
    thread: u64,
    /// The id under which it was registered first: kept when it is replaced.
    sequence: u64,
    name: [c_char; 32],
    table: Table,
}

// SAFETY: `fixed` is written only while nobody else can look (invariant 5); the rest is atomic.
unsafe impl Sync for Hook {}

// SAFETY: the link is the hook's own and is written by the roster only.
unsafe impl Linked for Hook {
    fn link(&self) -> &Link<Hook> {
        &self.link
    }
}

static HOOKS: Roster<Hook> = Roster::new();
static LAST_ID: AtomicU64 = AtomicU64::new(0);

impl Hook {
    /// Makes a hook that nobody else knows by anything but its id, with one pin. An error is
    /// `ENOMEM`.
    ///
    /// With `replaces`, it takes that hook's place in every order.
    pub(crate) fn create(table: Table, thread: u64, replaces: Option<&Hook>) -> Result<&'static Hook, i32> {
        let reused = HOOKS.iter().find(|hook| {
            // ORDERING [unpin]: Acquire and Relaxed. Other end: `unpin`.
            let mine = || hook.pins.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok();
            // ORDERING [none]: Relaxed. Looked at again with the pin.
            if hook.id.load(Ordering::Relaxed) != 0 || !mine() {
                return false;
            }
            // ORDERING [none]: Relaxed. With our pin, nobody else makes a hook of it.
            let free = hook.id.load(Ordering::Relaxed) == 0 && hook.holds.load(Ordering::Relaxed) == 0;
            if !free {
                hook.unpin();
            }
            free
        });
        let hook = match reused {
            Some(hook) => hook,
            None => {
                let memory = scratch::permanent(size_of::<Hook>(), align_of::<Hook>()).ok_or(libc::ENOMEM)?;
                // SAFETY: fresh zeroed memory: the atomics are valid, and `fixed` is not read
                // before it is written below, as the hook has no id.
                let fresh = unsafe { &*memory.cast::<Hook>() };
                // ORDERING [none]: Relaxed. Nobody knows the hook yet.
                fresh.pins.store(1, Ordering::Relaxed);
                HOOKS.push(fresh);
                fresh
            }
        };
        let name = match table {
            Table::Interceptor(t) => t.name,
            Table::Observer(t) => t.name,
        };
        let mut kept = [0; 32];
        if !name.is_null() {
            // SAFETY: the caller of register and observe gives NULL or a string.
            let text = unsafe { CStr::from_ptr(name) }.to_bytes();
            for (to, &from) in kept.iter_mut().take(31).zip(text) {
                *to = from as c_char;
            }
        }
        // ORDERING [none]: Relaxed. Numbers need only differ.
        let id = LAST_ID.fetch_add(1, Ordering::Relaxed) + 1;
        let sequence = replaces.map_or(id, Hook::sequence);
        // SAFETY: with the only pin and no id, nobody looks at these fields (invariant 5).
        unsafe { hook.fixed.get().write(Fixed { thread, sequence, name: kept, table }) };
        // ORDERING [none]: Relaxed. All published by the id.
        hook.phase.store(LINKED, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. All published by the id.
        hook.dead.store(false, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. All published by the id.
        hook.links.store(1, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. All published by the id.
        hook.holds.store(1, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. All published by the id.
        hook.orphaned.store(false, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. All published by the id.
        hook.silent.store(false, Ordering::Relaxed);
        // ORDERING [hook]: Release. The hook before its name. Other end: `pin`.
        hook.id.store(id, Ordering::Release);
        Ok(hook)
    }

    fn fixed(&self) -> &Fixed {
        // SAFETY: not written while the hook has an id or a pin (invariant 5), and whoever has
        // a hook found it by its id, or in a chain or a list that holds it.
        unsafe { &*self.fixed.get() }
    }

    /// Finds a hook by its id and keeps it from being used again until `unpin`.
    pub(crate) fn pin(id: memhook_id) -> Option<&'static Hook> {
        HOOKS.iter().find(|hook| hook.try_pin(id))
    }

    fn try_pin(&self, id: memhook_id) -> bool {
        // ORDERING [none]: Relaxed. Looked at again with the pin.
        if id == 0 || self.id.load(Ordering::Relaxed) != id {
            return false;
        }
        // ORDERING [unpin]: Acquire. Before we read the hook.
        self.pins.fetch_add(1, Ordering::Acquire);
        // ORDERING [hook]: Acquire. Other end: `create`.
        let same = self.id.load(Ordering::Acquire) == id;
        if !same {
            self.unpin();
        }
        same
    }

    /// One more pin for a hook that is pinned already.
    pub(crate) fn pin_again(&self) {
        // ORDERING [none]: Relaxed. The pin there is keeps the hook.
        self.pins.fetch_add(1, Ordering::Relaxed);
    }

    pub(crate) fn unpin(&self) {
        // ORDERING [unpin]: Release. Our last look before it can be used again.
        self.pins.fetch_sub(1, Ordering::Release);
    }

    /// Every hook that has an id, pinned while it is looked at.
    pub(crate) fn for_each(visit: &mut dyn FnMut(&'static Hook)) {
        for hook in HOOKS.iter() {
            if hook.try_pin(hook.id()) {
                visit(hook);
                hook.unpin();
            }
        }
    }

    /// Whether `id` was ever given to a hook.
    pub(crate) fn was_given(id: memhook_id) -> bool {
        // ORDERING [none]: Relaxed. Whoever knows an id was told after it was given.
        id != 0 && id <= LAST_ID.load(Ordering::Relaxed)
    }

    /// The hook is an owner list's member from now on.
    pub(crate) fn hold(&self) {
        // ORDERING [none]: Relaxed. There is a hold already: the hook is in a chain.
        self.holds.fetch_add(1, Ordering::Relaxed);
    }

    /// Gives a hold back; the last one calls the release, and gives true.
    pub(crate) fn unhold(&self) -> bool {
        // ORDERING [hold]: AcqRel. All uses before the release. Other end: itself.
        let last = self.holds.fetch_sub(1, Ordering::AcqRel) == 1;
        if last {
            self.call_release();
            self.forget();
            crate::grace::changed();
        }
        last
    }

    /// Calls the release, unless it was called or is not to be.
    pub(crate) fn call_release(&self) {
        let release = match self.fixed().table {
            Table::Interceptor(t) => t.release,
            Table::Observer(t) => t.release,
        };
        // ORDERING [none]: Relaxed. Decides who calls; `hold` orders what comes before.
        let silent = self.silent.swap(true, Ordering::Relaxed);
        if let Some(release) = release.filter(|_| !silent) {
            let suspended = guard::record().filter(|r| r.suspend());
            // SAFETY: the program's own function, by the contract of registering it.
            unsafe { release(self.user()) };
            if let Some(record) = suspended {
                record.resume();
            }
        }
    }

    /// The hook was never in force: its release is not called.
    pub(crate) fn silence(&self) {
        // ORDERING [none]: Relaxed. Before its removal.
        self.silent.store(true, Ordering::Relaxed);
    }

    /// The hook's code is about to go while it owns blocks. A grace period must follow.
    pub(crate) fn orphan(&self) {
        // ORDERING [none]: Relaxed. The grace period that follows orders it.
        self.orphaned.store(true, Ordering::Relaxed);
    }

    #[inline(always)]
    pub(crate) fn is_orphaned(&self) -> bool {
        // ORDERING [none]: Relaxed. See `orphan`.
        self.orphaned.load(Ordering::Relaxed)
    }

    fn forget(&self) {
        // ORDERING [phase]: Release. The release callback's effects. Other end: `registry::remove`.
        self.phase.store(RELEASED, Ordering::Release);
        // ORDERING [none]: Relaxed. Used again only when it has no pins either.
        self.id.store(0, Ordering::Relaxed);
    }

    /// Decides the hook's removal; true for who decides first.
    pub(crate) fn kill(&self) -> bool {
        // ORDERING [dead]: AcqRel. Before the publication that takes it out. Other end: `is_dead`.
        !self.dead.swap(true, Ordering::AcqRel)
    }

    /// Takes [`kill`](Hook::kill) back, where no memory was left to carry it out.
    pub(crate) fn revive(&self) {
        // ORDERING [dead]: Release. Other end: `is_dead`.
        self.dead.store(false, Ordering::Release);
    }

    pub(crate) fn is_dead(&self) -> bool {
        // ORDERING [dead]: Acquire. Other end: `kill`.
        self.dead.load(Ordering::Acquire)
    }

    pub(crate) fn id(&self) -> memhook_id {
        // ORDERING [none]: Relaxed. The hook is in a chain, or pinned.
        self.id.load(Ordering::Relaxed)
    }

    /// Gives `other`, which is not in force yet, this hook's id, and this hook the other's.
    pub(crate) fn exchange_ids(&self, other: &Hook) {
        let (mine, fresh) = (self.id(), other.id());
        // ORDERING [hook]: Release. Other end: `try_pin`.
        self.id.store(fresh, Ordering::Release);
        // ORDERING [hook]: Release. Other end: `try_pin`.
        other.id.store(mine, Ordering::Release);
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.fixed().sequence
    }

    #[inline(always)]
    pub(crate) fn user(&self) -> *mut c_void {
        match self.fixed().table {
            Table::Interceptor(t) => t.user,
            Table::Observer(t) => t.user,
        }
    }

    #[inline(always)]
    pub(crate) fn interceptor(&self) -> Option<&memhook_interceptor> {
        match &self.fixed().table {
            Table::Interceptor(table) => Some(table),
            Table::Observer(_) => None,
        }
    }

    pub(crate) fn observer(&self) -> Option<&memhook_observer> {
        match &self.fixed().table {
            Table::Observer(table) => Some(table),
            Table::Interceptor(_) => None,
        }
    }

    /// The shared object that the hook is tied to.
    pub(crate) fn object(&self) -> *const c_void {
        match self.fixed().table {
            Table::Interceptor(t) => t.object,
            Table::Observer(t) => t.object,
        }
    }

    #[inline(always)]
    pub(crate) fn priority(&self) -> i32 {
        match self.fixed().table {
            Table::Interceptor(t) => t.priority,
            Table::Observer(t) => t.priority,
        }
    }

    /// Whether the hook stands nearer the program than `other`.
    #[inline(always)]
    pub(crate) fn is_before(&self, other: &Hook) -> bool {
        (self.priority(), self.sequence()) > (other.priority(), other.sequence())
    }

    /// Whether the hook sees every block's free: it never makes blocks that only it can take back.
    fn keeps_pointers(&self) -> bool {
        self.interceptor().is_some_and(|t| {
            t.flags & MEMHOOK_KEEPS_POINTERS != 0
                || (t.malloc.is_none() && t.realloc.is_none() && t.memalign.is_none())
        })
    }

    pub(crate) fn info(&self) -> memhook_hook_info {
        let (kind, flags) = match self.fixed().table {
            Table::Interceptor(t) => (MEMHOOK_KIND_INTERCEPTOR, t.flags),
            Table::Observer(t) => (MEMHOOK_KIND_OBSERVER, t.flags),
        };
        memhook_hook_info {
            id: self.id(),
            kind,
            flags,
            priority: self.priority(),
            reserved: 0,
            user: self.user(),
            name: self.fixed().name,
        }
    }
}

/// `memhook_after_alloc_fn` and `memhook_realloc_commit_fn` that are not NULL.
type AfterAlloc = unsafe extern "C" fn(*const memhook_call, *mut c_void, *mut c_void);
/// A `memhook_before_fn` that is not NULL.
type Before = unsafe extern "C" fn(*const memhook_call, *mut c_void);

/// One callback of an observer.
#[derive(Clone, Copy)]
pub(crate) struct Told<F> {
    pub(crate) function: F,
    pub(crate) user: *mut c_void,
}

/// An immutable array in a chain's own memory.
pub(crate) struct Array<T> {
    at: *const T,
    len: usize,
}

impl<T> Clone for Array<T> {
    fn clone(&self) -> Array<T> {
        *self
    }
}

impl<T> Copy for Array<T> {}

impl<T> Array<T> {
    const EMPTY: Array<T> = Array { at: core::ptr::NonNull::<T>::dangling().as_ptr().cast_const(), len: 0 };

    /// The elements, for as long as the chain may be used.
    #[inline(always)]
    pub(crate) fn get(&self) -> &[T] {
        // SAFETY: written by `build` and alive as long as the chain (invariants 2 and 3).
        unsafe { core::slice::from_raw_parts(self.at, self.len) }
    }
}

/// What one thread sees of a chain.
pub(crate) struct View {
    /// The identity of the thread, 0 for all that have no view of their own.
    thread: u64,
    pub(crate) after_alloc: Array<Told<AfterAlloc>>,
    pub(crate) before_free: Array<Told<Before>>,
    pub(crate) realloc_begin: Array<Told<Before>>,
    pub(crate) realloc_commit: Array<Told<AfterAlloc>>,
    pub(crate) realloc_abort: Array<Told<Before>>,
    /// All interceptors, outermost first.
    pub(crate) interceptors: Array<*const Hook>,
    /// Those of them that see every free.
    pub(crate) keepers: Array<*const Hook>,
    /// The owner lists of what malloc, realloc of NULL and memalign make; 0: the backend's.
    pub(crate) owners: [u8; 3],
}

impl View {
    const EMPTY: View = View {
        thread: 0,
        after_alloc: Array::EMPTY,
        before_free: Array::EMPTY,
        realloc_begin: Array::EMPTY,
        realloc_commit: Array::EMPTY,
        realloc_abort: Array::EMPTY,
        interceptors: Array::EMPTY,
        keepers: Array::EMPTY,
        owners: [0; 3],
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
    main: View::EMPTY,
    hooks: Array::EMPTY,
    views: Array::EMPTY,
};

impl Chain {
    /// The hooks, outermost first.
    pub(crate) fn hooks(&self) -> &[*const Hook] {
        self.hooks.get()
    }

    /// What the thread of `record` sees.
    #[inline(always)]
    pub(crate) fn view(&self, record: &Record) -> &View {
        if self.views.len == 0 { &self.main } else { self.own_view(record) }
    }

    #[cold]
    fn own_view(&self, record: &Record) -> &View {
        let identity = record.identity();
        self.views.get().iter().find(|view| view.thread == identity).unwrap_or(&self.main)
    }

    /// Makes a chain of these hooks, sorted outermost first. An error is `ENOMEM` or `ENOSPC`.
    pub(crate) fn build(hooks: &[*const Hook]) -> Result<*mut Chain, i32> {
        // SAFETY: the caller's hooks are in force or pinned.
        let alive = || hooks.iter().map(|&hook| unsafe { &*hook });
        // The threads that have hooks of their own; at most one for each hook.
        let views = alive().filter(|h| h.fixed().thread != 0).count();
        let each = 5 * size_of::<Told<Before>>() + 2 * size_of::<*const Hook>();
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
            let main = view(hooks, 0, &mut store)?;
            // SAFETY: room for `views` views was counted in.
            let own = Array { at: store.at.cast::<View>().cast_const(), len: 0 };
            let first = store.at.cast::<View>();
            store.at = first.wrapping_add(views).cast();
            let mut len = 0;
            for hook in alive().filter(|h| h.fixed().thread != 0) {
                // SAFETY: `len` views are written so far.
                let known = unsafe { core::slice::from_raw_parts(first, len) };
                if known.iter().any(|v| v.thread == hook.fixed().thread) {
                    continue;
                }
                let next = view(hooks, hook.fixed().thread, &mut store)?;
                // SAFETY: at most `views` views are written, for which there is room.
                unsafe { first.add(len).write(next) };
                len += 1;
            }
            Ok(Chain {
                deferred: Deferred::new(),
                head: AtomicPtr::new(core::ptr::null_mut()),
                main,
                hooks: hooks_kept,
                views: Array { at: own.at, len },
            })
        })();
        match built {
            Ok(chain) => {
                let at = memory.cast::<Chain>();
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
        let mut len = 0;
        for item in items {
            // SAFETY: within the memory that `build` has counted.
            unsafe { at.add(len).write(item) };
            len += 1;
        }
        self.at = at.wrapping_add(len).cast();
        Array { at, len }
    }
}

fn view(hooks: &[*const Hook], thread: u64, store: &mut Store) -> Result<View, i32> {
    // SAFETY: the caller's hooks are in force or pinned.
    let alive = || hooks.iter().map(|&hook| unsafe { &*hook });
    let seen = move || alive().filter(move |h| h.fixed().thread == 0 || h.fixed().thread == thread);
    macro_rules! told {
        ($callback:ident) => {
            store.array(seen().filter_map(|h| {
                let table = h.observer()?;
                Some(Told { function: table.$callback?, user: table.user })
            }))
        };
    }
    let after_alloc = told!(after_alloc);
    let before_free = told!(before_free);
    let realloc_begin = told!(realloc_begin);
    let realloc_commit = told!(realloc_commit);
    let realloc_abort = told!(realloc_abort);
    let interceptors = store.array(seen().filter(|h| h.interceptor().is_some()).map(core::ptr::from_ref));
    let keepers = store.array(seen().filter(|h| h.keeps_pointers()).map(core::ptr::from_ref));
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
        if members.len != 0 {
            *owner = ownership::find_or_create(members.get())?;
        }
    }
    Ok(View {
        thread,
        after_alloc,
        before_free,
        realloc_begin,
        realloc_commit,
        realloc_abort,
        interceptors,
        keepers,
        owners,
    })
}

/// What the entry points do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Jump to the backend.
    Idle,
    /// Tell observers.
    Observing,
    /// Walk interceptors, and look at every block's owner.
    Full,
}

/// What `CURRENT` points to.
#[repr(C, align(64))]
pub(crate) struct Head {
    /// Where the entry points jump; at offset 0 for the stubs.
    entries: Entries,
    chain: AtomicPtr<Chain>,
    mode: AtomicU32,
    in_use: AtomicBool,
    link: Link<Head>,
}

// SAFETY: the link is the head's own and is written by the roster only.
unsafe impl Linked for Head {
    fn link(&self) -> &Link<Head> {
        &self.link
    }
}

/// The tables of the modes; `entry` has the stubs and gives them at start.
pub(crate) struct Tables {
    /// Leads to `start`.
    pub(crate) first: [unsafe extern "C" fn(); 13],
    /// For [`Mode::Observing`]; `None`: the backend's.
    pub(crate) observing: [Option<unsafe extern "C" fn()>; 13],
    /// For [`Mode::Full`].
    pub(crate) full: [unsafe extern "C" fn(); 13],
}

static HEADS: Roster<Head> = Roster::new();

/// The head in force; at first, one that leads to `start`.
pub(crate) static CURRENT: AtomicPtr<Head> = AtomicPtr::new((&raw const FIRST).cast_mut());

core::arch::global_asm!(
    // The name by which archive.S knows CURRENT.
    ".globl memhook_current",
    ".hidden memhook_current",
    ".set memhook_current, {current}",
    current = sym CURRENT,
);

static FIRST: Head = Head {
    entries: {
        let mut entries = [const { AtomicPtr::new(core::ptr::null_mut()) }; 13];
        let mut i = 0;
        #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
        while i < 13 {
            entries[i] = AtomicPtr::new(crate::entry::TABLES.first[i] as *mut ());
            i += 1;
        }
        entries
    },
    chain: AtomicPtr::new((&raw const EMPTY).cast_mut()),
    mode: AtomicU32::new(0),
    in_use: AtomicBool::new(true),
    link: Link::new(),
};

/// Whether nothing was ever published: the next allocation call is the first.
pub(crate) fn is_first() -> bool {
    // ORDERING [none]: Relaxed. The pointer only.
    core::ptr::eq(CURRENT.load(Ordering::Relaxed), &raw const FIRST)
}

/// The chain in force.
#[inline(always)]
pub(crate) fn current(_section: &Section) -> &Chain {
    // ORDERING [publish]: Acquire. The hooks inside it. Other end: `publish`.
    let head = CURRENT.load(Ordering::Acquire);
    // SAFETY: never null (invariant 1), and heads are never unmapped.
    let head = unsafe { &*head };
    // ORDERING [publish]: Acquire. The chain was stored before the head was published.
    let chain = head.chain.load(Ordering::Acquire);
    // SAFETY: not reclaimed while the section lives (invariant 3; it began before the load).
    unsafe { &*chain }
}

/// The entry table in force.
pub(crate) fn entries() -> &'static Entries {
    // ORDERING [publish]: Acquire. The table. Other end: `publish`.
    let head = CURRENT.load(Ordering::Acquire);
    // SAFETY: never null (invariant 1), and heads are never unmapped.
    unsafe { &(*head).entries }
}

/// A place in time: the head that a writer starts from.
#[derive(Clone, Copy)]
pub(crate) struct Base(*mut Head);

/// The head and the chain in force, to build the next from.
pub(crate) fn base(section: &Section) -> (Base, &Chain) {
    loop {
        // ORDERING [none]: Relaxed. Only compared.
        let head = CURRENT.load(Ordering::Relaxed);
        let chain = current(section);
        // A head in force may have been another's when `current` read it.
        // ORDERING [none]: Relaxed. Only compared.
        if core::ptr::eq(CURRENT.load(Ordering::Relaxed), head) {
            return (Base(head), chain);
        }
    }
}

/// Puts `chain` in force if `base` still is; gives back the chain that was, to be reclaimed
/// after a grace period with [`reclaim`], or null where it was no chain that was built.
/// `Err(None)`: another writer was first; `Err(Some(ENOMEM))`.
pub(crate) fn publish(base: Base, chain: *mut Chain, mode: Mode) -> Result<*mut Chain, Option<i32>> {
    let head = Head::take(mode).ok_or(Some(libc::ENOMEM))?;
    // ORDERING [publish]: Release. Published again with the head.
    head.chain.store(chain, Ordering::Release);
    // SAFETY: ours until it is published.
    let own = unsafe { &(*chain).head };
    // ORDERING [none]: Relaxed. Published with the chain.
    own.store(core::ptr::from_ref(head).cast_mut(), Ordering::Relaxed);
    let next = core::ptr::from_ref(head).cast_mut();
    // ORDERING [publish]: AcqRel and Relaxed. Whoever loads the head sees the hooks in the chain.
    if CURRENT.compare_exchange(base.0, next, Ordering::AcqRel, Ordering::Relaxed).is_err() {
        // ORDERING [none]: Relaxed. The chain is the caller's again.
        own.store(core::ptr::null_mut(), Ordering::Relaxed);
        head.give_back();
        return Err(None);
    }
    // SAFETY: it was in force, and heads are never unmapped.
    let before = unsafe { &*base.0 };
    // ORDERING [none]: Relaxed. Stored by whoever published it, which our exchange comes after.
    let retired = before.chain.load(Ordering::Relaxed);
    let built = !core::ptr::eq(retired, &raw const EMPTY);
    Ok(if built { retired } else { core::ptr::null_mut() })
}

/// Gives a chain's memory and head back.
///
/// # Safety
///
/// The chain was never published, or its grace period is over.
pub(crate) unsafe fn reclaim(chain: *mut Chain) {
    // SAFETY: alive until freed below (the caller's contract).
    let head = unsafe { &(*chain).head };
    // ORDERING [none]: Relaxed. Written before publication.
    let head = head.load(Ordering::Relaxed);
    // SAFETY: null, or a head, and heads are never unmapped.
    if let Some(head) = unsafe { head.as_ref() } {
        head.give_back();
    }
    // SAFETY: the caller's contract.
    unsafe { scratch::free(chain.cast()) };
}

impl Head {
    fn take(mode: Mode) -> Option<&'static Head> {
        let free = HEADS.iter().find(|head| {
            // ORDERING [none]: Relaxed. Written once, before the head stood in the roster.
            head.mode.load(Ordering::Relaxed) == mode as u32
                // ORDERING [head]: Acquire and Relaxed. Other end: `give_back`.
                && head.in_use.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
        });
        if free.is_some() {
            return free;
        }
        let memory = scratch::permanent(size_of::<Head>(), align_of::<Head>())?.cast::<Head>();
        // SAFETY: fresh zeroed memory, which is a valid head.
        let head = unsafe { &*memory };
        for (i, slot) in head.entries.iter().enumerate() {
            let stub = match mode {
                Mode::Idle => None,
                Mode::Observing => crate::entry::TABLES.observing.get(i).copied().flatten(),
                Mode::Full => crate::entry::TABLES.full.get(i).copied(),
            };
            let target = match stub {
                Some(stub) => stub as *mut (),
                None => backend::function(i),
            };
            // ORDERING [none]: Relaxed. Published with the head.
            slot.store(target, Ordering::Relaxed);
        }
        // ORDERING [none]: Relaxed. Published with the head.
        head.mode.store(mode as u32, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. Published with the head.
        head.in_use.store(true, Ordering::Relaxed);
        HEADS.push(head);
        Some(head)
    }

    fn give_back(&self) {
        // ORDERING [head]: Release. Other end: `take`.
        self.in_use.store(false, Ordering::Release);
    }
}
