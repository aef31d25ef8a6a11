//! Names of glibc's that old sources and binaries refer to: the variables, and the allocator behind them.
//!
//! The archive has the variables in an object of their own, entry/variables.S, for programs that refer to them. It has none
//! of the functions: in a fully static program they are the C library's and cannot be defined twice.

use core::sync::atomic::AtomicPtr;

macro_rules! variables {
    ($($name:ident, $doc:literal;)*) => {
        /// Variables that a program may declare itself, without the header. `glibc` looks for those who refer to them.
        #[allow(unreachable_pub, non_upper_case_globals, reason = "reached by name from outside the library")]
        mod variables {
            use super::*;
            $(
                #[doc = $doc]
                #[cfg_attr(not(test), unsafe(no_mangle))]
                pub static $name: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
            )*
        }
    };
}

variables! {
    __malloc_hook, "`void *(*)(size_t, const void *)`.";
    __realloc_hook, "`void *(*)(void *, size_t, const void *)`.";
    __memalign_hook, "`void *(*)(size_t, size_t, const void *)`.";
    __free_hook, "`void (*)(void *, const void *)`.";
    __malloc_initialize_hook, "`void (*)(void)`: called before the first allocation.";
    __after_morecore_hook, "`void (*)(void)`: never called.";
}

macro_rules! libc_functions {
    ($($name:ident => $target:path;)*) => {
        /// The C library's functions, past all hooks.
        #[allow(unreachable_pub, reason = "reached by name from outside the library")]
        mod functions {
            $(
                /// As the function of the same name without `__libc_`.
                ///
                /// # Safety
                ///
                /// As that function.
                #[cfg_attr(not(test), unsafe(no_mangle))]
                #[unsafe(naked)]
                pub unsafe extern "C" fn $name() {
                    go_on_to!($target)
                }
            )*
        }
    };
}

libc_functions! {
    __libc_malloc => crate::api::glibc::libc::malloc;
    __libc_free => crate::api::glibc::libc::free;
    __libc_calloc => crate::api::glibc::libc::calloc;
    __libc_realloc => crate::api::glibc::libc::realloc;
    __libc_memalign => crate::api::glibc::libc::memalign;
    __libc_valloc => crate::api::glibc::libc::valloc;
    __libc_pvalloc => crate::api::glibc::libc::pvalloc;
}
