//! glibc's removed variables: `__malloc_hook` and its fellows, for sources and binaries that were
//! written for them.
//!
//! Never: runs a callback but from a hook of the chain, or for a call that such a callback makes.
//!
//! The callbacks in the variables stand in the chain as one interceptor, below all others: directly
//! above the allocator, where glibc had them. It is registered when a program first asks for a
//! variable ([`variable`]), or at the start where a loaded object refers to plain ones. It sees every block's free.
//! A callback that makes blocks of its own is noticed by what it returns ([`origin`]); such a block is then owned by a hook
//! made for the *set* of callbacks that stood in the variables ([`set`]).
//!
//! # Invariants
//!
//! 1. A variable holds 0, one of our own initial functions, or a function of the program of the
//!    variable's type: the contract of who assigns it.

mod activation;
mod callbacks;
pub(crate) mod direct;
pub(crate) mod libc;
mod origin;
mod owned;
mod set;
mod variables;
mod windows;

use crate::chain::Table;
use crate::dispatch;
use crate::grace;
use crate::guard;
use crate::registry;
use crate::sys::{self, elf, heap};
use activation::Activation;
pub(crate) use activation::COPIES;
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

/// Index of a variable: `__malloc_hook`.
pub(crate) const MALLOC: usize = 0;
/// Index of a variable: `__realloc_hook`.
pub(crate) const REALLOC: usize = 1;
/// Index of a variable: `__memalign_hook`.
pub(crate) const MEMALIGN: usize = 2;
/// Index of a variable: `__free_hook`.
pub(crate) const FREE: usize = 3;

/// A callback as a variable holds it.
type Callback = *mut ();
/// What stands in the four variables.
type Values = [Callback; 4];

const NOBODY: Callback = core::ptr::null_mut();

type MallocFn = unsafe extern "C" fn(usize, *const c_void) -> *mut c_void;
type ReallocFn = unsafe extern "C" fn(*mut c_void, usize, *const c_void) -> *mut c_void;
type MemalignFn = unsafe extern "C" fn(usize, usize, *const c_void) -> *mut c_void;
type FreeFn = unsafe extern "C" fn(*mut c_void, *const c_void);

const ABSENT: u32 = 0;
const COMING: u32 = 1;
const PRESENT: u32 = 2;

/// Whether the interceptor is in the chain.
static STATE: AtomicU32 = AtomicU32::new(ABSENT);
/// Whether it was said that it could not be registered, or is of no use.
static SAID: AtomicBool = AtomicBool::new(false);

/// Puts the callbacks' interceptor into the chain if it is not there. Taken out by the program (a swap
/// of the whole chain), it comes again when the program next asks for a variable.
fn register() {
    // ORDERING [none]: Relaxed and Relaxed. Decides who registers; the chain's publication orders.
    if STATE.compare_exchange(ABSENT, COMING, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return;
    }
    dispatch::give_null_frees(true);
    let done = registry::register(Table::Interceptor(callbacks::table()), 0).is_ok();
    // ORDERING [none]: Relaxed. As above.
    STATE.store(if done { PRESENT } else { ABSENT }, Ordering::Relaxed);
    let wrong: &[u8] = if !done {
        b"memhook: no memory to put __malloc_hook and its fellows in force.\n"
    } else if is_passed_by() {
        b"memhook: __malloc_hook has no effect: the C library comes before libmemhook.so.0 in this process. \
          Link the program itself with -lmemhook, or preload the library.\n"
    } else {
        return;
    };
    // ORDERING [none]: Relaxed. Only whether it was said.
    if !SAID.swap(true, Ordering::Relaxed) {
        sys::write_error(wrong);
    }
}

/// Whether no allocation call can arrive here: a library that uses the variables has brought us along, and
/// its program was linked without us.
fn is_passed_by() -> bool {
    let own = is_passed_by as *const () as usize;
    let mut passed_by = false;
    elf::for_each_object(&mut |object| {
        passed_by = !object.contains(own) && object.function(c"__libc_malloc").is_some();
        !passed_by && !object.contains(own)
    });
    passed_by
}

/// The interceptor has left the chain.
unsafe extern "C" fn released(_user: *mut c_void) {
    // ORDERING [none]: Relaxed. As in `register`.
    STATE.store(ABSENT, Ordering::Relaxed);
}

/// As [`variable`], where there is nothing to be done for it. Leaves errno as it is.
#[inline(always)]
pub(crate) fn variable_at_once(kind: usize, frame: usize) -> Option<*mut Callback> {
    let record = guard::known()?;
    let Some(running) = Activation::of(record) else {
        // ORDERING [none]: Relaxed. As in `register`.
        let usual = STATE.load(Ordering::Relaxed) == PRESENT && !activation::has_left(record);
        return usual.then(|| variables::place(kind).as_ptr());
    };
    // ORDERING [none]: Relaxed. Written by this thread.
    let word = record.word.load(Ordering::Relaxed);
    // From below the section's frame: whoever opened it has not been left by longjmp.
    if frame >= word { None } else { Some(running.copy(kind)?.as_ptr()) }
}

/// Where the calling thread reads and writes a variable now: inside a callback its own copy, which was
/// taken at entry, else the process's variable.
///
/// `frame` is the stack pointer of the caller, as for [`grace::enter`].
pub(crate) fn variable(kind: usize, frame: usize) -> *mut Callback {
    register();
    let own = guard::record().and_then(|record| {
        // ORDERING [none]: Relaxed. Written by this thread.
        if !record.inner.load(Ordering::Relaxed).is_null() {
            // A callback that was left by longjmp is noticed here.
            drop(grace::enter_anyhow(record, frame));
        }
        activation::notice_left(record);
        Some(Activation::of(record)?.copy(kind)?.as_ptr())
    });
    own.unwrap_or_else(|| variables::place(kind).as_ptr())
}

/// Where the program reads and writes `__after_morecore_hook`.
pub(crate) fn after_morecore() -> *mut Callback {
    variables::after_morecore().as_ptr()
}

/// The library starts. If that is since the program asks for a variable, which is then in force, the first
/// allocation is yet to come and will be seen: until then the variables hold functions, as in glibc. Not so for
/// a shared library: what glibc once did to load it and to look things up for it, it did with malloc.
pub(crate) fn begin(asked_for: bool) {
    heap::note_begin();
    if !variables::find_plain_memory(false) && asked_for && !variables::is_used_by_library() {
        variables::fill_with_initial();
    }
}

/// Serves the old variables though no object refers to them: one may come by dlopen.
pub(crate) fn serve_old_variables() {
    if variables::find_plain_memory(true) {
        register();
    } else {
        sys::write_error(
            b"memhook: MEMHOOK: glibc: this C library has no __malloc_hook, or calls it itself\n",
        );
    }
}

/// Calls what the program has in `__malloc_initialize_hook`, and puts the variables in force for
/// programs that cannot ask for them. Hooks are suspended.
pub(crate) fn initialize() {
    variables::call_initialize_hook();
    if variables::is_plain_memory() {
        register();
    }
}
