//! This thread: its record, and whether it is inside a callback.
//!
//! Never: gives a record back when its thread ends (the thread goes on freeing after its last
//! destructor); takes a lock.
//!
//! A record is 128 bytes in the library's own memory. Writers look at all of them, so they stay
//! where they are for ever and are used again: a record is free when its thread is dead, or when
//! its thread has the number of the calling one.
//!
//! # The word
//!
//! ```text
//!  63                           16 15            1   0
//! ┌───────────────────────────────┬───────────────┬───┐
//! │ epoch of the section          │ suspended     │ in│
//! └───────────────────────────────┴───────────────┴───┘
//! ```
//!
//! The low half being zero is the one test that every allocation call makes.
//!
//! # Invariants
//!
//! 1. Records are never unmapped.
//! 2. `word`, `frame` and `counts` are written by the record's own thread only, or while no
//!    thread has the record, or in a fork child before any other thread exists.
//! 3. `owner` changes by compare-and-swap, and every change raises its generation.
//!
//! # Edges
//!
//! | edge     | from                    | to                   | carries |
//! | -------- | ----------------------- | -------------------- | ------- |
//! | `roster` | `Roster::push` Release  | `Roster::iter` Acquire | a node's first contents |
//! | `claim`  | `adopt` AcqRel          | `adopt` AcqRel       | what the record's last thread left in it |

use crate::roster::{Link, Roster};
use crate::scratch;
use crate::sys::thread::{self, Thread};
use crate::sys::tls;
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicI64, AtomicPtr, AtomicU32, AtomicU64, AtomicUsize, Ordering};

/// Bit of the word: the thread is in a read section.
pub(crate) const INSIDE: u64 = 1;
/// One level of suspension in the word.
pub(crate) const SUSPENDED_ONE: u64 = 2;
/// The bits of the word that count suspensions.
pub(crate) const SUSPENDED: u64 = 0xfffe;
/// Any of these bits: this thread's calls go to the backend.
pub(crate) const BUSY: u64 = SUSPENDED | INSIDE;
/// One epoch in the word.
pub(crate) const EPOCH_ONE: u64 = 0x1_0000;

/// Numbers of owner lists. The pages of the counts are touched as the numbers come into use.
const COUNTS: usize = 4096;

/// What the library knows of a thread.
#[repr(C, align(128))]
pub(crate) struct Record {
    /// See the module's picture.
    pub(crate) word: AtomicU64,
    /// The stack pointer with which the section was entered.
    pub(crate) frame: AtomicUsize,
    errno: AtomicPtr<i32>,
    /// Live blocks by owner list, as far as this record's threads counted them; null at first.
    counts: AtomicPtr<i64>,
    /// Generation (20 bits), process (22), thread (22); the last 0 where nobody has it.
    owner: AtomicU64,
    /// Tells this thread's use of the record from all others; stays the same across fork.
    identity: AtomicU64,
    /// The observer that was called last in the open section, as an address.
    pub(crate) observer: AtomicUsize,
    /// The interceptors that were entered in the open section: one bit each, which others share.
    pub(crate) entered: AtomicU64,
    /// Whether the thread is between looking how to count a block and having counted it.
    pub(crate) settling: AtomicBool,
    /// Whether the thread is running deferred work, so that work which that entails is left to it.
    pub(crate) polling: AtomicBool,
    /// What answers the calls that this thread makes inside a callback; null: the backend. See
    /// `dispatch::Inner`, which it is.
    pub(crate) inner: AtomicPtr<c_void>,
    /// `MEMHOOK_DURING_` bits that hold for this thread.
    pub(crate) circumstances: AtomicU32,
    /// What hooks keep for this record's threads, by key; null at first. See `local`.
    pub(crate) locals: AtomicPtr<AtomicPtr<u8>>,
    /// Entry points that arrived since a self-test set the highest bit.
    pub(crate) probe: AtomicU32,
    /// The frame pointer and the stack pointer with which this thread came to an entry point last, where a hook
    /// wants to know. Written by the stubs.
    pub(crate) came_with: [AtomicUsize; 2],
    link: Link<Record>,
}

