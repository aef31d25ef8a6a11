//! Values that are too large for a stack: on pages of their own, given back with the value.
//!
//! A thread may have as little stack as PTHREAD_STACK_MIN, and a signal handler less; below it there may be memory that
//! is somebody else's. So the library has no buffer of a path's length on a stack.

use super::pages;
use core::ops::{Deref, DerefMut};
use core::ptr::NonNull;

/// A type that can be made of zeroes.
///
/// # Safety
///
/// Memory that is all zero is a valid value.
#[allow(dead_code, reason = "its use is to be a bound")]
pub(crate) unsafe trait Zero {}

// SAFETY: zero is a valid byte.
unsafe impl<const LEN: usize> Zero for [u8; LEN] {}

/// A value on pages of its own.
pub(crate) struct Paged<T>(NonNull<T>);

impl<T: Zero> Paged<T> {
    /// A value that is all zero; `None` where there is no memory.
    pub(crate) fn zero() -> Option<Paged<T>> {
        const { assert!(align_of::<T>() <= pages::PAGE) };
        NonNull::new(pages::map(size_of::<T>())?.cast()).map(Paged)
    }
}

impl<T> Deref for Paged<T> {
    type Target = T;

    fn deref(&self) -> &T {
        // SAFETY: mapped by `zero` with this size, a valid value since, and ours alone.
        unsafe { self.0.as_ref() }
    }
}

impl<T> DerefMut for Paged<T> {
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: mapped by `zero` with this size, a valid value since, and ours alone.
        unsafe { self.0.as_mut() }
    }
}

impl<T> Drop for Paged<T> {
    fn drop(&mut self) {
        // SAFETY: what `zero` mapped, with this size; no borrow outlives the value. It has nothing to drop itself.
        unsafe { pages::unmap(self.0.as_ptr().cast(), size_of::<T>()) };
    }
}
