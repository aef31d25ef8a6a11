//! Files that stay open beside the program's own.
//!
//! Never: writes to a file that is another by now. A program may close every descriptor that it does not know,
//! and open its own under the same number.

use super::file;
use super::syscall::{getpid, raw};

/// From this number on descriptors are out of the way of programs that count theirs.
const HIGH: usize = 200;

/// An open file, and how to know it again.
#[derive(Clone, Copy)]
pub(crate) struct Kept {
    fd: i32,
    /// Device and number.
    file: (u64, u64),
    /// The process that opened it.
    process: u32,
}

fn identity(fd: i32) -> Option<(u64, u64)> {
    let mut stat = core::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the kernel writes no more than the structure, which lives.
    let result = unsafe { raw(libc::SYS_fstat, [fd as usize, stat.as_mut_ptr() as usize, 0, 0, 0, 0]) };
    if result != 0 {
        return None;
    }
    // SAFETY: written by the kernel, and zero before.
    let stat = unsafe { stat.assume_init() };
    Some((stat.st_dev, stat.st_ino))
}

impl Kept {
    /// Keeps an open file under a number of its own.
    pub(crate) fn keep(fd: i32) -> Kept {
        // SAFETY: no pointer is passed.
        let high =
            unsafe { raw(libc::SYS_fcntl, [fd as usize, libc::F_DUPFD_CLOEXEC as usize, HIGH, 0, 0, 0]) };
        let fd = match i32::try_from(high) {
            Ok(high) if high >= 0 => {
                file::close(fd);
                high
            }
            // So few descriptors are allowed.
            _ => fd,
        };
        Kept { fd, file: identity(fd).unwrap_or((0, 0)), process: getpid() }
    }

    /// The descriptor, if it still leads to the file.
    pub(crate) fn fd(&self) -> Option<i32> {
        (identity(self.fd) == Some(self.file)).then_some(self.fd)
    }

    /// Whether this process opened it, and not one that it was forked from.
    pub(crate) fn is_own(&self) -> bool {
        self.process == getpid()
    }

    /// Closes the file.
    pub(crate) fn close(&self) {
        if let Some(fd) = self.fd() {
            file::close(fd);
        }
    }
}

/// Writes all of `bytes` from `offset` on, wherever the file's own position is.
pub(crate) fn write_at(fd: i32, mut bytes: &[u8], mut offset: usize) -> Result<(), i32> {
    while !bytes.is_empty() {
        let (at, len) = (bytes.as_ptr() as usize, bytes.len());
        // SAFETY: the pointer and the length are those of a live slice.
        let wrote = unsafe { raw(libc::SYS_pwrite64, [fd as usize, at, len, offset, 0, 0]) };
        match i32::try_from(-wrote) {
            Ok(libc::EINTR) => continue,
            Ok(error) if error > 0 => return Err(error),
            _ => {}
        }
        let count = wrote as usize;
        if count == 0 {
            return Err(libc::EIO);
        }
        bytes = bytes.get(count..).unwrap_or(&[]);
        offset += count;
    }
    Ok(())
}

/// Whether the descriptor is a terminal.
pub(crate) fn is_terminal(fd: i32) -> bool {
    // The kernel's structure has 36 bytes.
    let mut settings = [0u64; 8];
    let at = settings.as_mut_ptr() as usize;
    // SAFETY: the kernel writes no more than its structure into the array, which lives.
    let result = unsafe { raw(libc::SYS_ioctl, [fd as usize, libc::TCGETS as usize, at, 0, 0, 0]) };
    result == 0
}
