//! What is mapped where, as the kernel tells it: read without the dynamic linker's lock.

use super::file;
use super::pages;

/// The mappings of this process at one moment.
pub(crate) struct Maps {
    at: *mut u8,
    room: usize,
    len: usize,
}

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
    /// The mappings now; none where the kernel does not tell.
    pub(crate) fn read() -> Maps {
        let mut maps = Maps { at: core::ptr::null_mut(), room: 0, len: 0 };
        let Ok(fd) = file::open(b"/proc/self/maps\0", libc::O_RDONLY, 0) else { return maps };
        let mut room = 256 * 1024;
        while let Some(at) = pages::map(room) {
            maps = Maps { at, room, len: 0 };
            while let Some(rest) = maps.buffer().get_mut(maps.len..)
                && let Ok(got) = file::read_at(fd, rest, maps.len)
                && got > 0
            {
                maps.len += got;
            }
            if maps.len < room {
                break;
            }
            room *= 4;
        }
        file::close(fd);
        maps
    }

    fn buffer(&mut self) -> &'static mut [u8] {
        if self.at.is_null() {
            return &mut [];
        }
        // SAFETY: pages of our own of this length, used while `self` lives.
        unsafe { core::slice::from_raw_parts_mut(self.at, self.room) }
    }

    /// All of them, by address.
    pub(crate) fn iter(&self) -> impl Iterator<Item = Region<'_>> {
        let text: &[u8] = if self.at.is_null() {
            &[]
        } else {
            // SAFETY: pages of our own, of which so many bytes were read.
            unsafe { core::slice::from_raw_parts(self.at, self.len) }
        };
        text.split(|&byte| byte == b'\n').filter_map(region)
    }

    /// The mapping that holds an address.
    pub(crate) fn find(&self, address: usize) -> Option<Region<'_>> {
        self.iter().find(|region| (region.start..region.end).contains(&address))
    }
}

impl Drop for Maps {
    fn drop(&mut self) {
        if !self.at.is_null() {
            // SAFETY: mapped by `read`; nothing of it is borrowed any more.
            unsafe { pages::unmap(self.at, self.room) };
        }
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
