//! Tries whether the allocation calls of a program or a shared object really arrive here.
//!
//! Never: changes what a call does. While a test runs, every call of the process takes the full
//! way through the library, which serves it as before.

use crate::abi::*;
use crate::backend;
use crate::dispatch::PROBING;
use crate::entry;
use crate::guard::{self, Record};
use crate::registry::Probe;
use crate::sys;
use crate::sys::find::find_any;
use core::ffi::{c_int, c_void};
use core::sync::atomic::Ordering;

type Function = unsafe extern "C" fn();

/// The order of the test: who takes blocks back is known before any is made.
const FREE_FIRST: [u32; MEMHOOK_ENTRY_COUNT as usize] = [1, 0, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12];
const _: () = assert!(MEMHOOK_ENTRY_FREE == 1);

/// What a test found.
pub(crate) struct Findings {
    /// Entry points that were called and did not arrive, by number.
    pub(crate) missed: u32,
    /// Where the first of them leads.
    pub(crate) leads_to: Option<usize>,
    tested: u32,
}

/// Calls entry points and looks which of them arrive.
struct Trial<'a> {
    record: &'a Record,
    _probe: Probe,
    findings: Findings,
    /// Where the tested `free` leads, if not here.
    missed_free: Option<usize>,
}

impl Trial<'_> {
    fn begin() -> Result<Trial<'static>, c_int> {
        let record = guard::record().ok_or(libc::ENOMEM)?;
        let findings = Findings { missed: 0, leads_to: None, tested: 0 };
        Ok(Trial { record, _probe: Probe::begin()?, findings, missed_free: None })
    }

    /// # Safety
    ///
    /// `function` is of the type of the entry point; `slot` is null, or where its address was found.
    ///
    /// `bound` says where it leads by now: a call may have had it bound.
    unsafe fn try_one(
        &mut self,
        number: u32,
        function: usize,
        slot: *const usize,
        bound: &dyn Fn() -> usize,
    ) {
        // Of a test that this one is inside of: it may be a callback of what that calls that tests.
        // ORDERING [none]: Relaxed. Written and read by this thread.
        let outer = self.record.probe.swap(PROBING, Ordering::Relaxed);
        // SAFETY: the caller's contract.
        let block = unsafe { call_once(number, function, slot) };
        // ORDERING [none]: Relaxed. Written and read by this thread.
        let seen = self.record.probe.swap(outer, Ordering::Relaxed);
        let arrived = seen & (1 << number) != 0;
        self.findings.tested |= 1 << number;
        if !arrived {
            self.findings.missed |= 1 << number;
            self.findings.leads_to.get_or_insert_with(bound);
        }
        if number == MEMHOOK_ENTRY_FREE && !arrived {
            self.missed_free.get_or_insert_with(bound);
        }
        if block.is_null() {
            return;
        }
        let [_, ours, ..] = entry::EXPORTED;
        let free = if arrived { Some(ours as *const () as usize) } else { self.free_beside(bound()) };
        // Where it is not known who takes the block back, it is left: a few bytes, once.
        if let Some(free) = free {
            // SAFETY: the address of a free.
            let free = unsafe { core::mem::transmute::<usize, unsafe extern "C" fn(*mut c_void)>(free) };
            // SAFETY: the block was made by the entry point beside it.
            unsafe { free(block) };
        }
    }

    /// The tested `free`, where it leads to the same object as another function.
    fn free_beside(&self, function: usize) -> Option<usize> {
        let free = self.missed_free?;
        find_any(free).is_some_and(|object| object.holds(function)).then_some(free)
    }
}

