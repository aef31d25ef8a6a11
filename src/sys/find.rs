//! Which object an address lies in, for use on an allocation call: without the loader's locks.
//!
//! dladdr(3) and dl_iterate_phdr(3) take locks that another thread may hold while it waits for a lock of
//! the program's that this one holds. `_dl_find_object` (glibc 2.35) takes none. Where it is missing, only
//! objects are found that were there when [`prepare`] was called.

use super::elf::{Dynamic, Object, for_each_object, is_among_first};
use super::program;
use super::weak;
use core::cell::UnsafeCell;
use core::ffi::{CStr, c_char, c_int};
use core::sync::atomic::{AtomicBool, AtomicU32, Ordering};

core::arch::global_asm!(".weak _dl_find_object", ".weak program_invocation_name");

/// glibc's `struct dl_find_object`.
#[repr(C)]
struct Answer {
    flags: u64,
    start: usize,
    end: usize,
    map: *const LinkMap,
    eh_frame: *const u8,
    reserved: [u64; 7],
}

/// The public part of glibc's `struct link_map`.
#[repr(C)]
struct LinkMap {
    base: usize,
    name: *const c_char,
    dynamic: *const Dynamic,
}

/// An object and what tells it from one that is loaded to the same place later.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Found {
    /// The addresses from the object's first to behind its last.
    pub(crate) start: usize,
    pub(crate) end: usize,
    /// The difference between addresses in memory and in the object's file.
    pub(crate) base: usize,
    name: *const c_char,
    dynamic: *const Dynamic,
    /// Its `.eh_frame_hdr`; null where it has none or that is not known.
    pub(crate) unwind: *const u8,
}

type Find = unsafe extern "C" fn(*const u8, *mut Answer) -> c_int;

/// Whether the C library has started: constructors run.
static HAS_STARTED: AtomicBool = AtomicBool::new(false);

unsafe extern "C" fn constructor() {
    // ORDERING [none]: Relaxed. Of the only thread that there is, or of one that came later.
    HAS_STARTED.store(true, Ordering::Relaxed);
}

#[used]
#[unsafe(link_section = ".init_array")]
static CONSTRUCTOR: unsafe extern "C" fn() = constructor;

/// The loader's function, where it has one. That of a static program is of no use before it is initialised, which makes
/// allocation calls itself.
fn loader() -> Option<Find> {
    // ORDERING [none]: Relaxed. See `constructor`.
    if !HAS_STARTED.load(Ordering::Relaxed) && program::is_static() {
        return None;
    }
    let function = weak!(_dl_find_object);
    // SAFETY: null, or glibc's function, which has this type.
    unsafe { core::mem::transmute::<*const (), Option<Find>>(function) }
}

/// The objects that were there at the start, where the loader has no function for this.
struct Objects {
    count: AtomicU32,
    all: UnsafeCell<[Option<Found>; MOST]>,
}

const MOST: usize = 128;
const UNREAD: u32 = u32::MAX;
const READING: u32 = u32::MAX - 1;

// SAFETY: `all` is written by who changed `count` from UNREAD, and read after that has a number.
unsafe impl Sync for Objects {}

static OBJECTS: Objects =
    Objects { count: AtomicU32::new(UNREAD), all: UnsafeCell::new([const { None }; MOST]) };

/// Must be called before [`find`], by who holds none of the loader's locks in another thread's way.
pub(crate) fn prepare() {
    let first = || {
        // ORDERING [objects]: Acquire and Acquire. Decides who reads them. Other end: below.
        OBJECTS.count.compare_exchange(UNREAD, READING, Ordering::Acquire, Ordering::Acquire).is_ok()
    };
    if loader().is_some() || !first() {
        return;
    }
    let mut count = 0;
    // SAFETY: nobody else changes them (above), and nobody reads them yet.
    let all = unsafe { &mut *OBJECTS.all.get() };
    for_each_object(&mut |object| {
        if let Some(place) = all.get_mut(count) {
            *place = Some(Found::of(object));
            count += 1;
        }
        count < MOST
    });
    // ORDERING [objects]: Release. Whoever sees the number sees the objects. Other end: `find`.
    OBJECTS.count.store(count as u32, Ordering::Release);
}

