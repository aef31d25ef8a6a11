//! Changes of the hooks in force: building the next chain, publishing it, and seeing the former
//! one and the hooks that left to their end.
//!
//! Never: takes a lock; runs on an allocation call.
//!
//! Writers do not exclude each other. Each builds the next chain from the one in force, inside
//! a read section, and publishes it by compare-and-swap; who loses builds again. A removal is
//! decided first (`Hook::kill`) and then always published, so that a writer who has just built a
//! chain with that hook loses and, building again, sees the decision.

mod array;
mod objects;
mod removal;

pub(crate) use objects::{add, copy_chain, create_chain, destroy, list, register_in, remove, swap};
pub(crate) use removal::{replace, unregister, unregister_object};

use crate::abi::*;
use crate::chain::{self, Base, Chain, Hook, Mode, Table};
use crate::grace::{self, Deferred, Scope, Section, Ticket};
use crate::guard;
use crate::ownership;
use array::Hooks;
use core::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use removal::{abandon, retire_if_unlinked};

/// How many self-tests want to see every call.
static PROBES: AtomicU32 = AtomicU32::new(0);

fn is_probing() -> bool {
    // ORDERING [none]: Relaxed. A test's own thread is the one that it is about.
    PROBES.load(Ordering::Relaxed) != 0
}

/// Whether no section can be open that a thread has left without ending it: only a call that comes here can
/// notice that. So it is where the calls meet no callback now, and all sections have ended that were open before.
fn is_idle(base: Base, now: &Chain) -> bool {
    // ORDERING [none]: Relaxed. A fact, which stays one.
    let settled = || now.number() <= SETTLED.load(Ordering::Relaxed);
    match base.mode() {
        Mode::Idle => true,
        Mode::Observing => now.hooks().is_empty() && settled(),
        _ => false,
    }
}

/// What the entry points must do with these hooks in force. `idle`: see [`is_idle`].
fn mode_for(hooks: &[*const Hook], idle: bool, probing: bool) -> Mode {
    // SAFETY: in force or pinned, and the caller is in a section.
    let mut alive = hooks.iter().map(|&hook| unsafe { &*hook });
    let frames = alive.clone().any(Hook::wants_frames);
    let mode = if probing || ownership::any() || alive.any(|h| h.interceptor().is_some() || h.thread() != 0) {
        Mode::Full
    } else if !hooks.is_empty() || !idle {
        Mode::Observing
    } else {
        Mode::Idle
    };
    if frames { mode.with_frames() } else { mode }
}

type Plan<'a> = &'a mut dyn FnMut(&[*const Hook], &mut Hooks) -> Result<(), i32>;

/// Publishes what `plan` makes of the hooks in force. `plan` may be called several times, each
/// time in a section. On an error nothing was published.
fn edit(plan: Plan) -> Result<Ticket, i32> {
    let record = guard::record().ok_or(libc::ENOMEM)?;
    let section = grace::enter_here(record);
    // We may make any interceptor a member of a new owner list: removals wait for us.
    let before = grace::announce_interceptor(record, u64::MAX);
    let result = attempt(&section, plan);
    grace::retract_interceptor(record, before);
    let retired = result?;
    let ticket = grace::advance();
    if !retired.is_null() {
        unsafe fn over(item: *mut Deferred) {
            // SAFETY: `deferred` is a chain's first field, and its memory is given back below.
            let next = unsafe { &*item.cast::<Chain>() }.number() + 1;
            // SAFETY: as above, and its grace period is over.
            unsafe { chain::reclaim(item.cast()) };
            // ORDERING [none]: Relaxed. A fact, which stays one.
            SETTLED.fetch_max(next, Ordering::Relaxed);
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
fn attempt(section: &Section, plan: Plan) -> Result<*mut Chain, i32> {
    loop {
        let (base, now) = chain::base(section);
        let mut next = Hooks::new();
        plan(now.hooks(), &mut next)?;
        let probing = is_probing();
        let built = Chain::build(next.get(), now.number() + 1, !probing)?;
        match chain::publish(base, built, mode_for(next.get(), is_idle(base, now), probing)) {
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
    let _ = edit(&mut |now, next| copy(now, next));
}

/// Chains up to this number are settled: all sections have ended that were open when one of them came into force.
static SETTLED: AtomicU64 = AtomicU64::new(0);

/// Whether a former chain was reclaimed since [`relax`] looked.
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
    let cheaper = mode_for(now.hooks(), is_idle(base, now), is_probing()) != base.mode();
    drop(section);
    if cheaper {
        refresh();
    }
}

/// In a fork child, before anything else runs. Removals that threads of the parent had in their
/// hands are taken up or ended; hooks in force stay.
pub(crate) fn forked() {
    removal::forked();
    objects::forked();
    // ORDERING [none]: Relaxed and Relaxed. There is one thread.
    let probes = guard::known().map_or(0, |record| record.probe.load(Ordering::Relaxed).min(1));
    // ORDERING [none]: Relaxed. As above.
    if PROBES.swap(probes, Ordering::Relaxed) != probes {
        refresh();
    }
}

/// Before the first hook; for `start` only.
pub(crate) fn prepare() {
    grace::after_deferred(relax);
}

/// Publishes the empty chain in place of the one that leads to the start; for `start` only.
pub(crate) fn begin() -> Result<(), i32> {
    edit(&mut |now, next| copy(now, next)).map(drop)
}

/// Creates a hook and puts it in force.
pub(crate) fn register(table: Table, thread: u64) -> Result<memhook_id, i32> {
    let hook = Hook::create_new(table, thread, None)?;
    let id = hook.id();
    let result = edit(&mut |now, next| {
        copy(now, next)?;
        next.insert(hook)
    });
    if let Err(error) = result {
        abandon(hook);
        return Err(error);
    }
    hook.end_beginning(true);
    retire_if_unlinked(hook);
    hook.unpin();
    Ok(id)
}

fn find(id: memhook_id) -> Result<&'static Hook, i32> {
    Hook::pin(id).ok_or(libc::ESRCH)
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
        edit(&mut |now, next| copy(now, next)).map(|_| probe)
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        // Where the test itself has forked in a way that did not show, it does not count any more.
        // ORDERING [none]: Relaxed and Relaxed. The publication that follows is our own.
        let _ = PROBES.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |probes| probes.checked_sub(1));
        refresh();
    }
}
