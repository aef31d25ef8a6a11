//! Chunks of a binary trace: parts of the file that one thread writes, each with a head of its own.
//!
//! A chunk is mapped by its thread. Each record is complete before the chunk's head says that it is
//! there, so what stands in the file is readable whenever the process ends. See docs/TRACE-FORMAT.md.

use super::output::{Output, Way};
use crate::sys::{pages, thread, ticks};
use core::sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering};

/// What each chunk begins with.
pub(super) const MAGIC: &[u8] = b"MHTR";
/// The byte of the first chunk that says that the trace was finished.
pub(super) const FINISHED_AT: usize = 52;

const VERSION: u8 = 1;
/// The first chunk: about the whole.
pub(super) const KIND_HEAD: u8 = 1;
/// A chunk of records.
pub(super) const KIND_RECORDS: u8 = 2;

/// How long the head of a chunk is.
pub(super) const HEAD: usize = 64;

/// The first chunk of a thread is so long, each further one twice as long, up to the last number.
pub(super) const FIRST: u64 = 16 * 1024;
const LARGEST: u64 = 256 * 1024;

/// What a chunk begins with, as it stands in the file.
#[repr(C)]
pub(super) struct Head {
    magic: [u8; 4],
    version: u8,
    kind: u8,
    head_bytes: u16,
    bytes: u32,
    check: u32,
    thread: u64,
    ticks: u64,
    ns: u64,
    tid: u32,
    number: u32,
    /// How many bytes of records there are.
    pub(super) used: AtomicU32,
    pub(super) finished: AtomicU8,
    nothing: [u8; 3],
    sum: AtomicU64,
}

const _: () = assert!(size_of::<Head>() == HEAD && core::mem::offset_of!(Head, finished) == FINISHED_AT);

/// A time by both clocks.
#[derive(Clone, Copy, Default)]
pub(super) struct Moment {
    pub(super) ticks: u64,
    pub(super) ns: u64,
}

/// Where chunks come from.
pub(super) struct Chunks {
    position: AtomicU64,
    most: AtomicU64,
    /// Whether time is taken from the processor's clock.
    pub(super) by_ticks: core::sync::atomic::AtomicBool,
}

/// A chunk that a thread writes.
#[derive(Clone, Copy)]
pub(super) struct Chunk {
    pub(super) base: *mut u8,
    pub(super) bytes: usize,
    pub(super) offset: u64,
}

impl Chunks {
    pub(super) fn begin(&self, most: u64) {
        // ORDERING [none]: Relaxed. Published with the session.
        self.position.store(0, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. As above.
        self.most.store(most, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. As above.
        self.by_ticks.store(ticks::is_usable(), Ordering::Relaxed);
    }

    /// The time now, by both clocks.
    pub(super) fn moment(&self) -> Moment {
        // ORDERING [none]: Relaxed. Does not change in a session.
        if !self.by_ticks.load(Ordering::Relaxed) {
            let ns = thread::monotonic_ns();
            return Moment { ticks: ns, ns };
        }
        let before = ticks::now_after();
        let ns = thread::monotonic_ns();
        Moment { ticks: before + (ticks::now_after() - before) / 2, ns }
    }

    /// How long the next chunk of a thread is to be whose latest one had `bytes`.
    pub(super) fn next_bytes(bytes: usize, way: Way) -> usize {
        match way {
            // As much as a pipe takes in one piece.
            Way::Stream => pages::PAGE,
            Way::Mapped => (bytes as u64 * 2).clamp(FIRST, LARGEST) as usize,
        }
    }

    /// A new chunk of at least so many bytes; an error says why there is none, 0 for want of permitted
    /// bytes.
    pub(super) fn take(&self, bytes: usize, page: usize, output: &Output) -> Result<Chunk, i32> {
        let bytes = bytes.checked_next_multiple_of(page).unwrap_or(bytes);
        // ORDERING [none]: Relaxed. Does not change in a session.
        let most = self.most.load(Ordering::Relaxed);
        let next = |at: u64| at.checked_add(bytes as u64).filter(|&end| end <= most);
        // ORDERING [none]: Relaxed and Relaxed. Who gets which part is all that is decided here.
        let offset = self.position.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).map_err(|_| 0)?;
        let base = match output.way() {
            Way::Mapped => output.map(offset, bytes),
            Way::Stream => pages::map(bytes).ok_or(libc::ENOMEM),
        };
        let base = base.inspect_err(|_| {
            let end = offset + bytes as u64;
            // The file ends before, if nobody has got the next part meanwhile.
            // ORDERING [none]: Relaxed and Relaxed. As above.
            let _ = self.position.compare_exchange(end, offset, Ordering::Relaxed, Ordering::Relaxed);
        })?;
        if bytes > FIRST as usize {
            pages::touch(base, bytes);
        }
        Ok(Chunk { base, bytes, offset })
    }

    /// No further chunk is to be had.
    pub(super) fn end(&self) {
        // ORDERING [none]: Relaxed. Whoever comes sees it sooner or later.
        self.most.store(0, Ordering::Relaxed);
    }

    /// Whether a chunk is the last of the file.
    pub(super) fn is_last(&self, chunk: Chunk) -> bool {
        // ORDERING [none]: Relaxed. Asked when no chunk is taken any more.
        self.position.load(Ordering::Relaxed) == chunk.offset + chunk.bytes as u64
    }
}

impl Chunk {
    /// No chunk.
    pub(super) const NONE: Chunk = Chunk { base: core::ptr::null_mut(), bytes: 0, offset: 0 };