// SAFETY: the link is the record's own and is written by the roster only.
unsafe impl crate::roster::Linked for Record {
    fn link(&self) -> &Link<Record> {
        &self.link
    }
}

static LAST_IDENTITY: AtomicU64 = AtomicU64::new(0);

static RECORDS: Roster<Record> = Roster::new();

const ID_BITS: u32 = 22;
const ID_MASK: u64 = (1 << ID_BITS) - 1;

fn pack(generation: u64, thread: Thread) -> u64 {
    (generation << (2 * ID_BITS))
        | ((u64::from(thread.pid) & ID_MASK) << ID_BITS)
        | (u64::from(thread.tid) & ID_MASK)
}

fn thread_of(owner: u64) -> Thread {
    Thread { pid: ((owner >> ID_BITS) & ID_MASK) as u32, tid: (owner & ID_MASK) as u32 }
}

/// How many records a new thread looks at before it takes a new one. With half of all records
/// free, it misses them all once in 65,536 times.
const LOOKS: usize = 16;

/// Where the next new thread begins to look.
static CURSOR: AtomicUsize = AtomicUsize::new(0);

/// This thread's record; `None` where there is no memory for one.
#[inline(always)]
pub(crate) fn record() -> Option<&'static Record> {
    known().or_else(claim)
}

/// The same for an entry stub; null where there is no memory for one.
pub(crate) extern "C" fn claim_for_stub() -> *const Record {
    record().map_or(core::ptr::null(), core::ptr::from_ref)
}

/// This thread's record, if it has one already.
#[inline(always)]
pub(crate) fn known() -> Option<&'static Record> {
    // SAFETY: the word is null or what `claim` stored: a record, never unmapped (invariant 1).
    unsafe { tls::get().cast::<Record>().as_ref() }
}

#[cold]
fn claim() -> Option<&'static Record> {
    let me = thread::current();
    let record = reuse(me).or_else(|| create(me))?;
    // ORDERING [none]: Relaxed. Read by this thread only.
    record.errno.store(thread::errno_location(), Ordering::Relaxed);
    // ORDERING [none]: Relaxed. Read by this thread only.
    record.circumstances.store(0, Ordering::Relaxed);
    // ORDERING [none]: Relaxed. Read by this thread only.
    record.polling.store(false, Ordering::Relaxed);
    // ORDERING [none]: Relaxed. Numbers need only differ.
    let identity = LAST_IDENTITY.fetch_add(1, Ordering::Relaxed) + 1;
    // ORDERING [none]: Relaxed. Read by this thread only.
    record.identity.store(identity, Ordering::Relaxed);
    tls::set(core::ptr::from_ref(record).cast_mut().cast());
    on_claim();
    Some(record)
}

/// Takes the record of a dead thread.
fn reuse(me: Thread) -> Option<&'static Record> {
    let all = RECORDS.len();
    // ORDERING [none]: Relaxed. A place to begin, nothing more.
    let start = CURSOR.fetch_add(LOOKS, Ordering::Relaxed).checked_rem(all)?;
    let looks = RECORDS.iter().skip(start).chain(RECORDS.iter().take(start)).take(LOOKS);
    for record in looks {
        // ORDERING [claim]: Acquire. Other end: the exchange in `adopt`.
        let owner = record.owner.load(Ordering::Acquire);
        let last = thread_of(owner);
        // One that another process left behind stays with that process's main thread: see `forked`.
        let free = last.tid == 0 || (last.pid == me.pid && (last == me || thread::is_dead(last)));
        if free && record.adopt(owner, me) {
            return Some(record);
        }
    }
    None
}

fn create(me: Thread) -> Option<&'static Record> {
    let memory = scratch::permanent(size_of::<Record>(), align_of::<Record>())?.cast::<Record>();
    // SAFETY: fresh memory of a record's size and alignment; zero is a valid record.
    let record = unsafe { &*memory };
    // ORDERING [claim]: Relaxed. Nobody else knows the record yet; `roster` publishes it.
    record.owner.store(pack(1, me), Ordering::Relaxed);
    RECORDS.push(record);
    Some(record)
}

