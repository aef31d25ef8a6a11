//! Changes of the hooks in force: building the next chain, publishing it, and seeing the former
//! one and the hooks that left to their end.
//!
//! Never: takes a lock; runs on an allocation call.
//!
//! Writers do not exclude each other. Each builds the next chain from the one in force, inside
//! a read section, and publishes it by compare-and-swap; who loses builds again. A removal is
//! decided first (`Hook::kill`) and then always published, so that a writer who has just built a
//! chain with that hook loses and, building again, sees the decision.
//!
//! # A removal
//!
//! ```text
//!  kill ─► publish ─► grace period ─► no owner lists: release
//!                                 └─► drain lists ─► grace period ─► sum ─► all empty: release
//!                                                                      └──► OWNING; the last
//!                                                                           free releases
//! ```

use crate::abi::*;
use crate::chain::{self, Chain, Hook, LEAVING, LINKED, Mode, OWNING, RELEASED, Table};
use crate::grace::{self, Deferred, Scope, Section, Ticket};
use crate::guard::{self, Record};
use crate::ownership;
use crate::roster::{Link, Linked, Roster};
use crate::scratch;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};

/// A growing array of hooks in scratch memory.
struct Hooks {
    at: *mut *const Hook,
    len: usize,
    room: usize,
}

impl Hooks {
    const fn new() -> Hooks {
        Hooks { at: core::ptr::null_mut(), len: 0, room: 0 }
    }

    fn get(&self) -> &[*const Hook] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: `len` elements were written by `insert`.
        unsafe { core::slice::from_raw_parts(self.at, self.len) }
    }

    fn iter(&self) -> impl Iterator<Item = &'static Hook> {
        // SAFETY: hooks live for ever, and whoever filled the array has pinned them or is in a
        // section in which they are in force.
        self.get().iter().map(|&hook| unsafe { &*hook })
    }

    fn contains(&self, hook: &Hook) -> bool {
        self.get().contains(&core::ptr::from_ref(hook))
    }

    /// Puts the hook at its place in the order. An error is `ENOMEM`.
    fn insert(&mut self, hook: &Hook) -> Result<(), i32> {
        if self.len == self.room {
            let room = (self.room * 2).max(14);
            let larger = scratch::malloc(room * size_of::<*const Hook>()).cast::<*const Hook>();
            if larger.is_null() {
                return Err(libc::ENOMEM);
            }
            if self.len != 0 {
                // SAFETY: `len` elements fit into the larger array, which is another block.
                unsafe { larger.copy_from_nonoverlapping(self.at, self.len) };
            }
            // SAFETY: null or a block of ours that is not used any more.
            unsafe { scratch::free(self.at.cast()) };
            self.at = larger;
            self.room = room;
        }
        // What is copied comes in order.
        let last = self.get().last();
        // SAFETY: as for `iter`.
        let at_end = last.is_none_or(|&last| !hook.is_before(unsafe { &*last }));
        let found = if at_end { None } else { self.iter().position(|other| hook.is_before(other)) };
        let place = found.unwrap_or(self.len);
        let at = self.at.wrapping_add(place);
        // SAFETY: there is room for one more element behind the last.
        unsafe { at.wrapping_add(1).copy_from(at, self.len - place) };
        // SAFETY: `place` is at most `len`, which is below `room`.
        unsafe { at.write(hook) };
        self.len += 1;
        Ok(())
    }

    fn remove(&mut self, hook: &Hook) -> bool {
        let Some(place) = self.get().iter().position(|&h| core::ptr::eq(h, hook)) else { return false };
        let at = self.at.wrapping_add(place);
        // SAFETY: the elements behind `place` move down by one.
        unsafe { at.copy_from(at.wrapping_add(1), self.len - place - 1) };
        self.len -= 1;
        true
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        // SAFETY: null or a block of ours that is not used any more.
        unsafe { scratch::free(self.at.cast()) };
    }
}

