//! Where a block comes from, for a person: addresses as object, offset and symbol.
//!
//! Never: takes the dynamic linker's lock, allocates from a heap.

use crate::sys::elf::Object;
use crate::sys::maps::{Maps, Region};
use crate::sys::probe;
use crate::text::Text;
use core::ffi::CStr;

/// What is known of code addresses at one moment.
pub(super) struct Code {
    maps: Maps,
}

impl Code {
    pub(super) fn now() -> Code {
        Code { maps: Maps::read() }
    }

    pub(super) fn maps(&self) -> &Maps {
        &self.maps
    }

    /// Adds an address, and where it lies, as far as that is known: `0x7f.. (libfoo.so+0x123 name+0x12)`.
    pub(super) fn add(&self, text: &mut Text, address: usize) {
        text.hex(address as u64);
        // A return address may be the first behind its function.
        let inside = address.saturating_sub(1);
        let Some(region) = self.maps.find(inside).filter(|region| region.path.starts_with(b"/")) else {
            return;
        };
        let Some(base) = self.base(&region) else { return };
        text.add(b" (").add(file_name(region.path)).add(b"+").hex((address - base) as u64);
        if let Some((name, offset)) = symbol(base, inside) {
            text.add(b" ").add(name.to_bytes()).add(b"+").hex(offset as u64 + 1);
        }
        text.add(b")");
    }

    /// Where the object that a region belongs to begins.
    fn base(&self, of: &Region) -> Option<usize> {
        let same = |region: &Region| region.path == of.path && region.start <= of.start;
        let first = self.maps.iter().filter(|region| same(region) && region.offset == 0).last()?;
        first.is_readable.then_some(first.start)
    }
}

fn symbol(base: usize, address: usize) -> Option<(&'static CStr, usize)> {
    if !probe::is_readable(base) {
        return None;
    }
    // SAFETY: code of this file has been running, so the loader has loaded it; its beginning is mapped.
    let (name, start) = unsafe { Object::loaded_at(base) }?.symbol_around(address)?;
    Some((name, address - start))
}

/// The last part of a path.
pub(super) fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or(path)
}
