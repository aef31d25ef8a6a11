//! A growing array of hooks, in the order of a chain.

use crate::chain::Hook;
use crate::scratch;

/// A growing array of hooks in scratch memory.
pub(super) struct Hooks {
    at: *mut *const Hook,
    len: usize,
    room: usize,
}

impl Hooks {
    pub(super) const fn new() -> Hooks {
        Hooks { at: core::ptr::null_mut(), len: 0, room: 0 }
    }

    pub(super) fn get(&self) -> &[*const Hook] {
        if self.len == 0 {
            return &[];
        }
        // SAFETY: `len` elements were written by `insert`.
        unsafe { core::slice::from_raw_parts(self.at, self.len) }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &'static Hook> {
        // SAFETY: hooks live for ever, and whoever filled the array has pinned them or is in a
        // section in which they are in force.
        self.get().iter().map(|&hook| unsafe { &*hook })
    }

    pub(super) fn contains(&self, hook: &Hook) -> bool {
        self.get().contains(&core::ptr::from_ref(hook))
    }

    /// Puts the hook at its place in the order. An error is `ENOMEM`.
    pub(super) fn insert(&mut self, hook: &Hook) -> Result<(), i32> {
        if self.len == self.room {
            let room = (self.room * 2).max(14);
            let larger = scratch::malloc(room * size_of::<*const Hook>()).cast::<*const Hook>();
            if larger.is_null() {
                return Err(libc::ENOMEM);
            }
            if self.len != 0 {
                // SAFETY: `len` elements fit into the larger array, which is another block.
                unsafe { larger.copy_from_nonoverlapping(self.at, self.len) };
            }
            // SAFETY: null or a block of ours that is not used any more.
            unsafe { scratch::free(self.at.cast()) };
            self.at = larger;
            self.room = room;
        }
        // What is copied comes in order.
        let last = self.get().last();
        // SAFETY: as for `iter`.
        let at_end = last.is_none_or(|&last| !hook.is_before(unsafe { &*last }));
        let found = if at_end { None } else { self.iter().position(|other| hook.is_before(other)) };
        let place = found.unwrap_or(self.len);
        let at = self.at.wrapping_add(place);
        // SAFETY: there is room for one more element behind the last.
        unsafe { at.wrapping_add(1).copy_from(at, self.len - place) };
        // SAFETY: `place` is at most `len`, which is below `room`.
        unsafe { at.write(hook) };
        self.len += 1;
        Ok(())
    }

    pub(super) fn remove(&mut self, hook: &Hook) -> bool {
        let Some(place) = self.get().iter().position(|&h| core::ptr::eq(h, hook)) else { return false };
        let at = self.at.wrapping_add(place);
        // SAFETY: the elements behind `place` move down by one.
        unsafe { at.copy_from(at.wrapping_add(1), self.len - place - 1) };
        self.len -= 1;
        true
    }
}

impl Drop for Hooks {
    fn drop(&mut self) {
        // SAFETY: null or a block of ours that is not used any more.
        unsafe { scratch::free(self.at.cast()) };
    }
}
