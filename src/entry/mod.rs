//! The interposed functions, and the stubs that the entry tables lead to.
//!
//! Never: thinks. An entry point is two instructions: load the head in force, jump through its
//! table. With no hook in force the table holds the backend's functions.
//!
//! A stub adds two arguments behind those of the entry point: the caller's stack pointer and
//! its return address.

#[cfg(target_arch = "aarch64")]
#[macro_use]
mod aarch64;
#[cfg(target_arch = "x86_64")]
mod short;
#[cfg(target_arch = "x86_64")]
#[macro_use]
mod x86_64;
mod glibc;

use crate::abi::*;
use crate::chain::{CURRENT, Tables};
use crate::dispatch;
use crate::start;

macro_rules! entry_points {
    ($($name:ident = $entry:ident, $doc:literal;)*) => {
        /// What the C library's callers call. Named and exported as they are, except in the
        /// crate's own unit tests, whose harness needs an allocator that is not under test.
        #[allow(unreachable_pub, reason = "reached by name from outside the library")]
        mod exported {
            use super::*;
            $(
                #[doc = $doc]
                ///
                /// # Safety
                ///
                /// As the C library's function of this name.
                #[cfg_attr(not(test), unsafe(no_mangle))]
                #[unsafe(naked)]
                pub unsafe extern "C" fn $name() {
                    jump_through_table!(CURRENT, $entry)
                }
            )*
        }
        /// Leads to the start of the library.
        mod first {
            use super::*;
            $(
                #[unsafe(naked)]
                pub(super) unsafe extern "C" fn $name() {
                    start_then_jump!(start::first, $entry)
                }
            )*
        }
        /// The exported functions, by entry point.
        pub(crate) static EXPORTED: [unsafe extern "C" fn(); 13] = [$(exported::$name,)*];
    };
}

// In the order of the MEMHOOK_ENTRY_ numbers.
entry_points! {
    malloc = MEMHOOK_ENTRY_MALLOC, "malloc(3).";
    free = MEMHOOK_ENTRY_FREE, "free(3).";
    calloc = MEMHOOK_ENTRY_CALLOC, "calloc(3).";
    realloc = MEMHOOK_ENTRY_REALLOC, "realloc(3).";
    reallocarray = MEMHOOK_ENTRY_REALLOCARRAY, "reallocarray(3).";
    memalign = MEMHOOK_ENTRY_MEMALIGN, "memalign(3).";
    aligned_alloc = MEMHOOK_ENTRY_ALIGNED_ALLOC, "aligned_alloc(3).";
    posix_memalign = MEMHOOK_ENTRY_POSIX_MEMALIGN, "posix_memalign(3).";
    valloc = MEMHOOK_ENTRY_VALLOC, "valloc(3).";
    pvalloc = MEMHOOK_ENTRY_PVALLOC, "pvalloc(3).";
    malloc_usable_size = MEMHOOK_ENTRY_USABLE_SIZE, "malloc_usable_size(3).";
    free_sized = MEMHOOK_ENTRY_FREE_SIZED, "free_sized (C23).";
    free_aligned_sized = MEMHOOK_ENTRY_FREE_ALIGNED_SIZED, "free_aligned_sized (C23).";
}

macro_rules! stubs {
    ($($name:ident => $target:path, $arguments:tt;)*) => {
        mod stub {
            use super::*;
            $(
                #[unsafe(naked)]
                pub(super) unsafe extern "C" fn $name() {
                    add_frame_and_caller!($target, $arguments)
                }
            )*
        }
        /// For chains with a hook that wants to know the callers of callers.
        mod framed {
            use super::*;
            $(
                #[unsafe(naked)]
                pub(super) unsafe extern "C" fn $name() {
                    note_frame_then_add!($target, $arguments)
                }
            )*
        }
    };
}

stubs! {
    malloc => dispatch::malloc, 1;
    free => dispatch::free, 1;
    calloc => dispatch::calloc, 2;
    realloc => dispatch::realloc, 2;
    reallocarray => dispatch::reallocarray, 3;
    memalign => dispatch::memalign, 2;
    aligned_alloc => dispatch::aligned_alloc, 2;
    posix_memalign => dispatch::posix_memalign, 3;
    valloc => dispatch::valloc, 1;
    pvalloc => dispatch::pvalloc, 1;
    usable_size => dispatch::usable_size, 1;
    free_sized => dispatch::free_sized, 2;
    free_aligned_sized => dispatch::free_aligned_sized, 3;
    observed_malloc => dispatch::observed_malloc, 1;
    observed_free => dispatch::observed_free, 1;
    observed_calloc => dispatch::observed_calloc, 2;
    observed_realloc => dispatch::observed_realloc, 2;
}

/// For glibc's variables alone. Callers of callers are not noted there.
mod variables {
    #[unsafe(naked)]
    pub(super) unsafe extern "C" fn malloc() {
        add_frame_and_caller!(crate::api::glibc::direct::malloc, 1)
    }