/// How many self-tests want to see every call.
static PROBES: AtomicU32 = AtomicU32::new(0);

fn is_probing() -> bool {
    // ORDERING [none]: Relaxed. A test's own thread is the one that it is about.
    PROBES.load(Ordering::Relaxed) != 0
}

/// What the entry points must do with these hooks in force. `idle`: whether no section can be open
/// that a thread has left without ending it; only a call that comes here can notice that.
fn mode_for(hooks: &[*const Hook], idle: bool, probing: bool) -> Mode {
    // SAFETY: in force or pinned, and the caller is in a section.
    let mut alive = hooks.iter().map(|&hook| unsafe { &*hook });
    if probing || ownership::any() || alive.any(|h| h.interceptor().is_some() || h.thread() != 0) {
        Mode::Full
    } else if !hooks.is_empty() || !idle {
        Mode::Observing
    } else {
        Mode::Idle
    }
}

type Plan<'a> = &'a mut dyn FnMut(&[*const Hook], &mut Hooks) -> Result<(), i32>;

/// Publishes what `plan` makes of the hooks in force. `plan` may be called several times, each
/// time in a section. On an error nothing was published.
fn edit(idle: bool, plan: Plan) -> Result<Ticket, i32> {
    let record = guard::record().ok_or(libc::ENOMEM)?;
    let section = grace::enter_here(record);
    // We may make any interceptor a member of a new owner list: removals wait for us.
    let before = grace::announce_interceptor(record, u64::MAX);
    let result = attempt(&section, idle, plan);
    grace::retract_interceptor(record, before);
    let retired = result?;
    let ticket = grace::advance();
    if !retired.is_null() {
        unsafe fn over(item: *mut Deferred) {
            // SAFETY: `deferred` is a chain's first field, and its grace period is over.
            unsafe { chain::reclaim(item.cast()) };
            // ORDERING [none]: Relaxed. A hint.
            RECLAIMED.store(true, Ordering::Relaxed);
        }
        // SAFETY: the exchange in `publish` gave the chain to us alone.
        unsafe { grace::defer_memory(retired.cast(), ticket, over) };
    }
    drop(section);
    Ok(ticket)
}

/// The publication itself; gives the chain that it has put out of force, or null.
fn attempt(section: &Section, idle: bool, plan: Plan) -> Result<*mut Chain, i32> {
    loop {
        let (base, now) = chain::base(section);
        let mut next = Hooks::new();
        plan(now.hooks(), &mut next)?;
        let probing = is_probing();
        let built = Chain::build(next.get(), !probing)?;
        match chain::publish(base, built, mode_for(next.get(), idle, probing)) {
            Ok(retired) => return Ok(retired),
            Err(reason) => {
                // SAFETY: it was not published.
                unsafe { chain::reclaim(built) };
                if let Some(error) = reason {
                    return Err(error);
                }
            }
        }
    }
}

fn copy(now: &[*const Hook], next: &mut Hooks) -> Result<(), i32> {
    for &hook in now {
        // SAFETY: in force, and the caller is in a section.
        next.insert(unsafe { &*hook })?;
    }
    Ok(())
}

/// Publishes the same hooks again, in the mode that is right by now.
fn refresh() {
    // Without memory the dearer mode stays, which serves all calls too.
    let _ = edit(true, &mut |now, next| copy(now, next));
}

/// Whether a former chain was reclaimed since [`relax`] looked: all sections of its time have ended.
static RECLAIMED: AtomicBool = AtomicBool::new(false);

/// After deferred work: goes back to a cheaper mode if that is possible now.
fn relax() {
    // ORDERING [none]: Relaxed. A hint.
    let reclaimed = RECLAIMED.swap(false, Ordering::Relaxed);
    if !ownership::take_ended() && !reclaimed {
        return;
    }
    let Some(record) = guard::record() else { return };
    let section = grace::enter_here(record);
    let (base, now) = chain::base(&section);
    let cheaper = mode_for(now.hooks(), true, is_probing()) != base.mode();
    drop(section);
    if cheaper {
        refresh();
    }
}

