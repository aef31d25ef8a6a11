//! glibc's removed variables: `__malloc_hook` and its fellows, for sources and binaries that were
//! written for them.
//!
//! Never: runs a callback but from a hook of the chain, or for a call that such a callback makes.
//!
//! The callbacks in the variables stand in the chain as one interceptor, below all others: directly
//! above the allocator, where glibc had them. It is registered when a program first asks for a
//! variable ([`variable`]), or at the start where a loaded object refers to the old symbols. It
//! keeps pointers, hence sees every block's free. A callback that did change a pointer is noticed,
//! as it returned something that the backend did not give it; the block is then owned by a hook made
//! for the *set* of callbacks that stood in the variables ([`set`]).
//!
//! # Invariants
//!
//! 1. `PLACES` is complete before any callback can run, and does not change after that.
//! 2. A variable holds 0, one of our own initial functions, or a function of the program of the
//!    variable's type: the contract of who assigns it.

mod callbacks;
mod frame;
mod set;

use crate::chain::Table;
use crate::dispatch;
use crate::grace;
use crate::guard;
use crate::registry;
use crate::sys::{self, elf};
use core::ffi::{CStr, c_void};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, Ordering};
use frame::Frame;

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
type Variable = AtomicPtr<()>;

const NOBODY: Callback = core::ptr::null_mut();

type MallocFn = unsafe extern "C" fn(usize, *const c_void) -> *mut c_void;
type ReallocFn = unsafe extern "C" fn(*mut c_void, usize, *const c_void) -> *mut c_void;
type MemalignFn = unsafe extern "C" fn(usize, usize, *const c_void) -> *mut c_void;
type FreeFn = unsafe extern "C" fn(*mut c_void, *const c_void);

/// The variables of sources that were compiled with `memhook/glibc.h`.
static OWN: [Variable; 4] = [const { AtomicPtr::new(NOBODY) }; 4];
/// Where the old symbols lead: the executable's copies, or the C library's. Null where nobody refers
/// to them: then `OWN` are the process's variables.
static PLACES: [AtomicPtr<Variable>; 4] = [const { AtomicPtr::new(core::ptr::null_mut()) }; 4];

/// The process's variable, which is not a callback's own copy.
fn place(kind: usize) -> &'static Variable {
    // ORDERING [none]: Relaxed. Invariant 1.
    let old = PLACES.get(kind).map_or(core::ptr::null_mut(), |place| place.load(Ordering::Relaxed));
    // SAFETY: null, or where a loaded object, which is not unloaded, has the variable.
    match unsafe { old.as_ref() } {
        Some(place) => place,
        None => OWN.get(kind).unwrap_or(&AFTER_MORECORE),
    }
}

/// Whether the variables are plain memory, which old binaries read and write as they like.
#[inline(always)]
fn is_plain_memory() -> bool {
    let [first, ..] = &PLACES;
    // ORDERING [none]: Relaxed. Invariant 1; all are there, or none is.
    !first.load(Ordering::Relaxed).is_null()
}

/// `__after_morecore_hook`: kept, and never called, as in glibc since 2.34.
static AFTER_MORECORE: Variable = AtomicPtr::new(NOBODY);

/// The last callback seen in each variable, while they are plain memory.
static LAST: [Variable; 4] = [const { AtomicPtr::new(NOBODY) }; 4];

/// The callback in force for the calls of this thread that come from outside all callbacks.
#[inline(always)]
fn in_force(kind: usize) -> Callback {
    if is_plain_memory() { in_plain_memory(kind) } else { own(kind) }
}

/// What stands in a variable that is not plain memory.
#[inline(always)]
fn own(kind: usize) -> Callback {
    // ORDERING [none]: Relaxed. The program's variable: its own synchronisation orders it.
    let now = OWN.get(kind).map_or(NOBODY, |variable| variable.load(Ordering::Relaxed));
    if callbacks::is_initial(kind, now) { settle() } else { now }
}