    #[inline(always)]
    pub(super) fn is_none(&self) -> bool {
        self.base.is_null()
    }

    /// The head.
    ///
    /// # Safety
    ///
    /// The chunk is mapped, and has a head.
    #[inline(always)]
    pub(super) unsafe fn head(&self) -> &Head {
        // SAFETY: the caller's contract; a mapping begins at a page.
        unsafe { &*self.base.cast::<Head>() }
    }

    /// Writes the head of a new chunk.
    ///
    /// # Safety
    ///
    /// The chunk is mapped and the caller's alone.
    pub(super) unsafe fn begin(&self, kind: u8, thread: u64, number: u32, at: Moment) {
        let mut head = Head {
            magic: *b"MHTR",
            version: VERSION,
            kind,
            head_bytes: HEAD as u16,
            bytes: self.bytes as u32,
            check: 0,
            thread,
            ticks: at.ticks,
            ns: at.ns,
            tid: thread::current().tid,
            number,
            used: AtomicU32::new(0),
            finished: AtomicU8::new(0),
            nothing: [0; 3],
            sum: AtomicU64::new(0),
        };
        head.check = head.check();
        // SAFETY: the caller's contract; a mapping begins at a page and is longer than a head.
        unsafe { self.base.cast::<Head>().write(head) };
    }

    /// Finishes a chunk that has so many bytes of records.
    ///
    /// # Safety
    ///
    /// The chunk is mapped, has a head, and is the caller's alone.
    pub(super) unsafe fn close(&self) {
        // SAFETY: the caller's contract.
        let head = unsafe { self.head() };
        // ORDERING [none]: Relaxed. Written by this thread, or before it was stopped.
        let used = (head.used.load(Ordering::Relaxed) as usize).min(self.bytes - HEAD);
        let (mut sum, mut sums) = (0u64, 0u64);
        // Behind the records everything is zero.
        for at in (0..used.next_multiple_of(8)).step_by(8) {
            // SAFETY: in the chunk, whose length is a multiple of 8.
            let word = unsafe { self.base.wrapping_add(HEAD + at).cast::<u64>().read() };
            sum = sum.wrapping_add(word);
            sums = sums.wrapping_add(sum);
        }
        // ORDERING [none]: Relaxed. Whoever reads the file does so by way of the kernel.
        head.sum.store(sum ^ sums.rotate_left(32), Ordering::Relaxed);
        // ORDERING [none]: Relaxed. As above; the processor does not exchange stores, as far as it is x86.
        head.finished.store(1, Ordering::Relaxed);
    }

    /// Shortens a closed chunk that is the last of its file to the pages it needs; how many bytes it has.
    ///
    /// # Safety
    ///
    /// As [`close`](Chunk::close).
    pub(super) unsafe fn shorten(&self, page: usize) -> usize {
        let place = self.base.cast::<Head>();
        // SAFETY: the caller's contract.
        let head = unsafe { &mut *place };
        let needed = (HEAD + *head.used.get_mut() as usize)
            .checked_next_multiple_of(page)
            .map_or(self.bytes, |needed| needed.min(self.bytes));
        head.bytes = needed as u32;
        head.check = head.check();
        needed
    }

    /// Gives the chunk up: writes it to a stream, or unmaps it.
    ///
    /// # Safety
    ///
    /// As [`close`](Chunk::close); afterwards it is not used any more.
    pub(super) unsafe fn give_up(&self, output: &Output) -> Result<(), i32> {
        let result = if output.way() == Way::Stream {
            // SAFETY: a whole mapping, which nobody writes to.
            let bytes = unsafe { core::slice::from_raw_parts(self.base, self.bytes) };
            output.write([bytes, &[]], 0)
        } else {
            Ok(())
        };
        // SAFETY: a whole mapping, not used any more (the caller's contract).
        unsafe { pages::unmap(self.base, self.bytes) };
        result
    }
}

impl Head {
    /// FNV-1a of what does not change any more.
    fn check(&self) -> u32 {
        let numbers = [self.thread, self.ticks, self.ns, u64::from(self.tid) | u64::from(self.number) << 32];
        let mut hash = 0x811c_9dc5u32;
        let mut add = |bytes: &[u8]| {
            for &byte in bytes {
                hash = (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
            }
        };
        add(&self.magic);
        add(&[self.version, self.kind]);
        add(&self.head_bytes.to_le_bytes());
        add(&self.bytes.to_le_bytes());
        numbers.iter().for_each(|number| add(&number.to_le_bytes()));
        hash
    }
}