/// In a fork child, before anything else runs. Removals that threads of the parent had in their
/// hands are taken up or ended; hooks in force stay.
pub(crate) fn forked() {
    Hook::for_each(&mut |hook| {
        if hook.is_being_replaced() {
            hook.end_replacing(false);
        }
        if !hook.is_dead() || settled(hook) >= OWNING {
            return;
        }
        hook.deferred.lose();
        let item = core::ptr::from_ref(hook).cast::<Deferred>();
        if settled(hook) == LEAVING && !grace::is_queued(item) && !hook.end_lost_release() {
            // Its stages may be gone through again.
            // SAFETY: it is in no queue, and hooks live for ever.
            unsafe { grace::defer(item.cast_mut(), grace::advance(), Scope::Settling, no_longer_called) };
        } else if settled(hook) == LINKED {
            let _ = take_out(hook);
            // Nobody waits for it.
            hook.deferred.put_down();
        }
    });
    for object in OBJECTS.iter() {
        // ORDERING [object]: Release. No other thread exists.
        object.busy.store(false, Ordering::Release);
    }
}

/// Publishes the empty chain in place of the one that leads to the start; for `start` only.
pub(crate) fn begin() -> Result<(), i32> {
    grace::after_deferred(relax);
    edit(true, &mut |now, next| copy(now, next)).map(drop)
}

/// A decision about the hook was taken back. Whoever let go of it as its last chain meanwhile left
/// its removal to us.
fn retire_if_unlinked(hook: &'static Hook) {
    // ORDERING [links]: Acquire. Other end: `unlink`.
    if hook.links.load(Ordering::Acquire) == 0 && hook.kill() {
        retire(hook, grace::advance());
    }
}

/// What a hook's removal has come to.
fn settled(hook: &Hook) -> u32 {
    // ORDERING [phase]: Acquire. The release callback's effects. Other end: `Hook::forget`.
    hook.phase.load(Ordering::Acquire)
}

/// Has a dead hook, which no chain in force names since `ticket`, seen to its end.
fn retire(hook: &'static Hook, ticket: Ticket) {
    // ORDERING [phase]: Relaxed. Read by who waits, who learns of the end from `settled`.
    hook.phase.store(LEAVING, Ordering::Relaxed);
    let item = core::ptr::from_ref(hook).cast_mut().cast::<Deferred>();
    hook.keep_until_over(ticket);
    // SAFETY: hooks live for ever, and only who killed the hook retires it, once.
    unsafe { grace::defer(item, ticket, hook.scope(), no_longer_called) };
}

unsafe fn no_longer_called(item: *mut Deferred) {
    // SAFETY: `deferred` is a hook's first field, and hooks live for ever.
    let hook: &'static Hook = unsafe { &*item.cast::<Hook>() };
    let Some(record) = guard::record() else {
        return end_service(hook);
    };
    let section = grace::enter_here(record);
    let owns = ownership::drain(hook);
    drop(section);
    if owns {
        // SAFETY: taken from the queue by the caller; hooks live for ever.
        unsafe { grace::defer(item, grace::advance(), Scope::Settling, drained) };
    } else {
        end_service(hook);
    }
}

unsafe fn drained(item: *mut Deferred) {
    // SAFETY: `deferred` is a hook's first field, and hooks live for ever.
    let hook: &'static Hook = unsafe { &*item.cast::<Hook>() };
    while let Some(record) = guard::record() {
        let section = grace::enter_here(record);
        let summed = ownership::sum(hook);
        drop(section);
        match summed {
            None => break,
            Some(None) => {}
            // Outside the section: it may call releases.
            Some(Some(list)) => ownership::let_go(list),
        }
    }
    end_service(hook);
}

