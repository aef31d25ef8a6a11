//! The data file: what is in use, and how deep the stack is, after each call. memusagestat draws it.
//!
//! Never: waits; leaves an entry out of a file that can be written.
//!
//! Entries are numbered, and number `n` has its place in the file: behind the two that describe the whole.
//! They are collected in a ring and written some at a time by whoever completes a batch, if nobody is
//! writing just now. A thread whose place in the ring is not free writes its entry itself.
//!
//! # State of a place in the ring
//!
//! ```text
//!            filled               written
//!  free(g) ─────────► full(g) ───────────────► free(g + 1)
//!     │ its thread is late, and the ring nearly full
//!     └──────────────────────► lost: never used again, its entries are written one by one
//! ```
//!
//! # Edges
//!
//! | edge      | from               | to                  | carries |
//! | --------- | ------------------ | ------------------- | ------- |
//! | `entry`   | `enter` Release    | `write` Acquire     | an entry |
//! | `free`    | `write` Release    | `enter` Acquire     | that the last entry of a place was written |
//! | `writing` | `write` Release    | `write` Acquire     | how much was written |

use super::session::Session;
use crate::sys::file::permitted;
use crate::sys::kept::{Kept, write_at};
use crate::sys::pages;
use crate::tools::say;
use core::sync::atomic::{AtomicBool, AtomicI32, AtomicI64, AtomicU64, Ordering};

/// As in the file.
#[repr(C)]
#[derive(Clone, Copy)]
struct Entry {
    heap: u64,
    stack: u64,
    /// Low half first: on a little-endian machine one number.
    time: u64,
}

#[repr(C)]
struct Place {
    state: AtomicU64,
    heap: AtomicU64,
    stack: AtomicU64,
    time: AtomicU64,
}

/// How many entries are collected at most, as with libmemusage.
pub(super) const LARGEST_BATCH: u32 = 32768;
const PLACES: u64 = 2 * LARGEST_BATCH as u64;
/// How many entries are written at once.
const AT_ONCE: usize = 4096;
const ENTRY: usize = size_of::<Entry>();
/// The entries that describe the whole.
const HEAD: u64 = 2;
const LOST: u64 = u64::MAX;

/// A data file that is being written.
pub(super) struct Data {
    file: Kept,
    ring: *mut Place,
    /// Where entries are put together by who writes.
    buffer: *mut Entry,
    batch: u64,
    started: u64,
    /// How many entries there are.
    count: AtomicU64,
    /// How many entries from the first on have been written, or will be by their threads.
    written: AtomicU64,
    writing: AtomicBool,
    /// The most of heap and stack together.
    most: AtomicI64,
    /// Nothing is to be added any more.
    ended: AtomicBool,
    /// The first error.
    error: AtomicI32,
}

const RING_BYTES: usize = PLACES as usize * size_of::<Place>();
const BUFFER_BYTES: usize = AT_ONCE * ENTRY;

/// Time, as libmemusage takes it: only differences count.
fn now() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: every x86-64 processor has the instruction.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
    #[cfg(target_arch = "aarch64")]
    {
        crate::sys::thread::monotonic_ns()
    }
}

/// Enters what is in use at this moment.
pub(super) fn note_depth(session: &Session, depth: usize) {
    if let Some(data) = &session.setup().data {
        data.enter(session.peak.now(), depth as u64);
    }
}

impl Data {
    /// A data file in `fd`, which is empty.
    pub(super) fn new(fd: i32, batch: u32) -> Result<Data, i32> {
        let file = Kept::keep(fd);
        let (ring, buffer) = (pages::reserve(RING_BYTES), pages::map(BUFFER_BYTES));
        let started = now();
        let batch = if batch == 0 || batch > LARGEST_BATCH { LARGEST_BATCH } else { batch };
        let data = Data {
            file,
            ring: ring.map_or(core::ptr::null_mut(), |at| at.cast()),
            buffer: buffer.map_or(core::ptr::null_mut(), |at| at.cast()),
            batch: batch.into(),
            started,
            count: AtomicU64::new(0),
            written: AtomicU64::new(0),
            writing: AtomicBool::new(false),
            most: AtomicI64::new(0),
            ended: AtomicBool::new(false),
            error: AtomicI32::new(0),
        };
        if data.ring.is_null() || data.buffer.is_null() {
            return Err(libc::ENOMEM);
        }
        // What it would be if the process ended without another word: memusagestat makes up for it.
        let first = Entry { heap: 0, stack: 0, time: started };
        data.try_put(0, &[first, first]).map(|()| data)
    }

