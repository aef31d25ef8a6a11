//! Names of files that tools write: `%p` stands for the process id, `%e` for the name of the executable,
//! `%n` for the first number, from 0, with which no such file exists, `%%` for a percent sign.

use crate::sys::paged::{Paged, Zero};
use crate::sys::{file, process_id, program};
use crate::text::Text;

/// As long as the kernel takes it, its NUL included.
const LONGEST: usize = 4096;

/// The name of a file, ended by NUL. Too large for a stack. Zero is valid: no name yet.
pub(super) struct Path {
    bytes: [u8; LONGEST],
    len: usize,
}

// SAFETY: no name is a valid one.
unsafe impl Zero for Path {}

impl Path {
    /// No name yet, on pages of its own.
    pub(super) fn paged() -> Result<Paged<Path>, i32> {
        Paged::zero().ok_or(libc::ENOMEM)
    }

    /// Becomes no name.
    pub(super) fn clear(&mut self) {
        self.end(0);
    }

    fn end(&mut self, len: usize) {
        if let Some(at) = self.bytes.get_mut(len) {
            *at = 0;
            self.len = len;
        }
    }

    /// Becomes the name that `pattern` stands for with this number; an error is `EINVAL` for a percent sign that
    /// stands for nothing, and for an empty name, `ENAMETOOLONG`.
    pub(super) fn expand(&mut self, pattern: &[u8], number: u64) -> Result<(), i32> {
        self.clear();
        let mut text = Text::cut(&mut self.bytes);
        let mut rest = pattern;
        loop {
            match rest {
                [] => break,
                [b'%', b'%', tail @ ..] => (rest, _) = (tail, text.add(b"%")),
                [b'%', b'p', tail @ ..] => (rest, _) = (tail, text.decimal(process_id().into())),
                [b'%', b'n', tail @ ..] => (rest, _) = (tail, text.decimal(number)),
                [b'%', b'e', tail @ ..] => {
                    let mut name = Paged::<[u8; LONGEST]>::zero().ok_or(libc::ENOMEM)?;
                    let len = program::path(&mut *name);
                    let full = name.get(..len).unwrap_or(&[]);
                    let last = full.rsplit(|&byte| byte == b'/').next().unwrap_or(&[]);
                    (rest, _) = (tail, text.add(last));
                }
                [b'%', ..] => return Err(libc::EINVAL),
                [byte, tail @ ..] => (rest, _) = (tail, text.add(&[*byte])),
            }
        }
        let len = text.bytes().len();
        self.set_len(len)
    }

    fn set_len(&mut self, len: usize) -> Result<(), i32> {
        self.end(if len < LONGEST { len } else { 0 });
        match len {
            0 => Err(libc::EINVAL),
            LONGEST => Err(libc::ENAMETOOLONG),
            _ => Ok(()),
        }
    }

    /// Becomes this name, percent signs and all. Errors as of `expand`.
    pub(super) fn copy(&mut self, name: &[u8]) -> Result<(), i32> {
        self.clear();
        let mut text = Text::cut(&mut self.bytes);
        let len = text.add(name).bytes().len();
        self.set_len(len)
    }

    /// Becomes the name that `read` puts into a buffer; it answers how many bytes that has.
    pub(super) fn fill(&mut self, read: fn(&mut [u8]) -> usize) -> Result<(), i32> {
        let len = read(&mut self.bytes);
        self.set_len(len)
    }

    /// Adds a point and a number.
    pub(super) fn append(&mut self, number: u64) -> Result<(), i32> {
        let len = self.len;
        let mut text = Text::cut(self.bytes.get_mut(len..).unwrap_or(&mut []));
        let more = text.add(b".").decimal(number).bytes().len();
        self.set_len(len + more)
    }

    /// Whether a pattern is one: for a check before anything is done.
    pub(super) fn is_pattern(pattern: &[u8]) -> bool {
        // Without memory that comes out when the file is to be opened.
        let wrong =
            |mut path: Paged<Path>| matches!(path.expand(pattern, 0), Err(libc::EINVAL | libc::ENAMETOOLONG));
        !Path::paged().is_ok_and(wrong)
    }

    /// Opens the file that `pattern` names, new or emptied, for writing; with `%n` a new one always.
    /// `path` receives the name, as far as it is known, also on failure.
    pub(super) fn create(pattern: &[u8], path: &mut Path) -> Result<i32, i32> {
        let numbered = pattern.windows(2).any(|two| two == b"%n");
        let how = if numbered { libc::O_EXCL } else { libc::O_TRUNC };
        let mut number = 0;
        loop {
            path.expand(pattern, number)?;
            match file::open(path.with_nul(), libc::O_WRONLY | libc::O_CREAT | how, 0o666) {
                Err(libc::EEXIST) if numbered && number < 1_000_000 => number += 1,
                result => return result,
            }
        }
    }

    /// Opens the file that `pattern` names for writing behind what is there; with `%n` a new one always. `follows`: also
    /// where a symbolic link leads. `path` receives the name.
    pub(super) fn open_at_end(pattern: &[u8], path: &mut Path, follows: bool) -> Result<i32, i32> {
        if pattern.windows(2).any(|two| two == b"%n") {
            return Path::create(pattern, path);
        }
        path.expand(pattern, 0)?;
        let how = if follows { 0 } else { libc::O_NOFOLLOW };
        file::open(path.with_nul(), libc::O_WRONLY | libc::O_CREAT | libc::O_APPEND | how, 0o666)
    }

    /// The name.
    pub(super) fn bytes(&self) -> &[u8] {
        self.bytes.get(..self.len).unwrap_or(&[])
    }

    pub(super) fn with_nul(&self) -> &[u8] {
        self.bytes.get(..=self.len).unwrap_or(&[0])
    }
}