/// Nothing but blocks of its own keeps the hook any more.
fn end_service(hook: &'static Hook) {
    hook.pin_again();
    if hook.may_own() {
        ownership::expect_no_more();
    }
    if !hook.unhold() {
        // ORDERING [phase]: Release and Relaxed. Says only that blocks are left; a release that
        // comes between wins, one that comes later is later. Other end: `Hook::forget`.
        let _ = hook.phase.compare_exchange(LEAVING, OWNING, Ordering::Release, Ordering::Relaxed);
    }
    hook.unpin();
    grace::changed();
}

/// [`retire`], to be followed by [`await_removal`].
fn retire_and_wait(hook: &'static Hook, ticket: Ticket) {
    if !guard::record().is_none_or(Record::is_inside) {
        hook.deferred.take_in_hand();
    }
    retire(hook, ticket);
}

/// Whether a removal has come to its end, or as far as blocks that live on let it come.
fn is_settled(hook: &Hook) -> bool {
    match settled(hook) {
        // The last of its lists may just be ending in another thread, as part of the removal of
        // another member.
        OWNING => guard::record().is_none_or(|record| {
            let section = grace::enter_here(record);
            let owns = ownership::owns(hook);
            drop(section);
            owns
        }),
        phase => phase == RELEASED,
    }
}

/// Waits for the removal of a pinned hook, and unpins it. 0, `EINPROGRESS` or `ETIMEDOUT`.
fn await_removal(hook: &'static Hook, deadline_ns: Option<u64>) -> i32 {
    let inside = guard::record().is_none_or(Record::is_inside);
    let done = inside || grace::wait(deadline_ns, Some(&hook.deferred), &mut || is_settled(hook));
    let result = match settled(hook) {
        RELEASED => 0,
        _ if !done => libc::ETIMEDOUT,
        _ => libc::EINPROGRESS,
    };
    hook.unpin();
    result
}

/// Creates a hook and puts it in force.
pub(crate) fn register(table: Table, thread: u64) -> Result<memhook_id, i32> {
    let hook = Hook::create(table, thread, None)?;
    let id = hook.id();
    let result = edit(false, &mut |now, next| {
        copy(now, next)?;
        next.insert(hook)
    });
    if let Err(error) = result {
        abandon(hook);
        return Err(error);
    }
    hook.unpin();
    Ok(id)
}

/// Takes back a pinned hook that never was in force. An owner list may know it by now.
fn abandon(hook: &'static Hook) {
    hook.silence();
    if hook.kill() {
        retire(hook, grace::advance());
    }
    hook.unpin();
    grace::poll();
}

fn find(id: memhook_id) -> Result<&'static Hook, i32> {
    Hook::pin(id).ok_or(libc::ESRCH)
}

/// Takes a hook out of force and out of every chain object. 0, `EINPROGRESS`, `ETIMEDOUT`, or:
/// `ESRCH`: no such hook; `EALREADY`: its removal is under way; `EBUSY`: another thread is just
/// replacing it; `ENOMEM`, `ENOSPC`: it is still in force.
pub(crate) fn unregister(id: memhook_id, timeout_ns: Option<u64>) -> i32 {
    let hook = match find(id) {
        Ok(hook) => hook,
        Err(error) => return error,
    };
    let deadline = timeout_ns.map(|ns| crate::sys::thread::monotonic_ns().saturating_add(ns));
    if !hook.kill() {
        let busy = hook.is_being_replaced();
        hook.unpin();
        return if busy { libc::EBUSY } else { libc::EALREADY };
    }
    if let Err(error) = take_out(hook) {
        hook.revive();
        retire_if_unlinked(hook);
        hook.unpin();
        return error;
    }
    await_removal(hook, deadline)
}

/// Publishes the hooks in force without a killed one, and retires that.
fn take_out(hook: &'static Hook) -> Result<(), i32> {
    hook.pass_by(true);
    let ticket = edit(false, &mut |now, next| {
        copy(now, next)?;
        next.remove(hook);
        Ok(())
    });
    let ticket = ticket.inspect_err(|_| hook.pass_by(false))?;
    retire_and_wait(hook, ticket);
    Ok(())
}

