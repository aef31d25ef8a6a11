//! Sessions: from a start to its stop, and on until the last of its blocks is gone.
//!
//! A session borrows a *slot*, memory in each thread that is never given back, while it counts; it needs none
//! while its blocks are only passed on. Sessions live for ever and are used again.
//!
//! # Invariants
//!
//! 1. `setup` is written while `uses` is that of the start only.
//! 2. Whoever reads counts of a slot *holds* the session: the slot goes to another session when nobody does.
//!
//! # Edges
//!
//! | edge      | from                  | to                  | carries |
//! | --------- | --------------------- | ------------------- | ------- |
//! | `session` | `leave` AcqRel        | `take` Acquire      | the last use of a session |
//! | `hold`    | `let_go` AcqRel       | `Slot::take` Acquire | the last look at a slot |
//! | `id`      | `name` Release        | `hold` Acquire      | the setup of a session |

use super::before::Before;
use super::counts::Counts;
use super::data::Data;
use super::peak::Peak;
use super::report::Target;
use super::sums::{Boxed, Sums};
use super::{allocator, memhook_usage_limits, signal};
use crate::abi::*;
use crate::api::local::{
    Here, memhook_local_create, memhook_local_each, memhook_local_get, memhook_local_known, memhook_thread,
};
use crate::roster::{Link, Linked, Roster};
use crate::scratch;
use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// How many sessions can count at the same time.
const SLOTS: usize = 16;

/// Memory in each thread for the counts of one session at a time.
struct Slot {
    taken: AtomicBool,
    key: AtomicU32,
}

static ALL_SLOTS: [Slot; SLOTS] =
    [const { Slot { taken: AtomicBool::new(false), key: AtomicU32::new(0) } }; SLOTS];

impl Slot {
    /// A slot with all counts zero, by its number.
    fn take() -> Result<usize, c_int> {
        let free = |slot: &Slot| {
            // ORDERING [hold]: Acquire and Relaxed. The last look at its counts. Other end: `let_go`.
            slot.taken.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        let number = ALL_SLOTS.iter().position(free).ok_or(libc::ENOSPC)?;
        let Some(slot) = ALL_SLOTS.get(number) else { return Err(libc::ENOSPC) };
        // ORDERING [none]: Relaxed. Ordered by `taken`.
        let key = slot.key.load(Ordering::Relaxed);
        if key != 0 {
            // SAFETY: `clear` takes no argument.
            let _ = unsafe { memhook_local_each(key, Some(clear), core::ptr::null_mut()) };
            return Ok(number);
        }
        let mut key = 0;
        // SAFETY: a place for the key.
        let error = unsafe { memhook_local_create(size_of::<Counts>(), &raw mut key) };
        if error != 0 {
            Slot::give(number);
            return Err(error);
        }
        // ORDERING [none]: Relaxed. Ordered by `taken`.
        slot.key.store(key, Ordering::Relaxed);
        Ok(number)
    }

    fn give(number: usize) {
        if let Some(slot) = ALL_SLOTS.get(number) {
            // ORDERING [hold]: Release. Our last look at its counts. Other end: `take`.
            slot.taken.store(false, Ordering::Release);
        }
    }
}

unsafe extern "C" fn clear(memory: *mut c_void, _thread: u64, _argument: *mut c_void) -> c_int {
    // SAFETY: counts of a slot that nobody uses.
    unsafe { memory.cast::<Counts>().write_bytes(0, 1) };
    0
}

/// One session.
#[repr(C)]
pub(super) struct Session {
    /// Where threads find their counts; 0: nothing is counted any more.
    key: AtomicU32,
    /// The hook, and the name of the session; 0: none.
    id: AtomicU64,
    /// 0: nobody's. Else 1 for the hook, until its release, 1 for the name, and 1 for whoever looks.
    uses: AtomicU32,
    /// 1 until the session has stopped, and 1 for whoever looks at the counts.
    holds: AtomicU32,
    /// Whether the session itself has its hold yet.
    running: AtomicBool,
    pub(super) peak: Peak,
    before: Before,
    setup: UnsafeCell<Setup>,
    link: Link<Session>,
}

/// What a session was started with.
pub(super) struct Setup {
    slot: usize,
    pub(super) flags: u32,
    /// The only thread that is counted; 0: all.
    pub(super) thread: u64,
    pub(super) exit_status: c_int,
    pub(super) limits: memhook_usage_limits,
    pub(super) target: Target,
    pub(super) data: Option<Data>,
    /// The allocator's mallinfo2; 0: it has none.
    pub(super) allocator: usize,
    /// Which signal asks for a report; 0: none.
    pub(super) signal: c_int,
}

impl Setup {
    /// Without a slot and without files yet.
    pub(super) fn new(flags: u32, exit_status: c_int, limits: memhook_usage_limits, signal: c_int) -> Setup {
        let thread = if flags & MEMHOOK_THIS_THREAD != 0 { memhook_thread() } else { 0 };
        Setup {
            slot: 0,
            flags,
            thread,
            exit_status,
            limits,
            target: Target::none(),
            data: None,
            allocator: allocator::find(),
            signal,
        }
    }
}

// SAFETY: `setup` is written by who has taken the session, before its id is known; the rest is atomic.
unsafe impl Sync for Session {}

// SAFETY: the link is the session's own and is written by the roster only.
unsafe impl Linked for Session {
    fn link(&self) -> &Link<Session> {
        &self.link
    }
}

static SESSIONS: Roster<Session> = Roster::new();

/// The right to look at a session's counts.
pub(super) struct Hold(&'static Session);

impl core::ops::Deref for Hold {
    type Target = Session;

    fn deref(&self) -> &Session {
        self.0
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.let_go();
        self.0.leave(1);
    }
}

/// All sessions that were ever started.
pub(super) fn all() -> impl Iterator<Item = &'static Session> {
    SESSIONS.iter()
}

/// The session with this name that counts.
pub(super) fn named(id: memhook_id) -> Option<Hold> {
    all().find_map(|session| session.hold(id))
}

impl Session {
    /// A session that is nobody's, with counts that are zero. It has one use and one hold.
    pub(super) fn take(setup: Setup) -> Result<&'static Session, c_int> {
        let number = Slot::take()?;
        let setup = Setup { slot: number, ..setup };
        let take = |session: &Session| {
            // ORDERING [session]: Acquire and Relaxed. The end of its last use. Other end: `leave`.
            session.uses.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok()
        };
        let session = match SESSIONS.iter().find(|session| take(session)) {
            Some(session) => session,
            None => {
                let Some(memory) = scratch::permanent(size_of::<Session>(), align_of::<Session>()) else {
                    Slot::give(number);
                    return Err(libc::ENOMEM);
                };
                // SAFETY: fresh zeroed memory. The setup is written before it is looked at (below).
                let session: &'static Session = unsafe { &*memory.cast::<Session>() };
                // ORDERING [none]: Relaxed. Published by the roster.
                session.uses.store(1, Ordering::Relaxed);
                SESSIONS.push(session);
                session
            }
        };
        // SAFETY: taken by us alone (invariant 1); what is overwritten is given up.
        unsafe { session.setup.get().write(setup) };
        // ORDERING [none]: Relaxed. The session is in nobody's hands yet.
        session.key.store(session.slot_key(), Ordering::Relaxed);
        // ORDERING [none]: Relaxed. As above.
        session.holds.store(1, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. As above.
        session.running.store(true, Ordering::Relaxed);
        Ok(session)
    }

