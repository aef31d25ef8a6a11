//! Traces of allocations: the text of glibc's mtrace, and a compact binary form.
//!
//! Both are observers that write to a mapped file: what stands there is not lost when the process is killed, no
//! thread waits for another. What is particular to each is in `text` and `binary`.
//!
//! # Runs
//!
//! A trace that was started runs in *sessions*: a fork child begins a new one, with a file of its own, at its
//! first allocation call. That a process is a fork child is seen by one word in a page which the kernel
//! empties in every child (MADV_WIPEONFORK), be it by fork(), _Fork() or clone(2); the parent's mappings and
//! its descriptor are there still, and are not touched before that. A vfork child is its parent, to the memory
//! as to the trace. exec ends the trace; the new program begins its own, if it is told to.
//!
//! # Invariants
//!
//! 1. Traces are never unmapped; they are used again.
//! 2. `settings` and the output's `known` change only while the trace is not registered, or in a fork child
//!    by who has exchanged the session's 0.

pub mod calls;

mod binary;
mod chunk;
mod held;
mod line;
mod modules;
mod mtrace;
mod names;
mod output;
mod places;
mod reason;
mod record;
mod stack;
mod text;
mod windows;
mod words;

pub(super) use words::TOOL;

use crate::abi::*;
use crate::api::local::{memhook_local_create, memhook_local_each, memhook_local_get};
use crate::roster::{Link, Linked, Roster};
use crate::scratch;
use crate::sys::pages;
use crate::text::Text;
use crate::tools::say;
use calls::{MEMHOOK_TRACE_BINARY, MEMHOOK_TRACE_LITERAL};
use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicPtr, AtomicU32, AtomicU64, Ordering};
use names::Pattern;
use output::{Output, Way};

/// How long a path may be, its NUL included.
const LONGEST: usize = 4096;

/// How many traces there can be at once. Each has memory in every thread.
const MOST: usize = 8;

/// Sessions: 0 in a fork child that has not begun its own, or for a trace that does not run.
const NONE: u64 = 0;
/// A fork child is about to begin its own.
const BEGINNING: u64 = 1;
/// It could not.
const MUTE: u64 = 2;

/// The number of bytes of a stream that cannot be written to any more: more than any may have.
const STREAM_ENDED: u64 = u64::MAX / 2;

/// What a trace was asked to do.
struct Settings {
    pattern: [u8; LONGEST],
    len: usize,
    flags: u32,
    frames: u32,
    most: u64,
    page: usize,
}

/// A trace. Zero is valid.
struct Trace {
    /// 0: nobody's. Else 1 for the hook, until its release, and 1 for who may stop it, while `id` is set.
    uses: AtomicU32,
    id: AtomicU64,
    /// The session, in a page that is empty in a fork child.
    alive: AtomicPtr<AtomicU64>,
    last_session: AtomicU64,
    /// Memory in each thread: for the text form, for the binary form, for walks through stacks.
    keys: [AtomicU32; 3],
    settings: UnsafeCell<Settings>,
    output: Output,
    windows: windows::Windows,
    chunks: chunk::Chunks,
    modules: modules::Modules,
    /// The first chunk of a binary trace, while it is mapped.
    head: AtomicPtr<u8>,
    bytes: AtomicU64,
    missing: AtomicU64,
    link: Link<Trace>,
}

// SAFETY: `settings` keeps to invariant 2; the rest is atomic.
unsafe impl Sync for Trace {}

// SAFETY: the link is the trace's own and is written by the roster only.
unsafe impl Linked for Trace {
    fn link(&self) -> &Link<Trace> {
        &self.link
    }
}

static TRACES: Roster<Trace> = Roster::new();

/// What a callback is given.
///
/// # Safety
///
/// `call` and `user` are those of a callback of ours that is running.
#[inline(always)]
unsafe fn dispatched<'c>(call: *const memhook_call, user: *mut c_void) -> (&'c memhook_call, &'static Trace) {
    // SAFETY: the caller's contract.
    let call = unsafe { &*call };
    // SAFETY: the caller's contract, and invariant 1.
    (call, unsafe { &*user.cast::<Trace>() })
}

