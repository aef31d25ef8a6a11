//! Mappings, for sessions that were asked to count them.
//!
//! Never: looks at a mapping. What is in use is what calls added and took away, in whole pages.
//!
//! The library does not interpose mmap and its like: that would stand in the way of every program that has it, tool or
//! no tool. `libmemhook-mmap.so` does, in four jumps to the functions here.

use super::counts::{Counts, OfKind, add};
use super::session;
use super::{MEMHOOK_USAGE_MAPS, data};
use crate::api::local::memhook_thread;
use crate::api::thread::{memhook_is_suspended, memhook_resume, memhook_suspend};
use crate::sys::{self, pages::PAGE, tls};
use core::ffi::{c_int, c_void};

/// How memory is mapped: index into [`Counts::maps`].
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(usize)]
pub(super) enum Way {
    Read,
    Write,
    Anonymous,
    Remap,
    Unmap,
}

/// How many ways there are.
pub(super) const WAYS: usize = 5;

/// A call that maps, changes a mapping, or ends one.
struct Change {
    way: Way,
    before: usize,
    after: usize,
    in_place: bool,
}

fn whole_pages(bytes: usize) -> usize {
    bytes.checked_next_multiple_of(PAGE).unwrap_or(0)
}

impl Change {
    fn enter(&self, counts: &Counts) {
        let Some(of_way) = counts.maps.get(self.way as usize) else { return };
        add(&of_way.made, 1);
        let bytes = match self.way {
            Way::Remap => self.after.saturating_sub(self.before),
            Way::Unmap => self.before,
            _ => self.after,
        };
        add(&of_way.bytes, bytes as u64);
        if self.way != Way::Unmap {
            counts.enter(self.after);
        }
        if self.way == Way::Remap && self.in_place {
            add(&counts.remap_in_place, 1);
        }
        if self.way == Way::Remap && self.before > self.after {
            add(&counts.remap_decreasing, 1);
        }
        counts.mapped(whole_pages(self.before), whole_pages(self.after));
    }

    /// Has it counted by each session that counts mappings of this thread.
    fn tell(&self, succeeded: bool) {
        // As callbacks are not called for calls inside a callback, where the allocator maps for a block that is counted.
        if memhook_is_suspended() != 0 || memhook_suspend() != 0 {
            return;
        }
        let at = tls::stack_pointer();
        for session in session::all().filter_map(|session| session.hold(0)) {
            let setup = session.setup();
            if setup.flags & MEMHOOK_USAGE_MAPS == 0 || ![0, memhook_thread()].contains(&setup.thread) {
                continue;
            }
            let Some(counts) = session.counts() else { continue };
            if !succeeded {
                if let Some(OfKind { failed, .. }) = counts.maps.get(self.way as usize) {
                    add(failed, 1);
                }
                continue;
            }
            self.enter(counts);
            counts.settle(at, &session.peak);
            data::note_depth(&session, counts.depth_of(at));
        }
        memhook_resume();
    }
}

core::arch::global_asm!(".weak memhook_leads_mmap");

/// Whether `libmemhook-mmap.so` is there, or another object that leads a process's calls here.
pub(super) fn are_led_here() -> bool {
    !sys::weak!(memhook_leads_mmap).is_null()
}

/// What a system call gave, as the C library's function gives it.
fn answer(result: Result<usize, c_int>) -> usize {
    match result {
        Ok(result) => result,
        Err(error) => {
            // SAFETY: errno of this thread.
            unsafe { sys::thread::errno_location().write(error) };
            usize::MAX
        }
    }
}

/// mmap(2), and mmap64. Sessions of `memhook_usage_start()` with `MEMHOOK_USAGE_MAPS` count it.
///
/// `libmemhook-mmap.so`, preloaded behind `libmemhook.so`, leads a process's calls of mmap, mmap64, mremap and munmap
/// here; a program that keeps pools of its own may call it itself.
///
/// # Returns
///
/// The address, or `MAP_FAILED` with `errno` set, as mmap(2).
///
/// # Threads
///
/// Any thread, any time, in signal handlers too. Never waits.
///
/// # Reentrancy
///
/// Inside a callback, and while hooks are suspended: is not counted.
///
/// # Safety
///
/// As mmap(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_mmap(
    at: *mut c_void,
    bytes: usize,
    protection: c_int,
    flags: c_int,
    fd: c_int,
    offset: i64,
) -> *mut c_void {
    let arguments = [at as usize, bytes, protection as usize, flags as usize, fd as usize, offset as usize];
    // SAFETY: the caller's contract.
    let result = unsafe { sys::mapping(libc::SYS_mmap, arguments) };
    let way = match () {
        () if flags & libc::MAP_ANONYMOUS != 0 => Way::Anonymous,
        () if protection & libc::PROT_WRITE != 0 => Way::Write,
        () => Way::Read,
    };
    Change { way, before: 0, after: bytes, in_place: false }.tell(result.is_ok());
    core::ptr::with_exposed_provenance_mut(answer(result))
}

/// mremap(2); `to` is looked at if `flags` say so. As `memhook_mmap()`.
///
/// # Returns
///
/// The address, or `MAP_FAILED` with `errno` set, as mremap(2).
///
/// # Threads
///
/// As `memhook_mmap()`.
///
/// # Reentrancy
///
/// As `memhook_mmap()`.
///
/// # Safety
///
/// As mremap(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_mremap(
    at: *mut c_void,
    before: usize,
    after: usize,
    flags: c_int,
    to: *mut c_void,
) -> *mut c_void {
    let arguments = [at as usize, before, after, flags as usize, to as usize, 0];
    // SAFETY: the caller's contract.
    let result = unsafe { sys::mapping(libc::SYS_mremap, arguments) };
    let in_place = result == Ok(at as usize);
    // What leaves the old mapping where it is adds a new one.
    let before = if flags & libc::MREMAP_DONTUNMAP != 0 { 0 } else { before };
    Change { way: Way::Remap, before, after, in_place }.tell(result.is_ok());
    core::ptr::with_exposed_provenance_mut(answer(result))
}

/// munmap(2). As `memhook_mmap()`.
///
/// # Returns
///
/// 0, or -1 with `errno` set, as munmap(2).
///
/// # Threads
///
/// As `memhook_mmap()`.
///
/// # Reentrancy
///
/// As `memhook_mmap()`.
///
/// # Safety
///
/// As munmap(2).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_munmap(at: *mut c_void, bytes: usize) -> c_int {
    // SAFETY: the caller's contract.
    let result = unsafe { sys::mapping(libc::SYS_munmap, [at as usize, bytes, 0, 0, 0, 0]) };
    Change { way: Way::Unmap, before: bytes, after: 0, in_place: false }.tell(result.is_ok());
    answer(result) as c_int
}
