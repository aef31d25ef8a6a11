//! Chains that the program builds, and swapping them in.

use super::array::Hooks;
use super::removal::{abandon, await_removal, retire, retire_and_wait};
use super::{edit, find};
use crate::abi::*;
use crate::chain::{self, ALIVE, Hook, NEW, REPLACING, Table};
use crate::grace::{self, Scope};
use crate::guard;
use crate::roster::{Link, Linked, Roster};
use crate::scratch;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering, fence};

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
    // ORDERING [links]: Release. All that was done with it through this chain. Other ends: below, `retire_if_unlinked`.
    if hook.links.fetch_sub(1, Ordering::Release) != 1 {
        return false;
    }
    // ORDERING [links]: SeqCst. All that was done with it through other chains; and the end of the link before our look
    // at what was decided. Other ends: above, `retire_if_unlinked`.
    fence(Ordering::SeqCst);
    hook.kill()
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
    let hook = Hook::create_new(table, thread, None)?;
    let id = hook.id();
    match open.hooks().insert(hook) {
        Ok(()) => {
            hook.end_beginning(true);
            Ok(id)
        }
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
    let mut ended = Hooks::new();
    let keep = if keep_former { Some(Open::create()?) } else { None };
    let unpin_all = |hooks: &Hooks| hooks.iter().for_each(Hook::unpin);
    let result = edit(&mut |now, next| {
        unpin_all(&former);
        former = Hooks::new();
        for &hook in now {
            // SAFETY: in force, and `edit` is in a section.
            let hook: &'static Hook = unsafe { &*hook };
            former.insert(hook)?;
            hook.pin_again();
        }
        ended = Hooks::new();
        open.hooks().iter().try_for_each(|hook| match hook.fate() {
            ALIVE => next.insert(hook),
            // It may be in force again in a moment, or another in its place.
            REPLACING | NEW => Err(libc::EBUSY),
            _ => ended.insert(hook),
        })
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
    let mut hooks = open.consume();
    for hook in ended.iter() {
        hooks.remove(hook);
    }
    unpin_all(&hooks);
    // Not in use any more while we wait, where a release may fork.
    let kept = keep.map(|mut keep| {
        core::mem::swap(keep.hooks(), &mut former);
        keep.handle()
    });
    let inside = record.is_inside();
    if !inside {
        grace::wait(None, None, &mut || grace::is_over(ticket, Scope::All));
    }
    // The end of those that were left out may be taken back, for want of memory; no chain names them then.
    let waited = unlink_all(ended.get()).max(unlink_all(former.get()));
    Ok((kept.unwrap_or(0), if inside { libc::EINPROGRESS } else { waited }))
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

/// In a fork child: a chain object that a thread was using is gone. What that had done with its hooks cannot be told:
/// those of one that was being put in force may be in force.
pub(super) fn forked() {
    // ORDERING [none]: Relaxed. There is one thread.
    for object in OBJECTS.iter().filter(|object| object.busy.load(Ordering::Relaxed)) {
        // It stays busy, unless the thread is the one that forks.
        // ORDERING [none]: Relaxed. As above.
        object.handle.store(0, Ordering::Relaxed);
    }
}