    /// Gives a session that was taken and is not in force the files that it writes.
    pub(super) fn equip(&self, target: Target, data: Option<Data>) {
        // SAFETY: the caller has the only use (invariant 1).
        let setup = unsafe { &mut *self.setup.get() };
        (setup.target, setup.data) = (target, data);
    }

    /// Whether the session is somebody's.
    pub(super) fn is_taken(&self) -> bool {
        // ORDERING [none]: Relaxed. Who goes by it decides by an exchange.
        self.uses.load(Ordering::Relaxed) != 0
    }

    /// Gives the session the name by which it is found, which is a use.
    pub(super) fn name(&self, id: memhook_id) {
        // ORDERING [none]: Relaxed. There is the hook's use already.
        self.uses.fetch_add(1, Ordering::Relaxed);
        self.rename(id);
    }

    /// Gives it back a name that was taken away.
    pub(super) fn rename(&self, id: memhook_id) {
        // ORDERING [id]: Release. The setup. Other end: `hold`.
        self.id.store(id, Ordering::Release);
    }

    /// The session's name.
    pub(super) fn id(&self) -> memhook_id {
        // ORDERING [none]: Relaxed. Who holds the session has seen it.
        self.id.load(Ordering::Relaxed)
    }

    /// Takes the name away. Only one who tries succeeds.
    pub(super) fn unname(&self, id: memhook_id) -> bool {
        // ORDERING [none]: Relaxed and Relaxed. Decides who stops it.
        self.id.compare_exchange(id, 0, Ordering::Relaxed, Ordering::Relaxed).is_ok()
    }

    /// The right to look, if the session has this name and counts; 0: whatever its name.
    pub(super) fn hold(&'static self, id: memhook_id) -> Option<Hold> {
        let more = |n: u32| (n != 0).then_some(n + 1);
        // ORDERING [session]: Acquire and Relaxed. What is there was written before. Other end: `leave`.
        self.uses.fetch_update(Ordering::Acquire, Ordering::Relaxed, more).ok()?;
        // ORDERING [id]: Acquire. The setup. Other end: `name`.
        let name = self.id.load(Ordering::Acquire);
        // ORDERING [hold]: Acquire and Relaxed. Other end: `let_go`.
        let holds = || self.holds.fetch_update(Ordering::Acquire, Ordering::Relaxed, more).is_ok();
        if name != 0 && (id == 0 || id == name) && holds() {
            return Some(Hold(self));
        }
        self.leave(1);
        None
    }