impl Trace {
    /// A trace that is nobody's.
    fn take() -> Result<&'static Trace, c_int> {
        // ORDERING [trace]: Acquire and Relaxed. The end of its last use. Other end: `leave`.
        let take =
            |trace: &Trace| trace.uses.compare_exchange(0, 2, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if let Some(trace) = TRACES.iter().find(|trace| take(trace)) {
            return Ok(trace);
        }
        if TRACES.len() >= MOST {
            return Err(libc::EBUSY);
        }
        let alive = pages::map_wiped_on_fork(pages::PAGE)?;
        let memory =
            scratch::permanent(size_of::<Trace>(), align_of::<Trace>()).ok_or(libc::ENOMEM)?.cast::<Trace>();
        // SAFETY: fresh zeroed memory, which is a valid trace.
        let trace: &'static Trace = unsafe { &*memory };
        // ORDERING [none]: Relaxed. Published by the roster.
        trace.alive.store(alive.cast(), Ordering::Relaxed);
        // ORDERING [none]: Relaxed. Published by the roster.
        trace.uses.store(2, Ordering::Relaxed);
        TRACES.push(trace);
        Ok(trace)
    }

    fn leave(&self, uses: u32) {
        // ORDERING [trace]: AcqRel. Our last use. Other end: `take`.
        self.uses.fetch_sub(uses, Ordering::AcqRel);
    }

    fn settings(&self) -> &Settings {
        // SAFETY: not written while the trace is registered (invariant 2).
        unsafe { &*self.settings.get() }
    }

    fn page(&self) -> usize {
        self.settings().page
    }

    fn is_binary(&self) -> bool {
        self.settings().flags & MEMHOOK_TRACE_BINARY != 0
    }

    #[inline(always)]
    fn alive(&self) -> &AtomicU64 {
        // ORDERING [none]: Relaxed. Written before the roster published the trace.
        let alive = self.alive.load(Ordering::Relaxed);
        // SAFETY: a page that is never unmapped; what the kernel does to it in a fork child is a store of 0.
        unsafe { &*alive }
    }

    /// The session, of which a callback only compares the number.
    #[inline(always)]
    fn session(&self) -> u64 {
        // ORDERING [session]: Acquire. What was opened for it. Other end: `begin`.
        self.alive().load(Ordering::Acquire)
    }

