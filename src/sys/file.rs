//! Files by system calls: no stdio, no cancellation point, errno untouched.

use super::pages;
use super::syscall::raw;

fn checked(result: isize) -> Result<usize, i32> {
    usize::try_from(result).map_err(|_| i32::try_from(-result).unwrap_or(libc::EIO))
}

/// Opens a file. `path` ends with NUL. The descriptor is closed on exec.
pub(crate) fn open(path: &[u8], flags: i32, mode: u32) -> Result<i32, i32> {
    open_in(libc::AT_FDCWD, path, flags, mode)
}

/// The same, a path that does not begin with a slash being one in the folder that `folder` is a descriptor of.
pub(crate) fn open_in(folder: i32, path: &[u8], flags: i32, mode: u32) -> Result<i32, i32> {
    if path.last() != Some(&0) {
        return Err(libc::EINVAL);
    }
    let flags = (flags | libc::O_CLOEXEC) as usize;
    let at = folder as usize;
    // SAFETY: the path is a live string ended by NUL (above).
    let fd = unsafe { raw(libc::SYS_openat, [at, path.as_ptr() as usize, flags, mode as usize, 0, 0]) };
    checked(fd).map(|fd| fd as i32)
}

/// The path of the current folder, not ended by NUL; how many bytes it has, 0 where it has none that leads there.
pub(crate) fn current_folder(buffer: &mut [u8]) -> usize {
    let (at, len) = (buffer.as_mut_ptr() as usize, buffer.len());
    // SAFETY: the pointer and the length are those of a live slice.
    let bytes = checked(unsafe { raw(libc::SYS_getcwd, [at, len, 0, 0, 0, 0]) }).unwrap_or(0);
    // The kernel counts the NUL.
    if buffer.first() == Some(&b'/') { bytes.saturating_sub(1) } else { 0 }
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

/// What a file is.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Status {
    /// Tells the file from all others.
    pub(crate) identity: (u64, u64),
    pub(crate) is_regular: bool,
    pub(crate) bytes: u64,
    /// When it was written to last, in nanoseconds since 1970.
    pub(crate) modified_ns: i64,
}