/// The object that `address` lies in. No lock, no allocation.
#[inline(never)]
pub(crate) fn find(address: usize) -> Option<Found> {
    let Some(loader) = loader() else {
        // ORDERING [objects]: Acquire. Other end: `prepare`.
        let count = OBJECTS.count.load(Ordering::Acquire);
        if count >= READING {
            return None;
        }
        // SAFETY: not written after there is a number.
        let all = unsafe { &*OBJECTS.all.get() };
        return all.iter().flatten().find(|found| found.holds(address)).copied();
    };
    let mut answer = core::mem::MaybeUninit::<Answer>::zeroed();
    // SAFETY: glibc's function fills in an answer of this form; any address may be asked for.
    if unsafe { loader(address as *const u8, answer.as_mut_ptr()) } != 0 {
        return None;
    }
    // SAFETY: filled in, and zero before.
    let answer = unsafe { answer.assume_init() };
    let mut map = [0u8; size_of::<LinkMap>()];
    // The object of a stray address may be going at this moment: its description is read in a way that
    // cannot fault, where the kernel lets us.
    let map = if super::file::peek(answer.map as usize, &mut map) == map.len() {
        // SAFETY: as many bytes as a description has, and any bytes are one.
        unsafe { map.as_ptr().cast::<LinkMap>().read_unaligned() }
    } else {
        // SAFETY: the loader's description of a loaded object.
        unsafe { answer.map.read() }
    };
    Some(Found {
        start: answer.start,
        end: answer.end,
        base: map.base,
        name: map.name,
        dynamic: map.dynamic,
        unwind: answer.eh_frame,
    })
}

/// A number for the object that `address` lies in, which differs from that of an object that was loaded to the same place
/// before; 0 where that is not known. No lock, no allocation.
pub(crate) fn identity(address: usize) -> usize {
    let mut answer = core::mem::MaybeUninit::<Answer>::zeroed();
    // SAFETY: as in `find`.
    let found =
        loader().is_some_and(|loader| unsafe { loader(address as *const u8, answer.as_mut_ptr()) } == 0);
    // SAFETY: zeroes, or filled in.
    let answer = unsafe { answer.assume_init() };
    if found { answer.map as usize ^ answer.start.rotate_left(16) } else { 0 }
}

/// The object that `address` lies in, whenever it was loaded. Takes the loader's lock where the loader has no function
/// for this: not for an allocation call.
pub(crate) fn find_any(address: usize) -> Option<Found> {
    if loader().is_some() {
        return find(address);
    }
    let mut found = None;
    for_each_object(&mut |object| {
        if object.contains(address) {
            found = Some(Found::of(object));
        }
        found.is_none()
    });
    found
}

/// Whether `address` lies in one of the first `count` objects of the program, which are to be objects that are never
/// unloaded. As for [`find_any`].
pub(crate) fn is_in_first(count: u32, address: usize) -> bool {
    if loader().is_some() {
        let dynamic = find(address).map_or(core::ptr::null(), |found| found.dynamic);
        if let Some(answer) = is_among_first(count, dynamic) {
            return answer;
        }
    }
    let (mut number, mut found) = (0, false);
    for_each_object(&mut |object| {
        found = number < count && object.contains(address);
        number += 1;
        number < count && !found
    });
    found
}

impl Found {
    /// What there is to know of an object, except where its unwind tables are.
    fn of(object: &Object) -> Found {
        let (start, end) = object.range();
        let name = object.name().as_ptr();
        let (base, dynamic) = (object.base(), object.dynamic());
        Found { start, end, base, name, dynamic, unwind: core::ptr::null() }
    }

    /// Whether an address lies in the object.
    pub(crate) fn holds(&self, address: usize) -> bool {
        (self.start..self.end).contains(&address)
    }

    /// The object's tables. As for [`name`](Found::name).
    pub(crate) fn object(&self) -> Object {
        // SAFETY: the object is loaded (this method's condition), and the loader says where its section is.
        unsafe { Object::listed(self.base, self.dynamic) }
    }

    /// The object's path as it was loaded; for the program itself, the name by which it was started. The
    /// object must be loaded still: an address in it is being executed.
    pub(crate) fn name(&self) -> &'static [u8] {
        let own = if self.name.is_null() {
            c""
        } else {
            // SAFETY: the loader's string, which lives as long as the object.
            unsafe { CStr::from_ptr(self.name) }
        };
        if own.is_empty() { started_as() } else { own.to_bytes() }
    }

    /// The loader's name of the object; null or empty for the program itself.
    pub(super) fn listed_name(&self) -> *const c_char {
        self.name
    }

    /// Whether this is the program itself.
    pub(crate) fn is_program(&self) -> bool {
        // SAFETY: the loader's string, which lives as long as the object.
        self.name.is_null() || unsafe { self.name.read() } == 0
    }

    /// The name and the address of the symbol in which `address` lies. As for [`name`](Found::name).
    pub(crate) fn symbol_around(&self, address: usize) -> Option<(&'static CStr, usize)> {
        self.object().symbol_around(address)
    }
}

/// The name by which the program was started; empty before the C library knows it.
fn started_as() -> &'static [u8] {
    let variable = weak!(program_invocation_name).cast::<*const c_char>();
    if variable.is_null() {
        return &[];
    }
    // SAFETY: the C library's variable.
    let name = unsafe { variable.read() };
    if name.is_null() {
        return &[];
    }
    // SAFETY: a string that lives as long as the process.
    unsafe { CStr::from_ptr(name) }.to_bytes()
}
