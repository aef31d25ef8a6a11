//! The file that a trace is written to: its name, who else has it, whether it can be mapped.
//!
//! A file that was made for a trace which cannot begin is removed; a part that cannot be filled for want of room is given
//! back.

use super::names::{Folder, Pattern, high, open_by, standard};
use super::reason::reason;
use crate::sys::{self, file};
use crate::tools::path::Path;
use crate::tools::say;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// How the parts of a file come to be written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Way {
    /// Mapped, and filled with zeroes beforehand, so that there are blocks for it.
    Mapped,
    /// By write(2): it is no regular file, or its file system is no local one.
    Stream,
}

/// File systems of which a mapping may fail later, or not be seen by others: NFS, SMB, FUSE, 9P, Ceph, Lustre, AFS.
const REMOTE: [i64; 10] = [
    0x6969,
    0x517b,
    0xff53_4d42,
    0xfe53_4d42,
    0x6573_5546,
    0x0102_1997,
    0x00c3_6400,
    0x0bd0_0bd0,
    0x5346_414f,
    0x6b41_4653,
];

/// File systems on which a page that is there needs no new block to be written again: ext2 to 4, XFS, tmpfs.
const IN_PLACE: [i64; 3] = [0xef53, 0x5846_5342, 0x0102_1994];

/// On others, so much must be free, as a mapping that finds no block ends the program.
const SPARE: u64 = 128 << 20;

/// The file. At first, and after `close`, there is none.
pub(super) struct Output {
    fd: AtomicI32,
    known: UnsafeCell<Known>,
    failed: AtomicBool,
}

struct Known {
    path: Path,
    /// The current folder when the trace began: relative names are names in there, wherever the program goes.
    folder: Path,
    identity: (u64, u64),
    way: Way,
    is_regular: bool,
    /// Whether there was no such file before.
    is_new: bool,
    /// How much must be free on the file system before another part is filled.
    spare: u64,
}

impl Known {
    fn length(&self, fd: i32) -> u64 {
        file::status(fd).map_or(0, |status| status.bytes)
    }

    fn fill(&self, fd: i32, offset: u64, bytes: u64) -> Result<(), i32> {
        if self.spare > 0 && file::system(fd).is_ok_and(|(_, free)| free < self.spare) {
            return Err(libc::ENOSPC);
        }
        // What room there was is not to be lost to zeroes. Nobody else writes to this part yet.
        file::fill(fd, offset, bytes).inspect_err(|_| file::punch(fd, offset, bytes))
    }

    /// Leaves no file behind that was made for nothing.
    fn discard(&self, fd: i32, folder: &Folder) {
        if self.is_new {
            file::remove_in(folder.0, self.path.with_nul(), self.identity);
        } else if self.is_regular && self.way == Way::Mapped {
            let _ = file::set_length(fd, 0);
        }
    }
}

// SAFETY: `known` is written by `open`, before others are told of the file.
unsafe impl Sync for Output {}

impl Output {
    fn known(&self) -> &Known {
        // SAFETY: written by `open` only, which nothing runs beside.
        unsafe { &*self.known.get() }
    }

    /// The file's name.
    pub(super) fn path(&self) -> &[u8] {
        self.known().path.bytes()
    }

    pub(super) fn way(&self) -> Way {
        self.known().way
    }