/// Unregisters every hook that is tied to a shared object whose destructors run. With `unmapped`,
/// its code is about to go: waits for who is in it, and leaves blocks that its interceptors still own
/// alone for ever, which is said. 0 or `EINPROGRESS`.
pub(crate) fn unregister_object(object: *const core::ffi::c_void, unmapped: bool) -> i32 {
    let mut result = 0;
    Hook::for_each(&mut |hook| {
        // A release may be what unloads the object.
        if hook.object() != object || hook.is_releasing_here() {
            return;
        }
        while hook.is_being_replaced() {
            core::hint::spin_loop();
        }
        if hook.kill() {
            // The object goes whatever we answer: there is no way to report a lack of memory.
            while take_out(hook).is_err() {
                grace::poll();
                core::hint::spin_loop();
            }
        }
        hook.pin_again();
        let now = crate::sys::thread::monotonic_ns();
        if await_removal(hook, if unmapped { None } else { Some(now) }) != 0 {
            result = libc::EINPROGRESS;
            if unmapped {
                orphan(hook);
            }
        }
    });
    result
}

/// The hook's code goes while something may still lead to it: a block that it owns, or, inside a
/// callback, a call of another thread. Afterwards nothing does.
fn orphan(hook: &'static Hook) {
    let Some(record) = guard::record() else { return };
    let section = grace::enter_here(record);
    let owns = ownership::live_blocks(hook) != 0;
    drop(section);
    if owns {
        crate::sys::write_error(
            b"memhook: a shared object was unloaded while an interceptor of its owned blocks; these are \
              leaked. Unregister, and unload when memhook_live_blocks() is 0.\n",
        );
    }
    hook.orphan();
    let ticket = grace::advance();
    // Other threads only: inside a callback, our own section is open whatever we do.
    grace::wait(None, None, &mut || grace::is_over_elsewhere(ticket, hook.scope(), record));
    hook.call_release();
}

/// Puts other callbacks in a hook's place. Results as [`unregister`], for the former callbacks;
/// also `EINVAL`: the hook is of the other kind.
pub(crate) fn replace(id: memhook_id, table: Table, thread: u64) -> i32 {
    let old = match find(id) {
        Ok(hook) => hook,
        Err(error) => return error,
    };
    let fail = |error| {
        old.unpin();
        error
    };
    if old.interceptor().is_some() != matches!(table, Table::Interceptor(_)) {
        return fail(libc::EINVAL);
    }
    let new = match Hook::create(table, thread, Some(old)) {
        Ok(hook) => hook,
        Err(error) => return fail(error),
    };
    if !old.begin_replacing() {
        abandon(new);
        return fail(if old.is_being_replaced() { libc::EBUSY } else { libc::EALREADY });
    }
    let result = edit(false, &mut |now, next| {
        if !now.contains(&core::ptr::from_ref(old)) {
            // In a chain object only: nothing is in force that could be replaced.
            return Err(libc::ESRCH);
        }
        copy(now, next)?;
        next.remove(old);
        next.insert(new)
    });
    match result {
        Ok(ticket) => {
            old.exchange_ids(new);
            old.end_replacing(true);
            new.unpin();
            retire_and_wait(old, ticket);
            await_removal(old, None)
        }
        Err(error) => {
            old.end_replacing(false);
            retire_if_unlinked(old);
            abandon(new);
            fail(error)
        }
    }
}

/// Waits until every section that is open now has ended. `EDEADLK` inside a callback.
pub(crate) fn synchronize() -> i32 {
    let Some(record) = guard::record() else { return libc::ENOMEM };
    if record.is_inside() {
        return libc::EDEADLK;
    }
    let ticket = grace::advance();
    grace::wait(None, None, &mut || grace::is_over(ticket, Scope::All));
    0
}

