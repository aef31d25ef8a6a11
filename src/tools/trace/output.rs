//! The file that a trace is written to: its name, who else has it, whether it can be mapped.
//!
//! A trace overwrites nothing that is still of use: not a file that another process is tracing to (it holds
//! the lock that goes with the open file), and not what this process itself wrote before it called exec. The
//! latter is known by two signs together: it was never finished, and it was written after this process began.
//! In both cases, and in a fork child, the name gets the process id behind it.

use super::reason::reason;
use crate::sys::{self, file};
use crate::tools::path::Path;
use crate::tools::say;
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicBool, AtomicI32, Ordering};

/// Descriptors that a program uses are below this one, as a rule; so it does not take ours for its own.
const LEAST: i32 = 480;

/// How many names are tried.
const TRIES: u64 = 10_000;

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

/// A pattern for names.
pub(super) struct Pattern<'a> {
    pub(super) text: &'a [u8],
    /// Percent signs mean themselves.
    pub(super) literal: bool,
    /// For a fork child: the name is not to be its parent's.
    pub(super) forked: bool,
}

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
        file::fill(fd, offset, bytes)
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
    /// that could not be opened.
    ///
    /// # Safety
    ///
    /// Nobody uses the output meanwhile.
    pub(super) unsafe fn open(&self, pattern: &Pattern, first: u64) -> Result<(), i32> {
        // SAFETY: the caller's contract.
        let known = unsafe { &mut *self.known.get() };
        known.path = Path::new();
        let folder = if pattern.forked { Folder::open(&known.folder) } else { Folder::CURRENT };
        let fd = open_by(pattern, &folder, &mut known.path)?;
        if !pattern.forked {
            known.folder = Folder::current();
        }
        let status = file::status(fd).inspect_err(|_| file::close(fd))?;
        known.identity = status.identity;
        let system = file::system(fd).map_or(0, |(kind, _)| kind);
        // Others write to a standard descriptor too, and the file has what they wrote.
        let is_shared = standard(pattern.text).is_some();
        let is_stream = !status.is_regular || is_shared || REMOTE.contains(&system);
        known.is_regular = status.is_regular;
        known.way = if is_stream { Way::Stream } else { Way::Mapped };
        known.spare = if IN_PLACE.contains(&system) { 0 } else { SPARE };
        let tried = if is_stream { Ok(()) } else { known.fill(fd, 0, first) };
        tried.inspect_err(|_| file::close(fd))?;
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

    /// Closes the file, if the descriptor is ours still.
    pub(super) fn close(&self) {
        // ORDERING [none]: Relaxed. Nobody writes any more.
        let fd = self.fd.swap(-1, Ordering::Relaxed);
        if file::status(fd).is_ok_and(|status| status.identity == self.known().identity) {
            file::close(fd);
        }
    }
}

/// A second descriptor, high up if there is room; no standard one, which others write to.
fn duplicate(fd: i32) -> Result<i32, i32> {
    file::duplicate(fd, LEAST).or_else(|_| file::duplicate(fd, 3))
}

/// Moves a descriptor up, if there is room.
fn high(fd: i32) -> i32 {
    match duplicate(fd) {
        Ok(new) => {
            file::close(fd);
            new
        }
        Err(_) => fd,
    }
}

/// Where relative names begin.
struct Folder(i32);

impl Folder {
    /// Where the program is at this moment.
    const CURRENT: Folder = Folder(libc::AT_FDCWD);

    /// The path of that; empty where there is none.
    fn current() -> Path {
        let (mut name, mut path) = ([0; 4096], Path::new());
        let len = file::current_folder(&mut name);
        // Too long or unknown, it is none.
        let _ = path.copy(name.get(..len).unwrap_or(&[]));
        path
    }

    /// The folder of this path; the current one where it is not to be had.
    fn open(path: &Path) -> Folder {
        let how = libc::O_PATH | libc::O_DIRECTORY;
        file::open(path.with_nul(), how, 0).map_or(Folder::CURRENT, Folder)
    }

    fn file(&self, path: &Path, flags: i32, mode: u32) -> Result<i32, i32> {
        file::open_in(self.0, path.with_nul(), flags, mode)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        if self.0 >= 0 {
            file::close(self.0);
        }
    }
}

/// The descriptor that a name stands for which every process has.
fn standard(name: &[u8]) -> Option<i32> {
    match name {
        b"/dev/stdout" => Some(1),
        b"/dev/stderr" => Some(2),
        _ => None,
    }
}

fn open_by(pattern: &Pattern, folder: &Folder, path: &mut Path) -> Result<i32, i32> {
    let Pattern { text, literal, forked } = *pattern;
    let has = |mark: &[u8]| !literal && text.windows(2).any(|two| two == mark);
    if let Some(fd) = standard(text) {
        path.copy(text)?;
        // A fork child goes on where its parent writes: it has been told to share it.
        return duplicate(fd);
    }
    let numbered = has(b"%n");
    let process = u64::from(sys::process_id());
    for number in 0..TRIES {
        let with = if numbered { number } else { 0 };
        if literal {
            path.copy(text)?
        } else {
            path.expand(text, with)?
        }
        let is_first = number == 0 && (!forked || has(b"%p"));
        if !numbered && !is_first {
            if !has(b"%p") {
                path.append(process)?;
            }
            if number > u64::from(!has(b"%p") && !forked) {
                path.append(number)?;
            }
        }
        let how = if is_first && !numbered { 0 } else { libc::O_EXCL };
        match open_one(folder, path, how) {
            Err(libc::EEXIST) if number + 1 < TRIES => tidy(folder, path),
            result => return result,
        }
    }
    Err(libc::EEXIST)
}

