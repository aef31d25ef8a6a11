//! The functions of memhook.h: each checks its arguments and hands on.
//!
//! Never: thinks. What a function does is done by `registry`, `dispatch` or `backend`.

// In the order of the header; blank lines keep rustfmt from sorting them.
pub mod hooks;

pub mod chains;

pub mod thread;

pub mod local;

pub mod next;

pub mod frames;

pub mod backend;

pub mod diagnose;

pub(crate) mod glibc;
pub(crate) mod log;

use crate::abi::*;
use crate::chain::Table;
use crate::dispatch;
use crate::guard;
use crate::start;
use core::ffi::{c_int, c_void};

/// Major version: changes when programs must be compiled again.
pub const MEMHOOK_VERSION_MAJOR: u32 = 0;
/// Minor version: changes when something was added.
pub const MEMHOOK_VERSION_MINOR: u32 = 1;
/// Patch version.
pub const MEMHOOK_VERSION_PATCH: u32 = 0;

const _: () = {
    const fn number(text: &str) -> u32 {
        let mut bytes = text.as_bytes();
        let mut n = 0;
        while let [digit, rest @ ..] = bytes {
            n = n * 10 + (*digit - b'0') as u32;
            bytes = rest;
        }
        n
    }
    assert!(MEMHOOK_VERSION_MAJOR == number(env!("CARGO_PKG_VERSION_MAJOR")));
    assert!(MEMHOOK_VERSION_MINOR == number(env!("CARGO_PKG_VERSION_MINOR")));
    assert!(MEMHOOK_VERSION_PATCH == number(env!("CARGO_PKG_VERSION_PATCH")));
};

/// Runs the work of an API function: the library started, errno as it was.
fn with_errno_kept<T>(work: impl FnOnce() -> T) -> T {
    let errno = crate::sys::thread::errno_location();
    // SAFETY: errno of this thread.
    let before = unsafe { errno.read() };
    start::ensure();
    let result = work();
    // SAFETY: errno of this thread.
    unsafe { errno.write(before) };
    result
}

/// The error number of a result, 0 for success.
fn code(result: Result<(), c_int>) -> c_int {
    result.err().unwrap_or(0)
}

/// Reads a struct that a program filled in, whose first member is its size.
///
/// # Safety
///
/// `table` is NULL or points to a `usize` and, if that is the size of a `T`, to a valid `T`.
unsafe fn read_table<T: Copy>(table: *const T) -> Result<T, c_int> {
    if table.is_null() || !table.is_aligned() {
        return Err(libc::EINVAL);
    }
    // SAFETY: not NULL (above); the first member is a usize (the caller's contract).
    let size = unsafe { table.cast::<usize>().read() };
    if size != size_of::<T>() {
        return Err(libc::EINVAL);
    }
    // SAFETY: of the size that it says (the caller's contract).
    Ok(unsafe { table.read() })
}

/// Checks an interceptor. The number is the identity of the only thread it is for, or 0.
///
/// # Safety
///
/// As [`read_table`]; `name` is NULL or a string.
unsafe fn read_interceptor(table: *const memhook_interceptor) -> Result<(Table, u64), c_int> {
    // SAFETY: the caller's contract.
    let table = unsafe { read_table(table) }?;
    let known = MEMHOOK_KEEPS_POINTERS
        | MEMHOOK_THIS_THREAD
        | MEMHOOK_OF_NOBODY
        | MEMHOOK_WANTS_FRAMES
        | MEMHOOK_SEES_NULL
        | MEMHOOK_SEES_REFUSED
        | MEMHOOK_KEEPS_ERRNO;
    let makes = table.malloc.is_some() || table.memalign.is_some();
    let callbacks = table.malloc.is_some()
        || table.realloc.is_some()
        || table.memalign.is_some()
        || table.free.is_some()
        || table.usable_size.is_some();
    let contradicts = table.flags & MEMHOOK_OF_NOBODY != 0 && makes;
    if table.flags & !known != 0 || !callbacks || contradicts || table.priority == i32::MIN {
        return Err(libc::EINVAL);
    }
    let thread = thread_for(table.flags)?;
    if table.flags & MEMHOOK_SEES_NULL != 0 {
        dispatch::give_null_frees(true);
    }
    Ok((Table::Interceptor(table), thread))
}

/// Checks an observer, as [`read_interceptor`].
///
/// # Safety
///
/// As [`read_interceptor`].
unsafe fn read_observer(table: *const memhook_observer) -> Result<(Table, u64), c_int> {
    // SAFETY: the caller's contract.
    let table = unsafe { read_table(table) }?;
    let callbacks = table.after_alloc.is_some()
        || table.before_free.is_some()
        || table.realloc_begin.is_some()
        || table.realloc_commit.is_some()
        || table.realloc_abort.is_some();
    let known = MEMHOOK_THIS_THREAD | MEMHOOK_WANTS_FRAMES | MEMHOOK_KEEPS_ERRNO;
    if table.flags & !known != 0 || !callbacks {
        return Err(libc::EINVAL);
    }
    Ok((Table::Observer(table), thread_for(table.flags)?))
}

fn thread_for(flags: u32) -> Result<u64, c_int> {
    if flags & MEMHOOK_THIS_THREAD == 0 {
        return Ok(0);
    }
    guard::record().map(guard::Record::identity).ok_or(libc::ENOMEM)
}

/// Writes a result where the program wants it; `EINVAL` where that is NULL.
///
/// # Safety
///
/// `out` is NULL or writable.
unsafe fn give<T>(out: *mut T, make: impl FnOnce() -> Result<T, c_int>) -> c_int {
    if out.is_null() {
        return libc::EINVAL;
    }
    with_errno_kept(|| {
        code(make().map(|value| {
            // SAFETY: not NULL (above), hence writable (the caller's contract).
            unsafe { out.write(value) }
        }))
    })
}

/// For documentation: what `void *` is here.
type Block = *mut c_void;
