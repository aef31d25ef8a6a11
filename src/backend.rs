//! The allocator below: the next definition of each entry point in link order.
//!
//! Never: calls an entry point of ours, allocates, takes a lock.
//!
//! # Invariants
//!
//! 1. Once `READY` is set, every slot of `FUNCTIONS` holds a function of its entry point's type.
//! 2. Resolving is idempotent: threads that do it at the same time store equal values.
//!
//! # Edges
//!
//! | edge      | from                       | to                     | carries |
//! | --------- | -------------------------- | ---------------------- | ------- |
//! | `backend` | `resolve` Release          | `resolve` Acquire      | the slots of `FUNCTIONS` |

use crate::abi::*;
use crate::sys;
use crate::sys::elf::for_each_object;
use core::ffi::{CStr, c_int, c_void};
use core::mem::transmute;
use core::sync::atomic::{AtomicBool, AtomicPtr, Ordering};

/// One function pointer for each entry point, by `MEMHOOK_ENTRY_` number.
pub(crate) type Entries = [AtomicPtr<()>; MEMHOOK_ENTRY_COUNT as usize];

/// The backend's functions: what the entry points lead to while no hook is in force.
pub(crate) static FUNCTIONS: Entries = [const { AtomicPtr::new(core::ptr::null_mut()) }; 13];

static READY: AtomicBool = AtomicBool::new(false);

/// The object that defines malloc has no malloc_usable_size: what another says of its blocks may be wrong.
static SIZES_ARE_ANOTHERS: AtomicBool = AtomicBool::new(false);

/// Whether the usable size of a block can be asked for when the program does not.
pub(crate) fn knows_sizes() -> bool {
    // ORDERING [none]: Relaxed. Written before any hook can be in force.
    !SIZES_ARE_ANOTHERS.load(Ordering::Relaxed)
}

/// The allocator is the C library's own.
static IS_LIBC: AtomicBool = AtomicBool::new(false);

/// Whether the allocator is the C library's own.
pub(crate) fn is_libc() -> bool {
    // ORDERING [none]: Relaxed. Written before any hook can be in force.
    IS_LIBC.load(Ordering::Relaxed)
}

/// realloc and free of an object that stands before us in link order; null where ours are the process's. An allocator
/// that lacks reallocarray or free_sized has that of the C library, which calls these, as long as we do not stand in
/// its place.
static REALLOC_BEFORE_US: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());
static FREE_BEFORE_US: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

const NAMES: [&CStr; 13] = [
    c"malloc",
    c"free",
    c"calloc",
    c"realloc",
    c"reallocarray",
    c"memalign",
    c"aligned_alloc",
    c"posix_memalign",
    c"valloc",
    c"pvalloc",
    c"malloc_usable_size",
    c"free_sized",
    c"free_aligned_sized",
];

/// The name of an entry point.
pub(crate) fn entry_name(entry: u32) -> &'static CStr {
    NAMES.get(entry as usize).copied().unwrap_or(c"?")
}

core::arch::global_asm!(
    // A fully static program links archive.S with --wrap, which defines this table. Not hidden here: in a program
    // made by gold, what is hidden and not defined would be the program's first byte.
    ".weak memhook_static_backend",
);

