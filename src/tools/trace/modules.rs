//! Which objects the addresses in a trace belong to.
//!
//! An object is recorded when the first address in it is, and again when another object is found at its
//! place. Reading the file, one needs nothing of the process: not even that it lives.

use super::places;
use crate::roster::{Link, Linked, Roster};
use crate::scratch;
use crate::sys::file;
use crate::sys::find::{self, Found};
use crate::sys::paged::Zero;
use crate::sys::program;
use core::sync::atomic::{AtomicU64, Ordering};

/// An object that a session has recorded.
struct Module {
    found: Found,
    name: u64,
    session: u64,
    /// The epoch in which it was seen to be there still.
    epoch: AtomicU64,
    link: Link<Module>,
}

// SAFETY: the rest does not change.
unsafe impl Sync for Module {}

// SAFETY: the link is the module's own and is written by the roster only.
unsafe impl Linked for Module {
    fn link(&self) -> &Link<Module> {
        &self.link
    }
}

/// The objects of a trace.
pub(super) struct Modules(Roster<Module>);

/// The longest build-id that is recorded.
const BUILD_ID: usize = 64;

/// What is recorded of an object. Too large for a stack.
pub(super) struct Description {
    pub(super) start: usize,
    pub(super) end: usize,
    pub(super) base: usize,
    pub(super) build_id: [u8; BUILD_ID],
    pub(super) build_id_len: usize,
    pub(super) path: [u8; 4096],
    pub(super) path_len: usize,
}

// SAFETY: numbers and bytes.
unsafe impl Zero for Description {}

impl Modules {
    /// The object of an address, if it must be recorded before the address is.
    pub(super) fn unrecorded(&self, address: usize, session: u64) -> Option<Found> {
        let epoch = places::epoch();
        let around = |module: &&Module| {
            module.session == session && (module.found.start..module.found.end).contains(&address)
        };
        let known = self.0.iter().find(around);
        // ORDERING [none]: Relaxed. Only the number matters.
        if known.is_some_and(|module| module.epoch.load(Ordering::Relaxed) == epoch) {
            return None;
        }
        let found = find::find(address)?;
        if let Some(module) =
            known.filter(|module| module.found == found && module.name == hash(found.name()))
        {
            // ORDERING [none]: Relaxed. Only the number matters.
            module.epoch.store(epoch, Ordering::Relaxed);
            return None;
        }
        Some(found)
    }

    /// Notes that an object is recorded.
    pub(super) fn note(&self, found: Found, session: u64) {
        let memory = scratch::permanent(size_of::<Module>(), align_of::<Module>());
        // Without memory it is recorded again and again.
        let Some(memory) = memory else { return };
        let epoch = AtomicU64::new(places::epoch());
        let node = memory.cast::<Module>();
        // SAFETY: fresh memory of a module's size and alignment.
        unsafe { node.write(Module { found, name: hash(found.name()), session, epoch, link: Link::new() }) };
        // SAFETY: written just now; never unmapped.
        self.0.push(unsafe { &*node });
    }
}

/// FNV-1a of a name.
fn hash(name: &[u8]) -> u64 {
    name.iter().fold(0xcbf2_9ce4_8422_2325, |hash: u64, &byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}

impl Description {
    /// What there is to say of an object, into memory that is all zero.
    pub(super) fn fill(&mut self, found: &Found) {
        (self.start, self.end, self.base) = (found.start, found.end, found.base);
        self.path_len = if found.is_program() {
            program::path(&mut self.path)
        } else {
            let name = found.name();
            self.path.iter_mut().zip(name).for_each(|(to, from)| *to = *from);
            name.len().min(self.path.len())
        };
        self.build_id_len = build_id(found, &mut self.build_id);
    }
}

/// A number in memory that may not be there.
fn peek<const N: usize>(at: usize) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    (file::peek(at, &mut bytes) == N).then_some(bytes)
}

/// The object's build-id, from its notes in memory; how many bytes it has, 0 where it has none.
fn build_id(found: &Found, to: &mut [u8; BUILD_ID]) -> usize {
    let mut find = || {
        let head: [u8; 64] = peek(found.start)?;
        let number = |at: usize, bytes: usize| {
            let bytes = head.get(at..at + bytes)?;
            Some(bytes.iter().rev().fold(0usize, |sum, &byte| sum << 8 | usize::from(byte)))
        };
        if !head.starts_with(b"\x7fELF") {
            return None;
        }
        let (table, each, count) = (number(32, 8)?, number(54, 2)?, number(56, 2)?);
        (0..count).find_map(|i| {
            let segment: [u8; 56] = peek(found.start.wrapping_add(table + i * each))?;
            // SAFETY: as many bytes as a program header has, and any bytes are one.
            let segment = unsafe { segment.as_ptr().cast::<libc::Elf64_Phdr>().read_unaligned() };
            if segment.p_type != libc::PT_NOTE {
                return None;
            }
            id_among(found.base.wrapping_add(segment.p_vaddr as usize), segment.p_memsz as usize, to)
        })
    };
    find().unwrap_or(0)
}

/// The build-id among the notes at an address.
fn id_among(mut at: usize, bytes: usize, to: &mut [u8; BUILD_ID]) -> Option<usize> {
    const NT_GNU_BUILD_ID: u32 = 3;
    let end = at.checked_add(bytes)?;
    while at + 16 <= end {
        let head: [u8; 16] = peek(at)?;
        let (sizes, name) = head.split_at(12);
        let word = |i: usize| {
            let bytes = sizes.get(i * 4..i * 4 + 4)?;
            Some(u32::from_le_bytes(bytes.try_into().ok()?))
        };
        let (name_len, len, kind) = (word(0)? as usize, word(1)? as usize, word(2)?);
        let content = at + 12 + name_len.next_multiple_of(4);
        if kind == NT_GNU_BUILD_ID && name == b"GNU\0" {
            let len = len.min(to.len());
            return (file::peek(content, to.get_mut(..len)?) == len).then_some(len);
        }
        at = content + len.next_multiple_of(4);
    }
    None
}
