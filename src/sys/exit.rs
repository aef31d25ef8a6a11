//! The end of the process, as the C library sees it.

use core::ffi::{c_int, c_void};

unsafe extern "C" {
    /// glibc's: as atexit, but the handler is given the exit status.
    fn on_exit(function: Handler, argument: *mut c_void) -> c_int;

    /// glibc's; with a NULL object, the function runs before the destructors of shared objects if it
    /// was registered after the program's start.
    fn __cxa_atexit(function: Plain, argument: *mut c_void, object: *mut c_void) -> c_int;

    /// glibc's: the function runs when the calling thread ends, or calls exit before that.
    fn __cxa_thread_atexit_impl(function: Plain, argument: *mut c_void, object: *mut c_void) -> c_int;
}

/// Is given nothing of use.
pub(crate) type Plain = unsafe extern "C" fn(*mut c_void);

/// Has `function` called at exit, before the destructors of shared objects. May allocate, and takes a lock of
/// the C library's. A failure means that it is not called.
pub(crate) fn before_destructors(function: Plain) {
    // SAFETY: the function stays loaded for ever.
    unsafe { __cxa_atexit(function, core::ptr::null_mut(), core::ptr::null_mut()) };
}

/// Has `function` called when this thread ends or calls exit: before all that is called at exit. For constructors, as
/// it may allocate and takes locks of the C library's. A failure means that it is not called.
pub(crate) fn before_exit_here(function: Plain) {
    // Any address in this object says which one it is. glibc does not take NULL for none here.
    let object = function as *mut c_void;
    // SAFETY: the function stays loaded for ever.
    unsafe { __cxa_thread_atexit_impl(function, core::ptr::null_mut(), object) };
}

/// Is given the exit status.
pub(crate) type Handler = unsafe extern "C" fn(status: c_int, argument: *mut c_void);

/// Has `handler` called at exit, after all that are registered later. May allocate, and takes a lock of the
/// C library's: for constructors.
pub(crate) fn at_exit(handler: Handler) -> bool {
    // SAFETY: the handler stays loaded for ever.
    unsafe { on_exit(handler, core::ptr::null_mut()) == 0 }
}

/// Ends the process with another status. In an exit handler: glibc goes on with the handlers that are left.
pub(crate) fn exit(status: c_int) -> ! {
    // SAFETY: exit(3) of glibc may be called again by a handler.
    unsafe { libc::exit(status) }
}
