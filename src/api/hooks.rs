//! Hooks in force: register, observe, replace, unregister.

use super::{code, give, read_interceptor, read_observer, with_errno_kept};
use crate::abi::*;
use crate::registry;
use crate::start;
use core::ffi::{c_int, c_void};

/// Registers an interceptor: callbacks that stand in the way of allocation calls.
///
/// An allocation call that is already under way finishes on the chain it started with; the
/// next one runs through the interceptor.
///
/// # Parameters
///
/// - `table`: the callbacks, copied before return. Not NULL; `table->struct_size` is its size.
/// - `out`: receives the id to give to `memhook_unregister()`. Not NULL.
///
/// # Returns
///
/// 0, or an error number; `errno` itself is never touched. On error the chain and `*out` are
/// as they were.
///
/// - `EINVAL`: `table` or `out` is NULL, `struct_size` is no size that this library knows, a
///   flag is unknown or contradicts the callbacks, the priority is INT32_MIN, or there is no callback.
/// - `ENOMEM`: there was no memory for the new chain.
/// - `ENOSPC`: 4,095 sets of interceptors own blocks already.
///
/// # Threads
///
/// Any thread, any time, inside a callback too. Never waits. What the caller wrote before this
/// call is visible to every run of the callbacks (edge `publish`). Not in a signal handler that
/// can interrupt another function of this header in the same thread.
///
/// # Reentrancy
///
/// Inside a callback: the call that the callback belongs to does not see the new interceptor.
///
/// # Lifetime
///
/// `table->user` must stay valid until `memhook_unregister()` has returned 0 for this id, or
/// until `table->release` was called.
///
/// # Safety
///
/// The callbacks may be called from any thread, from several at once, and must return normally
/// on the stack that they were called on. One that is left by longjmp or by an exception is
/// noticed at the thread's next allocation call from the same depth of the stack or above, and
/// counts as running until then; one that is left by pthread_exit, at the end of the thread. (In
/// C++ an exception cannot pass a direct call of malloc, which is declared not to throw.) `out` is
/// NULL or writable.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_register(table: *const memhook_interceptor, out: *mut memhook_id) -> c_int {
    // SAFETY: the caller's contract.
    let read = || unsafe { read_interceptor(table) };
    // SAFETY: the caller's contract.
    unsafe { give(out, || read().and_then(|(table, thread)| registry::register(table, thread))) }
}

/// Registers an observer: callbacks that are told of every allocation call.
///
/// An allocation call that is already under way may finish without it; the next one sees the
/// observer.
///
/// # Parameters
///
/// - `table`: the callbacks, copied before return. Not NULL; `table->struct_size` is its size.
/// - `out`: receives the id to give to `memhook_unregister()`. Not NULL.
///
/// # Returns
///
/// 0, or an error number; `errno` itself is never touched. On error the chain and `*out` are
/// as they were.
///
/// - `EINVAL`: `table` or `out` is NULL, `struct_size` is no size that this library knows, a
///   flag is unknown, or there is no callback.
/// - `ENOMEM`: there was no memory for the new chain.
///
/// # Threads
///
/// As `memhook_register()`.
///
/// # Reentrancy
///
/// As `memhook_register()`.
///
/// # Lifetime
///
/// As `memhook_register()`.
///
/// # Safety
///
/// As `memhook_register()`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_observe(table: *const memhook_observer, out: *mut memhook_id) -> c_int {
    // SAFETY: the caller's contract.
    let read = || unsafe { read_observer(table) };
    // SAFETY: the caller's contract.
    unsafe { give(out, || read().and_then(|(table, thread)| registry::register(table, thread))) }
}

