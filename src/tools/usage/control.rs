//! The functions of the header.

use super::begin::{DataFile, Start};
use super::reading::{Reading, finish_data};
use super::session::{self, Hold};
use super::*;
use crate::abi::*;
use crate::api::hooks::{memhook_synchronize, memhook_unregister};
use crate::text::Text;
use crate::tools::path::Path;
use core::ffi::CStr;

/// Reads a struct that a program filled in, whose first member is its size.
///
/// # Safety
///
/// `table` is NULL or points to a `usize` and, if that is the size of a `T`, to a valid `T`.
unsafe fn read_struct<T: Copy>(table: *const T) -> Result<T, c_int> {
    // SAFETY: not NULL where it is read; the first member is a size (the caller's contract).
    if table.is_null() || unsafe { table.cast::<usize>().read() } != size_of::<T>() {
        return Err(libc::EINVAL);
    }
    // SAFETY: of the size that it says (the caller's contract).
    Ok(unsafe { table.read() })
}

/// Begins to count memory usage. Blocks that exist already are not counted, and neither is what becomes of
/// them. Up to 16 sessions count at the same time, each for itself.
///
/// # Parameters
///
/// - `options`: how; copied before return, texts too. NULL: as if all members were 0.
/// - `out`: receives the id for the other functions. Not NULL.
///
/// # Returns
///
/// 0, or an error number; `errno` itself is never touched. On error nothing has changed.
///
/// - `EINVAL`: `out` is NULL, a `struct_size` is no size that this library knows, a flag, a limit or the
///   signal is unknown, a `reserved` is not 0, the exit status is not from 0 to 255, the batch is 2^48 bytes or
///   more, `MEMHOOK_USAGE_TIMER` is given without a data file or `MEMHOOK_USAGE_ABORT` without a limit of the peak.
/// - `EBUSY`: the signal has a handler.
/// - `ENOSPC`: 16 sessions count already, or as for `memhook_register()` or `memhook_local_create()`.
/// - `ENOMEM`: there was no memory for it.
/// - What open(2) says of a file.
///
/// # Threads
///
/// Any thread, any time, except while the dynamic linker's lock is held.
///
/// # Reentrancy
///
/// Inside a callback: the call that the callback belongs to is not counted.
///
/// # Safety
///
/// `options` is NULL or points to options of the size that they say, with strings and limits that are
/// valid; `out` is NULL or writable.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_usage_start(
    options: *const memhook_usage_options,
    out: *mut memhook_id,
) -> c_int {
    // SAFETY: the caller's contract.
    unsafe { start(options, out, crate::sys::tls::stack_pointer()) }
}

/// # Safety
///
/// As [`memhook_usage_start`].
#[inline(never)]
unsafe fn start(options: *const memhook_usage_options, out: *mut memhook_id, stack: usize) -> c_int {
    if out.is_null() {
        return libc::EINVAL;
    }
    let mut start = Start::PLAIN;
    if !options.is_null() {
        // SAFETY: the caller's contract.
        let read = unsafe { read_struct(options) };
        let Ok(options) = read else { return libc::EINVAL };
        // SAFETY: the caller's contract.
        match unsafe { checked(&options) } {
            Ok(checked) => start = checked,
            Err(error) => return error,
        }
    }
    start.stack = stack;
    match start.begin(&|_, error| Err(error)) {
        Ok(id) => {
            // SAFETY: not NULL (above), hence writable (the caller's contract).
            unsafe { out.write(id) };
            0
        }
        Err(error) => error,
    }
}

