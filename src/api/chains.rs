//! Chain objects: whole chains that are built aside and put in force in one step.

use super::hooks::kept;
use super::{give, read_interceptor, read_observer, with_errno_kept};
use crate::abi::*;
use crate::registry;
use core::ffi::c_int;

/// Creates a chain object without hooks.
///
/// # Parameters
///
/// - `out`: receives it. Not NULL. It lasts until `memhook_chain_swap()` has consumed it or
///   `memhook_chain_destroy()` has ended it. A fork child does not have one that another thread was just using.
///
/// # Returns
///
/// 0, or an error number with `*out` unchanged:
///
/// - `EINVAL`: `out` is NULL.
/// - `ENOMEM`: there was no memory for it.
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
pub unsafe extern "C" fn memhook_chain_create(out: *mut memhook_chain) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { give(out, registry::create_chain) }
}

/// Creates a chain object with the hooks that are in force, which stay in force.
///
/// # Returns
///
/// As `memhook_chain_create()`.
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
pub unsafe extern "C" fn memhook_chain_copy(out: *mut memhook_chain) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { give(out, registry::copy_chain) }
}

/// Adds to a chain object a hook that is in force or in another chain object.
///
/// # Returns
///
/// 0, or an error number with nothing changed:
///
/// - `EINVAL`: there is no such chain object, or it was consumed.
/// - `EBUSY`: another thread is using the chain object.
/// - `ESRCH`: no hook has this id, or it was unregistered.
/// - `EEXIST`: the hook is in it already.
/// - `ENOMEM`: there was no memory for it.
///
/// # Threads
///
/// Any thread, any time. Never waits.
///
/// # Reentrancy
///
/// Allowed inside a callback.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn memhook_chain_add(chain: memhook_chain, id: memhook_id) -> c_int {
    kept(|| registry::add(chain, id))
}

/// Registers an interceptor in a chain object, not in force yet.
///
/// # Returns
///
/// As `memhook_register()`; `EINVAL` also where there is no such chain object or it was consumed,
/// and `EBUSY`: another thread is using it. `ENOSPC` comes from `memhook_chain_swap()`.
///
/// # Threads
///
/// As `memhook_register()`.
///
/// # Reentrancy
///
/// As `memhook_register()`.
///
/// # Safety
///
/// As `memhook_register()`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_chain_register(
    chain: memhook_chain,
    table: *const memhook_interceptor,
    out: *mut memhook_id,
) -> c_int {
    // SAFETY: the caller's contract.
    let read = || unsafe { read_interceptor(table) };
    // SAFETY: the caller's contract.
    unsafe { give(out, || read().and_then(|(table, thread)| registry::register_in(chain, table, thread))) }
}

/// Registers an observer in a chain object, not in force yet.
///
/// # Returns
///
/// As `memhook_observe()`; `EINVAL` also where there is no such chain object or it was consumed,
/// and `EBUSY`: another thread is using it.
///
/// # Threads
///
/// As `memhook_register()`.
///
/// # Reentrancy
///
/// As `memhook_register()`.
///
/// # Safety
///
/// As `memhook_register()`.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_chain_observe(
    chain: memhook_chain,
    table: *const memhook_observer,
    out: *mut memhook_id,
) -> c_int {
    // SAFETY: the caller's contract.
    let read = || unsafe { read_observer(table) };
    // SAFETY: the caller's contract.
    unsafe { give(out, || read().and_then(|(table, thread)| registry::register_in(chain, table, thread))) }
}

/// Takes a hook out of a chain object. One that no chain names any more is unregistered.
///
/// # Returns
///
/// - 0: it is out of it, and gone if no chain named it any more, as for `memhook_unregister()`.
/// - `EINPROGRESS`: it is out of it and in no other, and still in use, as for `memhook_unregister()`.
/// - `EALREADY`: it is out of it; it was being unregistered already.
/// - `EINVAL`: there is no such chain object, or it was consumed.
/// - `EBUSY`: another thread is using the chain object.
/// - `ESRCH`: no hook has this id, or the hook is not in the chain object.
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
pub extern "C" fn memhook_chain_remove(chain: memhook_chain, id: memhook_id) -> c_int {
    with_errno_kept(|| registry::remove(chain, id))
}

/// Puts a chain object in force in place of all hooks that are, in one step, and ends the chain
/// object. No allocation call sees a mixture of the two. Hooks of it that were unregistered
/// meanwhile are left out.
///
/// # Parameters
///
/// - `chain`: the chain object; consumed on success.
/// - `former`: receives a new chain object with the hooks that were in force, to be put back, or
///   ended with `memhook_chain_destroy()`. NULL: those that no chain names any more are
///   unregistered.
///
/// # Returns
///
/// - 0: done, and no thread is in a callback of the former chain that is not in the new one.
/// - `EINPROGRESS`: done, but such callbacks may still run: the call came from inside a callback,
///   or, with `former` NULL, an interceptor still owns blocks.
/// - `EINVAL`: there is no such chain object, or it was consumed. Nothing has changed.
/// - `EBUSY`: another thread is using the chain object, or just registering or replacing one of its hooks. Nothing
///   has changed.
/// - `ENOMEM`: there was no memory for it. Nothing has changed.
/// - `ENOSPC`: 4,095 sets of interceptors own blocks already. Nothing has changed.
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
/// `former` is NULL or writable.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_chain_swap(chain: memhook_chain, former: *mut memhook_chain) -> c_int {
    with_errno_kept(|| match registry::swap(chain, !former.is_null()) {
        Ok((handle, result)) => {
            if !former.is_null() {
                // SAFETY: not NULL, hence writable (the caller's contract).
                unsafe { former.write(handle) };
            }
            result
        }
        Err(error) => error,
    })
}

/// Ends a chain object. Hooks that no chain names any more are unregistered.
///
/// # Returns
///
/// - 0: done, and those hooks are gone, as for `memhook_unregister()`.
/// - `EINPROGRESS`: done, but one of them is still in use, as for `memhook_unregister()`.
/// - `EINVAL`: there is no such chain object, or it was consumed.
/// - `EBUSY`: another thread is using the chain object.
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
pub extern "C" fn memhook_chain_destroy(chain: memhook_chain) -> c_int {
    with_errno_kept(|| registry::destroy(chain))
}
