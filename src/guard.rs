//! This thread: its record, and whether it is inside a callback.
//!
//! Never: gives a record back when its thread ends (the thread goes on freeing after its last
//! destructor); takes a lock.
//!
//! A record is some 1.1 KiB of the library's own memory. Writers look at all of them, so they stay
//! where they are for ever and are used again: a record is free when its thread is dead, or when
//! its thread has the number of the calling one.
//!
//! # The word
//!
//! | value           | the thread |
//! | --------------- | ---------- |
//! | 0               | is at rest: its calls run through the hooks |
//! | up to `DEEPEST` | has suspended hooks so often, and is in no section |
//! | above           | is in a read section, which was entered with this stack pointer |
//!
//! Its being zero is the one test that every allocation call makes. `epoch` goes with it and is stored
//! first; what a thread in a section may be in, `head`, `inside` and `entered` say: see `grace`.
//!
//! # Invariants
//!
//! 1. Records are never unmapped.
//! 2. `word`, `epoch`, `head`, `inside`, `entered`, the calls and `counts` are written by the record's own thread only, or while no
//!    thread has the record, or in a fork child before any other thread exists; except for the
//!    circumstances of calls, which change by single updates.
//! 3. `owner` changes by compare-and-swap, and every change raises its generation.
//!
//! # Edges
//!
//! | edge     | from                    | to                   | carries |
//! | -------- | ----------------------- | -------------------- | ------- |
//! | `roster` | `Roster::push` Release  | `Roster::iter` Acquire | a node's first contents |
//! | `end`    | a thread's end, in the kernel | `thread::is_dead` | what it did, and what it left in its record |
//! | `head`   | `chain::publish` Release | `Front::only` Acquire | the end of sections of the head's last time in force |
//! | `circumstances` | `set_circumstances` SeqCst fence | `take_circumstances` SeqCst fence | a change, or the record that is to have it |

use crate::abi::*;
use crate::roster::{Link, Roster};
use crate::scratch;
use crate::sys::thread::{self, Thread};
use crate::sys::tls;
use core::ffi::c_void;
use core::sync::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence,
};

/// The deepest suspension. Stacks lie above, in every process.
pub(crate) const DEEPEST: usize = 0x7fff;

/// Whether a record's word is that of a thread in a section.
#[inline(always)]
pub(crate) fn is_section(word: usize) -> bool {
    word > DEEPEST
}

/// Bit of `Record::epoch`: the end of the section has more to look at than whether the epoch changed.
pub(crate) const LOOK: u64 = 1;

/// Value of `Record::inside`: in no observer. `Record::entered` says in which interceptors.
pub(crate) const NO_OBSERVER: usize = 1;

/// What a head begins with: what the entry points and the grace periods know of it.
#[repr(C)]
pub(crate) struct Front {
    /// Where the entry points jump; at offset 0 for the stubs.
    pub(crate) entries: [AtomicPtr<()>; 13],
    /// The hook that a section which names the head may be in, by its address; `NO_OBSERVER`: such sections
    /// announce each hook.
    pub(crate) only: AtomicUsize,
}

impl Front {
    /// The hook that a section which names it may be in.
    pub(crate) fn only(&self) -> usize {
        // ORDERING [head]: Acquire. Other end: `chain::publish`.
        self.only.load(Ordering::Acquire)
    }
}

/// Numbers of owner lists. The pages of the counts are touched as the numbers come into use.
const COUNTS: usize = 4096;