/// # Safety
///
/// The strings and limits of `options` are valid for `'a`.
unsafe fn checked<'a>(options: &memhook_usage_options) -> Result<Start<'a>, c_int> {
    let known = MEMHOOK_THIS_THREAD
        | MEMHOOK_USAGE_AT_EXIT
        | MEMHOOK_USAGE_TIMER
        | MEMHOOK_USAGE_ABORT
        | MEMHOOK_USAGE_MAPS;
    let text = |text: *const c_char| {
        // SAFETY: not NULL, hence a string (the caller's contract).
        (!text.is_null()).then(|| unsafe { CStr::from_ptr(text) }.to_bytes())
    };
    let mut limits = limits::NONE;
    if !options.limits.is_null() {
        // SAFETY: the caller's contract.
        limits = unsafe { read_struct(options.limits) }?;
    }
    let (report, data) = (text(options.report), text(options.data));
    let has = |flag| options.flags & flag != 0;
    let valid = options.flags & !known == 0
        && limits::are_known(&limits)
        && signal::is_possible(options.signal)
        && (0..256).contains(&options.exit_status)
        && options.batch < 1 << 48
        && (!has(MEMHOOK_USAGE_TIMER) || data.is_some())
        && (!has(MEMHOOK_USAGE_ABORT) || limits.which & MEMHOOK_USAGE_PEAK != 0)
        && [report, data].into_iter().flatten().all(Path::is_pattern);
    if !valid {
        return Err(libc::EINVAL);
    }
    Ok(Start {
        flags: options.flags,
        signal: options.signal,
        report,
        data: data.map(DataFile::Pattern),
        data_buffer: options.data_buffer,
        exit_status: options.exit_status,
        batch: options.batch,
        limits,
        stack: 0,
    })
}

/// # Safety
///
/// `usage` is NULL or points to a struct of the size that it says, whose `histogram` is NULL or has room.
unsafe fn give(hold: &Hold, usage: *mut memhook_usage) -> c_int {
    let Some(reading) = Reading::of(hold, false) else { return libc::ENOMEM };
    // SAFETY: of the size that it says, which was checked (the caller's contract).
    let histogram = unsafe { (*usage).histogram };
    if !histogram.is_null() {
        let from = reading.sums.histogram.as_ptr();
        // SAFETY: room for as many numbers (the caller's contract), and apart from ours.
        unsafe { from.copy_to_nonoverlapping(histogram, MEMHOOK_USAGE_BUCKETS) };
    }
    // SAFETY: writable (the caller's contract).
    unsafe { usage.write(memhook_usage { histogram, ..reading.usage }) };
    0
}

/// Reads what a session has counted up to now. Other threads go on.
///
/// # Parameters
///
/// - `id`: what `memhook_usage_start()` gave.
/// - `usage`: receives it; `usage->struct_size` and `usage->histogram` are to be filled in. Not NULL.
///
/// # Returns
///
/// 0, or an error number; `errno` itself is never touched. On error nothing has changed.
///
/// - `EINVAL`: `usage` is NULL, or `usage->struct_size` is no size that this library knows.
/// - `ESRCH`: there is no such session.
/// - `ENOMEM`: there was no memory for it.
///
/// # Threads
///
/// Any thread, any time, except in a signal handler: it takes locks of the allocator's, to ask what that
/// has.
///
/// # Reentrancy
///
/// Allowed inside a callback.
///
/// # Safety
///
/// `usage` is NULL or points to a struct of the size that it says; `usage->histogram` is NULL or has room.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_usage_read(id: memhook_id, usage: *mut memhook_usage) -> c_int {
    // SAFETY: the caller's contract.
    if let Err(error) = unsafe { read_struct(usage) } {
        return error;
    }
    let Some(hold) = session::named(id) else { return libc::ESRCH };
    // SAFETY: checked above (the caller's contract).
    unsafe { give(&hold, usage) }
}

/// Forgets what a session has counted up to now. What is in use stays in use; the peaks are from now on
/// those of what comes.
///
/// # Returns
///
/// 0, or an error number with nothing changed:
///
/// - `ESRCH`: there is no such session.
/// - `ENOMEM`: there was no memory for it.
///
/// # Threads
///
/// Any thread, any time. Where another thread than the only one that has allocated calls it, the peak is
/// from then on found as if there were several (see `peak_error`).
///
/// # Reentrancy
///
/// Allowed inside a callback.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn memhook_usage_reset(id: memhook_id) -> c_int {
    let Some(hold) = session::named(id) else { return libc::ESRCH };
    hold.reset().err().unwrap_or(0)
}

/// Writes a report of what a session has counted up to now: libmemusage's, and behind it what that one
/// does not know; with colours if `fd` is a terminal.
///
/// # Returns
///
/// 0, or an error number:
///
/// - `ESRCH`: there is no such session.
/// - `ENOMEM`: there was no memory for it.
/// - What write(2) says: the report is not whole. SIGPIPE and SIGXFSZ are not raised.
///
/// # Threads
///
/// As `memhook_usage_read()`.
///
/// # Reentrancy
///
/// Allowed inside a callback.
#[unsafe(no_mangle)]
pub extern "C" fn memhook_usage_report(id: memhook_id, fd: c_int) -> c_int {
    let Some(hold) = session::named(id) else { return libc::ESRCH };
    let Some(reading) = Reading::of(&hold, false) else { return libc::ENOMEM };
    report::write(&reading, fd).err().unwrap_or(0)
}

