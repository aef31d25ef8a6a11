//! The first call: whatever comes first finds the library valid.
//!
//! Never: makes a second thread wait for the first.
//!
//! # State
//!
//! ```text
//!            first call             initialize hook has returned
//!  untouched ──────────► starting ──────────────────────────────► started
//!                        other threads, and the hook itself, are served by the backend
//! ```

use crate::abi::*;
use crate::backend::{self, Entries};
use crate::chain;
use crate::glibc;
use crate::grace;
use crate::guard;
use crate::registry;
use crate::sys::elf::for_each_object;
use crate::sys::{self, barrier, copies, find};
use core::sync::atomic::{AtomicU32, Ordering};

const UNTOUCHED: u32 = 0;
const STARTING: u32 = 1;
const STARTED: u32 = 2;

static STATE: AtomicU32 = AtomicU32::new(UNTOUCHED);

core::arch::global_asm!(".weak memhook_initialize_hook");

/// The program's `memhook_initialize_hook`, where it defines one that is not NULL.
fn initialize_hook() -> Option<unsafe extern "C" fn()> {
    let place = sys::weak!(memhook_initialize_hook).cast::<Option<unsafe extern "C" fn()>>();
    // SAFETY: null, or a variable of this type by the header's declaration.
    unsafe { place.as_ref() }.copied().flatten()
}

unsafe extern "C" {
    /// What `tools` does at the first call. It stands above this room, hence the detour by a symbol.
    safe fn memhook_begin_tools();
}

/// Starts the library if nobody has yet.
pub(crate) fn ensure() {
    ensure_for(false);
}

/// As [`ensure`], for a program that asks for one of glibc's variables.
pub(crate) fn ensure_for_variables() {
    ensure_for(true);
}

fn ensure_for(variables: bool) {
    // ORDERING [start]: Acquire. What the initialize hook did. Other end: `start`.
    if STATE.load(Ordering::Acquire) == UNTOUCHED {
        start(variables);
    }
}

#[cold]
fn start(for_variables: bool) {
    backend::resolve();
    // ORDERING [start]: Acquire and Acquire. Other end: the store below.
    if STATE.compare_exchange(UNTOUCHED, STARTING, Ordering::Acquire, Ordering::Acquire).is_err() {
        return;
    }
    count_objects();
    barrier::choose();
    registry::prepare();
    let errno = sys::thread::errno_location();
    // SAFETY: errno of this thread.
    let before = unsafe { errno.read() };
    let suspended = guard::record().filter(|record| record.suspend());
    glibc::begin(for_variables);
    memhook_begin_tools();
    if let Some(hook) = initialize_hook() {
        // SAFETY: the program's own function, by the contract of the variable.
        unsafe { hook() };
    }
    glibc::initialize();
    if let Some(record) = suspended {
        record.resume();
    }
    if chain::is_first() && registry::begin().is_err() {
        // Nothing is in force and nothing can be: every call goes to the backend meanwhile, and
        // the next registration tries again.
    }
    // SAFETY: errno of this thread.
    unsafe { errno.write(before) };
    // ORDERING [start]: Release. What the hook did. Other end: `ensure`.
    STATE.store(STARTED, Ordering::Release);
}

/// Where the entry stubs find the entry table to use before the first chain is published.
pub(crate) unsafe extern "C" fn first() -> *const Entries {
    ensure();
    backend::resolve();
    if chain::is_first() { &raw const backend::FUNCTIONS } else { chain::entries() }
}

unsafe extern "C" fn in_fork_child() {
    barrier::forked();
    grace::forked();
    guard::forked();
    registry::forked();
    // ORDERING [none]: Relaxed. No other thread exists. One that was starting the library is gone;
    // what it had registered stays.
    let _ = STATE.compare_exchange(STARTING, STARTED, Ordering::Relaxed, Ordering::Relaxed);
    guard::set_circumstances(MEMHOOK_DURING_FORK_CHILD, 0);
}