/// All records.
pub(crate) fn records() -> impl Iterator<Item = &'static Record> {
    RECORDS.iter()
}

impl Record {
    fn adopt(&self, from: u64, me: Thread) -> bool {
        let generation = (from >> (2 * ID_BITS)).wrapping_add(1);
        // ORDERING [claim]: AcqRel and Relaxed. What the last thread left before what we do.
        let taken = self
            .owner
            .compare_exchange(from, pack(generation, me), Ordering::AcqRel, Ordering::Relaxed)
            .is_ok();
        if taken {
            // A thread that ended inside a callback left its section open.
            // ORDERING [none]: Relaxed. The next entry of a section orders it.
            self.word.store(0, Ordering::Relaxed);
            // ORDERING [none]: Relaxed. As above.
            self.inner.store(core::ptr::null_mut(), Ordering::Relaxed);
        }
        taken
    }

    /// Tells this use of the record from all others.
    pub(crate) fn identity(&self) -> u64 {
        // ORDERING [none]: Relaxed. Written by this thread.
        self.identity.load(Ordering::Relaxed)
    }

    fn owner(&self) -> u64 {
        // ORDERING [none]: Relaxed. Changes only between two threads' use of the record.
        self.owner.load(Ordering::Relaxed)
    }

    /// Whether the record's thread has ended. One that claimed its record as a vfork child goes by
    /// that child's numbers and is never found dead.
    pub(crate) fn is_dead(&self) -> bool {
        let owner = self.owner();
        let thread = thread_of(owner);
        thread.tid == 0 || (thread.pid == thread::current().pid && thread::is_dead(thread))
    }

    /// This thread's errno.
    #[inline(always)]
    pub(crate) fn errno(&self) -> i32 {
        // ORDERING [none]: Relaxed. Written by this thread.
        let location = self.errno.load(Ordering::Relaxed);
        // SAFETY: errno of this thread: `claim` stored its address.
        unsafe { location.read() }
    }

    /// Sets this thread's errno.
    #[inline(always)]
    pub(crate) fn set_errno(&self, value: i32) {
        // ORDERING [none]: Relaxed. Written by this thread.
        let location = self.errno.load(Ordering::Relaxed);
        // SAFETY: errno of this thread: `claim` stored its address.
        unsafe { location.write(value) };
    }

    /// Counts `delta` blocks of an owner list for this thread; false where there is no memory.
    #[inline(always)]
    pub(crate) fn count(&self, list: u16, delta: i64) -> bool {
        // ORDERING [none]: Relaxed. Written by this thread.
        let counts = self.counts.load(Ordering::Relaxed);
        if counts.is_null() {
            return self.first_count(list, delta);
        }
        // SAFETY: `COUNTS` numbers, written by this thread only (invariant 2).
        unsafe { thread::local_add(counts.wrapping_add(list.into()), delta) };
        true
    }

    #[cold]
    fn first_count(&self, list: u16, delta: i64) -> bool {
        let Some(counts) = scratch::permanent(COUNTS * size_of::<i64>(), 128) else { return false };
        // A signal handler of this thread may have been faster.
        // ORDERING [counts]: Release and Relaxed. Zeroes before the pointer. Other end: `counted`.
        let _ = self.counts.compare_exchange(
            core::ptr::null_mut(),
            counts.cast(),
            Ordering::Release,
            Ordering::Relaxed,
        );
        self.count(list, delta)
    }

    /// What this record counted for an owner list.
    pub(crate) fn counted(&self, list: u16) -> Option<&AtomicI64> {
        // ORDERING [counts]: Acquire. Other end: `first_count`.
        let counts = self.counts.load(Ordering::Acquire);
        if counts.is_null() {
            return None;
        }
        // SAFETY: `COUNTS` numbers that are never unmapped.
        Some(unsafe { AtomicI64::from_ptr(counts.wrapping_add(list.into())) })
    }