/// The same for one that is: the callback that is in force.
#[inline(always)]
fn in_plain_memory(kind: usize) -> Callback {
    let now = read(kind);
    let Some(last) = LAST.get(kind) else { return now };
    // ORDERING [none]: Relaxed. A function of the program, which was there before its address was.
    let before = last.load(Ordering::Relaxed);
    if now == before {
        return now;
    }
    changed_in_plain_memory(kind, last, before, now)
}

#[cold]
#[inline(never)]
fn changed_in_plain_memory(kind: usize, last: &Variable, before: Callback, now: Callback) -> Callback {
    if !now.is_null() {
        // ORDERING [none]: Relaxed. As above.
        last.store(now, Ordering::Relaxed);
        return now;
    }
    // A callback takes itself out of the variable while it calls malloc. Is one doing so?
    loop {
        let entered = frame::entered();
        // ORDERING [none]: Relaxed. Who has left its callback has put the variable back before.
        let busy = |r: &guard::Record| !r.inner.load(Ordering::Relaxed).is_null() && !r.is_dead();
        let window = guard::records().any(busy);
        let now = read(kind);
        if window || !now.is_null() {
            return if now.is_null() { before } else { now };
        }
        // Had one come that we did not see, it could be what took the variable out.
        if frame::entered() == entered {
            // ORDERING [none]: Relaxed and Relaxed. As above.
            let _ = last.compare_exchange(before, NOBODY, Ordering::Relaxed, Ordering::Relaxed);
            return now;
        }
    }
}

#[inline(always)]
fn read(kind: usize) -> Callback {
    // ORDERING [none]: Relaxed. The program's variable: its own synchronisation orders it.
    let now = place(kind).load(Ordering::Relaxed);
    if callbacks::is_initial(kind, now) { settle() } else { now }
}

/// As glibc's initial functions do when they are called first.
#[cold]
fn settle() -> Callback {
    for kind in [MALLOC, REALLOC, MEMALIGN] {
        let (from, to) = (callbacks::initial(kind), NOBODY);
        // ORDERING [none]: Relaxed and Relaxed. The program's variable.
        let _ = place(kind).compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
    }
    NOBODY
}

/// What stands in all variables.
#[inline(always)]
fn all_in_force() -> Values {
    if is_plain_memory() {
        [in_plain_memory(MALLOC), in_plain_memory(REALLOC), in_plain_memory(MEMALIGN), in_plain_memory(FREE)]
    } else {
        [own(MALLOC), own(REALLOC), own(MEMALIGN), own(FREE)]
    }
}

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
    // ORDERING [none]: Relaxed and Relaxed. As in `register`; written by this thread.
    let (state, record) = (STATE.load(Ordering::Relaxed), guard::known()?);
    // ORDERING [none]: Relaxed. Written by this thread.
    let word = record.word.load(Ordering::Relaxed);
    let Some(running) = Frame::of(record) else {
        return (state == PRESENT).then(|| place(kind).as_ptr());
    };
    // From below the section's frame: whoever opened it has not been left by longjmp.
    if state != PRESENT || !guard::is_section(word) || frame >= word {
        return None;
    }
    running.touch(kind);
    Some(running.copy(kind)?.as_ptr())
}

/// Where the calling thread reads and writes a variable now: inside a callback its own copy, which was
/// taken at entry, else the process's variable.
///
/// `frame` is the stack pointer of the caller, as for [`grace::enter`].
pub(crate) fn variable(kind: usize, frame: usize) -> *mut Callback {
    register();
    let own = guard::record().and_then(|record| {
        // ORDERING [none]: Relaxed. Written by this thread.
        if record.inner.load(Ordering::Relaxed).is_null() {
            return None;
        }
        // A callback that was left by longjmp is noticed here.
        drop(grace::enter_anyhow(record, frame));
        let frame = Frame::of(record)?;
        frame.touch(kind);
        Some(frame.copy(kind)?.as_ptr())
    });
    own.unwrap_or_else(|| place(kind).as_ptr())
}

/// Where the program reads and writes `__after_morecore_hook`.
pub(crate) fn after_morecore() -> *mut Callback {
    AFTER_MORECORE.as_ptr()
}

