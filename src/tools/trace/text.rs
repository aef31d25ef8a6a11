//! The text form: what glibc's mtrace writes, line by line, for the mtrace script.
//!
//! One thing is done otherwise. glibc writes of a realloc afterwards, when another thread may have got the
//! old address already; here `< old` is written before, and `> new` after. Where the realloc fails, the line
//! `< old` becomes the `! old size` that glibc writes; if lines of other threads follow already, without its size.

use super::line::Tail;
use super::output::Way;
use super::places::{self, Short};
use super::windows::Announced;
use super::{NONE, Trace, dispatched};
use crate::abi::*;
use crate::api::backend::backend_knows_sizes;
use crate::api::next::memhook_usable_size;
use core::cell::Cell;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicU64, Ordering};

/// What a thread has. Zero is valid.
#[repr(C)]
pub(super) struct Local {
    /// The run of the trace that the rest belongs to.
    session: AtomicU64,
    announced: Announced,
    /// Lines that are not in the file.
    pub(super) missing: AtomicU64,
    /// The line of the realloc under way: place and length, of which so many bytes stand before the sign.
    begun: Cell<Option<(u64, u64, u64)>>,
}

impl Trace {
    /// The thread's memory, in a run of the trace that is this process's own.
    #[inline(always)]
    fn text_local(&self) -> Option<&Local> {
        let local = self.local().cast::<Local>();
        // SAFETY: null, or zeroed memory of this thread, which is never unmapped.
        let local = unsafe { local.as_ref() }?;
        let session = self.session();
        // In a fork child there is none yet, which is what a thread's fresh memory says too.
        // ORDERING [none]: Relaxed. Written by this thread.
        if session != NONE && local.session.load(Ordering::Relaxed) == session {
            return Some(local);
        }
        self.renew(local)
    }

    #[cold]
    fn renew<'l>(&self, local: &'l Local) -> Option<&'l Local> {
        let session = self.ensure_session()?;
        // ORDERING [none]: Relaxed. This thread writes no line now.
        local.announced.store(0, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. As above.
        local.missing.store(0, Ordering::Relaxed);
        local.begun.set(None);
        // ORDERING [none]: Relaxed. Read by this thread, and by who counts missing lines when all is over.
        local.session.store(session, Ordering::Relaxed);
        Some(local)
    }

    /// Writes a line; its place and length.
    #[inline(always)]
    fn line(&self, local: &Local, caller: usize, tail: Tail) -> Option<(u64, u64, u64)> {
        let mut short = Short::default();
        let place = places::text(caller, &mut short);
        let pieces = [place, tail.bytes()];
        let at = if self.output.way() == Way::Mapped {
            let others = |test: &dyn Fn(&Announced) -> bool| self.any_announced(test);
            self.windows.put(pieces, &local.announced, &self.output, &others)
        } else {
            self.to_stream(pieces)
        };
        if at.is_none() {
            // ORDERING [none]: Relaxed. A statistic of this thread's.
            local.missing.store(local.missing.load(Ordering::Relaxed) + 1, Ordering::Relaxed);
        }
        Some((at?, (place.len() + tail.bytes().len()) as u64, place.len() as u64))
    }

    /// A line to something that is written to only.
    #[cold]
    fn to_stream(&self, pieces: [&[u8]; 2]) -> Option<u64> {
        let len = pieces.iter().map(|piece| piece.len() as u64).sum::<u64>();
        if !self.may_stream(len) {
            return None;
        }
        let wrote = self.output.write(pieces, 0);
        wrote.inspect_err(|&error| self.stop_stream(error)).ok().map(|()| 0)
    }

    /// Whether a thread is copying a line for which `test` is true.
    fn any_announced(&self, test: &dyn Fn(&Announced) -> bool) -> bool {
        unsafe extern "C" fn visit(memory: *mut c_void, _: u64, argument: *mut c_void) -> c_int {
            // SAFETY: zeroed memory of a thread, which is never unmapped.
            let local = unsafe { &*memory.cast::<Local>() };
            // SAFETY: what is passed below, which lives until the round is over.
            let test = unsafe { &*argument.cast::<&dyn Fn(&Announced) -> bool>() };
            test(&local.announced).into()
        }
        self.each_local(visit, (&raw const test).cast_mut().cast()) != 0
    }

    /// How many lines are missing, of all threads.
    pub(super) fn missing_lines(&self) -> u64 {
        unsafe extern "C" fn visit(memory: *mut c_void, _: u64, argument: *mut c_void) -> c_int {
            // SAFETY: zeroed memory of a thread, which is never unmapped.
            let local = unsafe { &*memory.cast::<Local>() };
            // SAFETY: what is passed below, which lives until the round is over.
            let (session, sum) = unsafe { &mut *argument.cast::<(u64, u64)>() };
            // ORDERING [none]: Relaxed. See `renew`.
            if local.session.load(Ordering::Relaxed) == *session {
                // ORDERING [none]: Relaxed. A statistic.
                *sum += local.missing.load(Ordering::Relaxed);
            }
            0
        }
        let mut sum = (self.session(), 0u64);
        self.each_local(visit, (&raw mut sum).cast());
        sum.1
    }
}