/// What the file behind a descriptor is.
pub(crate) fn status(fd: i32) -> Result<Status, i32> {
    let mut found = core::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the kernel fills in a `stat` (on 64-bit Linux, libc's and its own are the same).
    checked(unsafe { raw(libc::SYS_fstat, [fd as usize, found.as_mut_ptr() as usize, 0, 0, 0, 0]) })?;
    // SAFETY: filled in, and zero before.
    let found = unsafe { found.assume_init() };
    Ok(Status {
        identity: (found.st_dev, found.st_ino),
        is_regular: found.st_mode & libc::S_IFMT == libc::S_IFREG,
        bytes: found.st_size as u64,
        modified_ns: found.st_mtime.wrapping_mul(1_000_000_000).wrapping_add(found.st_mtime_nsec),
    })
}

/// Takes the lock that goes with an open file, unless another has it (`EWOULDBLOCK`). Never waits.
pub(crate) fn lock(fd: i32) -> Result<(), i32> {
    let how = (libc::LOCK_EX | libc::LOCK_NB) as usize;
    // SAFETY: flock takes no pointer.
    checked(unsafe { raw(libc::SYS_flock, [fd as usize, how, 0, 0, 0, 0]) }).map(|_| ())
}

/// A second descriptor of an open file, from `least` on; closed on exec.
pub(crate) fn duplicate(fd: i32, least: i32) -> Result<i32, i32> {
    let how = libc::F_DUPFD_CLOEXEC as usize;
    // SAFETY: this command takes no pointer.
    let new = unsafe { raw(libc::SYS_fcntl, [fd as usize, how, least as usize, 0, 0, 0]) };
    checked(new).map(|new| new as i32)
}

/// Makes a file so long, by cutting or with zeroes.
pub(crate) fn set_length(fd: i32, bytes: u64) -> Result<(), i32> {
    // SAFETY: ftruncate takes no pointer.
    checked(unsafe { raw(libc::SYS_ftruncate, [fd as usize, bytes as usize, 0, 0, 0, 0]) }).map(|_| ())
}

/// Makes sure that a part of a file is there, blocks and all: fills it with zeroes. `EFBIG` where the process
/// may not write files that long; a signal for that is not raised.
///
/// fallocate(2) would be the call for this. But pages of blocks that were only reserved cost three times as
/// much to map (ext4), and some file systems have no such call.
pub(crate) fn fill(fd: i32, mut offset: u64, bytes: u64) -> Result<(), i32> {
    const PIECE: usize = 64 * 1024;
    const PIECES: usize = 16;
    static ZEROES: [u64; PIECE / 8] = [0; _];
    permitted(offset, bytes)?;
    let mut rest = bytes as usize;
    while rest > 0 {
        let piece = |i: usize| rest.saturating_sub(i * PIECE).min(PIECE);
        let vectors: [libc::iovec; PIECES] = core::array::from_fn(|i| libc::iovec {
            iov_base: ZEROES.as_ptr().cast_mut().cast(),
            iov_len: piece(i),
        });
        let (at, count, to) = (vectors.as_ptr() as usize, vectors.len(), offset as usize);
        // SAFETY: the vectors describe live zeroes, which are only read.
        match checked(unsafe { raw(libc::SYS_pwritev, [fd as usize, at, count, to, 0, 0]) }) {
            Err(libc::EINTR) => {}
            Err(error) => return Err(error),
            Ok(0) => return Err(libc::EIO),
            Ok(count) => (rest, offset) = (rest.saturating_sub(count), offset + count as u64),
        }
    }
    Ok(())
}

/// Whether the process may write to a file so far; `EFBIG` if not. The system call itself would raise a
/// signal that ends the program.
pub(crate) fn permitted(offset: u64, bytes: u64) -> Result<(), i32> {
    let mut limit = [0u64; 2];
    let resource = libc::RLIMIT_FSIZE as usize;
    // SAFETY: asks for the limit of this process; the last argument is a live `rlimit64`.
    let asked = unsafe { raw(libc::SYS_prlimit64, [0, resource, 0, limit.as_mut_ptr() as usize, 0, 0]) };
    let [now, _] = limit;
    if asked == 0 && offset.saturating_add(bytes) > now { Err(libc::EFBIG) } else { Ok(()) }
}

/// Gives back the blocks of a part of a file, which reads as zeroes then; the file stays as long as it is. A file system
/// that cannot, does not.
pub(crate) fn punch(fd: i32, offset: u64, bytes: u64) {
    let how = (libc::FALLOC_FL_PUNCH_HOLE | libc::FALLOC_FL_KEEP_SIZE) as usize;
    // SAFETY: fallocate takes no pointer.
    unsafe { raw(libc::SYS_fallocate, [fd as usize, how, offset as usize, bytes as usize, 0, 0]) };
}

/// Removes a file, if its name still leads to the one with this identity. As for [`open_in`].
pub(crate) fn remove_in(folder: i32, path: &[u8], identity: (u64, u64)) {
    let Ok(fd) = open_in(folder, path, libc::O_PATH | libc::O_NOFOLLOW, 0) else { return };
    let is_it = status(fd).is_ok_and(|status| status.identity == identity);
    close(fd);
    if is_it {
        // SAFETY: a live string ended by NUL (`open_in` has looked).
        unsafe { raw(libc::SYS_unlinkat, [folder as usize, path.as_ptr() as usize, 0, 0, 0, 0]) };
    }
}

/// What kind of file system a file is on, and how many bytes of it are free for this user.
pub(crate) fn system(fd: i32) -> Result<(i64, u64), i32> {
    let mut found = core::mem::MaybeUninit::<libc::statfs>::zeroed();
    // SAFETY: the kernel fills in a `statfs` (on 64-bit Linux, libc's and its own are the same).
    checked(unsafe { raw(libc::SYS_fstatfs, [fd as usize, found.as_mut_ptr() as usize, 0, 0, 0, 0]) })?;
    // SAFETY: filled in, and zero before.
    let found = unsafe { found.assume_init() };
    Ok((found.f_type, found.f_bavail.saturating_mul(found.f_bsize as u64)))
}

/// Two pieces of text at once, the second behind the first; at `offset`, or where the file stands. What
/// a first call leaves of them is written by further ones.
pub(crate) fn write_pieces(fd: i32, mut pieces: [&[u8]; 2], mut offset: Option<u64>) -> Result<(), i32> {
    loop {
        let [first, second] = pieces;
        if first.is_empty() && second.is_empty() {
            return Ok(());
        }
        let vectors = pieces
            .map(|piece| libc::iovec { iov_base: piece.as_ptr().cast_mut().cast(), iov_len: piece.len() });
        let at = vectors.as_ptr() as usize;
        let wrote = match offset {
            // SAFETY: both vectors describe live slices, which are only read.
            Some(to) => unsafe { raw(libc::SYS_pwritev, [fd as usize, at, 2, to as usize, 0, 0]) },
            // SAFETY: as above.
            None => unsafe { raw(libc::SYS_writev, [fd as usize, at, 2, 0, 0, 0]) },
        };
        match checked(wrote) {
            Err(libc::EINTR) => {}
            Err(error) => return Err(error),
            Ok(0) => return Err(libc::EIO),
            Ok(count) => {
                let in_first = count.min(first.len());
                let rest = (first.get(in_first..), second.get(count - in_first..));
                pieces = [rest.0.unwrap_or(&[]), rest.1.unwrap_or(&[])];
                offset = offset.map(|offset| offset + count as u64);
            }
        }
    }
}

/// As [`write_pieces`] where the file stands, but a pipe that nobody reads any more, and a file that may not become
/// longer, are only errors: the signals for these, which would end the program, are held back and taken away.
pub(crate) fn write_quietly(fd: i32, pieces: [&[u8]; 2]) -> Result<(), i32> {
    let bit = |signal: i32| 1u64 << (signal - 1);
    let held = bit(libc::SIGPIPE) | bit(libc::SIGXFSZ);
    let mut before = 0u64;
    let (set, old, bytes) = (&raw const held as usize, &raw mut before as usize, size_of::<u64>());
    let (block, restore) = (libc::SIG_BLOCK as usize, libc::SIG_SETMASK as usize);
    // SAFETY: both sets are live, and of the kernel's size.
    unsafe { raw(libc::SYS_rt_sigprocmask, [block, set, old, bytes, 0, 0]) };
    let mut pending = 0u64;
    // SAFETY: a live set of the kernel's size.
    unsafe { raw(libc::SYS_rt_sigpending, [&raw mut pending as usize, bytes, 0, 0, 0, 0]) };
    let result = write_pieces(fd, pieces, None);
    let raised = match result {
        Err(libc::EPIPE) => bit(libc::SIGPIPE),
        Err(libc::EFBIG) => bit(libc::SIGXFSZ),
        _ => 0,
    };
    if raised & !pending != 0 {
        let (set, now) = (&raw const raised as usize, libc::timespec { tv_sec: 0, tv_nsec: 0 });
        // SAFETY: a live set and a live time; nothing is told of the signal.
        unsafe { raw(libc::SYS_rt_sigtimedwait, [set, 0, &raw const now as usize, bytes, 0, 0]) };
    }
    // SAFETY: a live set of the kernel's size.
    unsafe { raw(libc::SYS_rt_sigprocmask, [restore, old, 0, bytes, 0, 0]) };
    result
}

/// Lets writes to a descriptor wait.
pub(crate) fn make_blocking(fd: i32) {
    // SAFETY: this command takes no pointer.
    let flags = unsafe { raw(libc::SYS_fcntl, [fd as usize, libc::F_GETFL as usize, 0, 0, 0, 0]) };
    if let Ok(flags) = checked(flags) {
        let flags = flags & !(libc::O_NONBLOCK as usize);
        // SAFETY: as above.
        unsafe { raw(libc::SYS_fcntl, [fd as usize, libc::F_SETFL as usize, flags, 0, 0, 0]) };
    }
}

/// Copies memory of this process that may not be there: how many bytes there were. Never faults.
pub(crate) fn peek(from: usize, to: &mut [u8]) -> usize {
    let local = libc::iovec { iov_base: to.as_mut_ptr().cast(), iov_len: to.len() };
    let remote = libc::iovec { iov_base: from as *mut _, iov_len: to.len() };
    let (own, other) = (&raw const local as usize, &raw const remote as usize);
    // Any thread will do, except the process's first once it has ended.
    let tid = super::thread::current().tid as usize;
    // SAFETY: `local` is a live buffer; the kernel checks `remote`.
    checked(unsafe { raw(libc::SYS_process_vm_readv, [tid, own, 1, other, 1, 0]) }).unwrap_or(0)
}

/// The path of what the kernel calls this process's executable, not ended by NUL; how many bytes it has, 0 where it cannot be had.
pub(crate) fn executable(buffer: &mut [u8]) -> usize {
    let (at, len) = (buffer.as_mut_ptr() as usize, buffer.len());
    // The first leads nowhere once the process's first thread has ended.
    let links = [c"/proc/self/exe", c"/proc/thread-self/exe"];
    let read = |link: &core::ffi::CStr| {
        let (folder, link) = (libc::AT_FDCWD as usize, link.as_ptr() as usize);
        // SAFETY: a string ended by NUL; the pointer and the length are those of a live slice.
        checked(unsafe { raw(libc::SYS_readlinkat, [folder, link, at, len, 0, 0]) }).ok()
    };
    links.into_iter().find_map(read).unwrap_or(0)
}

/// A whole file of the kernel's, whose length nobody knows before: on pages of our own.
pub(crate) struct Whole {
    at: *mut u8,
    room: usize,
    len: usize,
}

impl Whole {
    /// The file as it is now; the error number where it or memory for it cannot be had. `path` ends with NUL.
    pub(crate) fn read(path: &[u8]) -> Result<Whole, i32> {
        let fd = open(path, libc::O_RDONLY, 0)?;
        let mut room = 256 * 1024;
        let whole = loop {
            let Some(at) = pages::map(room) else { break Err(libc::ENOMEM) };
            let mut whole = Whole { at, room, len: 0 };
            // SAFETY: pages of our own of this length, which nobody else knows.
            let buffer = unsafe { core::slice::from_raw_parts_mut(at, room) };
            while let Some(rest) = buffer.get_mut(whole.len..)
                && let Ok(got) = read_at(fd, rest, whole.len)
                && got > 0
            {
                whole.len += got;
            }
            if whole.len < room {
                break Ok(whole);
            }
            room *= 4;
        };
        close(fd);
        whole
    }

    /// What stands in it.
    pub(crate) fn bytes(&self) -> &[u8] {
        // SAFETY: pages of our own, of which so many bytes were read.
        unsafe { core::slice::from_raw_parts(self.at, self.len) }
    }

    /// The same, kept for ever.
    pub(crate) fn keep(self) -> &'static [u8] {
        let (at, len) = (self.at, self.len);
        core::mem::forget(self);
        // SAFETY: as above; never unmapped.
        unsafe { core::slice::from_raw_parts(at, len) }
    }
}

impl Drop for Whole {
    fn drop(&mut self) {
        // SAFETY: mapped by `read`; nothing of it is borrowed any more.
        unsafe { pages::unmap(self.at, self.room) };
    }
}
