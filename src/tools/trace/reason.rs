//! What error numbers mean, without strerror(3), which may allocate.

/// A few words for a person.
pub(in crate::tools) fn reason(error: i32) -> &'static [u8] {
    match error {
        libc::EPERM => b"not permitted",
        libc::ENOENT => b"there is no such directory",
        libc::EIO => b"input/output error",
        libc::ENXIO => b"nobody reads from it",
        libc::EBADF => b"the program has closed it",
        libc::ENOMEM => b"no memory",
        libc::EACCES => b"permission denied",
        libc::EEXIST => b"all names are taken",
        libc::ENOTDIR => b"a part of the path is no directory",
        libc::EISDIR => b"is a directory",
        libc::EINVAL => b"no name for a file",
        libc::EMFILE | libc::ENFILE => b"too many open files",
        libc::EFBIG => b"the limit on the size of files is reached",
        libc::ENOSPC => b"no space left on device",
        libc::EROFS => b"read-only file system",
        libc::EPIPE => b"nobody reads from it any more",
        libc::ENAMETOOLONG => b"the name is too long",
        libc::ELOOP => b"too many symbolic links",
        libc::EDQUOT => b"the disk quota is used up",
        libc::ETXTBSY => b"is being executed",
        libc::EBUSY => b"too many traces at once",
        libc::ENOTSUP => b"this kernel is too old: tracing needs MADV_WIPEONFORK",
        _ => b"cannot be written",
    }
}
