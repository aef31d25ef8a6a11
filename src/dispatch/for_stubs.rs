//! What stubs that do a short way themselves leave to the Rust text once their section is open.

use super::{NONE, observe, single};
use crate::chain;
use crate::grace;
use crate::guard::Record;
use core::ffi::{c_int, c_void};

/// For the stub of malloc: the backend has no block. Gives the caller NULL.
///
/// # Safety
///
/// The section that the stub began is open, on the head that its record names; the call is described.
pub(crate) unsafe extern "C" fn observed_nothing(record: &'static Record) -> *mut c_void {
    // SAFETY: the caller's contract.
    let section = unsafe { grace::stub::section(record) };
    // SAFETY: as above.
    let head = unsafe { chain::named(&section) };
    observe::failed(section, head, &record.malloc_call);
    NONE
}

/// For the stub of malloc: its block is to be marked, or there is none. Gives the caller what it gets.
///
/// # Safety
///
/// The section that the stub began is open, on a head with a single interceptor, which its record names; the
/// call is described, and `block` is what the interceptor gave.
pub(crate) unsafe extern "C" fn made_by_stub(
    record: &'static Record,
    block: *mut c_void,
    errno: c_int,
) -> *mut c_void {
    // SAFETY: the caller's contract.
    let section = unsafe { grace::stub::section(record) };
    // SAFETY: as above.
    let head = unsafe { chain::named(&section) };
    single::made(section, block, head, errno)
}

/// For the stub of free: the block is not one that the single interceptor owns, or it is far.
///
/// # Safety
///
/// The caller's contract is free's, and the section that the stub began is open.
pub(crate) unsafe extern "C" fn free_for_stub(
    block: *mut c_void,
    frame: usize,
    caller: usize,
    record: &'static Record,
) {
    // SAFETY: the caller's contract.
    let section = unsafe { grace::stub::section(record) };
    single::free_by_many(section, block, frame, caller);
}
