//! The binary form: its sessions and its callbacks. The records are in `record`.

use super::chunk::{Chunk, HEAD, KIND_HEAD};
use super::output::Way;
use super::places;
use super::record::{Local, REALLOC_BEGINS, REALLOC_ENDS, Record, SPECIAL};
use super::{NONE, Trace, dispatched};
use crate::abi::*;
use crate::api::hooks::memhook_unregister;
use crate::api::local::memhook_thread;
use crate::sys::paged::Paged;
use crate::sys::{self, pages, program, thread};
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicU8, Ordering};

impl Trace {
    /// The thread's memory, in a run of the trace that is this process's own.
    #[inline(always)]
    fn binary_local(&'static self) -> Option<&'static Local> {
        let local = self.local().cast::<Local>();
        // SAFETY: null, or zeroed memory of this thread, which is never unmapped.
        let local = unsafe { local.as_ref() }?;
        let session = self.session();
        // In a fork child there is none yet, which is what a thread's fresh memory says too.
        // ORDERING [none]: Relaxed. Written by this thread.
        let is_known = session != NONE && local.session.load(Ordering::Relaxed) == session;
        if is_known { Some(local) } else { self.renew_binary(local) }
    }

    #[cold]
    fn renew_binary(&self, local: &'static Local) -> Option<&'static Local> {
        let session = self.ensure_session()?;
        local.renew(session);
        Some(local)
    }

    /// Begins a session: the chunk about the whole.
    pub(super) fn begin_binary(&self, forked: bool) -> Result<(), c_int> {
        self.chunks.begin(self.settings().most);
        let chunk = self.chunks.take(pages::PAGE, self.page(), &self.output);
        let chunk = chunk.map_err(|error| if error == 0 { libc::EFBIG } else { error })?;
        let moment = self.chunks.moment();
        // SAFETY: mapped just now.
        unsafe { chunk.begin(KIND_HEAD, memhook_thread(), 0, moment) };
        let mut path = Paged::<[u8; 2048]>::zero().ok_or(libc::ENOMEM)?;
        let len = program::path(&mut *path);
        let process = sys::process_id();
        // ORDERING [none]: Relaxed. Does not change in a session.
        let clock = 1 + u32::from(!self.chunks.by_ticks.load(Ordering::Relaxed));
        let machine: u32 = if cfg!(target_arch = "x86_64") { 62 } else { 183 };
        let parts: [&[u8]; 10] = [
            &process.to_le_bytes(),
            &u32::from(forked).to_le_bytes(),
            &thread::clock_ns(libc::CLOCK_REALTIME).to_le_bytes(),
            &clock.to_le_bytes(),
            &machine.to_le_bytes(),
            // End by both clocks, and missing records: see `finish_head`.
            &[0; 24],
            &(self.page() as u32).to_le_bytes(),
            &self.settings().frames.to_le_bytes(),
            &(len as u32).to_le_bytes(),
            path.get(..len).unwrap_or(&[]),
        ];
        let mut at = HEAD;
        for part in parts {
            // SAFETY: a fresh chunk, longer than all parts.
            unsafe { core::ptr::copy_nonoverlapping(part.as_ptr(), chunk.base.wrapping_add(at), part.len()) };
            at += part.len();
        }
        // SAFETY: the head was written above.
        let head = unsafe { chunk.head() };
        // ORDERING [none]: Relaxed. Nobody else knows the chunk.
        head.used.store((at - HEAD) as u32, Ordering::Relaxed);
        if self.output.way() == Way::Stream {
            // SAFETY: this thread's, and not used any more.
            return unsafe { chunk.give_up(&self.output) };
        }
        // ORDERING [none]: Relaxed. Published with the session.
        self.head.store(chunk.base, Ordering::Relaxed);
        Ok(())
    }

    /// Says in the file that it is finished.
    fn finish_head(&self) {
        // ORDERING [none]: Relaxed. Written before the session began.
        let base = self.head.load(Ordering::Relaxed);
        if base.is_null() {
            return;
        }
        let moment = self.chunks.moment();
        // ORDERING [none]: Relaxed. A statistic.
        let missing = self.missing.load(Ordering::Relaxed);
        for (i, number) in [moment.ticks, moment.ns, missing].into_iter().enumerate() {
            let at = base.wrapping_add(HEAD + 24 + 8 * i);
            // SAFETY: in the first chunk, which is mapped, at an address that 8 divides.
            unsafe { at.cast::<u64>().write(number.to_le()) };
        }
        // SAFETY: in the first chunk.
        let finished = unsafe { AtomicU8::from_ptr(base.wrapping_add(super::chunk::FINISHED_AT)) };
        // ORDERING [none]: Relaxed. Read by who reads the file.
        finished.store(1, Ordering::Relaxed);
    }

    /// Runs over the memory of all threads that have taken part in the session.
    fn each_binary(&self, visit: &mut dyn FnMut(&Local)) {
        unsafe extern "C" fn step(memory: *mut c_void, _: u64, argument: *mut c_void) -> c_int {
            // SAFETY: zeroed memory of a thread, which is never unmapped.
            let local = unsafe { &*memory.cast::<Local>() };
            // SAFETY: what is passed below, which lives until the round is over.
            let visit = unsafe { &mut *argument.cast::<&mut dyn FnMut(&Local)>() };
            visit(local);
            0
        }
        // ORDERING [none]: Relaxed. Changed only while nobody takes part.
        let session = self.last_session.load(Ordering::Relaxed);
        let mut mine = |local: &Local| {
            // ORDERING [none]: Relaxed. As above.
            if local.session.load(Ordering::Relaxed) == session {
                visit(local);
            }
        };
        let mut visit: &mut dyn FnMut(&Local) = &mut mine;
        self.each_local(step, (&raw mut visit).cast());
    }

    /// How many records are missing, of all threads.
    pub(super) fn missing_records(&self) -> u64 {
        let mut missing = 0;
        self.each_binary(&mut |local| {
            // ORDERING [none]: Relaxed. A statistic.
            missing += local.missing.load(Ordering::Relaxed);
        });
        missing
    }

    fn count_missing(&self) {
        // ORDERING [none]: Relaxed. A statistic.
        self.missing.store(self.missing_records(), Ordering::Relaxed);
    }

    /// Gives up what a fork child has of its parent's chunks.
    pub(super) fn discard_chunks(&self) {
        let discard = |base: *mut u8, bytes: usize| {
            if !base.is_null() {
                // SAFETY: a whole mapping; the thread that forked is the only one, and writes no record.
                unsafe { pages::unmap(base, bytes) };
            }
        };
        self.each_binary(&mut |local| {
            let chunk = local.chunk.replace(Chunk::NONE);
            discard(chunk.base, chunk.bytes);
        });
        // ORDERING [none]: Relaxed. No other thread exists.
        discard(self.head.swap(core::ptr::null_mut(), Ordering::Relaxed), self.page());
    }

    /// The end: no callback runs any more.
    pub(super) fn finish_binary(&self) {
        self.count_missing();
        let mut cut = None;
        self.each_binary(&mut |local| {
            let chunk = local.chunk.replace(Chunk::NONE);
            if chunk.is_none() {
                return;
            }
            // SAFETY: mapped, with a head, and its thread writes no more.
            unsafe { chunk.close() };
            if self.output.way() == Way::Mapped && self.chunks.is_last(chunk) {
                // SAFETY: as above.
                cut = Some(chunk.offset + unsafe { chunk.shorten(self.page()) } as u64);
            }
            // SAFETY: as above.
            let _ = unsafe { chunk.give_up(&self.output) };
        });
        if let Some(length) = cut {
            self.output.set_length(length);
        }
        self.finish_head();
        // ORDERING [none]: Relaxed. No callback runs.
        let base = self.head.swap(core::ptr::null_mut(), Ordering::Relaxed);
        if !base.is_null() {
            // SAFETY: a whole mapping, not used any more.
            unsafe { pages::unmap(base, self.page()) };
        }
    }

    /// The process ends. A mapped file needs only to be told; for a stream, this is the end.
    pub(super) fn exits_binary(&self) {
        if self.output.way() == Way::Mapped {
            self.count_missing();
            self.finish_head();
            return self.say_missing();
        }
        // ORDERING [none]: Relaxed. Decides who stops it.
        let id = self.id.swap(0, Ordering::Relaxed);
        if id != 0 {
            let _ = memhook_unregister(id);
            self.leave(1);
        }
    }
}

/// An alignment that was asked for is recorded; the number of elements where there can be several.
pub(super) unsafe extern "C" fn after_alloc(
    call: *const memhook_call,
    block: *mut c_void,
    user: *mut c_void,
) {
    // SAFETY: of this callback.
    let (call, trace) = unsafe { dispatched(call, user) };
    let Some(local) = trace.binary_local() else { return };
    let failed = if block.is_null() { SPECIAL } else { 0 };
    local.record(
        trace,
        call,
        Record {
            kind: call.entry as u16 | failed,
            block: (!block.is_null()).then_some(block as u64),
            size: call.requested as u64,
            alignment: call.alignment as u64,
            count: call.count as u64,
        },
    );
}

pub(super) unsafe extern "C" fn before_free(call: *const memhook_call, user: *mut c_void) {
    // SAFETY: of this callback.
    let (call, trace) = unsafe { dispatched(call, user) };
    let Some(local) = trace.binary_local() else { return };
    places::frees(call.caller as usize);
    local.record(trace, call, old_block(call.entry as u16, call));
}

/// A record of a block that is about to go.
#[inline(always)]
fn old_block(kind: u16, call: &memhook_call) -> Record {
    Record {
        kind,
        block: Some(call.block as u64),
        size: call.requested as u64,
        alignment: call.alignment as u64,
        count: call.count as u64,
    }
}

pub(super) unsafe extern "C" fn realloc_begin(call: *const memhook_call, user: *mut c_void) {
    // SAFETY: of this callback.
    let (call, trace) = unsafe { dispatched(call, user) };
    let Some(local) = trace.binary_local() else { return };
    places::frees(call.caller as usize);
    let by_array = if call.entry == MEMHOOK_ENTRY_REALLOCARRAY { SPECIAL } else { 0 };
    local.record(trace, call, old_block(REALLOC_BEGINS | by_array, call));
}

/// How a realloc ended.
#[inline(always)]
fn ends(kind: u16, block: Option<u64>) -> Record {
    Record { kind, block, size: 0, alignment: 0, count: 1 }
}

pub(super) unsafe extern "C" fn realloc_commit(
    call: *const memhook_call,
    block: *mut c_void,
    user: *mut c_void,
) {
    // SAFETY: of this callback.
    let (call, trace) = unsafe { dispatched(call, user) };
    let Some(local) = trace.binary_local() else { return };
    local.record(trace, call, ends(REALLOC_ENDS, Some(block as u64)));
}

pub(super) unsafe extern "C" fn realloc_abort(call: *const memhook_call, user: *mut c_void) {
    // SAFETY: of this callback.
    let (call, trace) = unsafe { dispatched(call, user) };
    let Some(local) = trace.binary_local() else { return };
    local.record(trace, call, ends(REALLOC_ENDS | SPECIAL, None));
}
