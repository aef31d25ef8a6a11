//! Whether memory is there, asked of the kernel: for addresses that may be none.

use super::pages::PAGE;
use super::syscall::raw;

/// Whether the 8 bytes at an address, which is a multiple of 8, can be read.
pub(crate) fn is_readable(address: usize) -> bool {
    let no_such_way = usize::MAX;
    // SAFETY: the kernel copies the mask, which fails where it cannot be read, and then refuses what to do
    // with it: nothing changes.
    let result = unsafe { raw(libc::SYS_rt_sigprocmask, [no_such_way, address, 0, 8, 0, 0]) };
    result != -(libc::EFAULT as isize)
}

/// Whether something is mapped at an address, readable or not.
pub(crate) fn is_mapped(address: usize) -> bool {
    let mut residency = 0u8;
    let page = address & !(PAGE - 1);
    // SAFETY: `residency` has room for the one page that is asked about.
    let result = unsafe { raw(libc::SYS_mincore, [page, 1, &raw mut residency as usize, 0, 0, 0]) };
    result != -(libc::ENOMEM as isize)
}
