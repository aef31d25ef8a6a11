//! The variables, and where they are.
//!
//! A source that was compiled with `memhook/glibc.h` asks for its variables by function: they are `OWN`. An object from
//! before glibc 2.34, or one that declares the variables itself, reads and writes *plain memory*: `PLACES`. Where the
//! process has such an object at its start, or asks for it, all objects share the plain memory.
//!
//! # Invariants
//!
//! 1. `PLACES` is complete before any callback can run, and does not change after that.

use super::{Callback, FREE, MALLOC, MEMALIGN, NOBODY, REALLOC, Values, callbacks, windows};
use crate::sys::{self, elf};
use core::ffi::CStr;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

pub(super) type Variable = AtomicPtr<()>;

/// The variables of sources that were compiled with `memhook/glibc.h`.
static OWN: [Variable; 4] = [const { AtomicPtr::new(NOBODY) }; 4];
/// The plain memory. Null where nobody refers to it: then `OWN` are the process's variables.
static PLACES: [AtomicPtr<Variable>; 4] = [const { AtomicPtr::new(core::ptr::null_mut()) }; 4];
/// The C library's own plain memory, where that is another: an old object that is opened with RTLD_DEEPBIND has that one.
/// Null where there is none, or nobody has asked for objects that come by dlopen.
static OF_LIBC: [AtomicPtr<Variable>; 4] = [const { AtomicPtr::new(core::ptr::null_mut()) }; 4];
/// `__after_morecore_hook`: kept, and never called, as in glibc since 2.34.
static AFTER_MORECORE: Variable = AtomicPtr::new(NOBODY);

/// The process's variable, which is not a callback's own copy.
#[inline(always)]
pub(super) fn place(kind: usize) -> &'static Variable {
    // ORDERING [none]: Relaxed. Invariant 1.
    let plain = PLACES.get(kind).map_or(core::ptr::null_mut(), |place| place.load(Ordering::Relaxed));
    // SAFETY: null, or where a loaded object, which is not unloaded, has the variable.
    match unsafe { plain.as_ref() } {
        Some(place) => place,
        None => OWN.get(kind).unwrap_or(&AFTER_MORECORE),
    }
}

/// The same where it is plain memory.
#[inline(always)]
pub(super) fn in_plain(kind: usize) -> &'static Variable {
    let [first, ..] = &PLACES;
    // ORDERING [none]: Relaxed. Invariant 1.
    let plain = PLACES.get(kind).unwrap_or(first).load(Ordering::Relaxed);
    // SAFETY: where a loaded object, which is not unloaded, has the variable: all are there (invariant 1), or the
    // caller would not ask.
    unsafe { &*plain }
}

/// What stands in plain memory now.
#[inline(always)]
pub(super) fn read_plain(kind: usize) -> Callback {
    // ORDERING [none]: Relaxed. The program's variable: its own synchronisation orders it.
    let now = in_plain(kind).load(Ordering::Relaxed);
    let [second, ..] = &OF_LIBC;
    // ORDERING [none]: Relaxed. Invariant 1; all are there, or none is.
    if now.is_null() && !second.load(Ordering::Relaxed).is_null() { read_of_libc(kind) } else { now }
}

#[cold]
#[inline(never)]
fn read_of_libc(kind: usize) -> Callback {
    // ORDERING [none]: Relaxed. Invariant 1.
    let second = OF_LIBC.get(kind).map_or(core::ptr::null_mut(), |place| place.load(Ordering::Relaxed));
    // SAFETY: null, or the C library's variable.
    let second = unsafe { second.as_ref() };
    // ORDERING [none]: Relaxed. As in `read_plain`.
    second.map_or(NOBODY, |variable| variable.load(Ordering::Relaxed))
}

/// `__after_morecore_hook`.
pub(super) fn after_morecore() -> &'static Variable {
    &AFTER_MORECORE
}