/// What the library knows of a thread.
#[repr(C, align(256))]
pub(crate) struct Record {
    /// See the module's table.
    pub(crate) word: AtomicUsize,
    /// The epoch that the section was entered in, and `LOOK`.
    pub(crate) epoch: AtomicU64,
    /// The head that the open section is about, where that says which hook it may be in; null where each hook
    /// is announced before it is called.
    pub(crate) head: AtomicPtr<Front>,
    /// `NO_OBSERVER`, or, as an address, the observer that was called last. Of a section that announces.
    pub(crate) inside: AtomicUsize,
    /// The interceptors that were entered in the open section: one bit each, which others share.
    pub(crate) entered: AtomicU64,
    /// Where the thread's errno is.
    pub(crate) errno: AtomicPtr<i32>,
    /// Live blocks by owner list, as far as this record's threads counted them; null at first.
    pub(crate) counts: AtomicPtr<i64>,
    /// What hooks are told of a malloc, by the short ways.
    pub(crate) malloc_call: Call,
    /// The same of a free.
    pub(crate) free_call: Call,
    /// The same of calloc and realloc.
    other_call: Call,
    /// How often the thread has suspended hooks.
    suspended: AtomicUsize,
    /// Whether the thread is between looking how to count a block and having counted it.
    pub(crate) settling: AtomicBool,
    /// Whether the thread is running deferred work, so that work which that entails is left to it.
    pub(crate) polling: AtomicBool,
    /// Where marks of owned blocks were found last. See `ownership`.
    pub(crate) leaves: Leaves,
    /// What answers the calls that this thread makes inside a callback; null: the backend. See
    /// `dispatch::Inner`, which it is.
    pub(crate) inner: AtomicPtr<c_void>,
    /// Where `glibc` keeps what it knows of its callbacks that this record's threads run; null at first.
    pub(crate) frames: AtomicPtr<c_void>,
    /// Generation (20 bits), process (22), thread (22); the last 0 where nobody has it.
    owner: AtomicU64,
    /// Tells this thread's use of the record from all others; stays the same across fork.
    identity: AtomicU64,
    /// The last writer in a hurry that the thread gave way to, and how often.
    gave_way: AtomicU32,
    ways: AtomicU32,
    /// Entry points that arrived since a self-test set the highest bit.
    pub(crate) probe: AtomicU32,
    /// The frame pointer and the stack pointer with which this thread came to an entry point last, where a hook
    /// wants to know. Written by the stubs.
    pub(crate) came_with: [AtomicUsize; 2],
    link: Link<Record>,
    /// What hooks keep for this record's threads, by key; null at first. See `local`.
    pub(crate) locals: [AtomicPtr<u8>; LOCALS + 1],
}

/// The largest key of `locals`. There is no key 0: its place stays null.
pub(crate) const LOCALS: usize = 64;

/// A `memhook_call` that a thread fills in where it stands: what never changes in the usual calls is there.
#[repr(C)]
pub(crate) struct Call {
    struct_size: AtomicUsize,
    entry: AtomicU32,
    circumstances: AtomicU32,
    pub(crate) requested: AtomicUsize,
    alignment: AtomicUsize,
    count: AtomicUsize,
    each: AtomicUsize,
    pub(crate) block: AtomicPtr<c_void>,
    pub(crate) caller: AtomicUsize,
}

impl Call {
    fn begin(&self, entry: u32) {
        // ORDERING [none]: Relaxed. Read by the record's thread only.
        self.struct_size.store(size_of::<memhook_call>(), Ordering::Relaxed);
        // ORDERING [none]: Relaxed. As above.
        self.entry.store(entry, Ordering::Relaxed);
    }

    /// As hooks get it.
    #[inline(always)]
    pub(crate) fn get(&self) -> *const memhook_call {
        core::ptr::from_ref(self).cast()
    }
}

/// Leaves of the table of marks that the thread has used last, by address.
#[repr(C)]
pub(crate) struct Leaves([Leaf; 8]);

/// One leaf: the number of its part of the address space, and where the mark of address 0 would be if the
/// leaf went so far.
#[repr(C)]
pub(crate) struct Leaf {
    pub(crate) number: AtomicUsize,
    pub(crate) origin: AtomicPtr<AtomicU16>,
}

impl Leaves {
    /// The place for the leaf with this number.
    #[inline(always)]
    pub(crate) fn place(&self, number: usize) -> &Leaf {
        // SAFETY: within the array, by the mask.
        unsafe { self.0.get_unchecked(number & 7) }
    }

    fn forget(&self) {
        for leaf in &self.0 {
            // ORDERING [none]: Relaxed. Nobody has the record.
            leaf.number.store(usize::MAX, Ordering::Relaxed);
        }
    }
}

const _: () = assert!(size_of::<Call>() == size_of::<memhook_call>());

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

