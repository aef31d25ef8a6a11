//! The entry points, in Rust: each loads the head in force and calls through its table, with the stack pointer and
//! the caller behind its arguments, as the stubs have it.
//!
//! The library's stubs load the head without an ordering, and the table's slot by the pointer that they loaded.
//! Miri knows no order by dependence, hence Acquire here.

use crate::chain::{self, CURRENT, Head, Tables};
use crate::sys::tls::stack_pointer;
use crate::{backend, dispatch};
use core::ffi::{c_int, c_void};
use core::sync::atomic::Ordering;

type Block = *mut c_void;
type Stub = unsafe extern "C" fn();

/// What calls say that they come from.
pub(crate) const CALLER: usize = 0x1234;

macro_rules! stubs {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty = $target:path;)*) => {
        mod stub {
            use super::*;
            $(
                pub(super) unsafe extern "C" fn $name($($argument: $type),*) -> $result {
                    // SAFETY: the caller's contract is the entry point's.
                    unsafe { $target($($argument,)* stack_pointer(), CALLER) }
                }
            )*
        }
    };
}

stubs! {
    malloc(bytes: usize) -> Block = dispatch::malloc;
    free(block: Block) -> () = dispatch::free;
    calloc(count: usize, each: usize) -> Block = dispatch::calloc;
    realloc(block: Block, bytes: usize) -> Block = dispatch::realloc;
    reallocarray(block: Block, count: usize, each: usize) -> Block = dispatch::reallocarray;
    memalign(alignment: usize, bytes: usize) -> Block = dispatch::memalign;
    aligned_alloc(alignment: usize, bytes: usize) -> Block = dispatch::aligned_alloc;
    posix_memalign(out: *mut Block, alignment: usize, bytes: usize) -> c_int = dispatch::posix_memalign;
    valloc(bytes: usize) -> Block = dispatch::valloc;
    pvalloc(bytes: usize) -> Block = dispatch::pvalloc;
    usable_size(block: Block) -> usize = dispatch::usable_size;
    free_sized(block: Block, bytes: usize) -> () = dispatch::free_sized;
    free_aligned_sized(block: Block, alignment: usize, bytes: usize) -> () = dispatch::free_aligned_sized;
    observed_malloc(bytes: usize) -> Block = dispatch::observed_malloc;
    observed_free(block: Block) -> () = dispatch::observed_free;
    observed_calloc(count: usize, each: usize) -> Block = dispatch::observed_calloc;
    observed_realloc(block: Block, bytes: usize) -> Block = dispatch::observed_realloc;
}

/// The backend as entry points.
mod below {
    use super::*;

    pub(super) unsafe extern "C" fn malloc(bytes: usize) -> Block {
        // SAFETY: the caller's contract, here and below.
        unsafe { backend::malloc(bytes) }
    }
    pub(super) unsafe extern "C" fn free(block: Block) {
        // SAFETY: as above.
        unsafe { backend::free(block) }
    }
    pub(super) unsafe extern "C" fn calloc(count: usize, each: usize) -> Block {
        // SAFETY: as above.
        unsafe { backend::calloc(count, each) }
    }
    pub(super) unsafe extern "C" fn realloc(block: Block, bytes: usize) -> Block {
        // SAFETY: as above.
        unsafe { backend::realloc(block, bytes) }
    }
    pub(super) unsafe extern "C" fn reallocarray(block: Block, count: usize, each: usize) -> Block {
        let Some(bytes) = count.checked_mul(each) else { return backend::nothing() };
        // SAFETY: as above.
        unsafe { backend::realloc(block, bytes) }
    }
    pub(super) unsafe extern "C" fn memalign(alignment: usize, bytes: usize) -> Block {
        // SAFETY: as above.
        unsafe { backend::memalign(alignment, bytes) }
    }
    pub(super) unsafe extern "C" fn posix_memalign(out: *mut Block, alignment: usize, bytes: usize) -> c_int {
        if !alignment.is_power_of_two() || alignment < 8 {
            return libc::EINVAL;
        }
        // SAFETY: as above.
        unsafe { out.write(backend::memalign(alignment, bytes)) };
        0
    }
    pub(super) unsafe extern "C" fn valloc(bytes: usize) -> Block {
        // SAFETY: as above.
        unsafe { backend::memalign(backend::page_size(), bytes) }
    }
    pub(super) unsafe extern "C" fn pvalloc(bytes: usize) -> Block {
        let Some(bytes) = backend::whole_pages(bytes) else { return backend::nothing() };
        // SAFETY: as above.
        unsafe { backend::memalign(backend::page_size(), bytes) }
    }
    pub(super) unsafe extern "C" fn usable_size(block: Block) -> usize {
        // SAFETY: as above.
        unsafe { backend::usable_size(block) }
    }
    pub(super) unsafe extern "C" fn free_sized(block: Block, _: usize) {
        // SAFETY: as above.
        unsafe { backend::free(block) }
    }
    pub(super) unsafe extern "C" fn free_aligned_sized(block: Block, _: usize, _: usize) {
        // SAFETY: as above.
        unsafe { backend::free(block) }
    }
}