/// Whether the variables are plain memory, which the program reads and writes as it likes.
#[inline(always)]
pub(super) fn is_plain_memory() -> bool {
    let [first, ..] = &PLACES;
    // ORDERING [none]: Relaxed. Invariant 1; all are there, or none is.
    !first.load(Ordering::Relaxed).is_null()
}

/// The callback that is called for a call from outside all callbacks.
#[inline(always)]
pub(super) fn current(kind: usize) -> Callback {
    if is_plain_memory() { windows::value_outside(kind) } else { own(kind) }
}

/// What stands in all variables for a call from outside all callbacks.
#[inline(always)]
pub(super) fn all_current() -> Values {
    if is_plain_memory() {
        let read = windows::value_outside;
        [read(MALLOC), read(REALLOC), read(MEMALIGN), read(FREE)]
    } else {
        [own(MALLOC), own(REALLOC), own(MEMALIGN), own(FREE)]
    }
}

/// What stands in a variable that is not plain memory.
#[inline(always)]
fn own(kind: usize) -> Callback {
    // ORDERING [none]: Relaxed. The program's variable: its own synchronisation orders it.
    OWN.get(kind).map_or(NOBODY, |variable| variable.load(Ordering::Relaxed))
}

/// What stands in the plain memory itself; `None` where the variables are none.
pub(super) fn in_plain_memory() -> Option<Values> {
    let read = || [read_plain(MALLOC), read_plain(REALLOC), read_plain(MEMALIGN), read_plain(FREE)];
    is_plain_memory().then(read)
}

/// Whether the variables were filled with functions, and no allocation has come since.
static FILLED: AtomicBool = AtomicBool::new(false);

/// Until the first allocation the variables hold functions, as in glibc.
pub(super) fn fill_with_initial() {
    for kind in [MALLOC, REALLOC, MEMALIGN] {
        // ORDERING [none]: Relaxed. The program has not asked for the variable yet.
        place(kind).store(callbacks::initial(kind), Ordering::Relaxed);
    }
    // ORDERING [none]: Relaxed. As above.
    FILLED.store(true, Ordering::Relaxed);
}

/// An allocation has come: the functions go where they stand still, as glibc's took themselves out when called first.
#[inline(always)]
pub(super) fn notice_allocation() {
    // ORDERING [none]: Relaxed. The first call of each thread comes by here.
    if FILLED.load(Ordering::Relaxed) {
        take_initial_out();
    }
}