/// Whether glibc's functions fail before they come to mtrace: for wrong arguments.
#[cold]
fn is_refused(call: &memhook_call) -> bool {
    let overflows = call.requested == usize::MAX && call.count > 1;
    let is_odd = !call.alignment.is_power_of_two() || !call.alignment.is_multiple_of(size_of::<usize>());
    overflows || (call.entry == MEMHOOK_ENTRY_POSIX_MEMALIGN && is_odd)
}

pub(super) unsafe extern "C" fn after_alloc(
    call: *const memhook_call,
    block: *mut c_void,
    user: *mut c_void,
) {
    // SAFETY: of this callback.
    let (call, trace) = unsafe { dispatched(call, user) };
    let Some(local) = trace.text_local() else { return };
    if block.is_null() && is_refused(call) {
        return;
    }
    let mut size = call.requested;
    if call.entry == MEMHOOK_ENTRY_PVALLOC {
        size = size.checked_next_multiple_of(trace.page()).unwrap_or(size);
    }
    // What glibc calls a realloc that fails, also one of nothing.
    let resizes = matches!(call.entry, MEMHOOK_ENTRY_REALLOC | MEMHOOK_ENTRY_REALLOCARRAY);
    let sign = if block.is_null() && resizes { b'!' } else { b'+' };
    trace.line(local, call.caller as usize, Tail::new(sign).address(block as usize).size(size).end());
}

pub(super) unsafe extern "C" fn before_free(call: *const memhook_call, user: *mut c_void) {
    // SAFETY: of this callback.
    let (call, trace) = unsafe { dispatched(call, user) };
    let Some(local) = trace.text_local() else { return };
    let caller = call.caller as usize;
    places::frees(caller);
    trace.line(local, caller, Tail::new(b'-').address(call.block as usize).end());
}

pub(super) unsafe extern "C" fn realloc_begin(call: *const memhook_call, user: *mut c_void) {
    // SAFETY: of this callback.
    let (call, trace) = unsafe { dispatched(call, user) };
    let Some(local) = trace.text_local() else { return };
    local.begun.set(None);
    let caller = call.caller as usize;
    places::frees(caller);
    if call.requested == usize::MAX && call.count > 1 {
        return;
    }
    let sign = if call.requested == 0 { b'-' } else { b'<' };
    local.begun.set(trace.line(local, caller, Tail::new(sign).address(call.block as usize).end()));
}

pub(super) unsafe extern "C" fn realloc_commit(
    call: *const memhook_call,
    block: *mut c_void,
    user: *mut c_void,
) {
    // SAFETY: of this callback.
    let (call, trace) = unsafe { dispatched(call, user) };
    let Some(local) = trace.text_local() else { return };
    if block.is_null() {
        return;
    }
    // An allocator may answer a realloc to nothing with a block.
    let sign = if call.requested == 0 { b'+' } else { b'>' };
    let tail = Tail::new(sign).address(block as usize).size(call.requested).end();
    trace.line(local, call.caller as usize, tail);
}

pub(super) unsafe extern "C" fn realloc_abort(call: *const memhook_call, user: *mut c_void) {
    // SAFETY: of this callback.
    let (call, trace) = unsafe { dispatched(call, user) };
    let Some(local) = trace.text_local() else { return };
    let Some((at, len, from)) = local.begun.take() else { return };
    let (block, caller) = (call.block as usize, call.caller as usize);
    let tail = Tail::new(b'!').address(block).size(call.requested).end();
    if trace.output.way() == Way::Mapped {
        trace.windows.replace(at, len, from, tail.bytes(), &trace.output);
        return;
    }
    // What was written cannot be changed; so the block comes back.
    trace.line(local, caller, tail);
    let usable = if backend_knows_sizes() {
        // SAFETY: of this call, whose block lives on.
        unsafe { memhook_usable_size(call) }
    } else {
        0
    };
    trace.line(local, caller, Tail::new(b'>').address(block).size(usable).end());
}