    /// Ends the session's own hold, once: no thread counts any more.
    pub(super) fn end_running(&self) {
        // ORDERING [none]: Relaxed. Decides who does it.
        if self.running.swap(false, Ordering::Relaxed) {
            self.let_go();
        }
    }

    /// The hook is gone. It takes the name with it, unless that was taken away before.
    pub(super) fn released(&self) {
        self.end_counting();
        // Unregistered as a hook of the program's own, it has its signals still.
        signal::end(self, libc::SIG_IGN);
        self.end_running();
        // ORDERING [none]: Relaxed. Decides whose the name's use is.
        let unnamed = self.id.swap(0, Ordering::Relaxed) == 0;
        self.leave(if unnamed { 1 } else { 2 });
    }

    /// Ends a hold.
    fn let_go(&self) {
        // ORDERING [hold]: AcqRel. Our last look, and those of others. Other end: `Slot::take`.
        if self.holds.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.end();
        }
    }

    /// Nobody looks any more, and no thread counts.
    fn end(&self) {
        // SAFETY: the last hold has ended; the uses of a session that ends keep it from being taken.
        let setup = unsafe { &mut *self.setup.get() };
        setup.data = None;
        setup.target = Target::none();
        self.before.forget();
        Slot::give(setup.slot);
    }

    /// Nothing is counted from now on.
    pub(super) fn end_counting(&self) {
        // ORDERING [none]: Relaxed. Who stops waits for the callbacks that are running.
        self.key.store(0, Ordering::Relaxed);
    }

    /// Ends some uses.
    pub(super) fn leave(&self, uses: u32) {
        // ORDERING [session]: AcqRel. Our last use. Other end: `take`.
        self.uses.fetch_sub(uses, Ordering::AcqRel);
    }

    /// What the session was started with.
    #[inline(always)]
    pub(super) fn setup(&self) -> &Setup {
        // SAFETY: not written as long as anybody can look (invariant 1).
        unsafe { &*self.setup.get() }
    }

    /// The calling thread's counts. `None` where nothing is counted any more, or where there is no memory.
    #[inline(always)]
    pub(super) fn counts(&self) -> Option<&'static Counts> {
        // ORDERING [none]: Relaxed. Set before the session is in force.
        let memory = memhook_local_get(self.key.load(Ordering::Relaxed));
        // SAFETY: null, or this thread's counts, never unmapped.
        unsafe { memory.cast::<Counts>().as_ref() }
    }

    /// The calling thread's counts, if it has any yet.
    #[inline(always)]
    pub(super) fn known_counts(&self) -> Option<&'static Counts> {
        // ORDERING [none]: Relaxed. As in `counts`.
        let memory = memhook_local_known(self.key.load(Ordering::Relaxed));
        // SAFETY: null, or this thread's counts, never unmapped.
        unsafe { memory.cast::<Counts>().as_ref() }
    }

    /// The same in a callback, where less is to be looked at.
    #[inline(always)]
    pub(super) fn counts_of(&self, here: Here) -> Option<&'static Counts> {
        // ORDERING [none]: Relaxed. As in `counts`.
        let key = self.key.load(Ordering::Relaxed);
        // SAFETY: the key was given out to the session, or is 0.
        let memory = unsafe { here.known(key) };
        // SAFETY: null, or this thread's counts, never unmapped.
        unsafe { memory.cast::<Counts>().as_ref() }
    }

    /// The depth of the calling thread's stack is measured from `at`, or from above.
    pub(super) fn begin_stack(&self, at: usize) {
        if let Some(counts) = self.counts() {
            counts.begin_stack(at);
        }
    }

    /// Where all threads' counts are, also when counting has ended.
    pub(super) fn slot_key(&self) -> memhook_local {
        // ORDERING [none]: Relaxed. Ordered by `Slot::taken`.
        ALL_SLOTS.get(self.setup().slot).map_or(0, |slot| slot.key.load(Ordering::Relaxed))
    }

    /// Counts nothing of what was counted up to now.
    pub(super) fn reset(&self) -> Result<(), c_int> {
        let sums = Boxed::of(self).ok_or(libc::ENOMEM)?;
        // ORDERING [none]: Relaxed. As in `counts`.
        let mine = memhook_local_get(self.slot_key()).cast();
        // SAFETY: `forget` takes no argument.
        let _ = unsafe { memhook_local_each(self.slot_key(), Some(forget), core::ptr::null_mut()) };
        self.peak.restart(mine);
        // ORDERING [hold]: AcqRel. Who holds the session after this finds the new sums. Other end: `hold`.
        self.before.replace(sums, || self.holds.fetch_add(0, Ordering::AcqRel) == 2);
        Ok(())
    }

    /// What had been counted when the session was reset. The caller has a hold.
    pub(super) fn before(&self) -> Option<&Sums> {
        self.before.sums()
    }
}

unsafe extern "C" fn forget(memory: *mut c_void, _thread: u64, _argument: *mut c_void) -> c_int {
    // SAFETY: a thread's counts, never unmapped.
    unsafe { &*memory.cast::<Counts>() }.forget_stack();
    0
}
