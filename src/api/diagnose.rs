//! What a program can ask about the library: version, self-test.

use super::{read_table, with_errno_kept};
use crate::abi::*;
use crate::backend;
use crate::selftest::{self, Findings};
use crate::start;
use crate::text::Text;
use core::ffi::{c_char, c_int, c_void};

/// The version of the library that is running, as "major.minor.patch".
///
/// # Threads
///
/// Any thread, any time.
///
/// # Reentrancy
///
/// Allowed inside a callback.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn memhook_version() -> *const c_char {
    concat!(env!("CARGO_PKG_VERSION"), "\0").as_ptr().cast()
}

/// The name of an entry point, by `MEMHOOK_ENTRY_` number; "?" for any other number.
///
/// # Threads
///
/// Any thread, any time.
///
/// # Reentrancy
///
/// Allowed inside a callback.
#[must_use]
#[unsafe(no_mangle)]
pub extern "C" fn memhook_entry_name(entry: u32) -> *const c_char {
    backend::entry_name(entry).as_ptr()
}

/// Tries whether the given functions arrive at this library: calls each once, with one byte or
/// NULL. `MEMHOOK_SELF_TEST()` gives the functions as the calling program or object sees them.
///
/// # Parameters
///
/// - `functions`: what to call. Not NULL; `functions->struct_size` is its size.
/// - `missed`: receives the entry points that do not arrive, bit `1 << number`; or NULL.
/// - `text`: receives a sentence for a person, ended by NUL; or NULL.
/// - `text_size`: its size in bytes.
///
/// # Returns
///
/// - 0: all arrive.
/// - `ENOLINK`: some do not; `missed` and `text` say which and where they lead instead.
/// - `ENOENT`: there was nothing to test.
/// - `EINVAL`: `functions` is NULL or its size is none that this library knows.
/// - `ENOMEM`: there was no memory for the test.
///
/// # Threads
///
/// Any thread. Other threads' calls take a longer way meanwhile. A few bytes are leaked for each
/// function that does not arrive, unless the `free` that is tested with it leads to the same object.
///
/// # Reentrancy
///
/// Allowed inside a callback.
///
/// # Safety
///
/// Each function is of the type that its number says; `missed` and `text` are NULL or writable.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_self_test(
    functions: *const memhook_entry_points,
    missed: *mut u32,
    text: *mut c_char,
    text_size: usize,
) -> c_int {
    with_errno_kept(|| {
        // SAFETY: the caller's contract.
        let result = unsafe { read_table(functions) }
            // SAFETY: the caller's contract.
            .and_then(|table| unsafe { selftest::try_functions(&table.functions) });
        // SAFETY: the caller's contract.
        unsafe { report(result, missed, text, text_size) }
    })
}

/// As `memhook_self_test()`, for the shared object that holds an address, wherever it was loaded
/// from: tries the functions that it is bound to.
///
/// # Parameters
///
/// - `address`: any address in the object, of a function of it, say.
///
/// # Returns
///
/// As `memhook_self_test()`; `EINVAL`: no object holds the address; `ENOENT`: the object calls no
/// entry point through the dynamic linker: it allocates nothing itself, or it is linked
/// statically with an allocator.
///
/// # Threads
///
/// As `memhook_self_test()`.
///
/// # Reentrancy
///
/// As `memhook_self_test()`.
///
/// # Safety
///
/// `missed` and `text` are NULL or writable.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_self_test_object(
    address: *const c_void,
    missed: *mut u32,
    text: *mut c_char,
    text_size: usize,
) -> c_int {
    with_errno_kept(|| {
        start::ensure();
        // SAFETY: the caller's contract.
        unsafe { report(selftest::try_object(address as usize), missed, text, text_size) }
    })
}

/// # Safety
///
/// `missed` and `text` are NULL or writable.
unsafe fn report(
    result: Result<Findings, c_int>,
    missed: *mut u32,
    text: *mut c_char,
    text_size: usize,
) -> c_int {
    let room: &mut [u8] = if text.is_null() {
        &mut []
    } else {
        // SAFETY: writable (the caller's contract).
        unsafe { core::slice::from_raw_parts_mut(text.cast(), text_size) }
    };
    let mut line = Text::cut(room);
    let (bits, result) = match result {
        Ok(findings) if findings.missed == 0 => {
            line.add(b"memhook: all allocation calls arrive");
            (0, 0)
        }
        Ok(findings) => {
            line.add(b"memhook: these calls do not arrive:");
            for number in (0..MEMHOOK_ENTRY_COUNT).filter(|n| findings.missed & (1 << n) != 0) {
                line.add(b" ");
                line.add(backend::entry_name(number).to_bytes());
            }
            line.add(b"; they lead to ");
            line.add(findings.leads_to.map_or(&b"?"[..], selftest::object_name));
            line.add(
                b". Link libmemhook before the library that defines them or preload it; a shared object \
                  must not be loaded with RTLD_DEEPBIND; a fully static program needs the linker options \
                  in memhook-static.opt.",
            );
            (findings.missed, libc::ENOLINK)
        }
        Err(libc::ENOENT) => {
            line.add(b"memhook: there is no allocation call to test");
            (0, libc::ENOENT)
        }
        Err(error) => (0, error),
    };
    line.end();
    if !missed.is_null() {
        // SAFETY: writable (the caller's contract).
        unsafe { missed.write(bits) };
    }
    result
}
