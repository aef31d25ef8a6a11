//! What an interceptor calls to pass a call on.

use super::Block;
use crate::abi::*;
use crate::dispatch;
use core::ffi::c_int;

pub(crate) use dispatch::is_alone;

/// Asks the rest of the chain, and at its end the backend, for a block.
///
/// # Returns
///
/// The block, or NULL with errno set.
///
/// # Threads
///
/// In the callback that `next` was given to, and in its thread, any number of times. Never waits.
///
/// # Reentrancy
///
/// Only inside a callback.
///
/// # Safety
///
/// `next` was given to the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_next_malloc(next: *mut memhook_next, requested: usize) -> Block {
    // SAFETY: the caller's contract.
    unsafe { dispatch::next_malloc(next, requested) }
}

/// Asks the rest of the chain for a resized block, as realloc.
///
/// # Parameters
///
/// - `block`: a block of the rest of the chain, or NULL.
///
/// # Returns
///
/// The block, or NULL with errno set.
///
/// # Threads
///
/// As `memhook_next_malloc()`.
///
/// # Reentrancy
///
/// Only inside a callback.
///
/// # Safety
///
/// `next` was given to the callback; `block` came from a next of the same interceptor.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_next_realloc(
    next: *mut memhook_next,
    block: Block,
    requested: usize,
) -> Block {
    // SAFETY: the caller's contract.
    unsafe { dispatch::next_realloc(next, block, requested) }
}

/// Asks the rest of the chain for an aligned block.
///
/// An interceptor below that changes pointers is reached by its own memalign callback; who
/// mixes `next` functions of different kinds wants interceptors below to have both.
///
/// # Returns
///
/// The block, or NULL with errno set.
///
/// # Threads
///
/// As `memhook_next_malloc()`.
///
/// # Reentrancy
///
/// Only inside a callback.
///
/// # Safety
///
/// `next` was given to the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_next_memalign(
    next: *mut memhook_next,
    alignment: usize,
    requested: usize,
) -> Block {
    // SAFETY: the caller's contract.
    unsafe { dispatch::next_memalign(next, alignment, requested) }
}

/// Gives a block back to the rest of the chain. NULL does nothing.
///
/// # Threads
///
/// As `memhook_next_malloc()`.
///
/// # Reentrancy
///
/// Only inside a callback.
///
/// # Safety
///
/// As `memhook_next_realloc()`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_next_free(next: *mut memhook_next, block: Block) {
    // SAFETY: the caller's contract.
    unsafe { dispatch::next_free(next, block) }
}

/// Measures a block of the rest of the chain, in bytes. 0 for NULL.
///
/// # Threads
///
/// As `memhook_next_malloc()`.
///
/// # Reentrancy
///
/// Only inside a callback.
///
/// # Safety
///
/// As `memhook_next_realloc()`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_next_usable_size(next: *mut memhook_next, block: Block) -> usize {
    // SAFETY: the caller's contract.
    unsafe { dispatch::next_usable_size(next, block) }
}

/// Whether nobody is left between the callback and the backend: 1 or 0. Where it is 1, the `next` functions
/// are the same as `memhook_backend_malloc()` and so on, so that an interceptor may keep a block that it
/// was asked to free, and give it back, or out again, in another call.
///
/// # Threads
///
/// As `memhook_next_malloc()`.
///
/// # Reentrancy
///
/// Only inside a callback.
///
/// # Safety
///
/// `next` was given to the callback.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_next_is_backend(next: *mut memhook_next) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { dispatch::next_is_backend(next) }.into()
}

/// The usable size, in bytes, of the block that a call is about (`call->block`), for an
/// observer's before_free and realloc_begin. 0 where the call has no block.
///
/// # Threads
///
/// In the callback that `call` was given to, and in its thread. Never waits.
///
/// # Reentrancy
///
/// Only inside a callback.
///
/// # Safety
///
/// `call` was given to the callback.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_usable_size(call: *const memhook_call) -> usize {
    // SAFETY: the caller's contract.
    unsafe { dispatch::usable_size_of(call) }
}
