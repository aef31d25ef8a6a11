//! The names of the files that traces are written to, and how they are opened.
//!
//! A trace overwrites nothing that is still of use: not a file that another process is tracing to (it holds
//! the lock that goes with the open file), and not what this process itself wrote before it called exec. The
//! latter is known by two signs together: it was never finished, and it was written after this process began.
//! In both cases, and in a fork child, the name gets the process id behind it. No file that is there already has such a
//! name, and no symbolic link: only what the program or its user has named is overwritten.

use crate::sys::{self, file};
use crate::tools::path::Path;

/// Descriptors that a program uses are below this one, as a rule; so it does not take ours for its own.
const LEAST: i32 = 480;

/// How many names are tried.
const TRIES: u64 = 10_000;

/// A pattern for names.
pub(super) struct Pattern<'a> {
    pub(super) text: &'a [u8],
    /// Percent signs mean themselves.
    pub(super) literal: bool,
    /// For a fork child: the name is not to be its parent's.
    pub(super) forked: bool,
}

/// A second descriptor, high up if there is room; no standard one, which others write to.
fn duplicate(fd: i32) -> Result<i32, i32> {
    file::duplicate(fd, LEAST).or_else(|_| file::duplicate(fd, 3))
}

/// Moves a descriptor up, if there is room.
pub(super) fn high(fd: i32) -> i32 {
    match duplicate(fd) {
        Ok(new) => {
            file::close(fd);
            new
        }
        Err(_) => fd,
    }
}

/// Where relative names begin.
pub(super) struct Folder(pub(super) i32);

impl Folder {
    /// Where the program is at this moment.
    pub(super) const CURRENT: Folder = Folder(libc::AT_FDCWD);

    /// The path of that, into `path`; empty where there is none.
    pub(super) fn current(path: &mut Path) {
        // Too long or unknown, it is none.
        let _ = path.fill(file::current_folder);
    }

    /// The folder of this path; the current one where it is not to be had.
    pub(super) fn open(path: &Path) -> Folder {
        let how = libc::O_PATH | libc::O_DIRECTORY;
        file::open(path.with_nul(), how, 0).map_or(Folder::CURRENT, Folder)
    }

    pub(super) fn file(&self, path: &Path, flags: i32, mode: u32) -> Result<i32, i32> {
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
pub(super) fn standard(name: &[u8]) -> Option<i32> {
    match name {
        b"/dev/stdout" => Some(1),
        b"/dev/stderr" => Some(2),
        _ => None,
    }
}

/// The file, and whether it is new.
pub(super) fn open_by(pattern: &Pattern, folder: &Folder, path: &mut Path) -> Result<(i32, bool), i32> {
    let Pattern { text, literal, forked } = *pattern;
    let has = |mark: &[u8]| !literal && text.windows(2).any(|two| two == mark);
    if let Some(fd) = standard(text) {
        path.copy(text)?;
        // A fork child goes on where its parent writes: it has been told to share it.
        return duplicate(fd).map(|fd| (fd, false));
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
        let is_pattern = number == 0 && (!forked || has(b"%p"));
        if !numbered && !is_pattern {
            if !has(b"%p") {
                path.append(process)?;
            }
            if number > u64::from(!has(b"%p") && !forked) {
                path.append(number)?;
            }
        }
        // A fork child's name is not one that somebody has chosen, also by a pattern with `%p`.
        let is_chosen = number == 0 && !forked && !numbered;
        let opened = if is_chosen { open_chosen(folder, path) } else { open_new(folder, path) };
        match opened {
            Err(libc::EEXIST) if number + 1 < TRIES => tidy(folder, path, is_chosen),
            result => return result,
        }
    }
    Err(libc::EEXIST)
}

/// How files are opened, and made.
const MAKES: i32 = libc::O_CREAT | libc::O_NONBLOCK | libc::O_NOCTTY;

/// Makes a file; `EEXIST` where there is one, or anything else by this name.
fn open_new(folder: &Folder, path: &Path) -> Result<(i32, bool), i32> {
    let fd = high(folder.file(path, libc::O_RDWR | libc::O_EXCL | libc::O_NOFOLLOW | MAKES, 0o666)?);
    file::make_blocking(fd);
    if file::lock(fd) == Err(libc::EWOULDBLOCK) {
        // Another process that chose the same name has found the file just after we have made it.
        file::close(fd);
        return Err(libc::EEXIST);
    }
    Ok((fd, true))
}

/// Opens the file that somebody has chosen, whatever it is; `EEXIST` where another name must be found.
fn open_chosen(folder: &Folder, path: &Path) -> Result<(i32, bool), i32> {
    // Opening a pipe for reading too would be seen at its other end: look first.
    if let Ok(fd) = folder.file(path, libc::O_PATH, 0) {
        let status = file::status(fd);
        file::close(fd);
        if status.is_ok_and(|status| !status.is_regular) {
            let fd = high(folder.file(path, libc::O_WRONLY | libc::O_NONBLOCK | libc::O_NOCTTY, 0)?);
            file::make_blocking(fd);
            return Ok((fd, false));
        }
    }
    match open_new(folder, path) {
        // Or there is a symbolic link to no file yet, or a file system that has no such flags.
        Err(libc::EEXIST | libc::EINVAL) => {}
        result => return result,
    }
    let fd = match folder.file(path, libc::O_RDWR | MAKES, 0o666) {
        // What may not be read can still be written to.
        Err(libc::EACCES | libc::EINVAL) => folder.file(path, libc::O_WRONLY | MAKES, 0o666)?,
        result => result?,
    };
    let fd = high(fd);
    file::make_blocking(fd);
    let status = file::status(fd).inspect_err(|_| file::close(fd))?;
    if !status.is_regular {
        return Ok((fd, false));
    }
    if file::lock(fd) == Err(libc::EWOULDBLOCK) || (status.bytes > 0 && is_of_former_image(fd, status)) {
        file::close(fd);
        return Err(libc::EEXIST);
    }
    if status.bytes > 0 {
        file::set_length(fd, 0).inspect_err(|_| file::close(fd))?;
    }
    Ok((fd, false))
}

/// Cuts off what this process had readied in a file before it called exec, and not used, but for a zero byte, by which
/// the next image knows the file as well.
fn tidy(folder: &Folder, path: &Path, is_chosen: bool) {
    let follows = if is_chosen { 0 } else { libc::O_NOFOLLOW };
    let how = libc::O_RDWR | libc::O_NONBLOCK | libc::O_NOCTTY | follows;
    let Ok(fd) = folder.file(path, how, 0) else {
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