/// Takes a hook out of the chain, and out of every chain object, and waits until no thread is
/// in its callbacks.
///
/// A call that is under way and has not come to the hook yet passes it by: an observer may have
/// been told that a realloc begins and not be told how it ends.
///
/// # Returns
///
/// - 0: the hook is gone. No thread is in its callbacks and none will enter them; its `release`
///   was called and has returned. `user` may be freed, and the code unloaded.
/// - `EINPROGRESS`: it gets no new work, but is still in use: the call came from inside a
///   callback, where waiting could mean waiting for oneself; or it is an interceptor that still
///   owns blocks (`memhook_live_blocks()`). Its `release` is called once, when the last use has
///   ended.
/// - `ESRCH`: no hook has this id, or it is gone already.
/// - `EALREADY`: its removal is under way already.
/// - `EBUSY`: another thread is just registering or replacing it: it is still in force.
/// - `ENOMEM`: there was no memory for the chain without it: it is still in force.
/// - `ENOSPC`: 4,095 sets of interceptors own blocks already: it is still in force.
///
/// # Threads
///
/// Any thread, any time. Waits for callbacks that are running, hence not while holding a lock
/// that they take. A callback that never returns makes this call wait and no other; see
/// `memhook_unregister_timed()`.
///
/// # Reentrancy
///
/// Inside a callback: never waits, answers `EINPROGRESS`.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn memhook_unregister(id: memhook_id) -> c_int {
    with_errno_kept(|| registry::unregister(id, None))
}

/// As `memhook_unregister()`, waiting for `timeout_ns` nanoseconds at most.
///
/// # Returns
///
/// As `memhook_unregister()`, and:
///
/// - `ETIMEDOUT`: a callback is still running. The hook is out of the chain; its `release` is
///   called once, when the last use has ended.
///
/// # Threads
///
/// As `memhook_unregister()`.
///
/// # Reentrancy
///
/// As `memhook_unregister()`.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn memhook_unregister_timed(id: memhook_id, timeout_ns: u64) -> c_int {
    with_errno_kept(|| registry::unregister(id, Some(timeout_ns)))
}

/// Unregisters every hook whose table named `object`. Called when a shared object that used
/// `MEMHOOK_TIE_TO_OBJECT` is unloaded.
///
/// A block that one of its interceptors still owns cannot be taken back once the code is gone.
/// Such blocks are left alone from then on: freeing them does nothing, resizing them fails. A
/// message on standard error says so. At the end of the process, where nothing is unloaded, it
/// neither waits nor speaks.
///
/// # Returns
///
/// - 0: all its hooks are gone, as for `memhook_unregister()`.
/// - `EINPROGRESS`: one is still in use.
/// - `ENOMEM`, `ENOSPC`: as for `memhook_unregister()`: one is still in force. Where the object is being unloaded, this
///   function tries again until it is not.
///
/// # Threads
///
/// As `memhook_unregister()`.
///
/// # Reentrancy
///
/// As `memhook_unregister()`.
#[unsafe(no_mangle)]
pub extern "C" fn memhook_unregister_object(object: *const c_void) -> c_int {
    with_errno_kept(|| match object.is_null() {
        true => 0,
        false => registry::unregister_object(object, start::is_unloading(object as usize)),
    })
}

/// Says that a shared object was loaded which will call `memhook_unregister_object()` when its
/// destructors run; called by the constructor that `MEMHOOK_TIE_TO_OBJECT` makes. With it, the end of
/// the process is told from the unloading of the object.
///
/// # Threads
///
/// In a constructor only: it calls the C library's atexit.
///
/// # Reentrancy
///
/// Not inside a callback.
#[unsafe(no_mangle)]
pub extern "C" fn memhook_object_loaded() {
    with_errno_kept(start::object_loaded);
}

/// Puts other callbacks in an interceptor's place in one step: the id stays, and so does the
/// place in the order among hooks of the same priority. Every call runs through the former
/// callbacks or through the new ones. Blocks that the former ones made go back through them.
/// Chain objects that name the hook lose it; add it again where it is wanted.
///
/// # Returns
///
/// As `memhook_unregister()`, about the former callbacks, and:
///
/// - `EINVAL`: as for `memhook_register()`, or the hook is an observer.
/// - `ENOSPC`: as for `memhook_register()`.
/// - `ESRCH`: also where the hook is in a chain object only and not in force.
///
/// On every error except `EINPROGRESS` nothing has changed.
///
/// # Threads
///
/// As `memhook_unregister()`.
///
/// # Reentrancy
///
/// As `memhook_unregister()`.
///
/// # Lifetime
///
/// As `memhook_register()`. The former `release` is called when the former callbacks are gone.
///
/// # Safety
///
/// As `memhook_register()`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_replace(id: memhook_id, table: *const memhook_interceptor) -> c_int {
    with_errno_kept(|| {
        // SAFETY: the caller's contract.
        let read = unsafe { read_interceptor(table) };
        read.map_or_else(|error| error, |(table, thread)| registry::replace(id, table, thread))
    })
}