    /// How often this thread has suspended hooks.
    pub(crate) fn suspensions(&self) -> u64 {
        // ORDERING [none]: Relaxed. Written by this thread.
        (self.word.load(Ordering::Relaxed) & SUSPENDED) / SUSPENDED_ONE
    }

    /// Sends this thread's calls to the backend; false at the deepest level that can be counted.
    pub(crate) fn suspend(&self) -> bool {
        // ORDERING [none]: Relaxed. Only this thread reads these bits.
        let word = self.word.load(Ordering::Relaxed);
        let room = word & SUSPENDED != SUSPENDED;
        if room {
            // ORDERING [none]: Relaxed. Only this thread reads these bits.
            self.word.store(word + SUSPENDED_ONE, Ordering::Relaxed);
        }
        room
    }

    /// Takes one [`suspend`](Record::suspend) back; false where there is none.
    pub(crate) fn resume(&self) -> bool {
        // ORDERING [none]: Relaxed. Only this thread reads these bits.
        let word = self.word.load(Ordering::Relaxed);
        let any = word & SUSPENDED != 0;
        if any {
            // ORDERING [none]: Relaxed. Only this thread reads these bits.
            self.word.store(word - SUSPENDED_ONE, Ordering::Relaxed);
        }
        any
    }

    /// Whether this thread is in a read section.
    pub(crate) fn is_inside(&self) -> bool {
        // ORDERING [none]: Relaxed. Written by this thread.
        self.word.load(Ordering::Relaxed) & INSIDE != 0
    }
}

/// In a fork child, before anything else runs: the calling thread is the only one left.
pub(crate) fn forked() {
    let mine = tls::get().cast::<Record>().cast_const();
    let me = thread::current();
    for record in RECORDS.iter() {
        let owner = record.owner();
        let generation = (owner >> (2 * ID_BITS)).wrapping_add(1);
        let is_mine = core::ptr::eq(record, mine);
        let next = if is_mine { pack(generation, me) } else { generation << (2 * ID_BITS) };
        // ORDERING [claim]: Release. No other thread exists yet; those to come find it free.
        record.owner.store(next, Ordering::Release);
        if !is_mine {
            // ORDERING [none]: Relaxed. No other thread exists yet.
            record.word.store(0, Ordering::Relaxed);
            // ORDERING [none]: Relaxed. As above.
            record.inner.store(core::ptr::null_mut(), Ordering::Relaxed);
        }
    }
}

/// The key whose destructor tells that a thread is exiting, plus 1; 0 where there is none.
static EXIT_KEY: AtomicU32 = AtomicU32::new(0);

/// Has `thread_exits` called in every thread that exits. Called once, by the constructor. Without
/// a key for it, the exit of threads goes unnoticed.
pub(crate) fn watch_thread_exit(thread_exits: unsafe extern "C" fn(*mut c_void)) {
    let mut key = 0;
    // SAFETY: `key` is writable; the destructor stays loaded for ever.
    if unsafe { libc::pthread_key_create(&raw mut key, Some(thread_exits)) } == 0 {
        // ORDERING [none]: Relaxed. A thread that misses it is not told of its exit.
        EXIT_KEY.store(key + 1, Ordering::Relaxed);
        on_claim();
    }
}

/// Makes the exit of this thread known in time. May allocate, hence under suspension.
fn on_claim() {
    // ORDERING [none]: Relaxed. See `watch_thread_exit`.
    let Some(key) = EXIT_KEY.load(Ordering::Relaxed).checked_sub(1) else { return };
    let record = tls::get().cast::<Record>();
    // SAFETY: null, or this thread's record, which is never unmapped (invariant 1).
    let Some(record) = (unsafe { record.as_ref() }) else { return };
    let errno = record.errno();
    if record.suspend() {
        // SAFETY: the key exists. The value need not be NULL for the destructor to run, and is
        // not looked at.
        unsafe { libc::pthread_setspecific(key, tls::get().cast()) };
        record.resume();
    }
    record.set_errno(errno);
}
