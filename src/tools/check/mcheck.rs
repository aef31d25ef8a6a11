//! The functions of glibc's `<mcheck.h>`, which does nothing since 2.34: with its types and its numbers.

use super::*;

/// `MCHECK_DISABLED`: not checked.
pub(super) const DISABLED: c_int = -1;
/// `MCHECK_OK`.
pub(super) const OK: c_int = 0;
/// `MCHECK_FREE`: freed already.
pub(super) const FREE: c_int = 1;
/// `MCHECK_HEAD`: changed before the block.
pub(super) const HEAD: c_int = 2;
/// `MCHECK_TAIL`: changed behind the block.
pub(super) const TAIL: c_int = 3;

/// What mcheck fills new blocks with.
const NEW_BYTE: u8 = 0x93;

fn begin(function: Option<settings::Status>, flags: u32) -> c_int {
    let options = memhook_check_options {
        flags: flags | MEMHOOK_CHECK_FILL_NEW,
        new_byte: NEW_BYTE,
        ..memhook_check_options::USUAL
    };
    match start(&options, function) {
        0 => 0,
        libc::EALREADY if is_on() && (flags & MEMHOOK_CHECK_PEDANTIC == 0 || settings::is_pedantic()) => {
            settings::set_status(function);
            0
        }
        _ => -1,
    }
}

// cbindgen leaves these out of the header by the attribute: <mcheck.h> declares them.

/// `mcheck`: checks blocks from now on. `function` is called instead of a message and abort.
///
/// Unlike glibc's it may be called at any time, and may be called again to change the function: NULL brings back what
/// is done without one.
///
/// # Returns
///
/// 0; -1 where there is no memory for it.
///
/// cbindgen:ignore
///
/// # Safety
///
/// `function` is NULL or a function as `<mcheck.h>` says, which may be called from any thread.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mcheck(function: Option<settings::Status>) -> c_int {
    begin(function, 0)
}

/// `mcheck_pedantic`: the same, and looks at all blocks before each call.
///
/// # Returns
///
/// 0; -1 where there is no memory for it, and where blocks are being checked already without that.
///
/// cbindgen:ignore
///
/// # Safety
///
/// As `mcheck`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mcheck_pedantic(function: Option<settings::Status>) -> c_int {
    begin(function, MEMHOOK_CHECK_PEDANTIC)
}

/// `mcheck_check_all`: looks at all blocks.
///
/// cbindgen:ignore
#[unsafe(no_mangle)]
pub extern "C" fn mcheck_check_all() {
    if is_on() {
        walk::all(Finder::Look("mcheck_check_all"));
    }
}

/// `mprobe`: looks at one block; at all, for NULL.
///
/// # Returns
///
/// An `enum mcheck_status`; `MCHECK_DISABLED` also for what is no block of the tool's.
///
/// cbindgen:ignore
#[unsafe(no_mangle)]
pub extern "C" fn mprobe(block: *mut c_void) -> c_int {
    if !is_on() {
        return DISABLED;
    }
    if block.is_null() {
        walk::all(Finder::Look("mprobe"));
        return OK;
    }
    walk::one(block as usize, "mprobe").unwrap_or(DISABLED)
}