/// Calls an entry point in the least consequential way; returns the block it made, if any.
///
/// # Safety
///
/// `function` is of the type of the entry point; `slot` is null, or where its address was found.
unsafe fn call_once(number: u32, function: usize, slot: *const usize) -> *mut c_void {
    // The same registers are passed whatever the types of the arguments are.
    let call = |arguments| {
        // SAFETY: an entry point, and each is given below what it may be called with.
        unsafe { sys::call::three(function, slot, arguments) as *mut c_void }
    };
    let none = core::ptr::null_mut();
    match number {
        // One byte.
        MEMHOOK_ENTRY_MALLOC | MEMHOOK_ENTRY_VALLOC | MEMHOOK_ENTRY_PVALLOC => call([1, 0, 0]),
        // One element of one byte.
        MEMHOOK_ENTRY_CALLOC => call([1, 1, 0]),
        // NULL to one byte.
        MEMHOOK_ENTRY_REALLOC => call([0, 1, 0]),
        // NULL to one element of one byte.
        MEMHOOK_ENTRY_REALLOCARRAY => call([0, 1, 1]),
        // Alignment 16, 16 bytes.
        MEMHOOK_ENTRY_MEMALIGN | MEMHOOK_ENTRY_ALIGNED_ALLOC => call([16, 16, 0]),
        MEMHOOK_ENTRY_POSIX_MEMALIGN => {
            let mut block = none;
            call([&raw mut block as usize, 16, 16]);
            block
        }
        MEMHOOK_ENTRY_FREE
        | MEMHOOK_ENTRY_USABLE_SIZE
        | MEMHOOK_ENTRY_FREE_SIZED
        | MEMHOOK_ENTRY_FREE_ALIGNED_SIZED => {
            // NULL: nothing to do.
            call([0, 0, 0]);
            none
        }
        _ => none,
    }
}

/// Tries these functions.
///
/// # Safety
///
/// Each is NULL or of the type of its entry point.
pub(crate) unsafe fn try_functions(functions: &[Option<Function>; 13]) -> Result<Findings, c_int> {
    let mut trial = Trial::begin()?;
    for number in FREE_FIRST {
        if let Some(function) = functions.get(number as usize).copied().flatten() {
            let function = function as *const () as usize;
            // SAFETY: the caller's contract.
            unsafe { trial.try_one(number, function, core::ptr::null(), &|| leads_to(number, function)) };
        }
    }
    if trial.findings.tested == 0 {
        return Err(libc::ENOENT);
    }
    Ok(trial.findings)
}

/// Where a function is that was called. In a program that lies at a fixed place, the address of another object's function
/// is that of code of the program, which goes on to it.
fn leads_to(number: u32, function: usize) -> usize {
    let name = backend::entry_name(number);
    let mut end = function;
    if let Some(found) = find_any(function)
        && found.object().is_dynamic()
        && found.object().function(name).is_none()
    {
        found.object().for_each_binding(name, &mut |slot| {
            // SAFETY: a relocated pointer of a loaded object.
            let bound = unsafe { slot.read_volatile() };
            if bound != 0 && !found.holds(bound) {
                end = bound;
            }
        });
    }
    end
}

/// Tries the functions that the shared object at `address` calls. `EINVAL`: there is none;
/// `ENOENT`: it calls none of the entry points.
pub(crate) fn try_object(address: usize) -> Result<Findings, c_int> {
    let object = find_any(address).ok_or(libc::EINVAL)?.object();
    if !object.is_dynamic() {
        return Err(libc::ENOENT);
    }
    let mut trial = Trial::begin()?;
    for number in FREE_FIRST {
        object.for_each_binding(backend::entry_name(number), &mut |slot| {
            let bound = || {
                // SAFETY: a relocated pointer of a loaded object.
                unsafe { slot.read_volatile() }
            };
            let function = bound();
            if function != 0 {
                // SAFETY: the loader bound it to a function of this name, or, where it has not
                // been called yet, to the stub that binds it and goes on to it.
                unsafe { trial.try_one(number, function, slot, &bound) };
            }
        });
    }
    if trial.findings.tested == 0 {
        return Err(libc::ENOENT);
    }
    Ok(trial.findings)
}

/// The path of the object that holds an address.
pub(crate) fn object_name(address: usize) -> &'static [u8] {
    match find_any(address) {
        Some(object) if object.is_program() => b"the main program",
        Some(object) => object.name(),
        None => b"an unknown place",
    }
}
