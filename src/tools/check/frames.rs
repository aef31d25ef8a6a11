//! From where a call came: its caller, or on request the callers of that too.
//!
//! What a header keeps of it is one word: the caller's address, or the place of a list of addresses.

use crate::abi::memhook_call;
use crate::sys::maps::Maps;
use core::ffi::c_void;

/// The callers of one call, innermost first.
#[derive(Clone, Copy)]
pub(super) struct Stack {
    one: [usize; 1],
}

impl Stack {
    /// What a header keeps of a call.
    pub(super) fn of(origin: u64) -> Stack {
        Stack { one: [origin as usize] }
    }

    pub(super) fn addresses(&self) -> &[usize] {
        &self.one
    }

    pub(super) fn len(&self) -> usize {
        self.addresses().len()
    }

    pub(super) fn pointer(&self) -> *const *const c_void {
        self.addresses().as_ptr().cast()
    }
}

/// Before the first call is looked at.
pub(super) fn prepare() {}

/// What to keep of a call.
pub(super) fn origin(call: &memhook_call) -> u64 {
    call.caller as u64
}

/// Whether an address is on the calling thread's stack, at or above the caller's frame.
pub(super) fn is_on_stack(address: usize) -> bool {
    let here = 0u8;
    let here = &raw const here as usize;
    let maps = Maps::read();
    maps.find(here).is_some_and(|region| (here..region.end).contains(&address))
}