/// As `memhook_replace()`, for an observer.
///
/// # Returns
///
/// As `memhook_replace()`.
///
/// # Threads
///
/// As `memhook_unregister()`.
///
/// # Reentrancy
///
/// As `memhook_unregister()`.
///
/// # Safety
///
/// As `memhook_register()`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_replace_observer(id: memhook_id, table: *const memhook_observer) -> c_int {
    with_errno_kept(|| {
        // SAFETY: the caller's contract.
        let read = unsafe { read_observer(table) };
        read.map_or_else(|error| error, |(table, thread)| registry::replace(id, table, thread))
    })
}

/// Waits until every callback that is running now, in any thread, has returned.
///
/// # Returns
///
/// 0, or:
///
/// - `EDEADLK`: called inside a callback, which would wait for itself.
/// - `ENOMEM`: there was no memory for what the library must know of this thread.
///
/// # Threads
///
/// As `memhook_unregister()`.
///
/// # Reentrancy
///
/// Inside a callback: answers `EDEADLK` at once.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn memhook_synchronize() -> c_int {
    with_errno_kept(registry::synchronize)
}

/// How many blocks an interceptor made that are still alive: those of the callbacks that were
/// replaced included, and also after it was unregistered. 0 for an observer, for an interceptor
/// with `MEMHOOK_KEEPS_POINTERS`, and when the last block is gone.
///
/// # Parameters
///
/// - `out`: receives the number; exact while no other thread allocates. Not NULL.
///
/// # Returns
///
/// 0, or an error number with `*out` unchanged:
///
/// - `EINVAL`: `out` is NULL.
/// - `ESRCH`: no hook ever had this id.
/// - `ENOMEM`: there was no memory for what the library must know of this thread.
///
/// # Threads
///
/// Any thread, any time. Never waits.
///
/// # Reentrancy
///
/// Allowed inside a callback.
///
/// # Safety
///
/// `out` is NULL or writable.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_live_blocks(id: memhook_id, out: *mut usize) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { give(out, || registry::live_blocks(id)) }
}

/// Lists the hooks in force, or those of a chain object, outermost first.
///
/// # Parameters
///
/// - `chain`: a chain object, or 0 for the chain in force.
/// - `infos`: an array of `capacity` elements; may be NULL where `capacity` is 0.
/// - `info_size`: `sizeof(memhook_hook_info)`.
/// - `capacity`: how many elements there is room for; the rest is not stored.
/// - `count`: receives how many hooks there are, more than `capacity` perhaps. Not NULL.
///
/// # Returns
///
/// 0, or an error number with nothing stored:
///
/// - `EINVAL`: `count` is NULL, `infos` is NULL though `capacity` is not 0, `info_size` is no size
///   that this library knows, or `chain` is unknown or was consumed.
/// - `EBUSY`: another thread is using the chain object.
/// - `ENOMEM`: there was no memory for what the library must know of this thread.
///
/// # Threads
///
/// Any thread, any time. Never waits.
///
/// # Reentrancy
///
/// Allowed inside a callback.
///
/// # Safety
///
/// `infos` has room for `capacity` elements; `count` is NULL or writable.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_chain_list(
    chain: memhook_chain,
    infos: *mut memhook_hook_info,
    info_size: usize,
    capacity: usize,
    count: *mut usize,
) -> c_int {
    if info_size != size_of::<memhook_hook_info>() || (infos.is_null() && capacity != 0) {
        return libc::EINVAL;
    }
    let mut at = 0;
    let mut store = |info| {
        if at < capacity {
            // SAFETY: `at` is below the array's length (the caller's contract).
            unsafe { infos.wrapping_add(at).write(info) };
        }
        at += 1;
    };
    // SAFETY: the caller's contract.
    unsafe { give(count, || registry::list(chain, &mut store)) }
}

/// The error number of an operation on a chain, for `chains`.
pub(super) fn kept(work: impl FnOnce() -> Result<(), c_int>) -> c_int {
    with_errno_kept(|| code(work()))
}
