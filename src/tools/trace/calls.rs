//! The functions and types by which programs start traces.

use super::{LONGEST, TRACES, Trace, stack};
use crate::abi::*;
use crate::api::hooks::{memhook_observe, memhook_unregister};
use crate::sys::{self, pages};
use core::ffi::{CStr, c_char, c_int};
use core::sync::atomic::{AtomicU64, Ordering};

/// Flag of a trace: the binary form of docs/TRACE-FORMAT.md. Otherwise the text that glibc's mtrace writes.
pub const MEMHOOK_TRACE_BINARY: u32 = 0x100;
/// Flag of a trace: percent signs in the path mean themselves.
pub const MEMHOOK_TRACE_LITERAL: u32 = 0x200;
/// Flag of a trace: callers of callers are found by the unwind tables that compilers write, which nearly all code
/// has. Otherwise by frame pointers, which only code has that was compiled with -fno-omit-frame-pointer.
pub const MEMHOOK_TRACE_UNWIND: u32 = 0x400;

/// What is to be traced, and where to. Fill in `struct_size` and `path`, and what else is wanted; 0
/// elsewhere.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct memhook_trace_options {
    /// `sizeof(memhook_trace_options)`.
    pub struct_size: usize,
    /// The file; a relative name is one in the folder that is current at the start. `%p` stands for the process id,
    /// `%e` for the name of the executable, `%n` for the first number, from 0, with which there is no such file yet,
    /// `%%` for a percent sign. `/dev/stdout` and `/dev/stderr` are the descriptors 1 and 2. At most 4,095 bytes.
    pub path: *const c_char,
    /// `MEMHOOK_TRACE_BINARY`, `MEMHOOK_TRACE_LITERAL`, `MEMHOOK_TRACE_UNWIND`; `MEMHOOK_THIS_THREAD` for the calling thread's calls
    /// only; or 0.
    pub flags: u32,
    /// How many callers of callers are recorded with each call, of the binary form; at most 63. On x86-64
    /// only.
    pub frames: u32,
    /// The file does not become longer than so many bytes; 0: as long as it may.
    pub most_bytes: u64,
}

/// What has become of a trace.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct memhook_trace_counts {
    /// `sizeof(memhook_trace_counts)`.
    pub struct_size: usize,
    /// How long the file is.
    pub bytes: u64,
    /// How many records are missing in it, for want of space or since there may not be more.
    pub missing: u64,
}

/// Is told the name of the file that a trace cannot be written to, as far as it is known, and why.
pub(super) type Complain<'a> = &'a dyn Fn(&[u8], c_int);

/// Starts a trace. `path` is not ended by NUL.
pub(super) fn start(
    path: &[u8],
    options: &memhook_trace_options,
    complain: Complain,
) -> Result<memhook_id, c_int> {
    let trace = take(path, options).inspect_err(|&error| complain(path, error))?;
    put_in_force(trace).inspect_err(|&error| {
        let tried = trace.output.path();
        complain(if tried.is_empty() { path } else { tried }, error);
        trace.leave(2);
    })
}

/// A trace that is to do this.
fn take(path: &[u8], options: &memhook_trace_options) -> Result<&'static Trace, c_int> {
    let known = MEMHOOK_TRACE_BINARY | MEMHOOK_TRACE_LITERAL | MEMHOOK_TRACE_UNWIND | MEMHOOK_THIS_THREAD;
    let with_frames = options.flags & MEMHOOK_TRACE_BINARY != 0 && options.frames < stack::MOST as u32;
    if options.flags & !known != 0 || (options.frames != 0 && !with_frames) || path.is_empty() {
        return Err(libc::EINVAL);
    }
    if path.len() >= LONGEST {
        return Err(libc::ENAMETOOLONG);
    }
    let trace = Trace::take()?;
    // SAFETY: taken by us alone, and not registered (invariant 2).
    let settings = unsafe { &mut *trace.settings.get() };
    settings.pattern.iter_mut().zip(path).for_each(|(to, from)| *to = *from);
    settings.len = path.len();
    settings.flags = options.flags;
    settings.frames = options.frames;
    settings.most = if options.most_bytes == 0 { u64::MAX } else { options.most_bytes };
    settings.page = (sys::auxiliary(libc::AT_PAGESZ) as usize).max(pages::PAGE);
    trace.ensure_keys().inspect_err(|_| trace.leave(2))?;
    Ok(trace)
}

fn put_in_force(trace: &'static Trace) -> Result<memhook_id, c_int> {
    trace.begin(false)?;
    let table = trace.observer();
    let mut id = 0;
    // SAFETY: a whole table, and a place for the id; traces are never unmapped.
    let error = unsafe { memhook_observe(&raw const table, &raw mut id) };
    if error != 0 {
        trace.finish();
        trace.output.remove();
        return Err(error);
    }
    // ORDERING [none]: Relaxed. Who knows the id was told.
    trace.id.store(id, Ordering::Relaxed);
    Ok(id)
}

