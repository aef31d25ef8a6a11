//! One registered hook: its table, its names, and its life.
//!
//! Never: is unmapped. A hook that is gone is used again for the next one.

use crate::abi::*;
use crate::grace::{self, Deferred, Scope, Ticket};
use crate::guard;
use crate::ownership;
use crate::roster::{Link, Linked, Roster};
use crate::scratch;
use core::cell::UnsafeCell;
use core::cmp::Ordering::{Equal, Greater, Less};
use core::ffi::{CStr, c_char, c_void};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// What a hook calls.
#[derive(Clone, Copy)]
pub(crate) enum Table {
    Interceptor(memhook_interceptor),
    Observer(memhook_observer),
}

/// What every hook has, whatever it calls.
struct Common {
    name: *const c_char,
    priority: i32,
    kind: u32,
    flags: u32,
    object: *const c_void,
    user: *mut c_void,
    release: memhook_release_fn,
}

impl Table {
    #[inline(always)]
    fn common(&self) -> Common {
        macro_rules! of {
            ($table:ident, $kind:ident) => {
                Common {
                    name: $table.name,
                    priority: $table.priority,
                    kind: $kind,
                    flags: $table.flags,
                    object: $table.object,
                    user: $table.user,
                    release: $table.release,
                }
            };
        }
        match self {
            Table::Interceptor(table) => of!(table, MEMHOOK_KIND_INTERCEPTOR),
            Table::Observer(table) => of!(table, MEMHOOK_KIND_OBSERVER),
        }
    }
}

/// A hook is in force, or in a chain object.
pub(crate) const LINKED: u32 = 0;
/// It was taken out; a thread may still be in its callbacks.
pub(crate) const LEAVING: u32 = 1;
/// No thread will enter it for new blocks; some of its blocks live on.
pub(crate) const OWNING: u32 = 2;
/// Its release has been called.
pub(crate) const RELEASED: u32 = 3;

/// In `holds`: the removal is not complete. Apart from the count, so that a fork child can tell whether a
/// thread that is gone has given it back.
const SERVICE: usize = 1 << 32;

/// In [`Hook::fate`]: nobody has decided anything.
pub(crate) const ALIVE: u32 = 0;
/// In [`Hook::fate`]: a thread is just replacing it, which may fail.
pub(crate) const REPLACING: u32 = 1;
/// In [`Hook::fate`]: the thread that made it is just putting it in force, which may fail.
pub(crate) const NEW: u32 = 2;
const DEAD: u32 = 3;

/// One registered hook.
#[repr(C)]
pub(crate) struct Hook {
    /// For its removal. First, so that a pointer to it is one to the hook.
    pub(crate) deferred: Deferred,
    /// For its being used again, when the last section that can still find it has ended.
    reuse: Deferred,
    id: AtomicU64,
    /// Who looks at the hook just now. It is used again when it has no id and no pins.
    pins: AtomicU32,
    /// How far its removal is.
    pub(crate) phase: AtomicU32,
    /// What was decided about it. Nobody takes a dead one into a chain.
    fate: AtomicU32,
    /// The thread that is calling its release, as a record's identity.
    releasing: AtomicU64,
    /// Whether calls under way pass it by: it is being unregistered.
    passed_by: AtomicBool,
    /// Its bit among the interceptors that a thread has entered; others have the same.
    bit: AtomicU64,
    /// How many chains name it: the one in force, and chain objects.
    pub(crate) links: AtomicU32,
    /// Owner lists it is a member of, and `SERVICE` until its removal is complete.
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
/// How many hooks were replaced.
static EXCHANGES: AtomicU64 = AtomicU64::new(0);
static LAST_ID: AtomicU64 = AtomicU64::new(0);

impl Hook {
    /// Makes a hook that is in no chain yet, with one pin. An error is `ENOMEM`.
    ///
    /// With `replaces`, it takes that hook's place in every order.
    pub(crate) fn create(table: Table, thread: u64, replaces: Option<&Hook>) -> Result<&'static Hook, i32> {
        let hook = Hook::create_new(table, thread, replaces)?;
        hook.end_beginning(true);
        Ok(hook)
    }

