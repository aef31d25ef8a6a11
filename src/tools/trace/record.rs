//! The records of the binary form: a few bytes each, in chunks of each thread's own. See docs/TRACE-FORMAT.md.
//!
//! A record costs one look at the processor's clock, four stores and the arithmetic for them. All that
//! happens seldom (a caller that the chunk does not know yet, a full chunk, another thread with this memory)
//! is found by one test and done by `Local::ready`.

use super::calls::MEMHOOK_TRACE_UNWIND;
use super::chunk::{Chunk, Chunks, HEAD, KIND_RECORDS};
use super::modules::Description;
use super::places;
use super::{Trace, stack};
use crate::abi::memhook_call;
use crate::api::local::{memhook_local_get, memhook_thread};
use crate::sys::find::Found;
use crate::sys::paged::Paged;
use crate::sys::{thread, ticks};
use core::cell::Cell;
use core::sync::atomic::{AtomicU64, Ordering};

/// Kinds of records; those below are entry points.
pub(super) const REALLOC_BEGINS: u16 = 13;
pub(super) const REALLOC_ENDS: u16 = 14;
const OTHER: u16 = 15;

/// In a record's first two bytes, beside the kind and the lengths of time, block and size.
const TIME_SHIFT: u32 = 4;
const BLOCK_SHIFT: u32 = 7;
const SIZE_SHIFT: u32 = 10;
const WITH_MORE: u16 = 1 << 13;
/// An allocation or realloc that failed; a realloc that begins by reallocarray.
pub(super) const SPECIAL: u16 = 1 << 14;
const ALWAYS: u16 = 1 << 15;

/// Types of the other records.
const CALLERS: u8 = 1;
const THREAD: u8 = 2;
const CIRCUMSTANCES: u8 = 3;
const CLOCK: u8 = 4;
const MODULE: u8 = 5;

/// What the longest record of a call takes, and what its stores may reach beyond.
const ROOM: usize = 64;
/// What stands before it at most, without objects.
const BEFORE: usize = 128 + 8 * stack::MOST;
/// So many ticks after the last time by both clocks there is another one.
const CLOCK_EVERY: u64 = 1 << 31;

/// How many callers a chunk can refer to by a number.
const SLOTS: usize = 256;

/// What a thread has. Zero is valid.
#[repr(C)]
pub(super) struct Local {
    /// The run of the trace that the rest belongs to.
    pub(super) session: AtomicU64,
    /// Records that are not in the file.
    pub(super) missing: AtomicU64,
    thread: Cell<u64>,
    pub(super) chunk: Cell<Chunk>,
    used: Cell<usize>,
    /// Records must end before, `ROOM` bytes ahead of the chunk's end.
    limit: Cell<usize>,
    time: Cell<u64>,
    synchronised: Cell<u64>,
    block: Cell<u64>,
    epoch: Cell<u64>,
    circumstances: Cell<u32>,
    number: Cell<u32>,
    latest_bytes: Cell<usize>,
    callers: [Cell<u64>; SLOTS],
}

/// A record of a call, but for time and caller.
pub(super) struct Record {
    pub(super) kind: u16,
    pub(super) block: Option<u64>,
    pub(super) size: u64,
    /// Alignment and number of elements; 0 and 1 where there is nothing to say.
    pub(super) alignment: u64,
    pub(super) count: u64,
}

/// The callers of a call, and a number that tells them from others.
fn callers<'r>(trace: &'static Trace, caller: &'r u64) -> (u64, &'r [u64]) {
    let settings = trace.settings();
    let most = (settings.frames as usize + 1).min(stack::MOST);
    let walker = memhook_local_get(trace.walker()).cast::<stack::Walker>();
    let by_tables = settings.flags & MEMHOOK_TRACE_UNWIND != 0;
    // SAFETY: null, or zeroed memory of this thread, which is never unmapped.
    let callers = match unsafe { walker.as_ref() } {
        Some(walker) => walker.walk(*caller as usize, by_tables, places::epoch(), most),
        None => core::slice::from_ref(caller),
    };
    let mix = |hash: u64, &caller: &u64| (hash ^ caller).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ hash >> 29;
    (callers.iter().fold(1, mix) | 1 << 63, callers)
}