#[cold]
#[inline(never)]
fn take_initial_out() {
    // ORDERING [none]: Relaxed. As above.
    FILLED.store(false, Ordering::Relaxed);
    for kind in [MALLOC, REALLOC, MEMALIGN] {
        let (from, to) = (callbacks::initial(kind), NOBODY);
        // ORDERING [none]: Relaxed and Relaxed. The program's variable.
        let _ = place(kind).compare_exchange(from, to, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// Whether a shared library was compiled with `memhook/glibc.h`.
pub(super) fn is_used_by_library() -> bool {
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

type Initialize = Option<unsafe extern "C" fn()>;

/// Where an executable has its plain `__malloc_initialize_hook`.
static INITIALIZE_PLACE: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

const NAMES: [&CStr; 4] = [c"__malloc_hook", c"__realloc_hook", c"__memalign_hook", c"__free_hook"];
const INITIALIZE: &CStr = c"__malloc_initialize_hook";

// variables.S has the second. Not hidden here: see `backend`, memhook_static_backend.
core::arch::global_asm!(".weak memhook_glibc_initialize_hook", ".weak memhook_glibc_variables");

/// Calls what the program has in `__malloc_initialize_hook`.
pub(super) fn call_initialize_hook() {
    // ORDERING [none]: Relaxed. Stored by this thread.
    let plain = INITIALIZE_PLACE.load(Ordering::Relaxed).cast::<Initialize>();
    for variable in [sys::weak!(memhook_glibc_initialize_hook).cast::<Initialize>(), plain.cast_const()] {
        // SAFETY: null, or a variable of this type: the contract of who defines one of that name.
        if let Some(&Some(initialize)) = unsafe { variable.as_ref() } {
            // SAFETY: the program's own function, which it has put there to be called.
            unsafe { initialize() };
        }
    }
}

/// Looks for objects that refer to plain variables, or does as if there were one. There are none for us to serve where
/// the C library, or an allocator before it, calls the callbacks itself.
pub(super) fn find_plain_memory(anyway: bool) -> bool {
    let mut search = Search { referred: anyway, ..Search::default() };
    let own = find_plain_memory as *const () as usize;
    elf::for_each_object(&mut |object| {
        search.visit(object, object.contains(own));
        true
    });
    if let Some(table) = linked_in() {
        let &[malloc, realloc, memalign, free, initialize] = table;
        search.places = [malloc, realloc, memalign, free].map(|address| address as *mut Variable);
        search.initialize = initialize as *mut ();
        search.referred = true;
    }
    if search.served || search.places.iter().any(|place| place.is_null()) {
        return false;
    }
    // ORDERING [none]: Relaxed. Read by this thread, and by others once a hook is published.
    INITIALIZE_PLACE.store(search.initialize, Ordering::Relaxed);
    if search.referred {
        let second = search.of_libc.iter().zip(search.places).map(|(&second, first)| {
            // Looked at by every call: only where somebody says that such objects come.
            if !anyway || core::ptr::eq(second, first) { core::ptr::null_mut() } else { second }
        });
        for ((to_first, to_second), (first, second)) in
            PLACES.iter().zip(&OF_LIBC).zip(search.places.into_iter().zip(second))
        {
            // ORDERING [none]: Relaxed. As above.
            to_second.store(second, Ordering::Relaxed);
            // ORDERING [none]: Relaxed. As above.
            to_first.store(first, Ordering::Relaxed);
        }
    }
    search.referred
}

/// The variables of a program that declares them itself and is linked with the archive.
fn linked_in() -> Option<&'static [usize; 5]> {
    let table = sys::weak!(memhook_glibc_variables).cast::<[usize; 5]>();
    // SAFETY: null, or the table in variables.S, which is never written.
    unsafe { table.as_ref() }
}

/// What was found of plain variables in the objects so far, in link order.
struct Search {
    is_program: bool,
    /// The first definition of each.
    places: [*mut Variable; 4],
    /// The C library's.
    of_libc: [*mut Variable; 4],
    initialize: *mut (),
    /// An object refers to one of them, or the program defines one.
    referred: bool,
    /// Another calls what stands in them.
    served: bool,
}

impl Default for Search {
    fn default() -> Search {
        Search {
            is_program: true,
            places: [core::ptr::null_mut(); 4],
            of_libc: [core::ptr::null_mut(); 4],
            initialize: core::ptr::null_mut(),
            referred: false,
            served: false,
        }
    }
}

impl Search {
    fn visit(&mut self, object: &elf::Object, is_own: bool) {
        let is_program = core::mem::replace(&mut self.is_program, false);
        let variables = NAMES.map(|name| object.variable(name));
        for (place, variable) in self.places.iter_mut().zip(&variables) {
            if let (true, Some((address, _))) = (place.is_null(), variable) {
                *place = *address as *mut Variable;
            }
        }
        if object.function(c"__libc_malloc").is_some() && !is_own {
            // Up to 2.33 the variables had no old version only.
            self.served |= variables.iter().flatten().any(|(_, old)| !old);
            self.of_libc = variables.map(|variable| {
                variable.map_or(core::ptr::null_mut(), |(address, _)| address as *mut Variable)
            });
            return;
        }
        if self.initialize.is_null() {
            self.initialize =
                object.variable(INITIALIZE).map_or(core::ptr::null_mut(), |(address, _)| address as *mut ());
        }
        // With the archive, the program is the object that we are in.
        let defines = is_program && variables.iter().any(|variable| variable.is_some());
        if defines || (!is_own && NAMES.iter().any(|name| object.refers_to(name))) {
            self.referred = true;
            self.served |= !is_own && object.function(c"malloc").is_some();
        }
    }
}