/// Compares what a session has counted up to now with a budget.
///
/// # Parameters
///
/// - `limits`: the budget. Not NULL; `limits->struct_size` is its size.
/// - `text`: receives a sentence for a person, ended by NUL; or NULL.
/// - `text_size`: its size in bytes.
///
/// # Returns
///
/// 0: nothing exceeds its limit. Else:
///
/// - `ERANGE`: something does; `text` says what.
/// - `EINVAL`: `limits` is NULL, its size is none that this library knows, or it names an unknown limit.
/// - `ESRCH`: there is no such session.
/// - `ENOMEM`: there was no memory for it.
///
/// # Threads
///
/// As `memhook_usage_read()`.
///
/// # Reentrancy
///
/// Allowed inside a callback.
///
/// # Safety
///
/// `limits` is NULL or points to limits of the size that they say; `text` is NULL or has room.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_usage_expect(
    id: memhook_id,
    limits: *const memhook_usage_limits,
    text: *mut c_char,
    text_size: usize,
) -> c_int {
    // SAFETY: the caller's contract.
    let limits = match unsafe { read_struct(limits) } {
        Ok(limits) if limits::are_known(&limits) => limits,
        _ => return libc::EINVAL,
    };
    let Some(hold) = session::named(id) else { return libc::ESRCH };
    let Some(reading) = Reading::of(&hold, false) else { return libc::ENOMEM };
    let room: &mut [u8] = if text.is_null() {
        &mut []
    } else {
        // SAFETY: as much room as they say (the caller's contract).
        unsafe { core::slice::from_raw_parts_mut(text.cast(), text_size) }
    };
    let mut line = Text::cut(room);
    let exceeded = limits::exceeded(&reading, &limits, &mut line);
    line.end();
    if exceeded { libc::ERANGE } else { 0 }
}

/// Ends a session. Its data file is completed; nothing is reported. What it counted blocks of goes on as
/// it is: 16 bytes stay in front of each until it is freed.
///
/// # Parameters
///
/// - `id`: what `memhook_usage_start()` gave.
/// - `usage`: receives what was counted, as `memhook_usage_read()`; or NULL.
///
/// # Returns
///
/// 0, or an error number; `errno` itself is never touched.
///
/// - `EINVAL`: `usage->struct_size` is no size that this library knows. Nothing has changed.
/// - `ESRCH`: there is no such session.
/// - `ENOMEM`, `ENOSPC`, `EBUSY`: as for `memhook_unregister()`: it goes on. `ENOMEM` also where it has ended,
///   but there was no memory for what was counted: `*usage` is unchanged.
///
/// # Threads
///
/// Any thread, any time, except in a signal handler. Waits until no thread is in a call that is counted.
///
/// # Reentrancy
///
/// Inside a callback: does not wait. What is kept for the session is given back with its last block.
///
/// # Safety
///
/// As `memhook_usage_read()`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_usage_stop(id: memhook_id, usage: *mut memhook_usage) -> c_int {
    if !usage.is_null() {
        // SAFETY: the caller's contract.
        if let Err(error) = unsafe { read_struct(usage) } {
            return error;
        }
    }
    let Some(hold) = session::named(id) else { return libc::ESRCH };
    if !hold.unname(id) {
        return libc::ESRCH;
    }
    let result = memhook_unregister(id);
    if [libc::ENOMEM, libc::ENOSPC, libc::EBUSY].contains(&result) {
        hold.rename(id);
        return result;
    }
    hold.end_counting();
    let waited = memhook_synchronize() == 0;
    signal::end(&hold, libc::SIG_IGN);
    finish_data(&hold);
    let error = match usage.is_null() {
        true => 0,
        // SAFETY: checked above (the caller's contract).
        false => unsafe { give(&hold, usage) },
    };
    if waited {
        // Else the hook's release does it.
        hold.end_running();
    }
    hold.leave(1);
    error
}
