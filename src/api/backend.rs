//! Memory past all hooks: the backend's, and the library's own.

use super::{Block, with_errno_kept};
use crate::backend;
use crate::dispatch;
use crate::guard;
use crate::scratch;
use crate::start;

/// Asks the backend with no hook in the way, also where it calls an entry point itself: some allocators only
/// forward one function to another, by its name.
#[inline(always)]
fn past_hooks<T>(ask: impl FnOnce() -> T) -> T {
    start::ensure();
    match guard::known() {
        Some(record) if !record.is_at_rest() => ask(),
        _ => outside_callbacks(ask),
    }
}

#[inline(never)]
fn outside_callbacks<T>(ask: impl FnOnce() -> T) -> T {
    let suspended = with_errno_kept(|| guard::record().filter(|record| record.suspend()));
    let answer = ask();
    if let Some(record) = suspended {
        record.resume();
    }
    answer
}

/// A callback in one of glibc's variables is known by its answer: is it a block of the backend's?
fn noted(block: Block) -> Block {
    dispatch::note_backends(block);
    block
}

/// The allocator below, past all hooks: as malloc(3).
///
/// # Threads
///
/// As malloc(3).
///
/// # Reentrancy
///
/// Allowed inside a callback.
#[unsafe(no_mangle)]
pub extern "C" fn memhook_backend_malloc(requested: usize) -> Block {
    // SAFETY: `past_hooks` resolves.
    noted(past_hooks(|| unsafe { backend::malloc(requested) }))
}

/// The allocator below, past all hooks: as calloc(3).
///
/// # Threads
///
/// As calloc(3).
///
/// # Reentrancy
///
/// Allowed inside a callback.
#[unsafe(no_mangle)]
pub extern "C" fn memhook_backend_calloc(count: usize, each: usize) -> Block {
    // SAFETY: `past_hooks` resolves.
    noted(past_hooks(|| unsafe { backend::calloc(count, each) }))
}

/// The allocator below, past all hooks: as realloc(3).
///
/// # Threads
///
/// As realloc(3).
///
/// # Reentrancy
///
/// Allowed inside a callback.
///
/// # Safety
///
/// `block` is NULL or a block of the backend.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_backend_realloc(block: Block, requested: usize) -> Block {
    // SAFETY: `past_hooks` resolves; the block is the caller's contract.
    let ask = || unsafe { backend::realloc(block, requested) };
    // Before it is given up: afterwards another thread may have the same address.
    dispatch::end_loan(block);
    let new = past_hooks(ask);
    noted(if new.is_null() && requested != 0 { block } else { new });
    new
}

/// The allocator below, past all hooks: as memalign(3).
///
/// # Threads
///
/// As memalign(3).
///
/// # Reentrancy
///
/// Allowed inside a callback.
#[unsafe(no_mangle)]
pub extern "C" fn memhook_backend_memalign(alignment: usize, requested: usize) -> Block {
    // SAFETY: `past_hooks` resolves.
    noted(past_hooks(|| unsafe { backend::memalign(alignment, requested) }))
}

/// The allocator below, past all hooks: as free(3).
///
/// # Threads
///
/// As free(3).
///
/// # Reentrancy
///
/// Allowed inside a callback.
///
/// # Safety
///
/// `block` is NULL or a block of the backend: one that a `memhook_backend_` function returned, or
/// that no interceptor owns.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_backend_free(block: Block) {
    dispatch::end_loan(block);
    // SAFETY: `past_hooks` resolves; the block is the caller's contract.
    past_hooks(|| unsafe { backend::free(block) })
}

/// The allocator below, past all hooks: as malloc_usable_size(3).
///
/// # Threads
///
/// As malloc_usable_size(3).
///
/// # Reentrancy
///
/// Allowed inside a callback.
///
/// # Safety
///
/// As `memhook_backend_free()`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_backend_usable_size(block: Block) -> usize {
    // SAFETY: `past_hooks` resolves; the block is the caller's contract.
    past_hooks(|| unsafe { backend::usable_size(block) })
}

/// For the tools: whether a usable size can be asked for when the program does not.
pub(crate) fn backend_knows_sizes() -> bool {
    start::ensure();
    backend::knows_sizes()
}

/// Memory of the library's own, which no allocator knows: for callbacks that need some whatever
/// locks are held. Aligned to 16 bytes, contents undefined.
///
/// # Returns
///
/// The memory, or NULL where there is none; errno is untouched.
///
/// # Threads
///
/// Any thread, any time, signal handlers included. Lock-free.
///
/// # Reentrancy
///
/// Allowed inside a callback.
#[unsafe(no_mangle)]
pub extern "C" fn memhook_scratch_malloc(bytes: usize) -> Block {
    scratch::malloc(bytes).cast()
}

/// Gives memory of `memhook_scratch_malloc()` back. NULL does nothing.
///
/// # Threads
///
/// As `memhook_scratch_malloc()`.
///
/// # Reentrancy
///
/// Allowed inside a callback.
///
/// # Safety
///
/// `memory` is NULL or came from `memhook_scratch_malloc()` and is not used any more. Anything
/// else ends the process with a message.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_scratch_free(memory: Block) {
    // SAFETY: the caller's contract.
    unsafe { scratch::free(memory.cast()) }
}