    /// A session of this process's own; `None` where it has none.
    #[cold]
    fn ensure_session(&self) -> Option<u64> {
        let session = self.session();
        if session > MUTE {
            return Some(session);
        }
        // ORDERING [none]: Relaxed and Relaxed. Decides who begins it; other threads hardly exist yet.
        let ours =
            self.alive().compare_exchange(NONE, BEGINNING, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        if !ours {
            return None;
        }
        // The parent's; its mappings are copied into no child's own use.
        self.output.close();
        if self.is_binary() {
            self.discard_chunks();
        } else {
            // SAFETY: the thread that forked is the only one, and it is not in `Windows::put`.
            unsafe { self.windows.unmap() };
        }
        match self.begin(true) {
            Ok(session) => Some(session),
            Err(error) => {
                say(&[b"trace: ", self.output.path(), b": ", reason::reason(error)]);
                // ORDERING [none]: Relaxed. Only the number matters.
                self.alive().store(MUTE, Ordering::Relaxed);
                None
            }
        }
    }

    /// Opens the file and begins a session. Nobody else does, and no callback runs with a session.
    fn begin(&self, forked: bool) -> Result<u64, c_int> {
        let settings = self.settings();
        let pattern = Pattern {
            text: settings.pattern.get(..settings.len).unwrap_or(&[]),
            literal: settings.flags & MEMHOOK_TRACE_LITERAL != 0,
            forked,
        };
        let first = if self.is_binary() { chunk::FIRST } else { windows::WINDOW };
        // SAFETY: no callback runs with a session.
        unsafe { self.output.open(&pattern, first.min(settings.most)) }?;
        self.begin_session(forked).inspect_err(|_| self.output.discard())
    }

    /// Begins a session with the file that was opened for it.
    fn begin_session(&self, forked: bool) -> Result<u64, c_int> {
        places::prepare();
        // ORDERING [none]: Relaxed. Only this function changes it.
        let session = self.last_session.load(Ordering::Relaxed).max(MUTE) + 1;
        // ORDERING [none]: Relaxed. As above.
        self.last_session.store(session, Ordering::Relaxed);
        for count in [&self.bytes, &self.missing] {
            // ORDERING [none]: Relaxed. Published with the session.
            count.store(0, Ordering::Relaxed);
        }
        if self.is_binary() {
            self.begin_binary(forked)?;
        } else {
            self.windows.begin(self.settings().most);
            let line: &[u8] = b"= Start\n";
            if self.output.way() == Way::Stream {
                if self.may_stream(line.len() as u64) {
                    self.output.write([line, &[]], 0)?;
                }
            } else {
                self.windows.put([line, &[]], &AtomicU64::new(0), &self.output, &|_| false);
            }
        }
        // ORDERING [session]: Release. The file and what belongs to it. Other end: `session`.
        self.alive().store(session, Ordering::Release);
        Ok(session)
    }

    /// The calling thread's memory.
    #[inline(always)]
    fn local(&self) -> *mut c_void {
        memhook_local_get(self.key())
    }

    #[inline(always)]
    fn key(&self) -> memhook_local {
        let [text, binary, _] = &self.keys;
        let key = if self.is_binary() { binary } else { text };
        // ORDERING [none]: Relaxed. Written before the hook is registered.
        key.load(Ordering::Relaxed)
    }

    fn each_local(
        &self,
        visit: unsafe extern "C" fn(*mut c_void, u64, *mut c_void) -> c_int,
        argument: *mut c_void,
    ) -> c_int {
        // SAFETY: `visit` is a function of ours that expects this argument.
        unsafe { memhook_local_each(self.key(), Some(visit), argument) }
    }

    fn walker(&self) -> memhook_local {
        let [.., walker] = &self.keys;
        // ORDERING [none]: Relaxed. Written before the hook is registered.
        walker.load(Ordering::Relaxed)
    }

    /// Makes sure of memory in each thread.
    fn ensure_keys(&self) -> Result<(), c_int> {
        let [text, binary, walker] = &self.keys;
        if self.settings().frames != 0 {
            Trace::ensure_key(walker, size_of::<stack::Walker>())?;
        }
        if self.is_binary() {
            Trace::ensure_key(binary, size_of::<record::Local>())
        } else {
            Trace::ensure_key(text, size_of::<text::Local>())
        }
    }

    fn ensure_key(place: &AtomicU32, bytes: usize) -> Result<(), c_int> {
        // ORDERING [none]: Relaxed. Only who has taken the trace writes it.
        if place.load(Ordering::Relaxed) == 0 {
            let mut key = 0;
            // SAFETY: a place for the key.
            let error = unsafe { memhook_local_create(bytes, &raw mut key) };
            if error != 0 {
                return Err(error);
            }
            // ORDERING [none]: Relaxed. As above.
            place.store(key, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Whether so many bytes more may be written to a stream.
    fn may_stream(&self, len: u64) -> bool {
        // ORDERING [none]: Relaxed. Only the sum matters.
        let before = self.bytes.fetch_add(len, Ordering::Relaxed);
        before.saturating_add(len) <= self.settings().most.min(STREAM_ENDED - 1)
    }

    /// A stream cannot be written to any more.
    #[cold]
    fn stop_stream(&self, error: c_int) {
        self.output.fail(error);
        // ORDERING [none]: Relaxed. From here on nothing fits.
        self.bytes.store(STREAM_ENDED, Ordering::Relaxed);
    }

    /// The end: no callback runs any more. Nothing is done to a parent's file.
    fn finish(&self) {
        let session = self.session();
        if session <= MUTE {
            self.output.close();
            return;
        }
        if self.is_binary() {
            self.finish_binary();
        } else {
            // ORDERING [none]: Relaxed. No callback runs.
            self.missing.store(self.missing_lines(), Ordering::Relaxed);
            let line: &[u8] = b"= End\n";
            if self.output.way() == Way::Mapped {
                // SAFETY: no callback runs.
                unsafe { self.windows.finish(line, &self.output) };
            } else if self.may_stream(line.len() as u64) {
                let _ = self.output.write([line, &[]], 0);
            }
        }
        // ORDERING [none]: Relaxed. No callback runs.
        self.bytes.store(self.output.length(), Ordering::Relaxed);
        self.say_missing();
        self.output.close();
        // ORDERING [none]: Relaxed. No callback runs.
        self.alive().store(NONE, Ordering::Relaxed);
    }

    /// While it goes on: how long the file is, and how many records are missing.
    fn counts(&self) -> (u64, u64) {
        if self.session() <= MUTE {
            return (0, 0);
        }
        let missing = if self.is_binary() { self.missing_records() } else { self.missing_lines() };
        (self.output.length(), missing)
    }

    fn say_missing(&self) {
        // ORDERING [none]: Relaxed. A statistic.
        let missing = self.missing.load(Ordering::Relaxed);
        if missing > 0 {
            let mut digits = [0; 20];
            let mut number = Text::cut(&mut digits);
            number.decimal(missing);
            say(&[b"trace: ", self.output.path(), b": ", number.bytes(), b" records are missing at its end"]);
        }
    }

    /// The process ends; the trace goes on to the last.
    fn exits(&self) {
        if self.session() <= MUTE {
            return;
        }
        if self.is_binary() {
            return self.exits_binary();
        }
        if self.output.way() == Way::Mapped {
            self.windows.cut(&self.output);
        }
        // ORDERING [none]: Relaxed. A statistic.
        self.missing.store(self.missing_lines(), Ordering::Relaxed);
        self.say_missing();
    }

    fn observer(&self) -> memhook_observer {
        let (after_alloc, before_free, begin, commit, abort): (
            memhook_after_alloc_fn,
            memhook_before_fn,
            memhook_before_fn,
            memhook_realloc_commit_fn,
            memhook_before_fn,
        ) = if self.is_binary() {
            (
                Some(binary::after_alloc),
                Some(binary::before_free),
                Some(binary::realloc_begin),
                Some(binary::realloc_commit),
                Some(binary::realloc_abort),
            )
        } else {
            (
                Some(text::after_alloc),
                Some(text::before_free),
                Some(text::realloc_begin),
                Some(text::realloc_commit),
                Some(text::realloc_abort),
            )
        };
        memhook_observer {
            struct_size: size_of::<memhook_observer>(),
            name: c"trace".as_ptr(),
            priority: 0,
            flags: self.settings().flags & MEMHOOK_THIS_THREAD,
            object: core::ptr::null(),
            user: core::ptr::from_ref(self).cast_mut().cast(),
            after_alloc,
            before_free,
            realloc_begin: begin,
            realloc_commit: commit,
            realloc_abort: abort,
            release: Some(release),
        }
    }
}

unsafe extern "C" fn release(user: *mut c_void) {
    // SAFETY: traces are never unmapped (invariant 1).
    let trace = unsafe { &*user.cast::<Trace>() };
    trace.finish();
    // Unregistered as a hook of the program's own, it is stopped.
    // ORDERING [none]: Relaxed. Decides who stops it.
    trace.leave(if trace.id.swap(0, Ordering::Relaxed) == 0 { 1 } else { 2 });
}

/// The end of the process, after the program's exit handlers.
unsafe extern "C" fn destructor() {
    TRACES.iter().for_each(Trace::exits);
}

#[used]
#[unsafe(link_section = ".fini_array")]
static DESTRUCTOR: unsafe extern "C" fn() = destructor;