    /// As [`create`](Hook::create), for one that is to be put in force. Nobody decides anything about it before
    /// [`end_beginning`](Hook::end_beginning): whoever finds it by its id would come before its chain.
    pub(crate) fn create_new(
        table: Table,
        thread: u64,
        replaces: Option<&Hook>,
    ) -> Result<&'static Hook, i32> {
        let reused = HOOKS.iter().find(|hook| {
            // ORDERING [none]: Relaxed. Looked at again with the pin.
            if hook.id.load(Ordering::Relaxed) != 0 {
                return false;
            }
            // ORDERING [unpin]: AcqRel and Relaxed. The last looks at its former life; and whoever pins it behind us
            // finds, as we did, that its former id is gone. Other ends: `unpin`, `try_pin`.
            if hook.pins.compare_exchange(0, 1, Ordering::AcqRel, Ordering::Relaxed).is_err() {
                return false;
            }
            // ORDERING [hook]: Acquire and Relaxed. The end of its last life. Other end: `forget`.
            let free = hook.id.load(Ordering::Acquire) == 0 && hook.holds.load(Ordering::Relaxed) == 0;
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
                // ORDERING [none]: Relaxed. As above.
                fresh.bit.store(1 << (HOOKS.len() % 64), Ordering::Relaxed);
                HOOKS.push(fresh);
                fresh
            }
        };
        let name = table.common().name;
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
        hook.fate.store(NEW, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. All published by the id.
        hook.releasing.store(0, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. All published by the id.
        hook.passed_by.store(false, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. All published by the id.
        hook.links.store(1, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. All published by the id.
        hook.holds.store(SERVICE, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. All published by the id.
        hook.orphaned.store(false, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. All published by the id.
        hook.silent.store(false, Ordering::Relaxed);
        if hook.may_own() {
            ownership::expect();
        }
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
        loop {
            // ORDERING [hook]: Acquire. Other end: `exchange_ids`.
            let before = EXCHANGES.load(Ordering::Acquire);
            // While a hook is being replaced, its id may name both: the living one is meant.
            let living = HOOKS.iter().find(|hook| matches!(hook.fate(), ALIVE | NEW) && hook.try_pin(id));
            let found = living.or_else(|| HOOKS.iter().find(|hook| hook.try_pin(id)));
            // ORDERING [none]: Relaxed. `try_pin` has read an id that was stored after the change.
            if found.is_some() || EXCHANGES.load(Ordering::Relaxed) == before {
                return found;
            }
            // The id went over to a hook that we had passed already.
        }
    }

    fn try_pin(&self, id: memhook_id) -> bool {
        // ORDERING [hook]: Acquire. Where the id has gone. Other end: `exchange_ids`.
        if id == 0 || self.id.load(Ordering::Acquire) != id {
            return false;
        }
        // ORDERING [unpin]: Acquire. Behind who is about to use the hook again: the end of its id. Other end: `create`.
        self.pins.fetch_add(1, Ordering::Acquire);
        // ORDERING [hook]: Acquire. The id may have come back meanwhile, with other contents. Other ends: `create`,
        // `exchange_ids`; and `forget`: who finds it gone knows that its release is over.
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
            loop {
                // ORDERING [hook]: Acquire. Where it is gone: the end of its release. Other end: `forget`.
                let id = hook.id.load(Ordering::Acquire);
                if hook.try_pin(id) {
                    visit(hook);
                    hook.unpin();
                } else if id != 0 {
                    // It has another id by now: see `exchange_ids`.
                    continue;
                }
                break;
            }
        }
    }

    /// Whether its removal is not complete. For fork children.
    pub(crate) fn is_in_service(&self) -> bool {
        // ORDERING [none]: Relaxed. There is one thread.
        self.holds.load(Ordering::Relaxed) & SERVICE != 0
    }

    /// In a fork child: so many owner lists hold the hook. A thread that is gone may have been taking or
    /// giving back a hold.
    pub(crate) fn recount(&self, lists: usize) {
        let service = if self.is_in_service() { SERVICE } else { 0 };
        // ORDERING [none]: Relaxed. There is one thread.
        self.holds.store(service + lists, Ordering::Relaxed);
    }

    /// For fork children: whether the removal has gone so far that nothing holds the hook, and the
    /// thread that was to end it is gone. Ends it.
    pub(crate) fn end_lost_release(&self) -> bool {
        // ORDERING [none]: Relaxed. There is one thread.
        let lost = self.holds.load(Ordering::Relaxed) == 0;
        if lost {
            self.forget();
        }
        lost
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

    /// Gives an owner list's hold back; the last hold calls the release.
    pub(crate) fn unhold(&self) {
        self.give_back(1);
    }

    /// The removal is complete, but for owner lists. Gives true where it called the release.
    pub(crate) fn end_service(&self) -> bool {
        self.give_back(SERVICE)
    }

    fn give_back(&self, hold: usize) -> bool {
        // ORDERING [hold]: AcqRel. All uses before the release. Other end: itself.
        let last = self.holds.fetch_sub(hold, Ordering::AcqRel) == hold;
        if last {
            self.call_release();
            self.forget();
            grace::changed();
        }
        last
    }

    /// Calls the release, unless it was called or is not to be.
    pub(crate) fn call_release(&self) {
        let release = self.fixed().table.common().release;
        // ORDERING [none]: Relaxed. Decides who calls; `hold` orders what comes before.
        let silent = self.silent.swap(true, Ordering::Relaxed);
        if let Some(release) = release.filter(|_| !silent) {
            let record = guard::record();
            if let Some(record) = record {
                // ORDERING [none]: Relaxed. For this thread to know it by.
                self.releasing.store(record.identity(), Ordering::Relaxed);
                // What it calls may have to wait for other deferred work.
                // ORDERING [none]: Relaxed. Written by this thread.
                let polling = record.polling.swap(false, Ordering::Relaxed);
                let suspended = record.suspend();
                // SAFETY: the program's own function, by the contract of registering it.
                unsafe { release(self.user()) };
                if suspended {
                    record.resume();
                }
                // ORDERING [none]: Relaxed. Written by this thread.
                record.polling.store(polling, Ordering::Relaxed);
            } else {
                // SAFETY: as above.
                unsafe { release(self.user()) };
            }
        }
    }

    /// Whether this thread is inside the hook's release.
    pub(crate) fn is_releasing_here(&self) -> bool {
        // ORDERING [none]: Relaxed. Equal only where this thread has stored it.
        guard::record().is_some_and(|record| self.releasing.load(Ordering::Relaxed) == record.identity())
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
        // ORDERING [phase]: Release. The release callback's effects. Whoever says OWNING meanwhile has given its
        // hold back before, which `hold` carries. Other end: `registry::settled`.
        self.phase.swap(RELEASED, Ordering::Release);
        // ORDERING [hook]: Release. All looks at the hook before its next life. Other end: `create`.
        self.id.store(0, Ordering::Release);
    }

    /// Decides the hook's removal; true for who decides first.
    pub(crate) fn kill(&self) -> bool {
        self.decide(ALIVE, DEAD)
    }

    /// Decides that another hook is to take this one's place, which ends in [`end_replacing`].
    /// Meanwhile nobody else decides anything.
    ///
    /// [`end_replacing`]: Hook::end_replacing
    pub(crate) fn begin_replacing(&self) -> bool {
        self.decide(ALIVE, REPLACING)
    }

    /// The other hook is in force and this one is not, or nothing has changed.
    pub(crate) fn end_replacing(&self, done: bool) {
        self.decide(REPLACING, if done { DEAD } else { ALIVE });
    }

    /// The hook is in force, or cannot be put there.
    pub(crate) fn end_beginning(&self, done: bool) {
        self.decide(NEW, if done { ALIVE } else { DEAD });
    }

    /// Takes [`kill`](Hook::kill) back, where no memory was left to carry it out.
    pub(crate) fn revive(&self) {
        self.decide(DEAD, ALIVE);
    }

    fn decide(&self, from: u32, to: u32) -> bool {
        // ORDERING [dead]: Release and Relaxed. What was done about a decision that is taken back. Whoever decides next
        // looks at that behind the barrier in `grace::advance`. Who fails only says so. Other ends: `scope`, `is_dead`.
        self.fate.compare_exchange(from, to, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// What was decided about the hook: [`ALIVE`], [`REPLACING`], [`NEW`], or else its end.
    pub(crate) fn fate(&self) -> u32 {
        // ORDERING [dead]: Relaxed. Every decision is published afterwards, or the hook has no chain left: whoever
        // builds on a stale answer loses its exchange, and `chain::base` acquires the publication that was first. Who
        // only says so, or waits until it is over, builds on nothing.
        self.fate.load(Ordering::Relaxed)
    }

    /// Whether another thread is just replacing the hook, or putting it in force: it decides next.
    pub(crate) fn is_undecided(&self) -> bool {
        matches!(self.fate(), REPLACING | NEW)
    }

    /// Whether its end was decided.
    pub(crate) fn is_dead(&self) -> bool {
        self.fate() == DEAD
    }

    /// From the next heavy barrier on, calls under way pass the hook by.
    pub(crate) fn pass_by(&self, whether: bool) {
        // ORDERING [use]: Relaxed. `grace::advance` puts it before the look at who is in the hook.
        self.passed_by.store(whether, Ordering::Relaxed);
    }

    /// Whether calls under way pass the hook by. Asked after announcing it.
    #[inline(always)]
    pub(crate) fn is_passed_by(&self) -> bool {
        // ORDERING [use]: Relaxed. `barrier::light` put it after the announcement.
        self.passed_by.load(Ordering::Relaxed)
    }

    /// The interceptor's bit in `Record::entered`.
    #[inline(always)]
    pub(crate) fn bit(&self) -> u64 {
        // ORDERING [none]: Relaxed. Never changes.
        self.bit.load(Ordering::Relaxed)
    }

    /// Which older sections its removal waits for. Asked behind the barrier that its decision entails: should another
    /// thread have taken a former one back, and have undone `pass_by` behind ours, that is seen here, and it waits for
    /// all.
    pub(crate) fn scope(&self) -> Scope {
        match self.interceptor() {
            _ if !self.is_passed_by() => Scope::All,
            Some(_) if super::some_are_long() => Scope::All,
            Some(_) => Scope::Interceptor(self.address(), self.bit()),
            None => Scope::Observer(self.address()),
        }
    }

    /// What `Record::inside` says of a thread that is in it.
    #[inline(always)]
    pub(crate) fn address(&self) -> usize {
        core::ptr::from_ref(self) as usize
    }

    /// Keeps a retired hook from being used again while a section may still find it.
    pub(crate) fn keep_until_over(&'static self, ticket: Ticket) {
        unsafe fn over(item: *mut Deferred) {
            let hook = item.cast::<u8>().wrapping_sub(core::mem::offset_of!(Hook, reuse)).cast::<Hook>();
            // SAFETY: `reuse` is a field of a hook, and hooks live for ever.
            unsafe { &*hook }.unpin();
        }
        self.pin_again();
        // Made of the whole hook's address, since `over` finds the hook by it.
        let at = core::ptr::from_ref(self).cast_mut().cast::<u8>();
        let item = at.wrapping_add(core::mem::offset_of!(Hook, reuse)).cast::<Deferred>();
        // SAFETY: a hook is retired once, and hooks live for ever.
        unsafe { grace::defer_memory(item, ticket, over) };
    }

    pub(crate) fn id(&self) -> memhook_id {
        // ORDERING [none]: Relaxed. The hook is in a chain, or pinned.
        self.id.load(Ordering::Relaxed)
    }

    /// How many hooks were replaced. What is asked again behind a look at all hooks, among them one that was just
    /// replaced or its place, says whether the look may have missed what took its place.
    pub(crate) fn exchanges() -> u64 {
        // ORDERING [none]: Relaxed. Who has seen a hook replaced, or gone, has that by `phase` or `hook`.
        EXCHANGES.load(Ordering::Relaxed)
    }

    /// Gives `other`, which takes this hook's place, this hook's id, and this hook the other's.
    pub(crate) fn exchange_ids(&self, other: &Hook) {
        let (mine, fresh) = (self.id(), other.id());
        // ORDERING [hook]: Release. Other end: `try_pin`. First, so that the id names a hook always.
        other.id.store(mine, Ordering::Release);
        // ORDERING [hook]: Release. After the new name, before the end of the old. Other end: `pin`.
        EXCHANGES.fetch_add(1, Ordering::Release);
        // ORDERING [hook]: Release. Other end: `try_pin`.
        self.id.store(fresh, Ordering::Release);
    }

    /// In a fork child: [`exchange_ids`](Hook::exchange_ids), as far as a thread that is gone has not come
    /// with it. The other's own id is the later one.
    pub(crate) fn complete_exchange(&self, other: &Hook) {
        match other.id().cmp(&self.id()) {
            Greater => self.exchange_ids(other),
            // ORDERING [none]: Relaxed and Relaxed. There is one thread.
            Equal => self.id.store(LAST_ID.fetch_add(1, Ordering::Relaxed) + 1, Ordering::Relaxed),
            Less => {}
        }
    }

    /// The only thread it is called in, as a record's identity; 0: all.
    pub(crate) fn thread(&self) -> u64 {
        self.fixed().thread
    }

    pub(crate) fn sequence(&self) -> u64 {
        self.fixed().sequence
    }

    #[inline(always)]
    pub(crate) fn user(&self) -> *mut c_void {
        self.fixed().table.common().user
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
        self.fixed().table.common().object
    }

    #[inline(always)]
    pub(crate) fn priority(&self) -> i32 {
        self.fixed().table.common().priority
    }

    /// Whether the hook stands nearer the program than `other`.
    #[inline(always)]
    pub(crate) fn is_before(&self, other: &Hook) -> bool {
        // At the lowest priority: the sets that own blocks stand below the callbacks in glibc's variables, which see
        // every free.
        let place = |hook: &Hook| {
            let owns = hook.priority() == i32::MIN && !hook.keeps_pointers();
            (hook.priority(), !owns, hook.sequence())
        };
        place(self) > place(other)
    }

    /// Whether blocks that it makes must go back through it.
    pub(crate) fn may_own(&self) -> bool {
        self.interceptor().is_some() && !self.keeps_pointers()
    }

    /// Whether the hook sees every block's free: it never makes blocks that only it can take back.
    pub(crate) fn keeps_pointers(&self) -> bool {
        self.interceptor().is_some_and(|t| {
            t.flags & (MEMHOOK_KEEPS_POINTERS | MEMHOOK_OF_NOBODY) != 0
                || (t.malloc.is_none() && t.realloc.is_none() && t.memalign.is_none())
        })
    }

    /// Whether the hook is called for blocks that nobody owns, and for no others.
    pub(crate) fn is_for_strays(&self) -> bool {
        self.interceptor().is_some_and(|table| table.flags & MEMHOOK_OF_NOBODY != 0)
    }

    /// Whether its callbacks ask for the callers of callers.
    pub(crate) fn wants_frames(&self) -> bool {
        self.fixed().table.common().flags & MEMHOOK_WANTS_FRAMES != 0
    }

    /// Whether it is the interceptor of glibc's variables: no program can give its hooks this priority.
    pub(crate) fn is_lowest(&self) -> bool {
        self.interceptor().is_some_and(|table| table.priority == i32::MIN)
    }

    /// Whether errno need not be kept for its callbacks.
    pub(crate) fn keeps_errno(&self) -> bool {
        self.fixed().table.common().flags & MEMHOOK_KEEPS_ERRNO != 0
    }

    pub(crate) fn info(&self) -> memhook_hook_info {
        let Common { kind, flags, .. } = self.fixed().table.common();
        memhook_hook_info {
            // Also while it is being replaced, or is what it was replaced by.
            id: self.sequence(),
            kind,
            flags,
            priority: self.priority(),
            reserved: 0,
            user: self.user(),
            name: self.fixed().name,
        }
    }
}
