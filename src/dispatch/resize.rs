//! realloc and reallocarray of a block.

use super::inner;
use super::lists::Lists;
use super::next::Walk;
use super::{Ask, How, note, refuse, refused, tell};
use crate::chain;
use crate::grace::{self, Section};
use crate::guard::{self, Record};
use crate::ownership;
use core::ffi::c_void;

/// Tells of a realloc that cannot be met: those who want to see it, and observers.
#[cold]
fn refuse_resize(ask: Ask, owner: u16, record: &Record, section: Section) {
    let view = chain::current(&section).view(record);
    let call = ask.call(record);
    tell::before(record, view.realloc_begin, &call);
    if owner == 0 {
        refused::show::<false>(&call, view.of_strays.get(), record);
    } else {
        refused::show::<false>(&call, view.keepers.get(), record);
        // SAFETY: in the section of the call.
        refused::show::<true>(&call, unsafe { ownership::members(owner) }, record);
    }
    tell::before(record, view.realloc_abort, &call);
}

/// realloc and reallocarray of a block. `ask.block` is not NULL; `how` is `Realloc` or `Refuse`.
pub(super) fn resize(ask: Ask, how: How, frame: usize) -> *mut c_void {
    let block = ask.block;
    let owner = ownership::last_owner(block);
    let Some(record) = guard::record() else {
        return refuse(libc::ENOMEM);
    };
    note(record, ask.entry);
    let errno = record.errno();
    let entered = grace::enter(record, frame);
    // A realloc that is done cannot be undone: where its new place may not be noted, it does not begin.
    let hopeless = owner != 0 && ownership::is_crowded() && how != How::Realloc { bytes: 0 };
    let how = if hopeless { How::Refuse(libc::ENOMEM) } else { how };
    let How::Realloc { bytes } = how else {
        if let Some(section) = entered {
            refuse_resize(ask, owner, record, section);
        }
        return how.ask_backend(ask.entry);
    };
    if owner == 0 && entered.is_none() {
        let new = inner::resize(block, bytes, ask.caller, record);
        if !new.is_null() {
            record.set_errno(errno);
        }
        return new;
    }
    let call = ask.call(record);
    let nested = entered.is_none();
    let section = entered.unwrap_or_else(|| grace::enter_anyhow(record, frame));
    let view = chain::current(&section).view(record);
    let heard = if nested { None } else { Some(view) };
    if let Some(view) = heard {
        tell::before(record, view.realloc_begin, &call);
    }
    if owner != 0 {
        ownership::clear(block);
    }
    let lists = Lists::taking(heard, owner, record);
    let walk = Walk::new(&call, lists);
    let new = walk.realloc(block, bytes);
    // The old block is gone when there is a new one, and when it was resized to nothing.
    let done = !new.is_null() || bytes == 0;
    let outcome = if !new.is_null() || done { errno } else { walk.failure() };
    if owner != 0 {
        match (new.is_null(), done) {
            (false, _) => ownership::mark_surely(new, owner),
            (true, false) => ownership::mark_surely(block, owner),
            (true, true) => ownership::gone(owner, record),
        }
    }
    // The list of this hook alone was made with it.
    if let (Some(hook), true) = (walk.claimed(), owner == 0 && !new.is_null())
        && let Ok(list) = ownership::find_or_create(&[hook])
    {
        ownership::mark_surely(new, list);
        ownership::made(list, record);
    }
    if let Some(view) = heard {
        if done {
            tell::after(record, view.realloc_commit, &call, new);
        } else {
            // As for `after`.
            grace::retract_interceptor(record, 0);
            tell::before(record, view.realloc_abort, &call);
        }
    }
    drop(section);
    record.set_errno(outcome);
    new
}
