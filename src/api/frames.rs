//! The callers of callers, by frame pointers.

use crate::abi::*;
use crate::guard::{self, Record};
use crate::local;
use crate::sys::stack::{self, Stack};
use core::ffi::c_void;
use core::sync::atomic::{AtomicU32, Ordering};

static KEY: AtomicU32 = AtomicU32::new(0);

/// The end up to which this thread's stack may be read.
fn end_of_stack(record: &'static Record, stack_pointer: usize) -> Option<usize> {
    // ORDERING [none]: Relaxed. The key alone.
    let mut key = KEY.load(Ordering::Relaxed);
    if key == 0 {
        // Two threads that come first at the same time use up two keys.
        key = local::create(size_of::<Stack>())?;
        // ORDERING [none]: Relaxed. The key alone.
        KEY.store(key, Ordering::Relaxed);
    }
    // SAFETY: null, or memory of this thread, of this size; zero is valid.
    let stack = unsafe { local::of(record, key).cast::<Stack>().as_ref() }?;
    stack.end(record.identity(), stack_pointer)
}

/// From where a call came: its caller, the caller of that, and so on.
///
/// The first address is `call->caller`. The others are found by frame pointers, in functions that were compiled with
/// them (`-fno-omit-frame-pointer`): behind one that was not, addresses may be missing, and one may be wrong. Never reads
/// outside the thread's stack. On a signal's alternate stack or a coroutine's the caller is all. (Where the program made
/// the thread's stack itself, what is directly below that, with no guard between, passes for a part of it.)
///
/// # Parameters
///
/// - `addresses`: receives the return addresses, innermost first.
/// - `capacity`: how many there is room for.
///
/// # Returns
///
/// How many there are; 1 without `MEMHOOK_WANTS_FRAMES`; 0 where `capacity` is 0.
///
/// # Threads
///
/// In the callback that `call` was given to, and in its thread, before anything is allocated there. Never waits. The first
/// time in each thread asks the kernel for the bounds of its stack.
///
/// # Reentrancy
///
/// Only inside a callback.
///
/// # Safety
///
/// `call` was given to the callback of a hook with `MEMHOOK_WANTS_FRAMES`; `addresses` has room for `capacity`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_frames(
    call: *const memhook_call,
    addresses: *mut *const c_void,
    capacity: usize,
) -> usize {
    if capacity == 0 {
        return 0;
    }
    // SAFETY: the caller's contract.
    let caller = unsafe { &*call }.caller;
    // SAFETY: the caller's contract: there is room.
    unsafe { addresses.write(caller) };
    let mut count = 1;
    let Some(record) = guard::record() else { return count };
    let [frame, stack] = &record.came_with;
    // ORDERING [none]: Relaxed. Written by this thread.
    let (mut frame, stack) = (frame.load(Ordering::Relaxed), stack.load(Ordering::Relaxed));
    // ORDERING [none]: Relaxed. Written by this thread.
    if stack != record.word.load(Ordering::Relaxed) {
        // Of another call than the one whose callback this is.
        return count;
    }
    let Some(end) = end_of_stack(record, stack) else { return count };
    let mut lowest = stack;
    while count < capacity
        && frame >= lowest
        && frame.is_multiple_of(size_of::<usize>())
        && frame < end - 2 * size_of::<usize>()
    {
        // SAFETY: on this thread's stack, between the entry point's caller and the end.
        let [next, back] = unsafe { *(frame as *const [usize; 2]) };
        let back = stack::plain(back);
        if back < 4096 {
            break;
        }
        // SAFETY: the caller's contract: there is room.
        unsafe { addresses.wrapping_add(count).write(back as *const c_void) };
        count += 1;
        lowest = frame + 2 * size_of::<usize>();
        frame = next;
    }
    count
}
