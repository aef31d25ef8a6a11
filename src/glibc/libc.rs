//! `__libc_malloc()` and its fellows: the C library's allocator, past all hooks and past the allocator below, if that is
//! another.
//!
//! Programs that write a malloc or a callback of their own call them to pass a call on. They do what they do without us;
//! only, a block that a callback gets here is known to be on loan, and one that is given back here is forgotten.

use super::activation;
use crate::backend;
use crate::dispatch::{self, Request};
use crate::sys::{self, elf};
use core::ffi::{CStr, c_void};
use core::mem::transmute;
use core::sync::atomic::{AtomicPtr, Ordering};

/// A function of the C library, once it was looked for.
struct Function {
    name: &'static CStr,
    address: AtomicPtr<()>,
}

impl Function {
    const fn new(name: &'static CStr) -> Function {
        Function { name, address: AtomicPtr::new(core::ptr::null_mut()) }
    }

    #[inline(always)]
    fn get(&self) -> *mut () {
        // ORDERING [none]: Relaxed. A function's address; who finds none looks for it, and finds the same.
        let known = self.address.load(Ordering::Relaxed);
        if known.is_null() { self.find() } else { known }
    }

    #[cold]
    #[inline(never)]
    fn find(&self) -> *mut () {
        let Some(found) = elf::find_in_libc(self.name) else {
            sys::die(
                b"memhook: the C library has no __libc_malloc or one of its fellows, which was called.\n",
            )
        };
        // ORDERING [none]: Relaxed. As in `get`.
        self.address.store(found as *mut (), Ordering::Relaxed);
        found as *mut ()
    }
}

static MALLOC: Function = Function::new(c"__libc_malloc");
static FREE: Function = Function::new(c"__libc_free");
static CALLOC: Function = Function::new(c"__libc_calloc");
static REALLOC: Function = Function::new(c"__libc_realloc");
static MEMALIGN: Function = Function::new(c"__libc_memalign");
static VALLOC: Function = Function::new(c"__libc_valloc");
static PVALLOC: Function = Function::new(c"__libc_pvalloc");

/// A block that the C library has made.
#[inline(always)]
fn made(block: *mut c_void) -> *mut c_void {
    if backend::is_libc() {
        dispatch::note_backends(block);
    }
    block
}

macro_rules! hand_on {
    ($function:ident ( $($argument:expr),* ) as $type:ty) => {{
        let function = $function.get();
        // SAFETY: the C library's function of this name, hence of this type.
        let function = unsafe { transmute::<*mut (), $type>(function) };
        // SAFETY: our caller's contract is that of the same function.
        unsafe { function($($argument),*) }
    }};
}

type Sized = unsafe extern "C" fn(usize) -> *mut c_void;
type TwoSized = unsafe extern "C" fn(usize, usize) -> *mut c_void;
type Resize = unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void;
type Release = unsafe extern "C" fn(*mut c_void);

pub(crate) unsafe extern "C" fn malloc(bytes: usize) -> *mut c_void {
    made(hand_on!(MALLOC(bytes) as Sized))
}

pub(crate) unsafe extern "C" fn calloc(count: usize, each: usize) -> *mut c_void {
    made(hand_on!(CALLOC(count, each) as TwoSized))
}

pub(crate) unsafe extern "C" fn memalign(alignment: usize, bytes: usize) -> *mut c_void {
    made(hand_on!(MEMALIGN(alignment, bytes) as TwoSized))
}

pub(crate) unsafe extern "C" fn valloc(bytes: usize) -> *mut c_void {
    made(hand_on!(VALLOC(bytes) as Sized))
}

pub(crate) unsafe extern "C" fn pvalloc(bytes: usize) -> *mut c_void {
    made(hand_on!(PVALLOC(bytes) as Sized))
}

pub(crate) unsafe extern "C" fn realloc(block: *mut c_void, bytes: usize) -> *mut c_void {
    if let Some(new) = activation::pass_on_owned(Request::Realloc { block, bytes }) {
        return new;
    }
    // Before it is given up: afterwards another thread may have the same address.
    dispatch::forget(block);
    let new = hand_on!(REALLOC(block, bytes) as Resize);
    made(if new.is_null() && bytes != 0 { block } else { new });
    new
}

pub(crate) unsafe extern "C" fn free(block: *mut c_void) {
    if activation::pass_on_owned(Request::Free { block }).is_some() {
        return;
    }
    dispatch::forget(block);
    hand_on!(FREE(block) as Release);
}
