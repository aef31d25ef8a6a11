//! System calls that leave errno alone and are no cancellation points.

use super::file;
use core::arch::asm;

/// One system call with up to six arguments; the result as the kernel gives it.
///
/// # Safety
///
/// As the system call that `number` names demands of its arguments.
pub(super) unsafe fn raw(number: libc::c_long, args: [usize; 6]) -> isize {
    let [a, b, c, d, e, f] = args;
    let result: isize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the registers are those of the Linux system call convention, clobbers included;
    // what the call does to memory is the caller's contract.
    unsafe {
        asm!("syscall", inlateout("rax") number as isize => result, in("rdi") a, in("rsi") b,
             in("rdx") c, in("r10") d, in("r8") e, in("r9") f,
             lateout("rcx") _, lateout("r11") _, options(nostack));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the registers are those of the Linux system call convention, clobbers included;
    // what the call does to memory is the caller's contract.
    unsafe {
        asm!("svc 0", in("x8") number, inlateout("x0") a as isize => result, in("x1") b,
             in("x2") c, in("x3") d, in("x4") e, in("x5") f, options(nostack));
    }
    result
}

/// New zeroed private pages, or a negative error number.
pub(super) fn mmap(len: usize, flags: i32) -> isize {
    let prot = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = (libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | flags) as usize;
    // SAFETY: without MAP_FIXED no existing mapping is touched.
    unsafe { raw(libc::SYS_mmap, [0, len, prot, flags, usize::MAX, 0]) }
}

/// A part of a file, shared, or a negative error number.
pub(super) fn mmap_file(fd: i32, offset: u64, len: usize) -> isize {
    let prot = (libc::PROT_READ | libc::PROT_WRITE) as usize;
    let flags = libc::MAP_SHARED as usize;
    // SAFETY: without MAP_FIXED no existing mapping is touched.
    unsafe { raw(libc::SYS_mmap, [0, len, prot, flags, fd as usize, offset as usize]) }
}

/// Advice that changes no contents that this process could see.
pub(super) fn madvise(at: *mut u8, len: usize, advice: i32) -> isize {
    // SAFETY: of the advices that are given here, none changes memory of this process.
    unsafe { raw(libc::SYS_madvise, [at as usize, len, advice as usize, 0, 0, 0]) }
}

/// # Safety
///
/// The range is a whole mapping that nobody uses any more.
pub(super) unsafe fn munmap(at: *mut u8, len: usize) {
    // SAFETY: the caller's contract.
    unsafe { raw(libc::SYS_munmap, [at as usize, len, 0, 0, 0, 0]) };
}

/// # Safety
///
/// The range is a whole mapping of readable and writable memory.
#[cfg(target_arch = "x86_64")]
pub(super) unsafe fn mprotect(at: *mut u8, len: usize, prot: i32) {
    // SAFETY: the caller's contract.
    unsafe { raw(libc::SYS_mprotect, [at as usize, len, prot as usize, 0, 0, 0]) };
}

pub(super) fn membarrier(command: i32) -> isize {
    // SAFETY: membarrier takes no pointer.
    unsafe { raw(libc::SYS_membarrier, [command as usize, 0, 0, 0, 0, 0]) }
}

pub(super) fn futex(word: *const u32, operation: i32, value: u32, timeout: *const libc::timespec) -> isize {
    let operation = (operation | libc::FUTEX_PRIVATE_FLAG) as usize;
    // SAFETY: the kernel checks both addresses itself and fails with EFAULT where they are bad.
    unsafe { raw(libc::SYS_futex, [word as usize, operation, value as usize, timeout as usize, 0, 0]) }
}

pub(super) fn gettid() -> u32 {
    // SAFETY: gettid takes no arguments.
    unsafe { raw(libc::SYS_gettid, [0; 6]) as u32 }
}

pub(crate) fn getpid() -> u32 {
    // SAFETY: getpid takes no arguments.
    unsafe { raw(libc::SYS_getpid, [0; 6]) as u32 }
}

/// Asks whether the thread could be sent a signal; sends none.
pub(super) fn probe_thread(pid: u32, tid: u32) -> isize {
    // SAFETY: signal 0 is not delivered.
    unsafe { raw(libc::SYS_tgkill, [pid as usize, tid as usize, 0, 0, 0, 0]) }
}

/// Lets other threads run first.
pub(crate) fn give_way() {
    // SAFETY: sched_yield takes no arguments.
    unsafe { raw(libc::SYS_sched_yield, [0; 6]) };
}

/// Whether the calling thread runs on its alternate signal stack.
pub(crate) fn on_signal_stack() -> bool {
    let mut now = libc::stack_t { ss_sp: core::ptr::null_mut(), ss_flags: 0, ss_size: 0 };
    // SAFETY: the first argument NULL asks only; the second is a live stack_t.
    let result = unsafe { raw(libc::SYS_sigaltstack, [0, &raw mut now as usize, 0, 0, 0, 0]) };
    result == 0 && now.ss_flags & libc::SS_ONSTACK != 0
}

/// Monotonic time in nanoseconds.
pub(crate) fn monotonic_ns() -> u64 {
    clock_ns(libc::CLOCK_MONOTONIC)
}

/// The time of one of the kernel's clocks, in nanoseconds.
pub(crate) fn clock_ns(clock: libc::clockid_t) -> u64 {
    let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: `now` is a live timespec.
    unsafe { raw(libc::SYS_clock_gettime, [clock as usize, &raw mut now as usize, 0, 0, 0, 0]) };
    (now.tv_sec as u64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as u64)
}

/// mmap, mremap or munmap as somebody else asks for it; the error number where it fails.
///
/// # Safety
///
/// As the system call's.
pub(crate) unsafe fn mapping(number: libc::c_long, arguments: [usize; 6]) -> Result<usize, i32> {
    // SAFETY: the caller's contract.
    let result = unsafe { raw(number, arguments) };
    if (-4095..0).contains(&result) { Err(-result as i32) } else { Ok(result as usize) }
}

/// Whether the page that begins at `page` is in memory. A guess: it may have been, or be next.
pub(crate) fn is_in_memory(page: usize) -> bool {
    let mut answer = 0u8;
    // SAFETY: `answer` is a live byte, as many as there are pages in a length of 1.
    let result = unsafe { raw(libc::SYS_mincore, [page, 1, &raw mut answer as usize, 0, 0, 0]) };
    result == 0 && answer & 1 != 0
}

/// Reads the kernel's page records of this process from the page at `first` on. Returns how
/// many were read; 0 where the file cannot be had.
pub(crate) fn pagemap(first: usize, records: &mut [u64]) -> usize {
    let bytes = core::mem::size_of_val(records);
    // SAFETY: plain bytes over the records.
    let buffer = unsafe { core::slice::from_raw_parts_mut(records.as_mut_ptr().cast(), bytes) };
    // The first is empty, or is not there, once the process's first thread has ended.
    for path in [&b"/proc/self/pagemap\0"[..], b"/proc/thread-self/pagemap\0"] {
        let Ok(fd) = file::open(path, libc::O_RDONLY, 0) else { continue };
        let got = file::read_at(fd, buffer, first * 8).unwrap_or(0) / 8;
        file::close(fd);
        if got != 0 {
            return got;
        }
    }
    0
}
