//! Bytes of a trace, wherever they are, and numbers in them.

use rustix::fs::SeekFrom;
use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

/// Where a trace is read from.
pub trait Source {
    /// How many bytes there are.
    fn length(&self) -> io::Result<u64>;

    /// Reads bytes from `offset` on; how many there were.
    fn read(&self, offset: u64, to: &mut [u8]) -> io::Result<usize>;

    /// Where the next bytes begin that may be other than zero, at `offset` or behind it; at least the length where none do. A
    /// source without holes need not know.
    fn next_data(&self, offset: u64) -> u64 {
        offset
    }

    /// Where the next hole begins, at `offset` or behind it; at least the length where there is none. As for `next_data`.
    fn next_hole(&self, offset: u64) -> u64 {
        let _ = offset;
        u64::MAX
    }
}

impl Source for File {
    fn length(&self) -> io::Result<u64> {
        Ok(self.metadata()?.len())
    }

    fn read(&self, offset: u64, to: &mut [u8]) -> io::Result<usize> {
        let mut done = 0;
        while let Some(rest) = to.get_mut(done..).filter(|rest| !rest.is_empty()) {
            match self.read_at(rest, offset + done as u64) {
                Ok(0) => break,
                Ok(count) => done += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(done)
    }

    /// Moves the file's position, which `read` does not go by.
    fn next_data(&self, offset: u64) -> u64 {
        match rustix::fs::seek(self, SeekFrom::Data(offset)) {
            Ok(at) => at.max(offset),
            Err(rustix::io::Errno::NXIO) => u64::MAX,
            // A file system that does not say: everything is data.
            Err(_) => offset,
        }
    }

    fn next_hole(&self, offset: u64) -> u64 {
        rustix::fs::seek(self, SeekFrom::Hole(offset)).map_or(u64::MAX, |at| at.max(offset))
    }
}

impl Source for Vec<u8> {
    fn length(&self) -> io::Result<u64> {
        Ok(self.len() as u64)
    }

    fn read(&self, offset: u64, to: &mut [u8]) -> io::Result<usize> {
        let from = usize::try_from(offset).ok().and_then(|offset| self.get(offset..)).unwrap_or(&[]);
        let count = from.len().min(to.len());
        for (to, from) in to.iter_mut().zip(from) {
            *to = *from;
        }
        Ok(count)
    }
}

/// Takes bytes off the front.
#[derive(Clone, Copy)]
pub(crate) struct Reader<'a>(pub(crate) &'a [u8]);

impl<'a> Reader<'a> {
    pub(crate) fn take(&mut self, count: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(count)?;
        self.0 = rest;
        Some(taken)
    }

    /// A number of up to 8 bytes, the lowest first.
    pub(crate) fn number(&mut self, bytes: usize) -> Option<u64> {
        let taken = self.take(bytes).filter(|_| bytes <= 8)?;
        Some(taken.iter().rev().fold(0, |sum, &byte| sum << 8 | u64::from(byte)))
    }

    pub(crate) fn u8(&mut self) -> Option<u8> {
        self.number(1).map(|number| number as u8)
    }

    pub(crate) fn u16(&mut self) -> Option<u16> {
        self.number(2).map(|number| number as u16)
    }

    pub(crate) fn u32(&mut self) -> Option<u32> {
        self.number(4).map(|number| number as u32)
    }

    pub(crate) fn u64(&mut self) -> Option<u64> {
        self.number(8)
    }
}
