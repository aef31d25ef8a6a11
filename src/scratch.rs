//! A small allocator of the library's own: lock-free, on pages from the kernel.
//!
//! Never: takes a lock, calls the backend, gives pages of small blocks back (so that a stale
//! reader of a free list reads mapped memory).
//!
//! Blocks of up to 32 KiB come from free lists by power of two, larger ones from the kernel.
//!
//! # Invariants
//!
//! 1. Memory that was once carved into blocks of a class stays blocks of that class.
//! 2. A list's head carries a tag that changes with every removal, so that a compare-and-swap
//!    that saw an older list fails.
//!
//! # Edges
//!
//! | edge      | from                 | to                  | carries |
//! | --------- | -------------------- | ------------------- | ------- |
//! | `scratch` | `Class::put` Release | `Class::take` Acquire | the link in a free block |

use crate::sys::pages;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

/// What stands before every block.
#[repr(C, align(16))]
struct Header {
    /// The class of the block, or `LARGE` and the length of its mapping. In the place of a free block's link, at
    /// which `Class::take` may look when the block is in use again.
    class: AtomicUsize,
    magic: AtomicUsize,
}

const MAGIC: usize = 0x6d65_6d68_6f6f_6b21;
const LARGE: usize = usize::MAX >> 1;
const HEADER: usize = size_of::<Header>();
const SMALLEST_BITS: u32 = 6;
const CLASSES: usize = 10;
const LARGEST: usize = 1 << (SMALLEST_BITS as usize + CLASSES - 1);
const CHUNK: usize = 256 * 1024;

/// One list of free blocks. The head: address / 64 in the low 42 bits, tag above.
struct Class(AtomicU64);

const TAG_SHIFT: u32 = 42;
const ADDRESS_MASK: u64 = (1 << TAG_SHIFT) - 1;

static LISTS: [Class; CLASSES] = [const { Class(AtomicU64::new(0)) }; CLASSES];