/// This thread's record.
///
/// # Safety
///
/// The thread is in a section.
#[inline(always)]
pub(crate) unsafe fn of_section() -> &'static Record {
    // SAFETY: a section has a record (the caller's contract), which is never unmapped (invariant 1).
    unsafe { &*tls::get().cast::<Record>() }
}

#[cold]
fn claim() -> Option<&'static Record> {
    let me = thread::current();
    let record = reuse(me).or_else(|| create(me))?;
    // ORDERING [none]: Relaxed. Read by this thread only.
    record.errno.store(thread::errno_location(), Ordering::Relaxed);
    record.malloc_call.begin(MEMHOOK_ENTRY_MALLOC);
    record.free_call.begin(MEMHOOK_ENTRY_FREE);
    record.other_call.begin(MEMHOOK_ENTRY_CALLOC);
    take_circumstances(record);
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
        // ORDERING [end]: Relaxed. All that the last thread left comes by its end, of which we are told below; where
        // `last` is us, by our beginning, for the kernel gives a number again after that.
        let owner = record.owner.load(Ordering::Relaxed);
        let last = thread_of(owner);
        // One that another process left behind stays with that process's main thread: see `forked`.
        let free = last.tid == 0 || (last.pid == me.pid && (last == me || thread::is_dead(last)));
        if free && record.adopt(owner, me) {
            return Some(record);
        }
    }
    None
}

/// Room for records when there is no memory: without one a thread cannot give an owned block back.
static SPARES: [Spare; 64] = [const { Spare([const { AtomicU64::new(0) }; size_of::<Record>() / 8]) }; 64];
static SPARES_TAKEN: AtomicUsize = AtomicUsize::new(0);

#[repr(C, align(256))]
struct Spare([AtomicU64; size_of::<Record>() / 8]);

fn spare() -> Option<*mut u8> {
    let next = |taken: usize| (taken < SPARES.len()).then_some(taken + 1);
    // ORDERING [none]: Relaxed and Relaxed. Who gets which is all that is decided here.
    let at = SPARES_TAKEN.fetch_update(Ordering::Relaxed, Ordering::Relaxed, next).ok()?;
    SPARES.get(at).map(|spare| core::ptr::from_ref(spare).cast_mut().cast())
}

