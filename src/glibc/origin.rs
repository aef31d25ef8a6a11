//! Whose a block is that a callback returns: the backend's own, or one that the callback has made of something else.
//!
//! | what the callback did | how it is known |
//! | --- | --- |
//! | asked an entry point, `__libc_malloc()`, `memhook_backend_malloc()` | the block is on loan (`ownership`) |
//! | returned what another callback made | the block has an owner |
//! | asked the C library's malloc by a way that does not lead here (RTLD_DEEPBIND, RTLD_NEXT) | glibc's header stands before it, in glibc's heap |
//! | put a header in front, or has memory of its own | none of these |
//!
//! Where the third is doubtful, the answer is the backend's: then what glibc did is done, which calls what stands in
//! the variables for every block, and the allocator for all others.

use crate::backend;
use crate::dispatch::Request;
use crate::ownership;
use crate::sys::{heap, probe};
use core::ffi::c_void;

/// Where a block comes from that a callback returns.
pub(super) enum Origin {
    /// The backend has lent it to the callback.
    Loan,
    /// The backend's, by a way that does not lead here.
    Backend,
    /// A callback has made it; it belongs to this owner list.
    Owned(u16),
    /// The callback has made it, and it belongs to nobody yet.
    Callback,
}

/// Where `block` comes from, which is not NULL and the answer to `request`.
#[inline(always)]
pub(super) fn of(block: *mut c_void, request: Request) -> Origin {
    // The mark may be an old one: a block that was given back by a way that does not lead here.
    if ownership::is_on_loan(block) && !is_inside_loan(block, NEAR) {
        return Origin::Loan;
    }
    let owner = ownership::owner(block);
    if owner != 0 {
        return Origin::Owned(owner);
    }
    if is_backends(block, requested(request)) { Origin::Backend } else { Origin::Callback }
}

fn requested(request: Request) -> usize {
    match request {
        Request::Malloc { bytes } | Request::Realloc { bytes, .. } | Request::Memalign { bytes, .. } => bytes,
        Request::Free { .. } => 0,
    }
}

/// How far before a block of a callback's own making the block may begin that it was made of.
const HEADER: usize = 4096;
/// The same where it has the mark of a loan already.
const NEAR: usize = 256;

/// Whether a block that is not on loan is one of the backend's, with room for `bytes`.
#[inline(never)]
pub(super) fn is_backends(block: *mut c_void, bytes: usize) -> bool {
    backend::is_libc()
        && Chunk::of(block, bytes).is_some_and(|chunk| chunk.holds(bytes))
        && !is_inside_loan(block, HEADER)
}

/// Whether the block lies inside one that is on loan: then what looks like glibc's header is the callback's.
fn is_inside_loan(block: *mut c_void, reach: usize) -> bool {
    ownership::loan_before(block, reach).is_some_and(|loan| {
        // SAFETY: on loan, hence the backend's and not given back.
        let usable = unsafe { backend::usable_size(loan) };
        (block as usize).wrapping_sub(loan as usize) < usable
    })
}

/// What glibc's malloc has in front of a block: the size of the block before it, and its own, with three bits.
struct Chunk {
    at: usize,
    before: usize,
    size: usize,
}

const PREVIOUS_IN_USE: usize = 1;
const IS_MAPPED: usize = 2;
const OTHER_ARENA: usize = 4;
const BITS: usize = 7;
const HEADER_BYTES: usize = 16;
const SMALLEST: usize = 32;
/// Arenas other than the first consist of heaps that begin at multiples of this.
const HEAP: usize = 64 << 20;

impl Chunk {
    /// The header before `block`, if one may stand there: where glibc has one, memory can be read.
    fn of(block: *mut c_void, bytes: usize) -> Option<Chunk> {
        // The first page is never there.
        let at = (block as usize).checked_sub(HEADER_BYTES).filter(|&at| at >= 4096)?;
        if !at.is_multiple_of(HEADER_BYTES) || !can_be_read(at, block as usize, bytes) {
            return None;
        }
        let chunk = Chunk { at, before: word(at), size: word(at + 8) };
        let is_one = chunk.size & 8 == 0 && chunk.bytes() >= SMALLEST;
        (is_one && chunk.is_in_heap()).then_some(chunk)
    }

    fn bytes(&self) -> usize {
        self.size & !BITS
    }

    /// Whether a block of `bytes` fits.
    fn holds(&self, bytes: usize) -> bool {
        let overhead = if self.size & IS_MAPPED != 0 { HEADER_BYTES } else { 8 };
        self.bytes() - overhead >= bytes
    }

    fn is_in_heap(&self) -> bool {
        if self.size & IS_MAPPED != 0 {
            let (first, len) = (self.at.wrapping_sub(self.before), self.bytes().wrapping_add(self.before));
            let is_whole = |n: usize| n != 0 && n.is_multiple_of(backend::page_size());
            return self.size & BITS == IS_MAPPED && is_whole(first) && is_whole(len) && len > self.before;
        }
        let end = if self.size & OTHER_ARENA != 0 { end_of_heap(self.at) } else { heap::end_around(self.at) };
        let next = self.at.saturating_add(self.bytes());
        end.is_some_and(|end| next < end - 8) && word(next + 8) & PREVIOUS_IN_USE != 0
    }
}

/// The end of the heap of another arena in which the address lies, by what glibc has at its beginning: the arena, the heap
/// before it, its size and how much of that can be written to.
fn end_of_heap(address: usize) -> Option<usize> {
    let first = address & !(HEAP - 1);
    if first == 0 || !probe::is_readable(first) {
        return None;
    }
    let (arena, size, writable) = (word(first), word(first + 16), word(first + 24));
    let is_one = arena != 0 && size <= writable && writable <= HEAP && address - first < size;
    is_one.then_some(first + size)
}

/// Whether the words before a block can be read: they can where the block can, unless a page begins there. One of no bytes
/// may be an address of nothing.
fn can_be_read(at: usize, block: usize, bytes: usize) -> bool {
    (bytes != 0 && !block.is_multiple_of(4096)) || probe::is_readable(at)
}

fn word(at: usize) -> usize {
    // SAFETY: `can_be_read`; in a heap that glibc says is there, or in the page of a block that a callback returned.
    unsafe { (at as *const usize).read_volatile() }
}
