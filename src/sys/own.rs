//! Functions of the C library that an allocation call may need, whoever else interposes them.
//!
//! A name in our import table may lead to another's, which may not work before its owner has started (libtsan's
//! dl_iterate_phdr) or may allocate. These are found in the C library's own tables. A fully static program has no list
//! of objects, and nobody else's function either: there they are the linked ones.

use super::elf::{find_in_libc, is_c_library};
use super::find;
use core::ffi::{CStr, c_int, c_void};
use core::sync::atomic::{AtomicPtr, Ordering};

/// A function by its name, once it was looked for.
struct Own {
    name: &'static CStr,
    found: AtomicPtr<()>,
}

impl Own {
    const fn new(name: &'static CStr) -> Own {
        Own { name, found: AtomicPtr::new(core::ptr::null_mut()) }
    }

    /// Its address; `linked` is what the import table leads to.
    #[inline]
    fn address(&self, linked: *mut ()) -> *mut () {
        // ORDERING [none]: Relaxed. A function's address; a thread that finds none looks for it, and finds the same.
        let known = self.found.load(Ordering::Relaxed);
        if known.is_null() { self.look(linked) } else { known }
    }

    /// As [`address`](Own::address), for what each namespace of dlmopen(3) has its own of: the linked function, if the
    /// linker has led us to a C library, be it not the program's.
    #[inline]
    fn address_in_namespace(&self, linked: *mut ()) -> *mut () {
        // ORDERING [none]: Relaxed. As in `address`.
        let known = self.found.load(Ordering::Relaxed);
        if known.is_null() { self.look_in_namespace(linked) } else { known }
    }

    #[cold]
    fn look_in_namespace(&self, linked: *mut ()) -> *mut () {
        if !find::find(linked as usize).is_some_and(|found| is_c_library(&found.object())) {
            return self.look(linked);
        }
        // ORDERING [none]: Relaxed. As in `address`.
        self.found.store(linked, Ordering::Relaxed);
        linked
    }

    #[cold]
    fn look(&self, linked: *mut ()) -> *mut () {
        let found = find_in_libc(self.name).map_or(linked, |function| function as *mut ());
        // ORDERING [none]: Relaxed. As above.
        self.found.store(found, Ordering::Relaxed);
        found
    }
}

pub(super) type Step = unsafe extern "C" fn(*mut libc::dl_phdr_info, usize, *mut c_void) -> c_int;
pub(super) type Iterate = unsafe extern "C" fn(Option<Step>, *mut c_void) -> c_int;

/// dl_iterate_phdr(3).
pub(super) fn iterate() -> Iterate {
    static OWN: Own = Own::new(c"dl_iterate_phdr");
    let address = OWN.address(libc::dl_iterate_phdr as *mut ());
    // SAFETY: a function of this name and hence of this type.
    unsafe { core::mem::transmute::<*mut (), Iterate>(address) }
}

/// An entry of the vector that the kernel gave the process: getauxval(3), which leaves errno alone where there is one.
pub(crate) fn auxiliary(entry: u64) -> u64 {
    static OWN: Own = Own::new(c"getauxval");
    let address = OWN.address(libc::getauxval as *mut ());
    // SAFETY: a function of this name and hence of this type.
    let function = unsafe { core::mem::transmute::<*mut (), unsafe extern "C" fn(u64) -> u64>(address) };
    // SAFETY: reads a vector that the kernel made; any entry may be asked for.
    unsafe { function(entry) }
}

/// The address of this thread's errno, which stays the same as long as the thread lives.
pub(crate) fn errno_location() -> *mut i32 {
    static OWN: Own = Own::new(c"__errno_location");
    let address = OWN.address_in_namespace(libc::__errno_location as *mut ());
    // SAFETY: a function of this name and hence of this type.
    let function = unsafe { core::mem::transmute::<*mut (), unsafe extern "C" fn() -> *mut i32>(address) };
    // SAFETY: no precondition.
    unsafe { function() }
}