/// Which of a chunk's numbers a caller has.
#[inline(always)]
fn slot_of(caller: u64) -> usize {
    (caller.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as usize
}

/// In how many bytes a number is written: as the record says it, and as it is.
#[inline(always)]
fn length(value: u64) -> (u16, usize) {
    let bytes = 8 - (value.leading_zeros() / 8) as usize;
    (bytes.min(7) as u16, bytes + usize::from(bytes == 7))
}

impl Local {
    /// So many bytes of records are complete.
    #[inline(always)]
    fn commit(&self, used: usize) {
        self.used.set(used);
        // SAFETY: the thread has a chunk.
        let head = unsafe { &*self.chunk.get().base.cast::<super::chunk::Head>() };
        // ORDERING [none]: Release. The record before its length; read by who reads the file.
        head.used.store(used as u32, Ordering::Release);
    }

    /// Writes a record.
    #[inline(always)]
    pub(super) fn record(&self, trace: &'static Trace, call: &memhook_call, record: Record) {
        if trace.settings().frames != 0 {
            return self.record_with_callers(trace, call, record);
        }
        let caller = call.caller as u64;
        self.write(trace, call, record, caller, &[caller]);
    }

    #[inline(never)]
    fn record_with_callers(&self, trace: &'static Trace, call: &memhook_call, record: Record) {
        let caller = call.caller as u64;
        let (key, callers) = callers(trace, &caller);
        self.write(trace, call, record, key, callers);
    }

    /// Writes a record of a call with these callers, which `key` tells from others.
    #[inline(always)]
    fn write(&self, trace: &'static Trace, call: &memhook_call, record: Record, key: u64, callers: &[u64]) {
        let slot = slot_of(key);
        let known = self.callers.get(slot).map_or(0, Cell::get);
        let mut now = trace.chunks.now();
        let unusual = known ^ key
            | self.epoch.get() ^ places::epoch()
            | self.thread.get() ^ memhook_thread()
            | u64::from(self.circumstances.get() ^ call.circumstances);
        let late = now.wrapping_sub(self.synchronised.get()) > CLOCK_EVERY;
        if unusual != 0 || late || self.used.get() > self.limit.get() {
            if !self.ready(trace, call, callers, key) {
                return;
            }
            now = trace.chunks.now();
        }
        let time = now.saturating_sub(self.time.get());
        self.time.set(now.max(self.time.get()));
        let base = self.chunk.get().base.wrapping_add(HEAD);
        let start = self.used.get();
        let put = |at: usize, value: u64| {
            // SAFETY: `at` is behind `used`, which is not above `limit`, by less than `ROOM`; so in the thread's
            // chunk.
            unsafe { base.wrapping_add(at).cast::<u64>().write_unaligned(value.to_le()) };
        };
        let distance = record.block.map_or(0, |block| {
            let distance = block.wrapping_sub(self.block.replace(block)) as i64;
            (distance << 1 ^ distance >> 63) as u64
        });
        let [(of_time, time_bytes), (of_block, block_bytes), (of_size, size_bytes)] =
            [length(time), length(distance), length(record.size)];
        let mut head =
            ALWAYS | record.kind | of_time << TIME_SHIFT | of_block << BLOCK_SHIFT | of_size << SIZE_SHIFT;
        // What stands before the time is put there last.
        let mut at = start + 3;
        put(at, time);
        at += time_bytes;
        put(at, distance);
        at += block_bytes;
        put(at, record.size);
        at += size_bytes;
        if record.alignment != 0 || record.count != 1 {
            head |= WITH_MORE;
            let bytes = |value: u64| 8 - (value.leading_zeros() / 8) as usize;
            let (first, second) = (bytes(record.alignment), bytes(record.count));
            put(at, (first | second << 4) as u64);
            put(at + 1, record.alignment);
            put(at + 1 + first, record.count);
            at += 1 + first + second;
        }
        let to = base.wrapping_add(start);
        // SAFETY: the three bytes left out above.
        unsafe { to.cast::<u16>().write_unaligned(head.to_le()) };
        // SAFETY: as above.
        unsafe { to.wrapping_add(2).write(slot as u8) };
        self.commit(at);
    }

    /// Writes one of the other records.
    fn other(&self, kind: u8, parts: &[&[u8]]) {
        let len = parts.iter().map(|part| part.len()).sum::<usize>();
        let mut at = self.used.get();
        let [low, high] = (len as u16).to_le_bytes();
        let [first, second] = (ALWAYS | OTHER).to_le_bytes();
        for part in [&[first, second, kind, low, high][..]].iter().chain(parts) {
            let to = self.chunk.get().base.wrapping_add(HEAD + at);
            // SAFETY: `ready` has made sure of the room.
            unsafe { core::ptr::copy_nonoverlapping(part.as_ptr(), to, part.len()) };
            at += part.len();
        }
        self.commit(at);
    }

    /// Makes sure of room for a record, and that the chunk knows what the record refers to. False where the
    /// record is to be left out.
    #[cold]
    #[inline(never)]
    fn ready(&self, trace: &'static Trace, call: &memhook_call, callers: &[u64], key: u64) -> bool {
        let slot = slot_of(key);
        // ORDERING [none]: Relaxed. Written by this thread.
        let session = self.session.load(Ordering::Relaxed);
        if self.epoch.replace(places::epoch()) != places::epoch() {
            self.callers.iter().for_each(|known| known.set(0));
        }
        let is_new = self.callers.get(slot).map_or(0, Cell::get) != key;
        let recorded = callers.iter().filter(|_| is_new).all(|&caller| {
            let module = trace.modules.unrecorded(caller as usize, session);
            module.is_none_or(|found| self.module(trace, found, session))
        });
        if !recorded || !self.has_room(trace, BEFORE) {
            // ORDERING [none]: Relaxed. A statistic of this thread's.
            self.missing.store(self.missing.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
            return false;
        }
        if self.thread.replace(memhook_thread()) != memhook_thread() {
            let tid = thread::current().tid;
            self.other(THREAD, &[&memhook_thread().to_le_bytes(), &tid.to_le_bytes()]);
        }
        if self.circumstances.replace(call.circumstances) != call.circumstances {
            self.other(CIRCUMSTANCES, &[&call.circumstances.to_le_bytes()]);
        }
        if trace.chunks.now().wrapping_sub(self.synchronised.get()) > CLOCK_EVERY {
            let moment = trace.chunks.moment();
            self.other(CLOCK, &[&moment.ticks.to_le_bytes(), &moment.ns.to_le_bytes()]);
            self.synchronised.set(moment.ticks);
        }
        if let Some(known) = self.callers.get(slot)
            && known.replace(key) != key
        {
            let start = callers.as_ptr().cast::<u8>();
            // SAFETY: the same memory as bytes; both machines have the lowest byte first.
            let bytes = unsafe { core::slice::from_raw_parts(start, size_of_val(callers)) };
            self.other(CALLERS, &[&[slot as u8], bytes]);
        }
        true
    }

    /// Makes sure of room for so many bytes of records.
    fn has_room(&self, trace: &'static Trace, need: usize) -> bool {
        self.used.get() + need <= self.limit.get() || self.next_chunk(trace, need + ROOM)
    }

    /// Records an object.
    #[cold]
    #[inline(never)]
    fn module(&self, trace: &'static Trace, found: Found, session: u64) -> bool {
        let Some(mut what) = Paged::<Description>::zero() else { return false };
        what.fill(&found);
        let id = what.build_id.get(..what.build_id_len).unwrap_or(&[]);
        let path = what.path.get(..what.path_len).unwrap_or(&[]);
        if !self.has_room(trace, 64 + id.len() + path.len()) {
            return false;
        }
        let addresses = [what.start, what.end, what.base].map(|address| (address as u64).to_le_bytes());
        let now = trace.chunks.now().to_le_bytes();
        self.other(MODULE, &[addresses.as_flattened(), &now, &[id.len() as u8], id, path]);
        trace.modules.note(found, session);
        true
    }

    /// Gives the chunk up that there is, and takes another with so much room at least.
    fn next_chunk(&self, trace: &'static Trace, need: usize) -> bool {
        let way = trace.output.way();
        let former = self.chunk.replace(Chunk::NONE);
        // Until there is a new one.
        self.limit.set(0);
        self.used.set(1);
        if !former.is_none() {
            // SAFETY: this thread's chunk, mapped and with a head.
            unsafe { former.close() };
            // SAFETY: as above.
            let given = unsafe { former.give_up(&trace.output) };
            if let Err(error) = given {
                trace.output.fail(error);
                trace.chunks.end();
            }
        }
        let bytes = Chunks::next_bytes(self.latest_bytes.get(), way).max(need + HEAD);
        let taken = trace.chunks.take(bytes, trace.page(), &trace.output);
        let chunk = match taken {
            Ok(chunk) => chunk,
            Err(0) => return false,
            Err(error) => {
                trace.output.fail(error);
                trace.chunks.end();
                return false;
            }
        };
        let moment = trace.chunks.moment();
        let number = self.number.replace(self.number.get() + 1);
        // SAFETY: mapped just now.
        unsafe { chunk.begin(KIND_RECORDS, memhook_thread(), number, moment) };
        self.chunk.set(chunk);
        self.latest_bytes.set(chunk.bytes);
        self.thread.set(memhook_thread());
        self.used.set(0);
        self.limit.set(chunk.bytes - HEAD - ROOM);
        self.time.set(moment.ticks);
        self.synchronised.set(moment.ticks);
        self.block.set(0);
        self.circumstances.set(0);
        self.callers.iter().for_each(|known| known.set(0));
        true
    }

    /// Forgets what belongs to another run of a trace.
    pub(super) fn renew(&self, session: u64) {
        // ORDERING [none]: Relaxed. This thread writes no record now.
        self.missing.store(0, Ordering::Relaxed);
        self.chunk.set(Chunk::NONE);
        self.limit.set(0);
        self.used.set(1);
        self.number.set(0);
        self.latest_bytes.set(0);
        self.callers.iter().for_each(|known| known.set(0));
        // ORDERING [none]: Relaxed. Read by this thread, and by who finishes when all is over.
        self.session.store(session, Ordering::Relaxed);
    }
}

impl Chunks {
    #[inline(always)]
    fn now(&self) -> u64 {
        // ORDERING [none]: Relaxed. Does not change in a session.
        if !self.by_ticks.load(Ordering::Relaxed) {
            return without_ticks();
        }
        ticks::now()
    }
}

/// The time where the processor's clock is of no use.
#[cold]
#[inline(never)]
fn without_ticks() -> u64 {
    thread::monotonic_ns()
}