fn create(me: Thread) -> Option<&'static Record> {
    let memory =
        scratch::permanent(size_of::<Record>(), align_of::<Record>()).or_else(spare)?.cast::<Record>();
    // SAFETY: memory of a record's size and alignment that nobody else knows; zero is a valid record.
    let record = unsafe { &*memory };
    // ORDERING [none]: Relaxed. Nobody else knows the record yet; `roster` publishes it.
    record.owner.store(pack(1, me), Ordering::Relaxed);
    record.leaves.forget();
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
        // ORDERING [end]: Relaxed and Relaxed. As in `reuse`. Before our first section, for who looks whose that is.
        let taken = self
            .owner
            .compare_exchange(from, pack(generation, me), Ordering::Relaxed, Ordering::Relaxed)
            .is_ok();
        if taken {
            // A thread that ended inside a callback left its section open.
            self.come_to_rest();
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
        if !self.can_count() {
            return self.first_count(list, delta);
        }
        // SAFETY: just seen.
        unsafe { self.count_at_once(list, delta) };
        true
    }

    /// Whether counting needs no memory any more.
    #[inline(always)]
    pub(crate) fn can_count(&self) -> bool {
        // ORDERING [none]: Relaxed. Written by this thread.
        !self.counts.load(Ordering::Relaxed).is_null()
    }

    /// As [`count`](Record::count).
    ///
    /// # Safety
    ///
    /// The thread [can count](Record::can_count), which is so if any block is near.
    #[inline(always)]
    pub(crate) unsafe fn count_at_once(&self, list: u16, delta: i64) {
        // ORDERING [none]: Relaxed. Written by this thread.
        let counts = self.counts.load(Ordering::Relaxed);
        // SAFETY: `COUNTS` numbers (the caller's contract), written by this thread only (invariant 2).
        unsafe { thread::local_add(counts.wrapping_add(list.into()), delta) };
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

    /// Forgets what the last thread left undone. Nobody has the record, or nobody else is there.
    fn come_to_rest(&self) {
        // ORDERING [none]: Relaxed. Read by the record's thread only.
        self.suspended.store(0, Ordering::Relaxed);
        // ORDERING [use]: Release. Where the last thread has been, for who does not look at the word any more then.
        // Other end: `Scope::includes`.
        self.entered.store(0, Ordering::Release);
        // ORDERING [use]: Release. What it has counted. Other end: `Scope::includes`.
        self.settling.store(false, Ordering::Release);
        // ORDERING [none]: Relaxed. Read by the record's thread only.
        self.inner.store(core::ptr::null_mut(), Ordering::Relaxed);
        self.describe_array(0, 0);
        // ORDERING [none]: Relaxed. Read by the record's thread only.
        self.probe.store(0, Ordering::Relaxed);
        // ORDERING [leave]: Release. As when a section ends. Other end: `grace::epoch_inside`.
        self.word.store(0, Ordering::Release);
    }

    /// How often this thread has suspended hooks: its word outside of sections.
    #[inline(always)]
    pub(crate) fn suspensions(&self) -> usize {
        // ORDERING [none]: Relaxed. Written by this thread.
        self.suspended.load(Ordering::Relaxed)
    }

    fn set_suspensions(&self, times: usize) {
        // ORDERING [none]: Relaxed. Read by this thread only.
        self.suspended.store(times, Ordering::Relaxed);
        if self.is_inside() {
            // ORDERING [none]: Relaxed. An update goes on with what was released when it was stored.
            self.epoch.fetch_or(LOOK, Ordering::Relaxed);
        } else {
            // ORDERING [leave]: Release. Whoever reads it, and not the end of the last section, sees our last use
            // of a chain too. Other end: `grace::epoch_inside`.
            self.word.store(times, Ordering::Release);
        }
    }

    /// Sends this thread's calls to the backend; false at the deepest level that can be counted.
    pub(crate) fn suspend(&self) -> bool {
        let room = self.suspensions() < DEEPEST;
        if room {
            self.set_suspensions(self.suspensions() + 1);
        }
        room
    }

    /// Takes one [`suspend`](Record::suspend) back; false where there is none.
    pub(crate) fn resume(&self) -> bool {
        let less = self.suspensions().checked_sub(1);
        if let Some(times) = less {
            self.set_suspensions(times);
        }
        less.is_some()
    }

    /// Whether to give way to the writer with this number: not without end, for a scheduler may count each time
    /// as a whole slice of time used.
    pub(crate) fn may_give_way(&self, hurry: u32) -> bool {
        const MOST: u32 = 64;
        // ORDERING [none]: Relaxed. Written by this thread.
        if self.gave_way.swap(hurry, Ordering::Relaxed) != hurry {
            // ORDERING [none]: Relaxed. As above.
            self.ways.store(0, Ordering::Relaxed);
        }
        // ORDERING [none]: Relaxed. As above.
        self.ways.fetch_add(1, Ordering::Relaxed) < MOST
    }

    /// Whether this thread's calls run through the hooks.
    #[inline(always)]
    pub(crate) fn is_at_rest(&self) -> bool {
        // ORDERING [none]: Relaxed. Written by this thread.
        self.word.load(Ordering::Relaxed) == 0
    }

    /// The stack pointer of who called the entry point, while this thread is in a section.
    #[inline(always)]
    pub(crate) fn frame(&self) -> usize {
        // ORDERING [none]: Relaxed. Written by this thread.
        self.word.load(Ordering::Relaxed)
    }

    /// Whether this thread is in a read section.
    pub(crate) fn is_inside(&self) -> bool {
        // ORDERING [none]: Relaxed. Written by this thread.
        is_section(self.word.load(Ordering::Relaxed))
    }

    /// Fills in what hooks are told of a malloc. Used in a section.
    #[inline(always)]
    pub(crate) fn describe_malloc(&self, requested: usize, caller: usize) -> &Call {
        // ORDERING [none]: Relaxed. Read by this thread only.
        self.malloc_call.requested.store(requested, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. As above.
        self.malloc_call.caller.store(caller, Ordering::Relaxed);
        &self.malloc_call
    }

    /// The same of a free.
    #[inline(always)]
    pub(crate) fn describe_free(&self, block: *mut c_void, caller: usize) -> &Call {
        // ORDERING [none]: Relaxed. Read by this thread only.
        self.free_call.block.store(block, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. As above.
        self.free_call.caller.store(caller, Ordering::Relaxed);
        &self.free_call
    }

    /// The same of another call that makes a block out of nothing.
    #[inline(always)]
    pub(crate) fn describe(&self, entry: u32, requested: usize, caller: usize) -> &Call {
        // ORDERING [none]: Relaxed. Read by this thread only.
        self.other_call.entry.store(entry, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. As above.
        self.other_call.requested.store(requested, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. As above.
        self.other_call.caller.store(caller, Ordering::Relaxed);
        &self.other_call
    }

    /// Adds to [`describe`](Record::describe) for a call that takes a number of elements and the size of
    /// each; to be taken back with zeroes.
    #[inline(always)]
    pub(crate) fn describe_array(&self, count: usize, each: usize) {
        // ORDERING [none]: Relaxed. Read by this thread only.
        self.other_call.count.store(count, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. As above.
        self.other_call.each.store(each, Ordering::Relaxed);
    }

    fn calls(&self) -> [&Call; 3] {
        [&self.malloc_call, &self.free_call, &self.other_call]
    }

    /// `MEMHOOK_DURING_` bits that hold for this thread's calls.
    #[inline(always)]
    pub(crate) fn circumstances(&self) -> u32 {
        // ORDERING [none]: Relaxed. A description; it orders nothing.
        self.malloc_call.circumstances.load(Ordering::Relaxed)
    }

    /// Adds `MEMHOOK_DURING_` bits for this thread.
    pub(crate) fn add_circumstances(&self, bits: u32) {
        for call in self.calls() {
            // ORDERING [none]: Relaxed. As above.
            call.circumstances.fetch_or(bits, Ordering::Relaxed);
        }
    }
}

/// `MEMHOOK_DURING_` bits that hold for the whole process. Every record has a copy.
static CIRCUMSTANCES: AtomicU32 = AtomicU32::new(MEMHOOK_DURING_STARTUP);

/// `MEMHOOK_DURING_` bits that hold for the whole process.
pub(crate) fn circumstances() -> u32 {
    // ORDERING [none]: Relaxed. A description; it orders nothing.
    CIRCUMSTANCES.load(Ordering::Relaxed)
}

/// Changes the circumstances of the process, here and in every record.
pub(crate) fn set_circumstances(add: u32, remove: u32) {
    // ORDERING [none]: Relaxed. The fence below is behind it.
    CIRCUMSTANCES.fetch_or(add, Ordering::Relaxed);
    // ORDERING [none]: Relaxed. As above.
    CIRCUMSTANCES.fetch_and(!remove, Ordering::Relaxed);
    // ORDERING [circumstances]: SeqCst. The change before our look at the records. Other end: `take_circumstances`.
    fence(Ordering::SeqCst);
    for record in RECORDS.iter() {
        for call in record.calls() {
            // ORDERING [none]: Relaxed. A description; it orders nothing.
            call.circumstances.fetch_or(add, Ordering::Relaxed);
            // ORDERING [none]: Relaxed. As above.
            call.circumstances.fetch_and(!remove, Ordering::Relaxed);
        }
    }
}

/// Gives a record, which is in the roster, what holds for the process. Whoever changes that meanwhile
/// has either seen the record, or is seen here.
fn take_circumstances(record: &Record) {
    let mut taken = None;
    loop {
        // ORDERING [circumstances]: SeqCst. The record in the roster, and what we stored in it, before our look.
        // Other end: `set_circumstances`.
        fence(Ordering::SeqCst);
        // ORDERING [none]: Relaxed. The fence is before it.
        let now = CIRCUMSTANCES.load(Ordering::Relaxed);
        if taken == Some(now) {
            break;
        }
        for call in record.calls() {
            // ORDERING [none]: Relaxed. Looked at again behind the fence.
            call.circumstances.store(now, Ordering::Relaxed);
        }
        taken = Some(now);
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
        // ORDERING [none]: Relaxed. No other thread exists yet; those to come begin behind it.
        record.owner.store(next, Ordering::Relaxed);
        if !is_mine {
            record.come_to_rest();
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