    /// The error number of the first write that failed; 0: none did.
    fn failure(&self) -> i32 {
        // ORDERING [none]: Relaxed. A statistic.
        self.error.load(Ordering::Relaxed)
    }

    fn place(&self, number: u64) -> &Place {
        // SAFETY: below `PLACES`, of a ring that lives as long as we; zero is a valid place.
        unsafe { &*self.ring.wrapping_add((number % PLACES) as usize) }
    }

    fn enter(&self, heap: i64, stack: u64) {
        // ORDERING [none]: Relaxed. What comes now need not be in the file.
        if self.ended.load(Ordering::Relaxed) {
            return;
        }
        // ORDERING [none]: Relaxed. A statistic.
        self.most.fetch_max(heap + stack as i64, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. The number need only be this entry's alone.
        let number = self.count.fetch_add(1, Ordering::Relaxed);
        let entry = Entry { heap: heap.max(0) as u64, stack, time: now() };
        if !self.fill(number, entry) {
            self.put(number + HEAD, &[entry]);
        }
        if (number + 1).is_multiple_of(self.batch) {
            self.write(false);
        }
    }

    /// Puts an entry into the ring; false where its place is not free.
    fn fill(&self, number: u64, entry: Entry) -> bool {
        let place = self.place(number);
        let free = 2 * (number / PLACES);
        // ORDERING [free]: Acquire. Other end: `write`.
        if place.state.load(Ordering::Acquire) != free {
            return false;
        }
        let fields = [(&place.heap, entry.heap), (&place.stack, entry.stack), (&place.time, entry.time)];
        for (field, value) in fields {
            // ORDERING [none]: Relaxed. Published by the exchange below.
            field.store(value, Ordering::Relaxed);
        }
        // ORDERING [entry]: Release and Relaxed. The entry. Other end: `write`.
        place.state.compare_exchange(free, free + 1, Ordering::Release, Ordering::Relaxed).is_ok()
    }

    /// Writes what is complete; with `all`, also what comes behind an entry that is not.
    fn write(&self, all: bool) {
        // A child of vfork shares the memory, but not what happens to it.
        // ORDERING [writing]: Acquire. Other end: the store below.
        if !self.file.is_own() || self.writing.swap(true, Ordering::Acquire) {
            return;
        }
        // SAFETY: `AT_ONCE` entries, ours while `writing` is set; zero is a valid entry.
        let buffer = unsafe { core::slice::from_raw_parts_mut(self.buffer, AT_ONCE) };
        // ORDERING [none]: Relaxed. What comes later is written later.
        let count = self.count.load(Ordering::Relaxed);
        // ORDERING [none]: Relaxed. Ordered by `writing`.
        let mut number = self.written.load(Ordering::Relaxed);
        let mut len = 0;
        while number < count {
            let place = self.place(number);
            let free = 2 * (number / PLACES);
            // ORDERING [entry]: Acquire. Other end: `fill`.
            let mut state = place.state.load(Ordering::Acquire);
            if state == free {
                if !all && count - number < PLACES / 2 {
                    // Its thread will have filled it the next time.
                    break;
                }
                // ORDERING [entry]: Acquire and Acquire. It may just have been filled.
                let lost = place.state.compare_exchange(free, LOST, Ordering::Acquire, Ordering::Acquire);
                state = lost.err().unwrap_or(LOST);
            }
            if state == free + 1 {
                // ORDERING [none]: Relaxed. Ordered by the load of the state.
                let [heap, stack, time] =
                    [&place.heap, &place.stack, &place.time].map(|field| field.load(Ordering::Relaxed));
                if let Some(to) = buffer.get_mut(len) {
                    *to = Entry { heap, stack, time };
                    len += 1;
                }
                // ORDERING [free]: Release. We have read it. Other end: `fill`.
                place.state.store(free + 2, Ordering::Release);
            }
            number += 1;
            if len == AT_ONCE || state != free + 1 {
                let run = number - u64::from(state != free + 1);
                self.put(run - len as u64 + HEAD, buffer.get(..len).unwrap_or(&[]));
                len = 0;
            }
        }
        self.put(number - len as u64 + HEAD, buffer.get(..len).unwrap_or(&[]));
        // ORDERING [none]: Relaxed. Ordered by `writing`.
        self.written.store(number, Ordering::Relaxed);
        // ORDERING [writing]: Release. Other end: the exchange above.
        self.writing.store(false, Ordering::Release);
    }

    /// Writes entries to their place in the file. Of the first that cannot be written it is said why.
    fn put(&self, place: u64, entries: &[Entry]) {
        if entries.is_empty() || self.failure() != 0 || !self.file.is_own() {
            return;
        }
        let Err(error) = self.try_put(place, entries) else { return };
        // ORDERING [none]: Relaxed and Relaxed. Decides who says it.
        if self.error.compare_exchange(0, error, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            say(&[b"usage: the data file ends here: ", reason(error)]);
        }
    }

    fn try_put(&self, place: u64, entries: &[Entry]) -> Result<(), i32> {
        let (at, len) = (entries.as_ptr().cast(), size_of_val(entries));
        // SAFETY: plain numbers without gaps.
        let bytes = unsafe { core::slice::from_raw_parts(at, len) };
        let fd = self.file.fd().ok_or(libc::EBADF)?;
        let offset = place as usize * ENTRY;
        permitted(offset as u64, len as u64)?;
        write_at(fd, bytes, offset)
    }

    /// Writes what is there, and what describes the whole.
    pub(super) fn finish(&self, peak: u64, stack: u64) {
        // ORDERING [none]: Relaxed and Relaxed. Decides who does it.
        if self.ended.compare_exchange(false, true, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            return;
        }
        self.write(true);
        // ORDERING [none]: Relaxed. A statistic.
        let most = self.most.load(Ordering::Relaxed).max(0) as u64;
        let whole = Entry { heap: 0, stack: most, time: self.started };
        self.put(0, &[whole, Entry { heap: peak, stack, time: now() }]);
    }
}

/// Why a file cannot be written, for a person.
pub(super) fn reason(error: i32) -> &'static [u8] {
    match error {
        libc::ENOSPC => b"no space left on the device",
        libc::EDQUOT => b"the quota is used up",
        libc::EFBIG => b"it is as large as a file may be",
        libc::EBADF => b"the program has closed it",
        libc::EACCES | libc::EPERM => b"permission denied",
        libc::ENOENT => b"no such folder",
        libc::ENOTDIR => b"a part of the path is no folder",
        libc::ELOOP => b"it is a symbolic link",
        libc::EISDIR => b"it is a folder",
        libc::EROFS => b"the file system is read-only",
        libc::ENAMETOOLONG => b"the name is too long",
        libc::EINVAL => b"the name is no pattern: after a percent sign comes p, e, n or another",
        libc::EMFILE | libc::ENFILE => b"too many files are open",
        libc::ENOMEM => b"no memory",
        _ => b"it cannot be written",
    }
}

impl Drop for Data {
    fn drop(&mut self) {
        self.file.close();
        for (at, bytes) in [(self.ring.cast::<u8>(), RING_BYTES), (self.buffer.cast(), BUFFER_BYTES)] {
            if !at.is_null() {
                // SAFETY: mapped with this length, and not used any more.
                unsafe { pages::unmap(at, bytes) };
            }
        }
    }
}
