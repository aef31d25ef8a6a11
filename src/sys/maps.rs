//! What is mapped where, as the kernel tells it: read without the dynamic linker's lock.

use super::file::Whole;

/// The mappings of this process at one moment; none where the kernel does not tell, and why.
pub(crate) struct Maps(Result<Whole, i32>);

/// One mapping.
#[derive(Clone, Copy)]
pub(crate) struct Region<'a> {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) is_readable: bool,
    pub(crate) offset: usize,
    /// The file, or a name in square brackets, or nothing.
    pub(crate) path: &'a [u8],
}

impl Maps {
    /// The mappings now.
    pub(crate) fn read() -> Maps {
        let ours = Whole::read(b"/proc/self/maps\0");
        // Once the process's first thread has ended, that of another thread has what this has not (Linux 3.17).
        let is_gone = match &ours {
            Ok(whole) => whole.bytes().is_empty(),
            Err(error) => *error == libc::ESRCH,
        };
        Maps(if is_gone { Whole::read(b"/proc/thread-self/maps\0") } else { ours })
    }

    /// Whether the kernel may tell another time: there was no descriptor or no memory for it.
    pub(crate) fn is_missing_for_now(&self) -> bool {
        matches!(self.0, Err(libc::EMFILE | libc::ENFILE | libc::ENOMEM))
    }

    /// Whether the kernel has told them.
    pub(crate) fn are_known(&self) -> bool {
        self.0.as_ref().is_ok_and(|whole| !whole.bytes().is_empty())
    }

    /// All of them, by address.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Region<'_>> {
        let text = self.0.as_ref().map_or(&[][..], Whole::bytes);
        text.split(|&byte| byte == b'\n').filter_map(region)
    }

    /// The mapping that holds an address.
    pub(crate) fn find(&self, address: usize) -> Option<Region<'_>> {
        self.iter().find(|region| region.holds(address))
    }
}

impl Region<'_> {
    pub(crate) fn holds(&self, address: usize) -> bool {
        (self.start..self.end).contains(&address)
    }
}

/// `start-end perms offset device inode     path`
fn region(line: &[u8]) -> Option<Region<'_>> {
    let mut words = line.splitn(6, |&byte| byte == b' ');
    let mut range = words.next()?.split(|&byte| byte == b'-');
    let (start, end) = (hex(range.next()?)?, hex(range.next()?)?);
    let is_readable = words.next()?.first() == Some(&b'r');
    let offset = hex(words.next()?)?;
    let path = words.nth(2).unwrap_or(&[]).trim_ascii();
    Some(Region { start, end, is_readable, offset, path })
}

fn hex(text: &[u8]) -> Option<usize> {
    text.iter().try_fold(0usize, |sum, &digit| {
        let digit = (digit as char).to_digit(16)?;
        Some(sum.checked_mul(16)? + digit as usize)
    })
}