core::arch::global_asm!(".weak memhook_glibc_initialize_hook");

/// The library starts. If that is since the program asks for a variable, which is then in force, the first
/// allocation is yet to come and will be seen: until then the variables hold functions, as in glibc. Not so for
/// a shared library: what glibc once did to load it and to look things up for it, it did with malloc.
pub(crate) fn begin(asked_for: bool) {
    if !find_old_variables(false) && asked_for && !is_used_by_library() {
        for kind in [MALLOC, REALLOC, MEMALIGN] {
            // ORDERING [none]: Relaxed. The program has not asked for the variable yet.
            place(kind).store(callbacks::initial(kind), Ordering::Relaxed);
        }
    }
}

/// Whether a shared library was compiled with `memhook/glibc.h`.
fn is_used_by_library() -> bool {
    let accessors =
        [c"memhook_glibc_malloc_hook", c"memhook_glibc_realloc_hook", c"memhook_glibc_memalign_hook"];
    let mut is_program = true;
    let mut used = false;
    elf::for_each_object(&mut |object| {
        if !is_program {
            for name in accessors {
                object.for_each_binding(name, &mut |_| used = true);
            }
        }
        is_program = false;
        !used
    });
    used
}

/// Serves the old variables though no object refers to them: one may come by dlopen.
pub(crate) fn serve_old_variables() {
    if find_old_variables(true) {
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
    // ORDERING [none]: Relaxed. As above.
    let old = OLD_INITIALIZE.load(Ordering::Relaxed).cast::<Initialize>();
    for variable in [sys::weak!(memhook_glibc_initialize_hook).cast::<Initialize>(), old.cast_const()] {
        // SAFETY: null, or a variable of this type: the contract of who defines one of that name.
        if let Some(&Some(initialize)) = unsafe { variable.as_ref() } {
            // SAFETY: the program's own function, which it has put there to be called.
            unsafe { initialize() };
        }
    }
    if is_plain_memory() {
        register();
    }
}

type Initialize = Option<unsafe extern "C" fn()>;

/// Where an old executable has its `__malloc_initialize_hook`.
static OLD_INITIALIZE: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

const NAMES: [&CStr; 4] = [c"__malloc_hook", c"__realloc_hook", c"__memalign_hook", c"__free_hook"];
const INITIALIZE: &CStr = c"__malloc_initialize_hook";

/// Looks for objects that were linked against the C library's old variables, or does as if there were one.
/// There are none for us to serve where the C library, or an allocator before it, still calls the callbacks
/// itself.
fn find_old_variables(anyway: bool) -> bool {
    let mut places = [core::ptr::null_mut::<Variable>(); 4];
    let mut initialize = core::ptr::null_mut::<()>();
    let mut referred = anyway;
    let mut served = false;
    let own = find_old_variables as *const () as usize;
    elf::for_each_object(&mut |object| {
        let variables = NAMES.map(|name| object.variable(name));
        for (place, variable) in places.iter_mut().zip(&variables) {
            if let (true, Some((address, _))) = (place.is_null(), variable) {
                *place = *address as *mut Variable;
            }
        }
        if object.function(c"__libc_malloc").is_some() {
            // Up to 2.33 the variables had no old version only.
            served |= variables.iter().flatten().any(|(_, old)| !old);
            return true;
        }
        if initialize.is_null() {
            initialize = object.variable(INITIALIZE).map_or(initialize, |(address, _)| address as *mut ());
        }
        if !object.contains(own) && NAMES.iter().any(|name| object.refers_to(name)) {
            referred = true;
            served |= object.function(c"malloc").is_some();
        }
        true
    });
    if served || places.iter().any(|place| place.is_null()) {
        return false;
    }
    // ORDERING [none]: Relaxed. Read by this thread, and by others once a hook is published.
    OLD_INITIALIZE.store(initialize, Ordering::Relaxed);
    if referred {
        for (to, place) in PLACES.iter().zip(places) {
            // ORDERING [none]: Relaxed. As above.
            to.store(place, Ordering::Relaxed);
        }
    }
    referred
}