/// Live blocks of a hook and of those that it replaced.
pub(crate) fn live_blocks(id: memhook_id) -> Result<usize, i32> {
    if !Hook::was_given(id) {
        return Err(libc::ESRCH);
    }
    let record = guard::record().ok_or(libc::ENOMEM)?;
    let section = grace::enter_here(record);
    let mut live = 0;
    Hook::for_each(&mut |hook| {
        if hook.sequence() == id {
            live += ownership::live_blocks(hook);
        }
    });
    drop(section);
    Ok(live)
}

/// Makes every call of every thread run through the library while it lives; for self-tests.
pub(crate) struct Probe(());

impl Probe {
    pub(crate) fn begin() -> Result<Probe, i32> {
        // ORDERING [none]: Relaxed. The publication that follows is our own.
        PROBES.fetch_add(1, Ordering::Relaxed);
        let probe = Probe(());
        edit(false, &mut |now, next| copy(now, next)).map(|_| probe)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // ORDERING [none]: Relaxed. The publication that follows is our own.
        PROBES.fetch_sub(1, Ordering::Relaxed);
        refresh();
    }
}

/// A chain that the program builds. Its hooks are linked and pinned.
struct Object {
    handle: AtomicU64,
    busy: AtomicBool,
    hooks: UnsafeCell<Hooks>,
    link: Link<Object>,
}

// SAFETY: `hooks` is used by who set `busy` only.
unsafe impl Sync for Object {}

// SAFETY: the link is the object's own and is written by the roster only.
unsafe impl Linked for Object {
    fn link(&self) -> &Link<Object> {
        &self.link
    }
}

static OBJECTS: Roster<Object> = Roster::new();
static LAST_HANDLE: AtomicU64 = AtomicU64::new(0);

/// A chain object that this thread is using.
struct Open(&'static Object);

impl Open {
    fn lock(object: &'static Object) -> Option<Open> {
        // ORDERING [object]: Acquire and Relaxed. What the last user did. Other end: `drop`.
        let taken = object.busy.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok();
        // Not `then_some`: an `Open` that was made in vain would unlock another's when dropped.
        taken.then(|| Open(object))
    }

    fn create() -> Result<Open, i32> {
        // ORDERING [none]: Relaxed. Looked at again when it is ours.
        let unused = |object: &&Object| object.handle.load(Ordering::Relaxed) == 0;
        let reused = OBJECTS.iter().filter(unused).find_map(Open::lock).filter(|open| unused(&open.0));
        let open = match reused {
            Some(open) => open,
            None => {
                let memory =
                    scratch::permanent(size_of::<Object>(), align_of::<Object>()).ok_or(libc::ENOMEM)?;
                // SAFETY: fresh zeroed memory, which is a valid object with no hooks.
                let object: &'static Object = unsafe { &*memory.cast::<Object>() };
                // ORDERING [none]: Relaxed. Published by the roster.
                object.busy.store(true, Ordering::Relaxed);
                OBJECTS.push(object);
                Open(object)
            }
        };
        // ORDERING [none]: Relaxed. Numbers need only differ.
        let handle = LAST_HANDLE.fetch_add(1, Ordering::Relaxed) + 1;
        // ORDERING [none]: Relaxed. Told to others by the program.
        open.0.handle.store(handle, Ordering::Relaxed);
        Ok(open)
    }

    /// `EINVAL`: no such chain, or it was consumed; `EBUSY`: another thread is using it.
    fn find(handle: memhook_chain) -> Result<Open, i32> {
        // ORDERING [none]: Relaxed. Looked at again when it is ours.
        let named = |object: &&Object| handle != 0 && object.handle.load(Ordering::Relaxed) == handle;
        let object = OBJECTS.iter().find(named).ok_or(libc::EINVAL)?;
        let open = Open::lock(object).ok_or(libc::EBUSY)?;
        if named(&open.0) { Ok(open) } else { Err(libc::EINVAL) }
    }

    fn hooks(&mut self) -> &mut Hooks {
        // SAFETY: `busy` is ours.
        unsafe { &mut *self.0.hooks.get() }
    }

    fn handle(&self) -> memhook_chain {
        // ORDERING [none]: Relaxed. Ours.
        self.0.handle.load(Ordering::Relaxed)
    }

    /// Ends the object; its hooks are the caller's.
    fn consume(mut self) -> Hooks {
        // ORDERING [none]: Relaxed. Whoever looks for it finds it busy, or gone.
        self.0.handle.store(0, Ordering::Relaxed);
        core::mem::replace(self.hooks(), Hooks::new())
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        // ORDERING [object]: Release. Other end: `lock`.
        self.0.busy.store(false, Ordering::Release);
    }
}

/// One chain more names the hook; false where the last one has just let go of it.
fn link(hook: &Hook) -> bool {
    // ORDERING [none]: Relaxed and Relaxed. Counts; the hook is pinned or in force.
    hook.links.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |n| (n != 0).then_some(n + 1)).is_ok()
}