    /// Opens a file, with `first` bytes of zeroes if it can be mapped. On error the path is the one
    /// that could not be opened, and there is no new file.
    ///
    /// # Safety
    ///
    /// Nobody uses the output meanwhile.
    pub(super) unsafe fn open(&self, pattern: &Pattern, first: u64) -> Result<(), i32> {
        // SAFETY: the caller's contract.
        let known = unsafe { &mut *self.known.get() };
        known.path.clear();
        let folder = if pattern.forked { Folder::open(&known.folder) } else { Folder::CURRENT };
        let (fd, is_new) = open_by(pattern, &folder, &mut known.path)?;
        if !pattern.forked {
            Folder::current(&mut known.folder);
        }
        let status = file::status(fd).inspect_err(|_| file::close(fd))?;
        known.identity = status.identity;
        let system = file::system(fd).map_or(0, |(kind, _)| kind);
        // Others write to a standard descriptor too, and the file has what they wrote.
        let is_shared = standard(pattern.text).is_some();
        let is_stream = !status.is_regular || is_shared || REMOTE.contains(&system);
        known.is_regular = status.is_regular;
        known.is_new = is_new;
        known.way = if is_stream { Way::Stream } else { Way::Mapped };
        known.spare = if IN_PLACE.contains(&system) { 0 } else { SPARE };
        let tried = if is_stream { Ok(()) } else { known.fill(fd, 0, first) };
        tried.inspect_err(|_| {
            known.discard(fd, &folder);
            file::close(fd);
        })?;
        // ORDERING [none]: Relaxed. Nobody uses the output (the caller's contract).
        self.failed.store(false, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. As above.
        self.fd.store(fd, Ordering::Relaxed);
        Ok(())
    }

    /// A descriptor of the file: ours, unless the program has closed it and perhaps got its number for
    /// another file; then a new one.
    pub(super) fn descriptor(&self) -> Result<i32, i32> {
        let known = self.known();
        // ORDERING [none]: Relaxed. The kernel knows what the number stands for.
        let fd = self.fd.load(Ordering::Relaxed);
        let ours = |fd| file::status(fd).is_ok_and(|status| status.identity == known.identity);
        if ours(fd) {
            return Ok(fd);
        }
        let how = if known.way == Way::Mapped { libc::O_RDWR } else { libc::O_WRONLY | libc::O_APPEND };
        let folder = Folder::open(&known.folder);
        let how = how | libc::O_NONBLOCK | libc::O_NOCTTY;
        let new = high(folder.file(&known.path, how, 0)?);
        if !ours(new) {
            file::close(new);
            return Err(libc::EBADF);
        }
        file::make_blocking(new);
        // ORDERING [none]: Relaxed and Relaxed. As above.
        if self.fd.compare_exchange(fd, new, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            file::close(new);
            return self.descriptor();
        }
        Ok(new)
    }

    /// A new part of the file as memory, all zero.
    pub(super) fn map(&self, offset: u64, bytes: usize) -> Result<*mut u8, i32> {
        let fd = self.descriptor()?;
        self.known().fill(fd, offset, bytes as u64)?;
        sys::pages::map_file(fd, offset, bytes).ok_or(libc::ENOMEM)
    }

    /// Writes two pieces at `offset`, or, to a stream, where it stands.
    pub(super) fn write(&self, pieces: [&[u8]; 2], offset: u64) -> Result<(), i32> {
        let fd = self.descriptor()?;
        if self.way() == Way::Stream {
            let mut room = Ok(());
            if self.known().is_regular {
                room = file::permitted(self.known().length(fd), pieces.iter().map(|p| p.len() as u64).sum());
            }
            return room.and_then(|()| file::write_quietly(fd, pieces));
        }
        let [first, second] = pieces;
        file::permitted(offset, (first.len() + second.len()) as u64)?;
        file::write_pieces(fd, pieces, Some(offset))
    }

    /// How long the file is.
    pub(super) fn length(&self) -> u64 {
        self.descriptor().map_or(0, |fd| self.known().length(fd))
    }

    /// Cuts the file.
    pub(super) fn set_length(&self, bytes: u64) {
        if let (Way::Mapped, Ok(fd)) = (self.way(), self.descriptor()) {
            let _ = file::set_length(fd, bytes);
        }
    }

    /// Says, once, that nothing more can be written.
    pub(super) fn fail(&self, error: i32) {
        // ORDERING [none]: Relaxed. Decides who says it.
        if !self.failed.swap(true, Ordering::Relaxed) {
            say(&[
                b"trace: ",
                self.path(),
                b": ",
                reason(error),
                b": what the program does from here on is not in it",
            ]);
        }
    }

    /// The trace has not begun: closes the file, and leaves none behind that was made for it.
    pub(super) fn discard(&self) {
        if let Ok(fd) = self.descriptor() {
            self.known().discard(fd, &Folder::open(&self.known().folder));
        }
        self.close();
    }

    /// Removes the closed file of a trace that was never in force, if it was made for it.
    pub(super) fn remove(&self) {
        let known = self.known();
        if known.is_new {
            file::remove_in(Folder::open(&known.folder).0, known.path.with_nul(), known.identity);
        }
    }

    /// Closes the file, if the descriptor is ours still.
    pub(super) fn close(&self) {
        // ORDERING [none]: Relaxed. Nobody writes any more.
        let fd = self.fd.swap(-1, Ordering::Relaxed);
        if file::status(fd).is_ok_and(|status| status.identity == self.known().identity) {
            file::close(fd);
        }
    }
}