/// Opens one file; `EEXIST` where another name must be found.
fn open_one(folder: &Folder, path: &Path, how: i32) -> Result<i32, i32> {
    // Opening a pipe for reading too would be seen at its other end: look first.
    if let Ok(fd) = folder.file(path, libc::O_PATH, 0) {
        let status = file::status(fd);
        file::close(fd);
        if status.is_ok_and(|status| !status.is_regular) {
            let fd = high(folder.file(path, libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOCTTY, 0)?);
            file::make_blocking(fd);
            return Ok(fd);
        }
    }
    let flags = libc::O_CREAT | libc::O_NONBLOCK | libc::O_NOCTTY | how;
    let fd = match folder.file(path, libc::O_RDWR | flags, 0o666) {
        // What may not be read can still be written to.
        Err(libc::EACCES | libc::EINVAL) => folder.file(path, libc::O_WRONLY | flags, 0o666)?,
        result => result?,
    };
    let fd = high(fd);
    file::make_blocking(fd);
    let status = file::status(fd).inspect_err(|_| file::close(fd))?;
    if !status.is_regular {
        return Ok(fd);
    }
    if file::lock(fd) == Err(libc::EWOULDBLOCK) || (status.bytes > 0 && is_of_former_image(fd, status)) {
        file::close(fd);
        return Err(libc::EEXIST);
    }
    if status.bytes > 0 {
        file::set_length(fd, 0).inspect_err(|_| file::close(fd))?;
    }
    Ok(fd)
}

/// Cuts off what this process had readied in a file before it called exec, and not used, but for a zero byte, by which
/// the next image knows the file as well.
fn tidy(folder: &Folder, path: &Path) {
    let Ok(fd) = folder.file(path, libc::O_RDWR | libc::O_NONBLOCK | libc::O_NOCTTY, 0) else {
        return;
    };
    let status = file::status(fd).ok().filter(|status| status.is_regular && status.bytes > 0);
    if let Some(status) = status
        && file::lock(fd).is_ok()
        && is_of_former_image(fd, status)
    {
        let mut piece = [0; 1024];
        let mut end = status.bytes as usize;
        while end > 0 {
            let start = end.saturating_sub(piece.len());
            let Some(part) = piece.get_mut(..end - start) else { break };
            if file::read_at(fd, part, start) != Ok(end - start) {
                end = status.bytes as usize;
                break;
            }
            let last = part.iter().rposition(|&byte| byte != 0);
            end = last.map_or(start, |last| start + last + 1);
            if last.is_some() {
                break;
            }
        }
        // Chunks of a binary trace end with zeroes, which belong to them.
        let mut head = [0; 4];
        if file::read_at(fd, &mut head, 0) == Ok(4) && head != super::chunk::MAGIC {
            let _ = file::set_length(fd, status.bytes.min(end as u64 + 1));
        }
    }
    file::close(fd);
}

/// Whether this process wrote the file before it called exec.
fn is_of_former_image(fd: i32, status: file::Status) -> bool {
    let mut head = [0; super::chunk::FINISHED_AT + 1];
    let is_finished = match file::read_at(fd, &mut head, 0) {
        Ok(got) if got == head.len() && head.starts_with(super::chunk::MAGIC) => head.last() != Some(&0),
        _ => {
            let mut last = [0];
            let got = file::read_at(fd, &mut last, (status.bytes as usize).saturating_sub(1));
            got != Ok(1) || last != [0]
        }
    };
    !is_finished && began_ns().is_some_and(|began| status.modified_ns >= began)
}

/// When this process was made, in nanoseconds since 1970; exec does not change it.
fn began_ns() -> Option<i64> {
    let fd = file::open(b"/proc/self/stat\0", libc::O_RDONLY, 0).ok()?;
    let mut text = [0; 1024];
    let got = file::read_at(fd, &mut text, 0);
    file::close(fd);
    let text = text.get(..got.ok()?)?;
    // The name in brackets may hold anything; behind it, the start is the 20th word.
    let rest = text.rsplit(|&byte| byte == b')').next()?;
    let word = rest.split(|&byte| byte == b' ').filter(|word| !word.is_empty()).nth(19)?;
    let ticks = crate::tools::words::number(word)?;
    let each = Some(sys::auxiliary(libc::AT_CLKTCK)).filter(|&each| each > 0)?;
    let after_boot = u128::from(ticks) * 1_000_000_000 / u128::from(each);
    let age = i64::try_from(u128::from(sys::thread::clock_ns(libc::CLOCK_BOOTTIME)).checked_sub(after_boot)?);
    Some(sys::thread::clock_ns(libc::CLOCK_REALTIME) as i64 - age.ok()?)
}