impl Class {
    /// # Safety
    ///
    /// `block` is unused memory of this class.
    unsafe fn put(&self, block: *mut u8) {
        // SAFETY: free blocks hold a link in their first word (the caller's contract).
        let link = unsafe { AtomicU64::from_ptr(block.cast()) };
        // ORDERING [none]: Relaxed. The exchange below checks it.
        let mut head = self.0.load(Ordering::Relaxed);
        loop {
            // ORDERING [none]: Relaxed. Published by the exchange.
            link.store(head & ADDRESS_MASK, Ordering::Relaxed);
            let next = (head & !ADDRESS_MASK) | (block as u64 >> SMALLEST_BITS);
            // ORDERING [scratch]: Release and Relaxed. The link before the block's place.
            match self.0.compare_exchange_weak(head, next, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    fn take(&self) -> Option<*mut u8> {
        // ORDERING [scratch]: Acquire. Other end: `put`.
        let mut head = self.0.load(Ordering::Acquire);
        loop {
            let block = ((head & ADDRESS_MASK) << SMALLEST_BITS) as *mut u8;
            if block.is_null() {
                return None;
            }
            // SAFETY: blocks stay mapped (invariant 1); if this one is in use by now, what is
            // read is not used, since the exchange fails (invariant 2).
            let link = unsafe { AtomicU64::from_ptr(block.cast()) };
            // ORDERING [none]: Relaxed. Ordered by the load of the head.
            let rest = link.load(Ordering::Relaxed) & ADDRESS_MASK;
            let tag = (head >> TAG_SHIFT).wrapping_add(1) << TAG_SHIFT;
            // ORDERING [scratch]: Relaxed and Acquire. What it takes is the very store that the look at the head has
            // acquired, by the tag; otherwise it is another look.
            match self.0.compare_exchange_weak(head, tag | rest, Ordering::Relaxed, Ordering::Acquire) {
                Ok(_) => return Some(block),
                Err(now) => head = now,
            }
        }
    }
}

/// `bytes` of memory, aligned to 16, contents undefined; null where there is none.
pub(crate) fn malloc(bytes: usize) -> *mut u8 {
    let Some(need) = bytes.checked_add(HEADER) else { return core::ptr::null_mut() };
    let class = need.next_power_of_two().trailing_zeros().saturating_sub(SMALLEST_BITS) as usize;
    let (at, class) = match LISTS.get(class) {
        Some(list) if need <= LARGEST => match list.take().or_else(|| carve(list, class)) {
            Some(at) => (at, class),
            None => return core::ptr::null_mut(),
        },
        _ => {
            let Some(len) = need.checked_next_multiple_of(pages::PAGE) else { return core::ptr::null_mut() };
            match pages::map(len) {
                Some(at) => (at, LARGE + len),
                None => return core::ptr::null_mut(),
            }
        }
    };
    // SAFETY: `at` begins a block of at least HEADER bytes, aligned to 64.
    unsafe { sign(at, class, MAGIC) };
    at.wrapping_add(HEADER)
}

/// Writes a block's header.
///
/// # Safety
///
/// `at` begins a block of at least HEADER bytes that is the caller's, aligned to 64.
unsafe fn sign(at: *mut u8, class: usize, magic: usize) {
    // SAFETY: the caller's contract; any contents are a header.
    let header = unsafe { &*at.cast::<Header>() };
    // ORDERING [none]: Relaxed. Whoever looks at it as a link of a list that it has left does not use it.
    header.class.store(class, Ordering::Relaxed);
    // ORDERING [none]: Relaxed. Read by who gives the block back, which comes after.
    header.magic.store(magic, Ordering::Relaxed);
}

/// Cuts a new chunk into blocks of a class; keeps the first for the caller.
fn carve(list: &Class, class: usize) -> Option<*mut u8> {
    let size = 1usize << (SMALLEST_BITS as usize + class);
    // A part of a chunk each time, so that a small program pays for few pages.
    let bytes = (8 * size).clamp(pages::PAGE, CHUNK);
    let first = permanent(bytes, 64)?;
    for i in 1..bytes / size {
        // SAFETY: the i-th block of the new memory, which nobody else knows.
        unsafe { list.put(first.wrapping_add(i * size)) };
    }
    Some(first)
}

/// Gives a block of [`malloc`] back; null does nothing.
///
/// # Safety
///
/// `block` is null or came from `malloc` here and is not used any more.
pub(crate) unsafe fn free(block: *mut u8) {
    if block.is_null() {
        return;
    }
    let at = block.wrapping_sub(HEADER);
    // SAFETY: the header stands before every block (the caller's contract).
    let header = unsafe { &*at.cast::<Header>() };
    // ORDERING [none]: Relaxed. Written by whoever gave the block out, whom the caller comes after.
    if header.magic.load(Ordering::Relaxed) != MAGIC {
        crate::sys::die(b"memhook: memhook_scratch_free: not a block of memhook_scratch_malloc.\n");
    }
    // ORDERING [none]: Relaxed. As above.
    let class = header.class.load(Ordering::Relaxed);
    // SAFETY: the header is ours; a second free of the block is noticed by it.
    unsafe { sign(at, 0, 0) };
    match LISTS.get(class) {
        // SAFETY: an unused block of this class.
        Some(list) => unsafe { list.put(at) },
        // SAFETY: a mapping of our own of this length.
        None => unsafe { pages::unmap(at, class - LARGE) },
    }
}

/// The chunk that permanent memory is cut from, and how much of it is gone.
struct Chunk {
    start: AtomicPtr<u8>,
    used: AtomicUsize,
}

/// Describes the current chunk. Replaced as a whole; the descriptions live in the chunks.
static CHUNK_NOW: AtomicPtr<Chunk> = AtomicPtr::new(core::ptr::null_mut());

/// Zeroed memory that is never given back. `align` is a power of two.
pub(crate) fn permanent(bytes: usize, align: usize) -> Option<*mut u8> {
    loop {
        // ORDERING [scratch]: Acquire. The description of the chunk. Other end: below.
        let now = CHUNK_NOW.load(Ordering::Acquire);
        // SAFETY: null or a description in a chunk, which stays mapped.
        if let Some(chunk) = unsafe { now.as_ref() } {
            let fits = |used: usize| used.checked_add(bytes + align).filter(|&end| end <= CHUNK);
            // ORDERING [none]: Relaxed and Relaxed. Who gets which part is all that is decided here.
            if let Ok(start) = chunk.used.fetch_update(Ordering::Relaxed, Ordering::Relaxed, fits) {
                // ORDERING [none]: Relaxed. Never written after the chunk was published.
                let base = chunk.start.load(Ordering::Relaxed);
                let at = base as usize + start;
                return Some(base.wrapping_add(((at + align - 1) & !(align - 1)) - base as usize));
            }
        }
        if bytes + align > CHUNK / 2 {
            return pages::map(bytes.checked_next_multiple_of(pages::PAGE)?);
        }
        let base = pages::map(CHUNK)?;
        let fresh = base.cast::<Chunk>();
        // SAFETY: fresh memory; zero is a valid description.
        let chunk = unsafe { &*fresh };
        // ORDERING [none]: Relaxed. Published by the exchange.
        chunk.start.store(base, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. Published by the exchange.
        chunk.used.store(size_of::<Chunk>(), Ordering::Relaxed);
        // ORDERING [scratch]: Release and Relaxed. The description before its place.
        if CHUNK_NOW.compare_exchange(now, fresh, Ordering::Release, Ordering::Relaxed).is_err() {
            // SAFETY: our own mapping, which nobody has seen.
            unsafe { pages::unmap(base, CHUNK) };
        }
    }
}