    #[unsafe(naked)]
    pub(super) unsafe extern "C" fn free() {
        add_frame_and_caller!(crate::api::glibc::direct::free, 1)
    }
}

/// memhook_log, which is variadic: the arguments are handed on as they were passed.
///
/// # Safety
///
/// `format` is a string, and the arguments are those that it names.
#[allow(unreachable_pub, reason = "reached by name from outside the library")]
#[cfg_attr(not(test), unsafe(no_mangle))]
#[unsafe(naked)]
pub unsafe extern "C" fn memhook_log() {
    hand_on_variadic!(crate::api::log::log)
}

macro_rules! accessors {
    ($($name:ident => $target:path, $kind:expr, $variable:literal;)*) => {
        /// What the macros of `memhook/glibc.h` call. Which thread's copy of a variable is meant depends on
        /// whether the caller is inside a callback, hence on its stack pointer.
        #[allow(unreachable_pub, reason = "reached by name from outside the library")]
        mod accessors {
            $(
                #[doc = concat!("Where the calling thread reads and writes `", $variable, "`. Never NULL.")]
                ///
                /// # Safety
                ///
                /// None is needed.
                #[cfg_attr(not(test), unsafe(no_mangle))]
                #[unsafe(naked)]
                pub unsafe extern "C" fn $name() {
                    copy_or_jump!($target, $kind)
                }
            )*
        }
    };
}

accessors! {
    memhook_glibc_malloc_hook => crate::api::glibc::malloc_hook, crate::api::glibc::MALLOC, "__malloc_hook";
    memhook_glibc_realloc_hook => crate::api::glibc::realloc_hook, crate::api::glibc::REALLOC, "__realloc_hook";
    memhook_glibc_memalign_hook => crate::api::glibc::memalign_hook, crate::api::glibc::MEMALIGN, "__memalign_hook";
    memhook_glibc_free_hook => crate::api::glibc::free_hook, crate::api::glibc::FREE, "__free_hook";
}

/// Where the program reads and writes `__after_morecore_hook`. Never NULL.
///
/// # Safety
///
/// None is needed.
#[allow(unreachable_pub, reason = "reached by name from outside the library")]
#[cfg_attr(not(test), unsafe(no_mangle))]
#[unsafe(naked)]
pub unsafe extern "C" fn memhook_glibc_after_morecore_hook() {
    go_on_to!(crate::api::glibc::after_morecore_hook)
}

#[cfg(not(target_arch = "x86_64"))]
mod short {
    pub(super) use super::stub::{
        free as single_free, free as single_free_kept, malloc as single_malloc, malloc as single_malloc_kept,
        observed_free, observed_free as observed_free_kept, observed_malloc,
        observed_malloc as observed_malloc_kept,
    };
}

/// The stubs of a module for interceptors, by entry point; its malloc and free, where they are not others.
macro_rules! full {
    ($stub:ident) => {
        full!($stub, $stub::malloc, $stub::free)
    };
    ($stub:ident, $malloc:path, $free:path) => {
        [
            $malloc,
            $free,
            $stub::calloc,
            $stub::realloc,
            $stub::reallocarray,
            $stub::memalign,
            $stub::aligned_alloc,
            $stub::posix_memalign,
            $stub::valloc,
            $stub::pvalloc,
            $stub::usable_size,
            $stub::free_sized,
            $stub::free_aligned_sized,
        ]
    };
}

/// The same for observers.
macro_rules! observing {
    ($stub:ident, $malloc:path, $free:path) => {
        [
            Some($malloc),
            Some($free),
            Some($stub::observed_calloc),
            Some($stub::observed_realloc),
            Some($stub::reallocarray),
            Some($stub::memalign),
            Some($stub::aligned_alloc),
            Some($stub::posix_memalign),
            Some($stub::valloc),
            Some($stub::pvalloc),
            // Observers are not told of it.
            None,
            Some($stub::free_sized),
            Some($stub::free_aligned_sized),
        ]
    };
}

/// The stubs of each mode, by entry point.
pub(crate) const TABLES: Tables = Tables {
    first: [
        first::malloc,
        first::free,
        first::calloc,
        first::realloc,
        first::reallocarray,
        first::memalign,
        first::aligned_alloc,
        first::posix_memalign,
        first::valloc,
        first::pvalloc,
        first::malloc_usable_size,
        first::free_sized,
        first::free_aligned_sized,
    ],
    observing: observing!(stub, short::observed_malloc, short::observed_free),
    full: full!(stub),
    observing_frames: observing!(framed, framed::observed_malloc, framed::observed_free),
    full_frames: full!(framed),
    single: full!(stub, short::single_malloc, short::single_free),
    observing_errno_kept: observing!(stub, short::observed_malloc_kept, short::observed_free_kept),
    single_errno_kept: full!(stub, short::single_malloc_kept, short::single_free_kept),
    variables: full!(stub, variables::malloc, variables::free),
    several_after: dispatch::several_after,
    several_before: dispatch::several_before,
};