/// The thread's data is being destroyed. Where that is since a callback has called pthread_exit or was
/// cancelled, the callback's section will not be ended by its call.
unsafe extern "C" fn thread_exits(_: *mut core::ffi::c_void) {
    let Some(record) = guard::record() else { return };
    record.add_circumstances(MEMHOOK_DURING_THREAD_EXIT);
    if record.is_inside() {
        grace::abandon(record);
    }
}

unsafe extern "C" fn exits(_: *mut core::ffi::c_void) {
    at_exit();
}

/// Has the end of the process known before destructors run. A failure means that the destructor of an object with
/// hooks takes it for an unloading, and waits for who is in their callbacks.
unsafe extern "C" fn watch_exit(_: *mut core::ffi::c_void) {
    let suspended = guard::record().filter(|record| record.suspend());
    sys::exit::before_destructors(exits);
    if let Some(record) = suspended {
        record.resume();
    }
}

/// A shared object whose hooks are tied to it was loaded; called by its constructor. The end of the
/// process is to be known before its destructors run, for they run at the end too.
pub(crate) fn object_loaded() {
    // SAFETY: no precondition.
    unsafe { watch_exit(core::ptr::null_mut()) };
    let thread = sys::thread::current();
    if thread.pid == thread.tid {
        // Before main, what is registered comes behind the destructors. It is once more when this thread calls exit.
        let suspended = guard::record().filter(|record| record.suspend());
        sys::exit::before_exit_here(watch_exit);
        if let Some(record) = suspended {
            record.resume();
        }
    }
}

/// How many objects were loaded when the process started: those are never unloaded. 0: not counted yet.
static AT_START: AtomicU32 = AtomicU32::new(0);

/// Counts them at the first call, before a constructor can have loaded any more. Where this library has come by
/// dlopen itself, behind the allocator, the program alone is known to stay.
fn count_objects() {
    let own = count_objects as *const () as usize;
    let (mut all, mut behind_us, mut late) = (0, false, true);
    for_each_object(&mut |object| {
        late &= !(behind_us && object.function(c"malloc").is_some());
        behind_us |= object.contains(own);
        all += 1;
        true
    });
    let count = if late { 1 } else { all };
    // ORDERING [none]: Relaxed and Relaxed. A number; the first is it.
    let _ = AT_START.compare_exchange(0, count, Ordering::Relaxed, Ordering::Relaxed);
}

/// Whether the destructors of the object that holds `address` run since it is being unloaded. Takes none of the loader's
/// locks at the end of the process: another thread may have one and never give it back, or be one that a fork child
/// does not have.
pub(crate) fn is_unloading(address: usize) -> bool {
    // ORDERING [none]: Relaxed. Written before the program's first hook.
    guard::circumstances() & MEMHOOK_DURING_PROCESS_EXIT == 0
        && !find::is_in_first(AT_START.load(Ordering::Relaxed), address)
}

extern "C" fn at_exit() {
    guard::set_circumstances(MEMHOOK_DURING_PROCESS_EXIT, 0);
}

/// The archive in an object that could be unloaded keeps that object.
fn stay() {
    // ORDERING [none]: Relaxed. Written above, in the same thread or before the first call.
    let count = AT_START.load(Ordering::Relaxed);
    if !find::is_in_first(count, stay as *const () as usize) && !copies::stay() {
        sys::write_error(
            b"memhook: the object that libmemhook.a is in must stay loaded: link it with -Wl,-z,nodelete\n",
        );
    }
}

/// The library's constructor: what must be registered with the C library while none of its locks
/// can be held, and what tells the start from what follows it.
unsafe extern "C" fn constructor() {
    backend::resolve();
    sys::stack::note_main_thread();
    count_objects();
    let suspended = guard::record().filter(|record| record.suspend());
    stay();
    guard::watch_thread_exit(thread_exits);
    // SAFETY: the handler takes no lock and stays loaded for ever. A failure means that fork
    // children are not told apart; there is nobody to tell that to.
    unsafe { libc::pthread_atfork(None, None, Some(in_fork_child)) };
    // SAFETY: as above.
    unsafe { libc::atexit(at_exit) };
    guard::set_circumstances(0, MEMHOOK_DURING_STARTUP);
    if let Some(record) = suspended {
        record.resume();
    }
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: unsafe extern "C" fn() = constructor;