/// The functions that a fully static program was linked with; `None` in dynamic programs.
fn linked_statically() -> Option<&'static [usize; 13]> {
    let table: *const [usize; 13];
    #[cfg(target_arch = "x86_64")]
    // SAFETY: reads the address of a weak symbol, null where it is not defined.
    unsafe {
        core::arch::asm!("mov {}, qword ptr [rip + memhook_static_backend@GOTPCREL]", out(reg) table,
                         options(nostack, readonly, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: reads the address of a weak symbol, null where it is not defined.
    unsafe {
        core::arch::asm!("adrp {0}, :got:memhook_static_backend",
                         "ldr {0}, [{0}, #:got_lo12:memhook_static_backend]", out(reg) table,
                         options(nostack, readonly, preserves_flags));
    }
    // SAFETY: null, or the table in archive.S, which is never written.
    unsafe { table.as_ref() }
}

/// Finds the backend. Cheap once done; any thread may call it at any moment.
pub(crate) fn resolve() {
    // ORDERING [backend]: Acquire. The slots are complete. Other end: the store below.
    if READY.load(Ordering::Acquire) {
        return;
    }
    if let Some(table) = linked_statically() {
        for (slot, &function) in FUNCTIONS.iter().zip(table) {
            // ORDERING [none]: Relaxed. Complete when `READY` says so.
            slot.store(function as *mut (), Ordering::Relaxed);
        }
        complete(&|_| None);
        // ORDERING [none]: Relaxed. There when `READY` says so.
        IS_LIBC.store(true, Ordering::Relaxed);
    } else {
        let own = resolve as *const () as usize;
        let mut behind_us = false;
        let mut primary = None;
        let mut before_us = [None; 2];
        for_each_object(&mut |object| {
            if object.contains(own) {
                behind_us = true;
            } else if !behind_us {
                for (first, name) in before_us.iter_mut().zip([c"realloc", c"free"]) {
                    *first = first.or_else(|| object.function(name));
                }
            } else if object.function(c"malloc").is_some() {
                primary = Some(*object);
                return false;
            }
            true
        });
        if primary.is_some() {
            for (place, function) in [&REALLOC_BEFORE_US, &FREE_BEFORE_US].into_iter().zip(before_us) {
                let function = function.map_or(core::ptr::null_mut(), |function| function as *mut ());
                // ORDERING [none]: Relaxed. There when `READY` says so.
                place.store(function, Ordering::Relaxed);
            }
        }
        if primary.is_none() {
            // Loaded by dlopen: the allocator stands before us.
            for_each_object(&mut |object| {
                let found = !object.contains(own) && object.function(c"malloc").is_some();
                if found {
                    primary = Some(*object);
                }
                !found
            });
        }
        let Some(primary) = primary else {
            sys::die(
                b"memhook: no allocator below: no other object defines malloc. \
                  A fully static program must be linked with the options in memhook-static.opt.\n",
            )
        };
        for (slot, name) in FUNCTIONS.iter().zip(NAMES) {
            if let Some(function) = primary.function(name) {
                // ORDERING [none]: Relaxed. Complete when `READY` says so.
                slot.store(function as *mut (), Ordering::Relaxed);
            }
        }
        complete(&|name| next_after(name, own));
        // ORDERING [none]: Relaxed. There when `READY` says so.
        IS_LIBC.store(primary.function(c"__libc_malloc").is_some(), Ordering::Relaxed);
    }
    // ORDERING [backend]: Release. The slots before the word that they are there.
    READY.store(true, Ordering::Release);
}

/// The definition of `name` in link order for a function that the allocator's own object lacks.
fn next_after(name: &CStr, own: usize) -> Option<usize> {
    let mut behind_us = false;
    let mut found = None;
    for_each_object(&mut |object| {
        if object.contains(own) {
            behind_us = true;
        } else if behind_us {
            found = object.function(name);
        }
        found.is_none()
    });
    found
}

/// Fills the slots that the backend does not define, from those that it does: a block must not
/// come from another allocator than the one that will free it.
fn complete(elsewhere: &dyn Fn(&CStr) -> Option<usize>) {
    let missing = |entry: u32| slot(entry).is_null();
    let set = |entry: u32, function: *mut ()| {
        if let Some(slot) = FUNCTIONS.get(entry as usize) {
            // ORDERING [none]: Relaxed. Complete when `READY` says so.
            slot.store(function, Ordering::Relaxed);
        }
    };
    for entry in [MEMHOOK_ENTRY_FREE, MEMHOOK_ENTRY_CALLOC, MEMHOOK_ENTRY_REALLOC] {
        if missing(entry) {
            match elsewhere(entry_name(entry)) {
                Some(function) => set(entry, function as *mut ()),
                None => sys::die(b"memhook: the allocator below lacks free, calloc or realloc.\n"),
            }
        }
    }
    let aligned = [MEMHOOK_ENTRY_MEMALIGN, MEMHOOK_ENTRY_POSIX_MEMALIGN, MEMHOOK_ENTRY_ALIGNED_ALLOC];
    if aligned.iter().all(|&e| missing(e))
        && let Some(function) = elsewhere(entry_name(MEMHOOK_ENTRY_MEMALIGN))
    {
        set(MEMHOOK_ENTRY_MEMALIGN, function as *mut ());
    }
    if missing(MEMHOOK_ENTRY_MEMALIGN) {
        let from_posix = !missing(MEMHOOK_ENTRY_POSIX_MEMALIGN);
        let from_c11 = !missing(MEMHOOK_ENTRY_ALIGNED_ALLOC);
        set(
            MEMHOOK_ENTRY_MEMALIGN,
            if from_posix {
                memalign_by_posix as *mut ()
            } else if from_c11 {
                slot(MEMHOOK_ENTRY_ALIGNED_ALLOC)
            } else {
                no_memalign as *mut ()
            },
        );
    }
    if missing(MEMHOOK_ENTRY_ALIGNED_ALLOC) {
        set(MEMHOOK_ENTRY_ALIGNED_ALLOC, slot(MEMHOOK_ENTRY_MEMALIGN));
    }
    if missing(MEMHOOK_ENTRY_POSIX_MEMALIGN) {
        set(MEMHOOK_ENTRY_POSIX_MEMALIGN, posix_by_memalign as *mut ());
    }
    if missing(MEMHOOK_ENTRY_VALLOC) {
        set(MEMHOOK_ENTRY_VALLOC, valloc_by_memalign as *mut ());
    }
    if missing(MEMHOOK_ENTRY_PVALLOC) {
        set(MEMHOOK_ENTRY_PVALLOC, pvalloc_by_memalign as *mut ());
    }
    if missing(MEMHOOK_ENTRY_USABLE_SIZE) {
        // One that only forwards to the C library (libmemusage does) has none of its own. Whoever asks
        // gets the answer that it would get without us. One with blocks of its own may have none either.
        // ORDERING [none]: Relaxed. As the slots.
        SIZES_ARE_ANOTHERS.store(true, Ordering::Relaxed);
        let function = elsewhere(entry_name(MEMHOOK_ENTRY_USABLE_SIZE));
        set(MEMHOOK_ENTRY_USABLE_SIZE, function.map_or(unknown_size as *mut (), |f| f as *mut ()));
    }
    // The C library's own reallocarray would come back to us through realloc.
    set(MEMHOOK_ENTRY_REALLOCARRAY, reallocarray_by_realloc as *mut ());
    for entry in [MEMHOOK_ENTRY_FREE_SIZED, MEMHOOK_ENTRY_FREE_ALIGNED_SIZED] {
        if missing(entry) {
            // The sizes are advice; a function ignores arguments that it does not take.
            set(entry, free_before_us().map_or(slot(MEMHOOK_ENTRY_FREE), |free| free as *mut ()));
        }
    }
}

#[inline(always)]
fn slot(entry: u32) -> *mut () {
    match FUNCTIONS.get(entry as usize) {
        // ORDERING [none]: Relaxed. `resolve` returned before, in this thread or in the one that
        // published the chain this call runs on.
        Some(slot) => slot.load(Ordering::Relaxed),
        None => core::ptr::null_mut(),
    }
}

/// The backend's function for an entry point, by number.
pub(crate) fn function(entry: usize) -> *mut () {
    slot(entry as u32)
}

type Malloc = unsafe extern "C" fn(usize) -> *mut c_void;
pub(crate) type Free = unsafe extern "C" fn(*mut c_void);
type Calloc = unsafe extern "C" fn(usize, usize) -> *mut c_void;
pub(crate) type Realloc = unsafe extern "C" fn(*mut c_void, usize) -> *mut c_void;
type Memalign = unsafe extern "C" fn(usize, usize) -> *mut c_void;
type PosixMemalign = unsafe extern "C" fn(*mut *mut c_void, usize, usize) -> c_int;
type UsableSize = unsafe extern "C" fn(*mut c_void) -> usize;

macro_rules! call {
    ($entry:ident, $type:ty, $($argument:expr),*) => {{
        let function = slot($entry);
        // SAFETY: the slot holds a function of this type (invariant 1).
        let function = unsafe { transmute::<*mut (), $type>(function) };
        // SAFETY: the caller's contract is that of the function.
        unsafe { function($($argument),*) }
    }};
}

/// The backend's malloc.
///
/// # Safety
///
/// `resolve` has returned.
#[inline(always)]
pub(crate) unsafe fn malloc(requested: usize) -> *mut c_void {
    call!(MEMHOOK_ENTRY_MALLOC, Malloc, requested)
}

/// The backend's free.
///
/// # Safety
///
/// `block` is NULL or a live block of the backend; `resolve` has returned.
#[inline(always)]
pub(crate) unsafe fn free(block: *mut c_void) {
    call!(MEMHOOK_ENTRY_FREE, Free, block)
}

/// The backend's calloc.
///
/// # Safety
///
/// `resolve` has returned.
#[inline(always)]
pub(crate) unsafe fn calloc(count: usize, each: usize) -> *mut c_void {
    call!(MEMHOOK_ENTRY_CALLOC, Calloc, count, each)
}

/// The backend's realloc.
///
/// # Safety
///
/// As [`free`].
#[inline(always)]
pub(crate) unsafe fn realloc(block: *mut c_void, requested: usize) -> *mut c_void {
    call!(MEMHOOK_ENTRY_REALLOC, Realloc, block, requested)
}

/// The backend's memalign.
///
/// # Safety
///
/// `resolve` has returned.
pub(crate) unsafe fn memalign(alignment: usize, requested: usize) -> *mut c_void {
    call!(MEMHOOK_ENTRY_MEMALIGN, Memalign, alignment, requested)
}

/// The backend's aligned_alloc, with its own idea of which alignments are valid.
///
/// # Safety
///
/// `resolve` has returned.
pub(crate) unsafe fn aligned_alloc(alignment: usize, requested: usize) -> *mut c_void {
    call!(MEMHOOK_ENTRY_ALIGNED_ALLOC, Memalign, alignment, requested)
}

/// The backend's malloc_usable_size.
///
/// # Safety
///
/// As [`free`].
pub(crate) unsafe fn usable_size(block: *mut c_void) -> usize {
    call!(MEMHOOK_ENTRY_USABLE_SIZE, UsableSize, block)
}

/// The system's page size in bytes.
pub(crate) fn page_size() -> usize {
    match sys::auxiliary(libc::AT_PAGESZ) as usize {
        0 => sys::pages::PAGE,
        size => size,
    }
}

unsafe extern "C" fn memalign_by_posix(alignment: usize, requested: usize) -> *mut c_void {
    let mut block = core::ptr::null_mut();
    let alignment = alignment.max(size_of::<usize>());
    let failed = call!(MEMHOOK_ENTRY_POSIX_MEMALIGN, PosixMemalign, &raw mut block, alignment, requested);
    if failed != 0 {
        // SAFETY: errno of this thread.
        unsafe { sys::thread::errno_location().write(failed) };
        return core::ptr::null_mut();
    }
    block
}

unsafe extern "C" fn posix_by_memalign(out: *mut *mut c_void, alignment: usize, requested: usize) -> c_int {
    if !alignment.is_power_of_two() || alignment < size_of::<usize>() {
        return libc::EINVAL;
    }
    let errno = sys::thread::errno_location();
    // SAFETY: errno of this thread.
    let before = unsafe { errno.read() };
    // SAFETY: resolved, or this function could not have been reached.
    let block = unsafe { memalign(alignment, requested) };
    // SAFETY: errno of this thread.
    unsafe { errno.write(before) };
    if block.is_null() {
        return libc::ENOMEM;
    }
    // SAFETY: posix_memalign's caller gives a writable pointer.
    unsafe { out.write(block) };
    0
}

unsafe extern "C" fn no_memalign(_alignment: usize, _requested: usize) -> *mut c_void {
    // SAFETY: errno of this thread.
    unsafe { sys::thread::errno_location().write(libc::ENOMEM) };
    core::ptr::null_mut()
}

unsafe extern "C" fn valloc_by_memalign(requested: usize) -> *mut c_void {
    // SAFETY: resolved, or this function could not have been reached.
    unsafe { memalign(page_size(), requested) }
}

unsafe extern "C" fn pvalloc_by_memalign(requested: usize) -> *mut c_void {
    match whole_pages(requested) {
        // SAFETY: resolved, or this function could not have been reached.
        Some(bytes) => unsafe { memalign(page_size(), bytes) },
        // SAFETY: it only fails.
        None => unsafe { no_memalign(0, 0) },
    }
}

/// The size that pvalloc rounds to; `None` on overflow.
pub(crate) fn whole_pages(requested: usize) -> Option<usize> {
    let page = page_size();
    Some(requested.checked_add(page - 1)? & !(page - 1))
}

/// What reallocarray is to call instead of anything of ours; `None` where no other allocator stands before us.
pub(crate) fn realloc_before_us() -> Option<Realloc> {
    // ORDERING [none]: Relaxed. `resolve` returned before, as for a slot.
    let function = REALLOC_BEFORE_US.load(Ordering::Relaxed);
    // SAFETY: null, or a function of this name and hence of this type.
    unsafe { transmute::<*mut (), Option<Realloc>>(function) }
}

/// The same of free_sized and free_aligned_sized.
pub(crate) fn free_before_us() -> Option<Free> {
    // ORDERING [none]: Relaxed. As above.
    let function = FREE_BEFORE_US.load(Ordering::Relaxed);
    // SAFETY: null, or a function of this name and hence of this type.
    unsafe { transmute::<*mut (), Option<Free>>(function) }
}

unsafe extern "C" fn reallocarray_by_realloc(block: *mut c_void, count: usize, each: usize) -> *mut c_void {
    match (count.checked_mul(each), realloc_before_us()) {
        // SAFETY: reallocarray's contract is realloc's.
        (Some(bytes), Some(realloc)) => unsafe { realloc(block, bytes) },
        // SAFETY: reallocarray's contract is realloc's.
        (Some(bytes), None) => unsafe { realloc(block, bytes) },
        // SAFETY: it only fails.
        (None, _) => unsafe { no_memalign(0, 0) },
    }
}

unsafe extern "C" fn unknown_size(_block: *mut c_void) -> usize {
    0
}
