//! Calls that are refused before interceptors are asked, for those that want to see them all the same.

use super::next;
use crate::abi::*;
use crate::backend;
use crate::chain::Hook;
use crate::grace;
use crate::guard::Record;
use core::ffi::c_void;

/// Shows a call to those of `hooks` that have [`MEMHOOK_SEES_REFUSED`]. What they pass on is refused, and what
/// they return is not used: the call has no block. `OWNERS`: the hooks own its block, and see what becomes of it
/// also when they are being unregistered.
#[cold]
#[inline(never)]
pub(super) fn show<const OWNERS: bool>(
    call: &memhook_call,
    hooks: &[*const Hook],
    record: &Record,
) -> *mut c_void {
    for &hook in hooks {
        // SAFETY: in the chain of the call's section, or an owner of its block.
        let hook = unsafe { &*hook };
        let table = hook.interceptor().filter(|table| table.flags & MEMHOOK_SEES_REFUSED != 0);
        let Some(table) = table else { continue };
        let before = grace::announce_interceptor(record, hook.bit());
        if hook.is_orphaned() || !OWNERS && hook.is_passed_by() {
            grace::retract_interceptor(record, before);
            continue;
        }
        ask(table, call);
    }
    core::ptr::null_mut()
}

/// Calls the callback that the call would have come to.
fn ask(table: &memhook_interceptor, call: &memhook_call) {
    let (next, user) = (next::nothing(), table.user);
    match call.entry {
        MEMHOOK_ENTRY_CALLOC => {
            let Some(malloc) = table.malloc else { return };
            // SAFETY: the program's own function, by the contract of memhook_register. The same for those below.
            unsafe { malloc(next, call.requested, call, user) };
        }
        MEMHOOK_ENTRY_REALLOC | MEMHOOK_ENTRY_REALLOCARRAY => {
            let Some(realloc) = table.realloc else { return };
            // SAFETY: as above.
            unsafe { realloc(next, call.block, call.requested, call, user) };
        }
        entry => {
            let Some(memalign) = table.memalign else { return };
            let pages = entry == MEMHOOK_ENTRY_PVALLOC;
            let alignment = if pages { backend::page_size() } else { call.alignment };
            // SAFETY: as above.
            unsafe { memalign(next, alignment, call.requested, call, user) };
        }
    }
}
