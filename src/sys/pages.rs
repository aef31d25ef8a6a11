//! Pages straight from the kernel.

use super::syscall;

/// The page size that sizes are rounded to. Larger pages only round further.
pub(crate) const PAGE: usize = 4096;

/// New zeroed memory of `len` bytes, page-aligned; `None` where the kernel has none.
pub(crate) fn map(len: usize) -> Option<*mut u8> {
    usable(syscall::mmap(len, 0))
}

/// Like [`map`], for large ranges of which few pages will ever be touched.
pub(crate) fn reserve(len: usize) -> Option<*mut u8> {
    usable(syscall::mmap(len, libc::MAP_NORESERVE))
}

/// A part of a file as memory, shared with whoever reads the file. `offset` is a multiple of the
/// kernel's page size.
pub(crate) fn map_file(fd: i32, offset: u64, len: usize) -> Option<*mut u8> {
    usable(syscall::mmap_file(fd, offset, len))
}

/// Readies pages for writing, so that they are not faulted in one by one. A kernel that cannot, does not.
pub(crate) fn touch(at: *mut u8, len: usize) {
    const MADV_POPULATE_WRITE: i32 = 23;
    syscall::madvise(at, len, MADV_POPULATE_WRITE);
}

/// New zeroed memory that a fork child finds zeroed again. `ENOMEM`: the kernel has none; `ENOTSUP`: it cannot.
pub(crate) fn map_wiped_on_fork(len: usize) -> Result<*mut u8, i32> {
    let at = map(len).ok_or(libc::ENOMEM)?;
    if syscall::madvise(at, len, libc::MADV_WIPEONFORK) == 0 {
        return Ok(at);
    }
    // SAFETY: mapped above, and nobody knows it.
    unsafe { unmap(at, len) };
    Err(libc::ENOTSUP)
}

fn usable(result: isize) -> Option<*mut u8> {
    (!(-4095..0).contains(&result)).then_some(result as *mut u8)
}

/// Gives back what [`map`] gave.
///
/// # Safety
///
/// `at` and `len` are those of one `map` or `reserve`, and nobody uses the memory any more.
pub(crate) unsafe fn unmap(at: *mut u8, len: usize) {
    // SAFETY: the caller's contract.
    unsafe { syscall::munmap(at, len) };
}

/// Makes every processor that runs this process take an interrupt, by taking a page's write
/// permission away: the way to a barrier where membarrier(2) was taken away at run time.
#[cfg(target_arch = "x86_64")]
pub(super) fn shoot_down() {
    let Some(page) = map(PAGE) else { return };
    // SAFETY: the page is ours and writable; touching it makes processors cache it.
    unsafe { page.write_volatile(1) };
    // SAFETY: the page is a whole mapping of ours.
    unsafe { syscall::mprotect(page, PAGE, libc::PROT_READ) };
    // SAFETY: mapped above, known to nobody else.
    unsafe { unmap(page, PAGE) };
}