macro_rules! plain {
    ($($path:path),* $(,)?) => {
        // SAFETY: kept as plain functions, and made what they are before they are called.
        [$(unsafe { core::mem::transmute::<*const (), Stub>($path as *const ()) }),*]
    };
}

macro_rules! full {
    ($malloc:path, $free:path, $calloc:path, $realloc:path) => {
        plain![
            $malloc,
            $free,
            $calloc,
            $realloc,
            stub::reallocarray,
            stub::memalign,
            stub::aligned_alloc,
            stub::posix_memalign,
            stub::valloc,
            stub::pvalloc,
            stub::usable_size,
            stub::free_sized,
            stub::free_aligned_sized,
        ]
    };
}

/// The backend's functions, by entry point.
pub(crate) static BACKEND: [Stub; 13] = plain![
    below::malloc,
    below::free,
    below::calloc,
    below::realloc,
    below::reallocarray,
    below::memalign,
    below::memalign,
    below::posix_memalign,
    below::valloc,
    below::pvalloc,
    below::usable_size,
    below::free_sized,
    below::free_aligned_sized,
];

const FULL: [Stub; 13] = full!(stub::malloc, stub::free, stub::calloc, stub::realloc);
const OBSERVING: [Option<Stub>; 13] = {
    let all =
        full!(stub::observed_malloc, stub::observed_free, stub::observed_calloc, stub::observed_realloc);
    let mut some = [None; 13];
    let mut i = 0;
    while i < 13 {
        // Observers are not told of malloc_usable_size.
        some[i] = if i == 10 { None } else { Some(all[i]) };
        i += 1;
    }
    some
};

pub(crate) const TABLES: Tables = Tables {
    first: FULL,
    observing: OBSERVING,
    full: FULL,
    observing_frames: OBSERVING,
    full_frames: FULL,
    single: FULL,
    observing_errno_kept: OBSERVING,
    single_errno_kept: FULL,
    variables: FULL,
    several_after: dispatch::several_after,
    several_before: dispatch::several_before,
};

macro_rules! points {
    ($($name:ident($($argument:ident: $type:ty),*) -> $result:ty = $number:literal;)*) => {
        $(
            pub(crate) unsafe fn $name($($argument: $type),*) -> $result {
                crate::start::ensure();
                let slot = chain::entries()[$number].load(Ordering::Relaxed);
                // SAFETY: the table has a function of this type there.
                let function = unsafe {
                    core::mem::transmute::<*mut (), unsafe extern "C" fn($($type),*) -> $result>(slot)
                };
                // SAFETY: the caller's contract.
                unsafe { function($($argument),*) }
            }
        )*
    };
}

points! {
    malloc(bytes: usize) -> Block = 0;
    free(block: Block) -> () = 1;
    calloc(count: usize, each: usize) -> Block = 2;
    realloc(block: Block, bytes: usize) -> Block = 3;
    reallocarray(block: Block, count: usize, each: usize) -> Block = 4;
    memalign(alignment: usize, bytes: usize) -> Block = 5;
    aligned_alloc(alignment: usize, bytes: usize) -> Block = 6;
    posix_memalign(out: *mut Block, alignment: usize, bytes: usize) -> c_int = 7;
    valloc(bytes: usize) -> Block = 8;
    pvalloc(bytes: usize) -> Block = 9;
    malloc_usable_size(block: Block) -> usize = 10;
    free_sized(block: Block, bytes: usize) -> () = 11;
    free_aligned_sized(block: Block, alignment: usize, bytes: usize) -> () = 12;
}
