//! Removing hooks: from the decision to the release.
//!
//! # A removal
//!
//! ```text
//!  kill ─► publish ─► grace period ─► no owner lists: release
//!                                 └─► drain lists ─► grace period ─► sum ─► all empty: release
//!                                                                      └──► OWNING; the last
//!                                                                           free releases
//! ```

use super::{copy, edit, find};
use crate::abi::*;
use crate::chain::{self, Hook, LEAVING, LINKED, NEW, OWNING, RELEASED, REPLACING, Table};
use crate::grace::{self, Deferred, Scope, Ticket};
use crate::guard::{self, Record};
use crate::ownership;
use core::sync::atomic::{Ordering, fence};

/// A decision about the hook was taken back, or was that it lives. Whoever let go of it as its last chain meanwhile
/// left its removal to us.
pub(super) fn retire_if_unlinked(hook: &'static Hook) {
    // ORDERING [links]: SeqCst. The decision's end before our look at the links. Other end: `unlink`.
    fence(Ordering::SeqCst);
    // ORDERING [links]: Relaxed. All that was done with it through its chains comes by the barrier in `advance`, which
    // stands between this look and all that follows from it. Other end: `unlink`.
    if hook.links.load(Ordering::Relaxed) == 0 && hook.kill() {
        retire(hook, grace::advance());
    }
}

/// What a hook's removal has come to.
fn settled(hook: &Hook) -> u32 {
    // ORDERING [phase]: Acquire. The release callback's effects. Other end: `Hook::forget`.
    hook.phase.load(Ordering::Acquire)
}

/// Has a dead hook, which no chain in force names since `ticket`, seen to its end.
pub(super) fn retire(hook: &'static Hook, ticket: Ticket) {
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
        unsafe { grace::defer(item, grace::advance(), Scope::Settling(hook.address(), hook.bit()), drained) };
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
            // SAFETY: given by `sum`.
            Some(Some(list)) => unsafe { ownership::let_go(list) },
        }
    }
    end_service(hook);
}

/// Nothing but blocks of its own keeps the hook any more.
fn end_service(hook: &'static Hook) {
    hook.pin_again();
    let expected = hook.may_own();
    let released = hook.end_service();
    // Behind it: of a hook that is in service, a fork child takes for granted that it is expected.
    if expected {
        ownership::expect_no_more();
    }
    if !released {
        // ORDERING [phase]: Relaxed and Relaxed. Says only that blocks are left; a release that
        // comes between wins, one that comes later is later.
        let _ = hook.phase.compare_exchange(LEAVING, OWNING, Ordering::Relaxed, Ordering::Relaxed);
    }
    hook.unpin();
    grace::changed();
}