/// One chain fewer names the hook. True where it was the last: the caller retires the hook.
fn unlink(hook: &Hook) -> bool {
    // ORDERING [links]: AcqRel. All that was done with it through other chains. Other end: itself.
    hook.links.fetch_sub(1, Ordering::AcqRel) == 1 && hook.kill()
}

/// A new chain object without hooks.
pub(crate) fn create_chain() -> Result<memhook_chain, i32> {
    Open::create().map(|open| open.handle())
}

/// A new chain object with the hooks in force.
pub(crate) fn copy_chain() -> Result<memhook_chain, i32> {
    let record = guard::record().ok_or(libc::ENOMEM)?;
    let section = grace::enter_here(record);
    let mut open = Open::create()?;
    let (_, now) = chain::base(&section);
    for &hook in now.hooks() {
        // SAFETY: in force, and we are in a section.
        let hook: &'static Hook = unsafe { &*hook };
        if hook.is_dead() || !link(hook) {
            continue;
        }
        hook.pin_again();
        if let Err(error) = open.hooks().insert(hook) {
            unlink_all(&[hook]);
            let hooks = open.consume();
            unlink_all(hooks.get());
            return Err(error);
        }
    }
    Ok(open.handle())
}

/// Unlinks and unpins hooks of a chain object; retires those that no chain names any more. The
/// result is that of waiting for the last of them, as [`unregister`]'s.
fn unlink_all(hooks: &[*const Hook]) -> i32 {
    let mut result = 0;
    for &hook in hooks {
        // SAFETY: pinned by the chain object.
        let hook: &'static Hook = unsafe { &*hook };
        if unlink(hook) {
            // A ticket from before could be older than a section that still found the hook.
            retire_and_wait(hook, grace::advance());
            result = result.max(await_removal(hook, None));
        } else {
            hook.unpin();
        }
    }
    result
}

/// Adds a hook that is registered elsewhere. `EINVAL`, `EBUSY`, `ESRCH`, `EEXIST`, `ENOMEM`.
pub(crate) fn add(handle: memhook_chain, id: memhook_id) -> Result<(), i32> {
    let mut open = Open::find(handle)?;
    let hook = find(id)?;
    let result = if hook.is_dead() {
        Err(libc::ESRCH)
    } else if open.hooks().contains(hook) {
        Err(libc::EEXIST)
    } else if !link(hook) {
        Err(libc::ESRCH)
    } else {
        open.hooks().insert(hook).inspect_err(|_| {
            // The other chain, by which it was found, may be gone by now.
            if unlink(hook) {
                retire(hook, grace::advance());
            }
        })
    };
    if result.is_err() {
        hook.unpin();
    }
    result
}

/// Creates a hook in a chain object. `EINVAL`, `EBUSY`, `ENOMEM`.
pub(crate) fn register_in(handle: memhook_chain, table: Table, thread: u64) -> Result<memhook_id, i32> {
    let mut open = Open::find(handle)?;
    let hook = Hook::create(table, thread, None)?;
    match open.hooks().insert(hook) {
        Ok(()) => Ok(hook.id()),
        Err(error) => {
            abandon(hook);
            Err(error)
        }
    }
}

