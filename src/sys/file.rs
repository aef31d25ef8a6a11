//! Files by system calls: no stdio, no cancellation point, errno untouched.

use super::syscall::raw;

fn checked(result: isize) -> Result<usize, i32> {
    usize::try_from(result).map_err(|_| i32::try_from(-result).unwrap_or(libc::EIO))
}

/// Opens a file. `path` ends with NUL. The descriptor is closed on exec.
pub(crate) fn open(path: &[u8], flags: i32, mode: u32) -> Result<i32, i32> {
    if path.last() != Some(&0) {
        return Err(libc::EINVAL);
    }
    let flags = (flags | libc::O_CLOEXEC) as usize;
    let at = libc::AT_FDCWD as usize;
    // SAFETY: the path is a live string ended by NUL (above).
    let fd = unsafe { raw(libc::SYS_openat, [at, path.as_ptr() as usize, flags, mode as usize, 0, 0]) };
    checked(fd).map(|fd| fd as i32)
}

/// Closes a descriptor of our own.
pub(crate) fn close(fd: i32) {
    // SAFETY: close takes no pointer.
    unsafe { raw(libc::SYS_close, [fd as usize, 0, 0, 0, 0, 0]) };
}

/// Writes all of `bytes`, going on after interruptions.
pub(crate) fn write_all(fd: i32, mut bytes: &[u8]) -> Result<(), i32> {
    while !bytes.is_empty() {
        // SAFETY: the pointer and the length are those of a live slice.
        let wrote =
            unsafe { raw(libc::SYS_write, [fd as usize, bytes.as_ptr() as usize, bytes.len(), 0, 0, 0]) };
        match checked(wrote) {
            Err(libc::EINTR) => {}
            Err(error) => return Err(error),
            Ok(0) => return Err(libc::EIO),
            Ok(count) => bytes = bytes.get(count..).unwrap_or(&[]),
        }
    }
    Ok(())
}

/// Reads from `offset` on; how many bytes there were.
pub(crate) fn read_at(fd: i32, buffer: &mut [u8], offset: usize) -> Result<usize, i32> {
    let (at, len) = (buffer.as_mut_ptr() as usize, buffer.len());
    loop {
        // SAFETY: the pointer and the length are those of a live slice.
        match checked(unsafe { raw(libc::SYS_pread64, [fd as usize, at, len, offset, 0, 0]) }) {
            Err(libc::EINTR) => {}
            result => return result,
        }
    }
}

/// The path of the executable, not ended by NUL; how many bytes it has, 0 where it cannot be had.
pub(crate) fn executable(buffer: &mut [u8]) -> usize {
    let (at, len) = (buffer.as_mut_ptr() as usize, buffer.len());
    let link = c"/proc/self/exe".as_ptr() as usize;
    // SAFETY: a string ended by NUL; the pointer and the length are those of a live slice.
    checked(unsafe { raw(libc::SYS_readlinkat, [libc::AT_FDCWD as usize, link, at, len, 0, 0]) }).unwrap_or(0)
}