/// [`retire`], to be followed by [`await_removal`].
pub(super) fn retire_and_wait(hook: &'static Hook, ticket: Ticket) {
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

/// Waits for the removal of a pinned hook that this thread has in hand, and unpins it. 0, `EINPROGRESS` or
/// `ETIMEDOUT`.
pub(super) fn await_removal(hook: &'static Hook, deadline_ns: Option<u64>) -> i32 {
    await_end(hook, deadline_ns, Some(&hook.deferred))
}

/// As [`await_removal`]; without `work`, another thread has the removal in hand.
fn await_end(hook: &'static Hook, deadline_ns: Option<u64>, work: Option<&Deferred>) -> i32 {
    let inside = guard::record().is_none_or(Record::is_inside);
    let done = inside || grace::wait(deadline_ns, work, &mut || is_settled(hook));
    let result = match settled(hook) {
        RELEASED => 0,
        _ if !done => libc::ETIMEDOUT,
        _ => libc::EINPROGRESS,
    };
    hook.unpin();
    result
}

/// Takes back a pinned hook that never was in force. An owner list may know it by now.
pub(super) fn abandon(hook: &'static Hook) {
    hook.silence();
    hook.end_beginning(false);
    retire(hook, grace::advance());
    hook.unpin();
    grace::poll();
}

/// Takes a hook out of force and out of every chain object. 0, `EINPROGRESS`, `ETIMEDOUT`, or:
/// `ESRCH`: no such hook; `EALREADY`: its removal is under way; `EBUSY`: another thread is just
/// registering or replacing it; `ENOMEM`, `ENOSPC`: it is still in force.
pub(crate) fn unregister(id: memhook_id, timeout_ns: Option<u64>) -> i32 {
    let hook = match find(id) {
        Ok(hook) => hook,
        Err(error) => return error,
    };
    let deadline = timeout_ns.map(|ns| crate::sys::thread::monotonic_ns().saturating_add(ns));
    if !hook.kill() {
        let busy = hook.is_undecided();
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
    let ticket = edit(&mut |now, next| {
        copy(now, next)?;
        next.remove(hook);
        Ok(())
    });
    let ticket = ticket.inspect_err(|_| hook.pass_by(false))?;
    retire_and_wait(hook, ticket);
    Ok(())
}

/// Unregisters every hook that is tied to a shared object. With `unmapped`, its code is about to go: waits
/// for who is in it, and leaves blocks that its interceptors still own alone for ever, which is said. 0 or
/// `EINPROGRESS`; without `unmapped` also `ENOMEM`, `ENOSPC`: one is still in force.
pub(crate) fn unregister_object(object: *const core::ffi::c_void, unmapped: bool) -> i32 {
    let mut result = 0;
    loop {
        let exchanges = Hook::exchanges();
        unregister_found(object, unmapped, &mut result);
        // One that was passed already may be what another was replaced by.
        if Hook::exchanges() == exchanges {
            return result;
        }
    }
}

/// One round of [`unregister_object`].
fn unregister_found(object: *const core::ffi::c_void, unmapped: bool, result: &mut i32) {
    Hook::for_each(&mut |hook| {
        // A release may be what unloads the object.
        if hook.object() != object || hook.is_releasing_here() || hook.is_orphaned() {
            return;
        }
        let ours = loop {
            if hook.is_dead() {
                break false;
            }
            if hook.fate() == NEW {
                // As if it were registered afterwards.
                return;
            }
            if hook.kill() {
                break true;
            }
            // It is just being replaced: by what, is known when that is decided.
            core::hint::spin_loop();
        };
        if ours {
            // An object that is unloaded goes whatever we answer: there is no way to report a lack of memory.
            while let Err(error) = take_out(hook) {
                if !unmapped {
                    hook.revive();
                    retire_if_unlinked(hook);
                    *result = error;
                    return;
                }
                grace::poll();
                core::hint::spin_loop();
            }
        }
        hook.pin_again();
        let now = crate::sys::thread::monotonic_ns();
        let deadline = if unmapped { None } else { Some(now) };
        if await_end(hook, deadline, ours.then_some(&hook.deferred)) != 0 {
            *result = if *result == 0 { libc::EINPROGRESS } else { *result };
            if unmapped {
                orphan(hook);
            }
        }
    });
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
    let new = match Hook::create_new(table, thread, Some(old)) {
        Ok(hook) => hook,
        Err(error) => return fail(error),
    };
    if !old.begin_replacing() {
        abandon(new);
        return fail(if old.is_undecided() { libc::EBUSY } else { libc::EALREADY });
    }
    let result = edit(&mut |now, next| {
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
            // First: see `unregister_object`.
            new.end_beginning(true);
            old.exchange_ids(new);
            old.end_replacing(true);
            retire_if_unlinked(new);
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

/// In a fork child: removals and replacements that threads of the parent had in their hands are taken up
/// or ended.
pub(super) fn forked() {
    let mut expected = 0;
    Hook::for_each(&mut |hook| {
        match hook.fate() {
            REPLACING => end_lost_replacement(hook),
            // One that is in no chain is nobody's, or that of the thread that forks, which goes on with it.
            NEW if is_in_force(hook) => hook.end_beginning(true),
            _ => {}
        }
        expected += usize::from(hook.is_in_service() && hook.may_own());
    });
    ownership::forked(expected);
    Hook::for_each(&mut |hook| {
        hook.recount(ownership::holds(hook));
        hook.deferred.lose();
        if !hook.is_dead() || settled(hook) == RELEASED {
            return;
        }
        let item = core::ptr::from_ref(hook).cast::<Deferred>();
        if settled(hook) == LINKED {
            let _ = take_out(hook);
            // Nobody waits for it.
            hook.deferred.put_down();
        } else if grace::is_queued(item) || hook.end_lost_release() {
            // Goes on, or has come to its end.
        } else if hook.is_in_service() {
            // Its stages may be gone through again.
            // SAFETY: it is in no queue, and hooks live for ever.
            unsafe {
                grace::defer(
                    item.cast_mut(),
                    grace::advance(),
                    Scope::Settling(hook.address(), hook.bit()),
                    no_longer_called,
                )
            };
        } else {
            // ORDERING [phase]: Relaxed. There is one thread.
            hook.phase.store(OWNING, Ordering::Relaxed);
        }
    });
}

fn is_in_force(hook: &Hook) -> bool {
    guard::record().is_some_and(|record| {
        let section = grace::enter_here(record);
        let (_, now) = chain::base(&section);
        now.hooks().contains(&core::ptr::from_ref(hook))
    })
}

/// One that was published is completed, any other is taken back.
fn end_lost_replacement(old: &'static Hook) {
    let Some(record) = guard::record() else { return };
    let section = grace::enter_here(record);
    let (_, now) = chain::base(&section);
    // SAFETY: in force, and we are in a section.
    let mut in_force = now.hooks().iter().map(|&hook| unsafe { &*hook });
    let next = in_force.find(|hook| hook.sequence() == old.sequence() && !core::ptr::eq(*hook, old));
    if let Some(next) = next {
        old.complete_exchange(next);
    }
    old.end_replacing(next.is_some());
    drop(section);
}