/// Writes every allocation call to a file, from now on.
///
/// The file is emptied if it exists, unless another process is tracing to it, or this one was before it
/// called exec: then, and in a fork child, the process id is added to the name. It is mapped, and must not be
/// made shorter meanwhile. What can only be written to (a pipe, a terminal, a file system that cannot
/// reserve blocks) is written to, which is slower. The trace goes on until it is stopped or the process ends,
/// however it ends.
///
/// # Parameters
///
/// - `options`: what is wanted, copied before return. Not NULL; `options->struct_size` is its size.
/// - `out`: receives the id to give to `memhook_trace_stop()`. Not NULL.
///
/// # Returns
///
/// 0, or an error number; `errno` itself is never touched. On error nothing is traced.
///
/// - `EINVAL`: `options` or `out` is NULL, `struct_size` is no size that this library knows, a flag is
///   unknown, `frames` is above 63 or given for the text form, or the path is NULL, empty, or has a percent
///   sign that stands for nothing.
/// - `EBUSY`: there are eight traces already.
/// - `ENOSPC`: all keys of `memhook_local_create()` are given out.
/// - `ENAMETOOLONG`: the path has more than 4,095 bytes.
/// - `ENOTSUP`: the kernel is older than Linux 4.14.
/// - `ENOMEM`: there was no memory for it.
/// - what open(2) or fallocate(2) say of the file: `EACCES`, `ENOSPC`, `EFBIG`, ….
///
/// # Threads
///
/// Any thread, any time. Waits for the file system.
///
/// # Reentrancy
///
/// Allowed inside a callback.
///
/// # Safety
///
/// `options` is NULL or points to options of the size that they say, whose path is NULL or a string; `out`
/// is NULL or writable.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_trace_start(
    options: *const memhook_trace_options,
    out: *mut memhook_id,
) -> c_int {
    if options.is_null() || out.is_null() {
        return libc::EINVAL;
    }
    // SAFETY: not NULL, and the first member is a size (the caller's contract).
    if unsafe { options.cast::<usize>().read() } != size_of::<memhook_trace_options>() {
        return libc::EINVAL;
    }
    // SAFETY: of the size that it says (the caller's contract).
    let options = unsafe { *options };
    if options.path.is_null() {
        return libc::EINVAL;
    }
    // SAFETY: a string (the caller's contract).
    let path = unsafe { CStr::from_ptr(options.path) };
    match start(path.to_bytes(), &options, &|_, _| ()) {
        Err(error) => error,
        Ok(id) => {
            // SAFETY: not NULL, hence writable (the caller's contract).
            unsafe { out.write(id) };
            0
        }
    }
}

/// Ends a trace and closes its file.
///
/// # Parameters
///
/// - `id`: what `memhook_trace_start()` gave.
/// - `counts`: receives what has become of the trace; `counts->struct_size` is its size. Or NULL.
///
/// # Returns
///
/// 0, or an error number; `errno` itself is never touched.
///
/// - `EINVAL`: `counts->struct_size` is no size that this library knows. Nothing has changed.
/// - `ESRCH`: there is no such trace.
/// - `EINPROGRESS`: called inside a callback. Nothing more is traced; the file is finished when no thread
///   writes to it any more, and the counts are those of now.
/// - `ENOMEM`, `EBUSY`: as `memhook_unregister()`. The trace goes on.
///
/// # Threads
///
/// Any thread, any time. Waits until no thread is writing to the file.
///
/// # Reentrancy
///
/// Inside a callback: does not wait.
///
/// # Safety
///
/// `counts` is NULL or points to counts of the size that they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_trace_stop(id: memhook_id, counts: *mut memhook_trace_counts) -> c_int {
    // SAFETY: not NULL, and the first member is a size (the caller's contract).
    if !counts.is_null() && unsafe { counts.cast::<usize>().read() } != size_of::<memhook_trace_counts>() {
        return libc::EINVAL;
    }
    // ORDERING [none]: Relaxed. Who knows the id was told.
    let named = |trace: &&Trace| id != 0 && trace.id.load(Ordering::Relaxed) == id;
    let Some(trace) = TRACES.iter().find(named) else { return libc::ESRCH };
    // ORDERING [none]: Relaxed and Relaxed. Decides who stops it.
    if trace.id.compare_exchange(id, 0, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return libc::ESRCH;
    }
    let now = if counts.is_null() { (0, 0) } else { trace.counts() };
    let result = memhook_unregister(id);
    if matches!(result, libc::ENOMEM | libc::EBUSY | libc::ENOSPC) {
        // ORDERING [none]: Relaxed. It can be stopped again.
        trace.id.store(id, Ordering::Relaxed);
        return result;
    }
    if !counts.is_null() {
        // ORDERING [none]: Relaxed. Statistics.
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        let (bytes, missing) = if result == 0 { (read(&trace.bytes), read(&trace.missing)) } else { now };
        let found = memhook_trace_counts { struct_size: size_of::<memhook_trace_counts>(), bytes, missing };
        // SAFETY: not NULL (the caller's contract).
        unsafe { counts.write(found) };
    }
    trace.leave(1);
    result
}