/// Takes a hook out of a chain object. `EINVAL`, `EBUSY`, `ESRCH`; else as [`unregister`].
pub(crate) fn remove(handle: memhook_chain, id: memhook_id) -> i32 {
    let found = Open::find(handle).and_then(|open| find(id).map(|hook| (open, hook)));
    let (mut open, hook) = match found {
        Ok(found) => found,
        Err(error) => return error,
    };
    let known = open.hooks().remove(hook);
    drop(open);
    let under_way = hook.is_dead();
    let result = match known {
        false => libc::ESRCH,
        true => match unlink_all(&[core::ptr::from_ref(hook)]) {
            0 if under_way => libc::EALREADY,
            result => result,
        },
    };
    hook.unpin();
    result
}

/// Ends a chain object. `EINVAL`, `EBUSY`; else as [`unregister`].
pub(crate) fn destroy(handle: memhook_chain) -> i32 {
    match Open::find(handle) {
        Ok(open) => unlink_all(open.consume().get()),
        Err(error) => error,
    }
}

/// Puts a chain object in force and ends it. The hooks that were in force go to a new chain
/// object; without `keep_former`, those that no chain names any more are unregistered.
///
/// The number is that object's handle or 0; the result, when the swap was done, that of waiting
/// for the end of the former callbacks. `Err`: `EINVAL`, `EBUSY`, `ENOMEM`, `ENOSPC`; nothing changed.
pub(crate) fn swap(handle: memhook_chain, keep_former: bool) -> Result<(memhook_chain, i32), i32> {
    let record = guard::record().ok_or(libc::ENOMEM)?;
    let mut open = Open::find(handle)?;
    let mut former = Hooks::new();
    let mut keep = if keep_former { Some(Open::create()?) } else { None };
    let unpin_all = |hooks: &Hooks| hooks.iter().for_each(Hook::unpin);
    let result = edit(false, &mut |now, next| {
        unpin_all(&former);
        former = Hooks::new();
        for &hook in now {
            // SAFETY: in force, and `edit` is in a section.
            let hook: &'static Hook = unsafe { &*hook };
            former.insert(hook)?;
            hook.pin_again();
        }
        open.hooks().iter().filter(|hook| !hook.is_dead()).try_for_each(|hook| next.insert(hook))
    });
    let ticket = match result {
        Ok(ticket) => ticket,
        Err(error) => {
            unpin_all(&former);
            if let Some(keep) = keep {
                drop(keep.consume());
            }
            return Err(error);
        }
    };
    // The links of the object's hooks are the force's now; the force's are the former object's.
    unpin_all(&open.consume());
    let inside = record.is_inside();
    if !inside {
        grace::wait(None, None, &mut || grace::is_over(ticket, Scope::All));
    }
    let Some(mut keep) = keep.take() else {
        let waited = unlink_all(former.get());
        return Ok((0, if inside { libc::EINPROGRESS } else { waited }));
    };
    *keep.hooks() = former;
    Ok((keep.handle(), if inside { libc::EINPROGRESS } else { 0 }))
}

/// Lists the hooks of a chain object, or those in force (0). Returns how many there are.
pub(crate) fn list(handle: memhook_chain, visit: &mut dyn FnMut(memhook_hook_info)) -> Result<usize, i32> {
    if handle != 0 {
        let mut open = Open::find(handle)?;
        let alive = open.hooks().iter().filter(|hook| !hook.is_dead());
        return Ok(alive.map(|hook| visit(hook.info())).count());
    }
    let record = guard::record().ok_or(libc::ENOMEM)?;
    let section = grace::enter_here(record);
    let (_, now) = chain::base(&section);
    // SAFETY: in force, and we are in a section.
    let hooks = now.hooks().iter().map(|&hook| unsafe { &*hook });
    Ok(hooks.map(|hook| visit(hook.info())).count())
}
