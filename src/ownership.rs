//! Which interceptors produced a block, and how many blocks each set of them still owns.
//!
//! Two bytes for every 8 bytes of address space, in a three-level table, name the *owner list* that
//! made the block which begins there; 0: the backend alone. Nothing is mapped before an
//! interceptor that may change pointers has produced its first block; from then on a leaf of 1 MiB
//! of address space is mapped for every 4 MiB in which blocks are made, and the cost is its touched
//! pages: a quarter of the heap at most. Small leaves, since address space may be limited
//! (RLIMIT_AS), and a program may have all its mappings locked into memory (mlockall).
//!
//! # An owner list's life
//!
//! ```text
//!           a member goes        grace period over          last block gone
//!  counted ───────────────► draining ───────────────► summed ───────────────► finished
//!  per thread               in one atomic number      (may be 0 at once)
//! ```
//!
//! # Invariants
//!
//! 1. A mark is set by who made the block before the block is handed out, and cleared by who
//!    takes it back before any interceptor sees it. The program's own synchronisation orders the
//!    two; hence relaxed accesses.
//! 2. A list with blocks is in `LISTS`; so is one that a chain in force names.
//! 3. `remaining` starts at `BIAS`, which is taken out when the counts of all threads have been
//!    added and cleared: before that it cannot reach 0.
//! 4. Branches and leaves of the table are never unmapped.
//!
//! # Edges
//!
//! | edge    | from                           | to                    | carries |
//! | ------- | ------------------------------ | --------------------- | ------- |
//! | `leaf`  | `install` Release              | `mark_of` Acquire     | a zeroed leaf or branch |
//! | `list`  | `find_or_create` Release       | `list` Acquire        | a list's members |
//! | `list`  | `finish` Release               | `find_or_create` Acquire | that its counts are zero |
//! | `last`  | `gone_from`, `clear_counts` AcqRel | the same              | the last use of every block of the list |

use crate::chain::Hook;
use crate::grace::{self, Deferred, Scope};
use crate::guard::{self, Record};
use crate::scratch;
use crate::sys::{barrier, pages};
use core::ffi::c_void;
use core::sync::atomic::{
    AtomicBool, AtomicI64, AtomicPtr, AtomicU16, AtomicU32, AtomicU64, AtomicUsize, Ordering, compiler_fence,
};

/// How many lists can own blocks at the same time. A mark of one byte would do for 255, which a
/// program that replaces hooks while their blocks live uses up.
pub(crate) const MAX_LISTS: usize = 4095;

/// The three parts of an address above its low 3 bits, which no two blocks differ in alone.
const ADDRESS_BITS: u32 = 48;
const BRANCH_BITS: u32 = 35;
pub(crate) const LEAF_BITS: u32 = 22;
const ROOT_LEN: usize = 1 << (ADDRESS_BITS - BRANCH_BITS);
const BRANCH_LEN: usize = 1 << (BRANCH_BITS - LEAF_BITS);
const LEAF_LEN: usize = 1 << (LEAF_BITS - 3);

type Branch = AtomicPtr<AtomicU16>;

static ROOT: [AtomicPtr<Branch>; ROOT_LEN] = [const { AtomicPtr::new(core::ptr::null_mut()) }; ROOT_LEN];

/// The number by which the table knows an address: without the tag that some processors allow
/// in the top byte.
#[inline(always)]
fn plain(block: *mut c_void) -> usize {
    let address = block as usize;
    if cfg!(target_arch = "aarch64") { address & (usize::MAX >> 8) } else { address }
}

/// The mark of a block, where the table has a page for it.
#[inline(always)]
fn mark_of(block: *mut c_void) -> Option<&'static AtomicU16> {
    // SAFETY: within a leaf, and leaves are never unmapped (invariant 4).
    mark_in_leaf(block).map(|mark| unsafe { &*mark })
}

/// The same as a pointer that leads to all of the leaf.
#[inline(always)]
fn mark_in_leaf(block: *mut c_void) -> Option<*mut AtomicU16> {
    let address = plain(block);
    // An address that no block can have is outside the root.
    // ORDERING [leaf]: Acquire. Other end: `install`.
    let branch = ROOT.get(address >> BRANCH_BITS)?.load(Ordering::Acquire);
    if branch.is_null() {
        return None;
    }
    // SAFETY: the index is within the branch by the mask, and branches are never unmapped (invariant 4).
    let slot = unsafe { &*branch.wrapping_add((address >> LEAF_BITS) & (BRANCH_LEN - 1)) };
    // ORDERING [leaf]: Acquire. Other end: `install`.
    let leaf = slot.load(Ordering::Acquire);
    if leaf.is_null() {
        return None;
    }
    // The index is within the leaf by the mask.
    Some(leaf.wrapping_add((address >> 3) & (LEAF_LEN - 1)))
}

/// As [`mark_of`], mapping what is missing; `None` where there is no memory or the address is none
/// that a block can have.
#[cold]
fn make_mark_of(block: *mut c_void) -> Option<&'static AtomicU16> {
    let slot = ROOT.get(plain(block) >> BRANCH_BITS)?;
    let branch = install(slot, BRANCH_LEN)?;
    // SAFETY: as in `mark_of`.
    let slot = unsafe { &*branch.wrapping_add((plain(block) >> LEAF_BITS) & (BRANCH_LEN - 1)) };
    install(slot, LEAF_LEN)?;
    mark_of(block)
}

/// What the slot leads to, `len` elements; zeroed ones are mapped where there are none yet.
fn install<T>(slot: &AtomicPtr<T>, len: usize) -> Option<*mut T> {
    // ORDERING [leaf]: Acquire. Other end: below.
    let known = slot.load(Ordering::Acquire);
    if !known.is_null() {
        return Some(known);
    }
    let bytes = len * size_of::<T>();
    let fresh = pages::reserve(bytes)?;
    // ORDERING [leaf]: Release and Acquire. Zeroes before the pointer. Other end: `mark_of`.
    match slot.compare_exchange(core::ptr::null_mut(), fresh.cast(), Ordering::Release, Ordering::Acquire) {
        Ok(_) => Some(fresh.cast()),
        Err(winner) => {
            // SAFETY: our own mapping, which nobody has seen.
            unsafe { pages::unmap(fresh, bytes) };
            Some(winner)
        }
    }
}

/// Marks for which there was no memory in the table: address and list in one number. A realloc
/// that is done cannot be undone, so its block must find a place.
static OVERFLOW: [AtomicU64; 1024] = [const { AtomicU64::new(0) }; 1024];
/// How many of these places are taken.
static OVERFLOWN: AtomicUsize = AtomicUsize::new(0);

/// Whether so many places are taken that no realloc of an owned block may begin: the rest is for
/// those that are under way in other threads.
#[inline(always)]
pub(crate) fn is_crowded() -> bool {
    // ORDERING [none]: Relaxed. A count.
    OVERFLOWN.load(Ordering::Relaxed) >= OVERFLOW.len() / 2
}

/// The mark of a block that is on loan: the backend has given it to a callback, which may return it to its caller as
/// its own answer. Such a block belongs to no list.
const ON_LOAN: u16 = u16::MAX;

/// The owner list of a block; 0 where the backend alone made it.
#[inline(always)]
pub(crate) fn owner(block: *mut c_void) -> u16 {
    // ORDERING [none]: Relaxed. Invariant 1.
    match mark_of(block).map_or(0, |mark| mark.load(Ordering::Relaxed)) {
        // The leaf may have come after the block.
        0 => owner_in_overflow(block),
        ON_LOAN => 0,
        owner => owner,
    }
}

/// As [`owner`], of a block that is about to be given back: a loan ends here.
#[inline(always)]
pub(crate) fn last_owner(block: *mut c_void) -> u16 {
    let mark = mark_of(block);
    // ORDERING [none]: Relaxed. Invariant 1.
    match mark.map_or(0, |mark| mark.load(Ordering::Relaxed)) {
        0 => owner_in_overflow(block),
        ON_LOAN => {
            end_loan(block);
            0
        }
        owner => owner,
    }
}

/// The place of a block's mark.
#[derive(Clone, Copy)]
pub(crate) struct Mark(&'static AtomicU16);

impl Mark {
    /// Where the mark of this block is; `None` where there is none, and no memory for one was needed yet.
    #[inline(always)]
    pub(crate) fn of(block: *mut c_void) -> Option<Mark> {
        mark_of(block).map(Mark)
    }

    /// The owner list; 0 where there is none, or the block is on loan.
    #[inline(always)]
    pub(crate) fn owner(self) -> u16 {
        match self.get() {
            ON_LOAN => 0,
            owner => owner,
        }
    }

    #[inline(always)]
    pub(crate) fn is_on_loan(self) -> bool {
        self.get() == ON_LOAN
    }

    #[inline(always)]
    fn get(self) -> u16 {
        // ORDERING [none]: Relaxed. Invariant 1.
        self.0.load(Ordering::Relaxed)
    }

    /// Marks the block as made by this owner list.
    #[inline(always)]
    pub(crate) fn set(self, list: u16) {
        // ORDERING [none]: Relaxed. Invariant 1.
        self.0.store(list, Ordering::Relaxed);
    }

    /// Takes the mark off, whatever it is.
    #[inline(always)]
    pub(crate) fn clear(self) {
        // ORDERING [none]: Relaxed. Invariant 1.
        self.0.store(0, Ordering::Relaxed);
    }
}

/// Whether all marks are in the table, and none in the fixed one.
#[inline(always)]
pub(crate) fn all_in_table() -> bool {
    // ORDERING [none]: Relaxed. Invariant 1.
    OVERFLOWN.load(Ordering::Relaxed) == 0
}

/// Marks a block of the backend's that a callback gets. Without memory for the mark nothing is noted.
#[inline(always)]
pub(crate) fn lend(block: *mut c_void) {
    if !block.is_null() {
        mark(block, ON_LOAN);
    }
}

/// Takes the mark of [`lend`] off.
#[inline(always)]
pub(crate) fn end_loan(block: *mut c_void) {
    if let Some(mark) = Mark::of(block).filter(|mark| mark.is_on_loan()) {
        mark.clear();
    }
}

/// Whether a block is on loan.
#[inline(always)]
pub(crate) fn is_on_loan(block: *mut c_void) -> bool {
    Mark::of(block).is_some_and(Mark::is_on_loan)
}

/// The nearest block on loan that begins before `address`, at most so many bytes before it.
pub(crate) fn loan_before(address: *mut c_void, bytes: usize) -> Option<*mut c_void> {
    let granule = |n: usize| address.cast::<u8>().wrapping_sub(n * 8).cast::<c_void>();
    (1..=bytes / 8).map(granule).find(|&block| is_on_loan(block))
}

/// Whether this place of `OVERFLOW` is the block's.
fn is_for(entry: u64, block: *mut c_void) -> bool {
    entry != 0 && entry >> 16 == plain(block) as u64
}

#[inline(always)]
fn owner_in_overflow(block: *mut c_void) -> u16 {
    // ORDERING [none]: Relaxed. Invariant 1.
    if OVERFLOWN.load(Ordering::Relaxed) == 0 {
        return 0;
    }
    // ORDERING [none]: Relaxed. Invariant 1.
    let mut entries = OVERFLOW.iter().map(|place| place.load(Ordering::Relaxed));
    entries.find(|&entry| is_for(entry, block)).map_or(0, |entry| entry as u16)
}

/// Whether the thread remembers the leaf of a block's mark.
#[inline(always)]
pub(crate) fn is_near(block: *mut c_void, record: &Record) -> bool {
    let number = plain(block) >> LEAF_BITS;
    // ORDERING [none]: Relaxed. Written by this thread.
    record.leaves.place(number).number.load(Ordering::Relaxed) == number
}

/// The mark of a block that [`is_near`]. In a `grace::Brief`: signal handlers find the thread inside, and
/// have it remember nothing else.
///
/// # Safety
///
/// The block is near.
#[inline(always)]
unsafe fn near_mark<'a>(block: *mut c_void, record: &Record) -> &'a AtomicU16 {
    let address = plain(block);
    // ORDERING [none]: Relaxed. Written by this thread.
    let origin = record.leaves.place(address >> LEAF_BITS).origin.load(Ordering::Relaxed);
    // SAFETY: within the leaf (the caller's contract), and leaves are never unmapped (invariant 4).
    unsafe { &*origin.wrapping_add(address >> 3) }
}

/// Has the thread remember the leaf of a block's mark, if there is one, and if the thread has a place to count.
/// Not the first leaf, in which NULL lies: that is never near.
pub(crate) fn bring_near(block: *mut c_void, record: &Record) {
    let address = plain(block);
    if !record.can_count() {
        return;
    }
    let Some(mark) = mark_in_leaf(block).filter(|_| address >> LEAF_BITS != 0) else { return };
    let near = record.leaves.place(address >> LEAF_BITS);
    let origin = mark.wrapping_sub(address >> 3);
    // In three steps, of which a signal handler may leave out the last by longjmp.
    // ORDERING [none]: Relaxed. Read by this thread.
    near.number.store(usize::MAX, Ordering::Relaxed);
    // ORDERING [none]: Release. A signal handler of this thread finds the former number gone before.
    compiler_fence(Ordering::Release);
    // ORDERING [none]: Relaxed. Read by this thread.
    near.origin.store(origin, Ordering::Relaxed);
    // ORDERING [none]: Release. It finds the origin there before.
    compiler_fence(Ordering::Release);
    // ORDERING [none]: Relaxed. Read by this thread.
    near.number.store(address >> LEAF_BITS, Ordering::Relaxed);
}

/// Whether `owner` made a block that [`is_near`].
///
/// # Safety
///
/// The block is near.
#[inline(always)]
pub(crate) unsafe fn is_near_of(owner: u16, block: *mut c_void, record: &Record) -> bool {
    // SAFETY: the caller's contract.
    let mark = unsafe { near_mark(block, record) };
    // ORDERING [none]: Relaxed. Invariant 1.
    mark.load(Ordering::Relaxed) == owner
}

/// Marks a block that [`is_near`]. One that is marked in the table is not in the fixed one.
///
/// # Safety
///
/// The block is near.
#[inline(always)]
pub(crate) unsafe fn mark_near(block: *mut c_void, id: u16, record: &Record) {
    // SAFETY: the caller's contract.
    let mark = unsafe { near_mark(block, record) };
    // ORDERING [none]: Relaxed. Invariant 1.
    mark.store(id, Ordering::Relaxed);
}

/// Takes the mark off a block that is about to be given back.
#[inline(always)]
pub(crate) fn clear(block: *mut c_void) {
    if let Some(mark) = mark_of(block) {
        // ORDERING [none]: Relaxed. Invariant 1.
        mark.store(0, Ordering::Relaxed);
    }
    // ORDERING [none]: Relaxed. Invariant 1.
    if OVERFLOWN.load(Ordering::Relaxed) != 0 {
        clear_in_overflow(block);
    }
}

#[cold]
fn clear_in_overflow(block: *mut c_void) {
    for place in &OVERFLOW {
        // ORDERING [none]: Relaxed. Invariant 1.
        if is_for(place.load(Ordering::Relaxed), block) {
            // ORDERING [none]: Relaxed. Invariant 1.
            place.store(0, Ordering::Relaxed);
            // ORDERING [none]: Relaxed. A count.
            OVERFLOWN.fetch_sub(1, Ordering::Relaxed);
        }
    }
}

/// Marks a block as made by the list `id`; false where there is no memory for the mark.
#[inline(always)]
pub(crate) fn mark(block: *mut c_void, id: u16) -> bool {
    let mark = mark_of(block).or_else(|| make_mark_of(block));
    if let Some(mark) = mark {
        // ORDERING [none]: Relaxed. Invariant 1.
        mark.store(id, Ordering::Relaxed);
    }
    mark.is_some()
}

/// As [`mark`], for a block that cannot be refused any more: falls back to a fixed table, of which
/// [`is_crowded`] keeps a half free.
pub(crate) fn mark_surely(block: *mut c_void, id: u16) {
    if mark(block, id) {
        return;
    }
    // ORDERING [none]: Relaxed. Invariant 1.
    OVERFLOWN.fetch_add(1, Ordering::Relaxed);
    let entry = ((plain(block) as u64) << 16) | u64::from(id);
    for place in &OVERFLOW {
        // ORDERING [none]: Relaxed and Relaxed. Invariant 1.
        if place.compare_exchange(0, entry, Ordering::Relaxed, Ordering::Relaxed).is_ok() {
            return;
        }
    }
    crate::sys::die(b"memhook: out of memory: no place left to note which hooks own a block.\n");
}

/// The interceptors that make blocks together, outermost first.
#[repr(C)]
pub(crate) struct List {
    deferred: Deferred,
    id: u16,
    /// Whether the threads' counts have been added.
    summed: AtomicBool,
    /// Whether blocks are counted in `remaining` rather than in the threads' records.
    draining: AtomicBool,
    remaining: AtomicI64,
    len: usize,
    members: *const *const Hook,
}

const BIAS: i64 = 1 << 60;

/// What a list's `remaining` says. A fork child must be able to go on from each.
#[derive(PartialEq, Eq)]
enum Stage {
    /// `BIAS` is in it: the threads' counts belong to it.
    Counted,
    /// Twice `BIAS` is in it: the threads' counts have been added and are being cleared.
    Added,
    /// It is the number of blocks.
    Summed,
}

impl Stage {
    fn of(remaining: i64) -> Stage {
        match remaining {
            _ if remaining > BIAS + BIAS / 2 => Stage::Added,
            _ if remaining > BIAS / 2 => Stage::Counted,
            _ => Stage::Summed,
        }
    }
}

/// The threads' counts of blocks of a list.
fn counts(id: u16) -> impl Iterator<Item = &'static AtomicI64> {
    guard::records().filter_map(move |record| record.counted(id))
}

static LISTS: [AtomicPtr<List>; MAX_LISTS + 1] =
    [const { AtomicPtr::new(core::ptr::null_mut()) }; MAX_LISTS + 1];

/// The highest number in use so far: what is looked through.
static HIGHEST: AtomicU16 = AtomicU16::new(0);

/// The numbers that may be in use.
fn numbers() -> impl Iterator<Item = u16> {
    // ORDERING [none]: Relaxed. Who must find a list has it by a chain, or by the end of the section in which it was
    // made; what is in it comes by `list`.
    1..=HIGHEST.load(Ordering::Relaxed)
}
/// Lists, and interceptors that may come to be in one.
static ALIVE: AtomicUsize = AtomicUsize::new(0);

/// An interceptor that may change pointers exists from now on.
pub(crate) fn expect() {
    // ORDERING [none]: Relaxed. See `any`.
    ALIVE.fetch_add(1, Ordering::Relaxed);
}

/// Takes one [`expect`] back: no thread will make a block with that interceptor any more.
pub(crate) fn expect_no_more() {
    // ORDERING [none]: Relaxed. See `any`.
    ALIVE.fetch_sub(1, Ordering::Relaxed);
    // ORDERING [none]: Relaxed. A hint.
    ENDED.store(1, Ordering::Relaxed);
}

/// Whether any list exists, or may come to exist by a call that is under way: then frees must look
/// at their block's mark.
pub(crate) fn any() -> bool {
    // ORDERING [none]: Relaxed. Read between the load of the chain in force and its exchange,
    // which orders it against every publication.
    ALIVE.load(Ordering::Relaxed) != 0
}

/// The list with this number.
///
/// # Safety
///
/// The caller is in a read section, or holds a block of the list.
#[inline(always)]
pub(crate) unsafe fn list<'a>(id: u16) -> Option<&'a List> {
    // ORDERING [list]: Acquire. Other end: `find_or_create`.
    let list = LISTS.get(usize::from(id)).map_or(core::ptr::null_mut(), |l| l.load(Ordering::Acquire));
    // SAFETY: null, or a list whose memory is given back after a grace period only.
    unsafe { list.as_ref() }
}

impl List {
    fn members(&self) -> &[*const Hook] {
        // SAFETY: written once by `find_or_create`, alive as long as the list.
        unsafe { core::slice::from_raw_parts(self.members, self.len) }
    }
}

/// The members of the list `id`, outermost first.
///
/// # Safety
///
/// The caller is in a read section or holds a block of the list, for as long as it uses the result.
#[inline(always)]
pub(crate) unsafe fn members<'a>(id: u16) -> &'a [*const Hook] {
    // SAFETY: the caller's contract.
    unsafe { list(id) }.map_or(&[], |list| list.members())
}

/// The number of the list with exactly these members; makes one where there is none. An error
/// is `ENOMEM`, or `ENOSPC` where all numbers are in use.
///
/// Called in a read section, so that members that are not being unregistered stay so until the
/// caller's publication fails (see `registry`).
pub(crate) fn find_or_create(members: &[*const Hook]) -> Result<u16, i32> {
    let known = numbers().find(|&id| {
        // SAFETY: in a read section.
        let list = unsafe { list(id) };
        // ORDERING [none]: Relaxed. Where it is stale, the caller's publication fails.
        list.is_some_and(|l| l.members() == members && !l.draining.load(Ordering::Relaxed))
    });
    if let Some(id) = known {
        return Ok(id);
    }
    let bytes = size_of::<List>() + size_of_val(members);
    let memory = scratch::malloc(bytes);
    if memory.is_null() {
        return Err(libc::ENOMEM);
    }
    let array = memory.wrapping_add(size_of::<List>()).cast::<*const Hook>();
    // SAFETY: the memory behind the list has room for the members.
    unsafe { array.copy_from_nonoverlapping(members.as_ptr(), members.len()) };
    let fresh = memory.cast::<List>();
    for id in 1..=MAX_LISTS as u16 {
        let Some(slot) = LISTS.get(usize::from(id)) else { break };
        // ORDERING [none]: Relaxed. The exchange below decides.
        if !slot.load(Ordering::Relaxed).is_null() {
            continue;
        }
        let new = List {
            deferred: Deferred::new(),
            id,
            summed: AtomicBool::new(false),
            draining: AtomicBool::new(false),
            remaining: AtomicI64::new(BIAS),
            len: members.len(),
            members: array,
        };
        // SAFETY: fresh memory, large enough and aligned to 16.
        unsafe { fresh.write(new) };
        // ORDERING [none]: Relaxed. Before the list can be found; see `any`.
        ALIVE.fetch_add(1, Ordering::Relaxed);
        for &member in members {
            // SAFETY: members of a chain being built are alive: see `registry`.
            unsafe { &*member }.hold();
        }
        // ORDERING [list]: AcqRel and Relaxed. The list before its place, and its counts after they were
        // cleared. Other ends: `list`, `finish`.
        if slot.compare_exchange(core::ptr::null_mut(), fresh, Ordering::AcqRel, Ordering::Relaxed).is_ok() {
            // ORDERING [none]: Relaxed. See `numbers`.
            HIGHEST.fetch_max(id, Ordering::Relaxed);
            return Ok(id);
        }
        for &member in members {
            // SAFETY: as above; the hold just taken was not the last.
            unsafe { &*member }.unhold();
        }
        // ORDERING [none]: Relaxed. See `any`.
        ALIVE.fetch_sub(1, Ordering::Relaxed);
    }
    // SAFETY: never published.
    unsafe { scratch::free(memory) };
    Err(libc::ENOSPC)
}

/// Counts a block that the list `id` made. Where to count need not be asked: all members were entered
/// in the section of the call, for whose end every removal that could drain the list waits.
#[inline(always)]
pub(crate) fn made(id: u16, record: &Record) {
    if !record.count(id, 1) {
        made_uncounted(id);
    }
}

/// There is no memory for this thread's counts.
#[cold]
#[inline(never)]
fn made_uncounted(id: u16) {
    // SAFETY: called in the read section of an allocation call.
    if let Some(list) = unsafe { list(id) } {
        // ORDERING [none]: Relaxed. The block is counted before anybody has it who could give it back.
        list.remaining.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts a block of the list `id` that is gone, after the last callback that knew it.
#[inline(always)]
pub(crate) fn gone(id: u16, record: &Record) {
    // SAFETY: called in the read section of an allocation call.
    if let Some(list) = unsafe { list(id) } {
        list.lose(id, record);
    }
}

impl List {
    /// As [`gone`], of the list with the number `id`.
    #[inline(always)]
    pub(crate) fn lose(&self, id: u16, record: &Record) {
        // By a signal handler, in the midst of another: which goes on afterwards.
        // ORDERING [none]: Relaxed. Written by this thread.
        let outer = record.settling.load(Ordering::Relaxed);
        // ORDERING [use]: Relaxed. `light` puts it before our look at `draining`.
        record.settling.store(true, Ordering::Relaxed);
        barrier::light();
        // ORDERING [use]: Relaxed. `light` put it after `settling`; nothing but where to count depends on it.
        let counted = !self.draining.load(Ordering::Relaxed) && record.count(id, -1);
        // ORDERING [use]: Release. The count before its end. Other end: `grace::Scope`.
        record.settling.store(outer, Ordering::Release);
        if !counted {
            gone_from(self);
        }
    }
}

/// Counts a block of a list that is counted in one number.
#[cold]
#[inline(never)]
fn gone_from(list: &List) {
    // ORDERING [last]: AcqRel. Every use of the blocks before their end. Other end: itself, `clear_counts`.
    if list.remaining.fetch_sub(1, Ordering::AcqRel) == 1 {
        let item = finish(list).cast::<Deferred>();
        // SAFETY: the list has left LISTS and lives until `finished`. Deferred, since we are in
        // a section, where no release may be called.
        unsafe { grace::defer(item, grace::advance(), Scope::Settling(0, 0), finished_last) };
    }
}

/// Every list that `hook` is a member of stops being counted per thread. Returns whether there
/// was any. After a grace period, [`sum`] must be called for the same hook. Called in a section.
pub(crate) fn drain(hook: *const Hook) -> bool {
    let mut any = false;
    for list in lists_of(hook) {
        // ORDERING [use]: Relaxed. `grace::advance` puts it before the look at who is counting.
        list.draining.store(true, Ordering::Relaxed);
        any = true;
    }
    any
}

/// Adds up what was counted of one drained list of `hook`. `None`: there is no other left. The list
/// where it is empty, which has come to its end then: to be given to [`let_go`] outside the section.
/// Called in a section.
pub(crate) fn sum(hook: *const Hook) -> Option<Option<*mut List>> {
    // Another member of a list may have gone before: its removal did this.
    // ORDERING [none]: Relaxed. Only who is first; a grace period lies between drain and here.
    let list = lists_of(hook).find(|list| !list.summed.swap(true, Ordering::Relaxed))?;
    // ORDERING [none]: Relaxed. Nobody counts there since the grace period.
    let counted: i64 = counts(list.id).map(|count| count.load(Ordering::Relaxed)).sum();
    // ORDERING [none]: Relaxed. Cannot be the last; see `clear_counts`.
    list.remaining.fetch_add(counted + BIAS, Ordering::Relaxed);
    Some(clear_counts(list))
}

/// The second half of [`sum`]; the list where it has come to its end.
fn clear_counts(list: &List) -> Option<*mut List> {
    for count in counts(list.id) {
        // ORDERING [none]: Relaxed. As above; before the number can be taken by another list.
        count.store(0, Ordering::Relaxed);
    }
    // ORDERING [last]: AcqRel. As in `gone_from`.
    let empty = list.remaining.fetch_sub(2 * BIAS, Ordering::AcqRel) == 2 * BIAS;
    empty.then(|| finish(list))
}

/// In a fork child: goes on where threads that are gone have left a list half way. `expected` interceptors
/// that may come to be in a list are in service.
pub(crate) fn forked(expected: usize) {
    let mut alive = expected;
    for (id, slot) in (0u16..).zip(&LISTS) {
        // ORDERING [none]: Relaxed. There is one thread.
        let at = slot.load(Ordering::Relaxed);
        // SAFETY: null, or a list whose memory is given back after it has left its place.
        let Some(list) = (unsafe { at.as_ref() }) else { continue };
        // ORDERING [none]: Relaxed. There is one thread.
        HIGHEST.fetch_max(id, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. There is one thread.
        let summed = list.summed.load(Ordering::Relaxed);
        // ORDERING [none]: Relaxed. There is one thread.
        let remaining = list.remaining.load(Ordering::Relaxed);
        let ended = match Stage::of(remaining) {
            Stage::Counted => {
                // ORDERING [none]: Relaxed. There is one thread. The removal of a member is taken up.
                list.summed.store(false, Ordering::Relaxed);
                false
            }
            Stage::Added => clear_counts(list).is_some(),
            Stage::Summed if remaining == 0 && summed => {
                finish(list);
                true
            }
            Stage::Summed => false,
        };
        // The members' holds are counted afterwards. Its memory is not worth a queue.
        alive += usize::from(!ended);
    }
    // ORDERING [none]: Relaxed. There is one thread.
    ALIVE.store(alive, Ordering::Relaxed);
}

/// How many lists hold a hook. For fork children.
pub(crate) fn holds(hook: *const Hook) -> usize {
    let mut holds = lists_of(hook).count();
    grace::for_each_queued(finished_last, &mut |item| {
        // SAFETY: `deferred` is the first field of a list that waits for `finished_last`.
        let list = unsafe { &*item.cast::<List>() };
        holds += usize::from(list.members().contains(&hook));
    });
    holds
}

/// Releases the members of a list that [`sum`] has found empty, as far as nothing else holds them.
///
/// # Safety
///
/// `sum` gave the list, which is given here once.
pub(crate) unsafe fn let_go(list: *mut List) {
    // SAFETY: the list has left LISTS and lives until `finished`.
    unhold_members(unsafe { &*list });
    // SAFETY: as above.
    unsafe { grace::defer_memory(list.cast(), grace::advance(), finished) };
}

fn lists_of(hook: *const Hook) -> impl Iterator<Item = &'static List> {
    // SAFETY: called in a read section.
    numbers().filter_map(|id| unsafe { list(id) }).filter(move |list| list.members().contains(&hook))
}

/// How many blocks `hook` made that are still alive; exact while nobody allocates. Called in a
/// section.
pub(crate) fn live_blocks(hook: *const Hook) -> usize {
    let mut live = 0i64;
    for list in lists_of(hook) {
        live += list.live_blocks();
    }
    usize::try_from(live).unwrap_or(0)
}

impl List {
    fn live_blocks(&self) -> i64 {
        loop {
            // ORDERING [none]: Relaxed. A statistic.
            let remaining = self.remaining.load(Ordering::Relaxed);
            match Stage::of(remaining) {
                Stage::Summed => return remaining,
                Stage::Added => return remaining - 2 * BIAS,
                Stage::Counted => {}
            }
            // ORDERING [none]: Relaxed. A statistic.
            let counted: i64 = counts(self.id).map(|count| count.load(Ordering::Relaxed)).sum();
            // ORDERING [none]: Relaxed. Whether they were cleared meanwhile.
            if Stage::of(self.remaining.load(Ordering::Relaxed)) == Stage::Counted {
                return remaining - BIAS + counted;
            }
        }
    }
}

/// Whether blocks keep `hook`, whose removal has come that far; otherwise its release is being
/// called, or about to be. Called in a section.
pub(crate) fn owns(hook: *const Hook) -> bool {
    lists_of(hook).any(|list| {
        // Before that, `sum` is at work on it. One that is empty is ending.
        // ORDERING [none]: Relaxed. Whoever changes it wakes who waits.
        let remaining = list.remaining.load(Ordering::Relaxed);
        remaining > 0 && Stage::of(remaining) == Stage::Summed
    })
}

/// Raised when a list ended: the chain in force may go back to a cheaper mode.
static ENDED: AtomicU32 = AtomicU32::new(0);

/// Whether a list ended since the last call.
pub(crate) fn take_ended() -> bool {
    // ORDERING [none]: Relaxed. A hint.
    ENDED.load(Ordering::Relaxed) != 0 && ENDED.swap(0, Ordering::Relaxed) != 0
}

/// The last block is gone: takes the list out of LISTS, and gives what was there. Its memory may be given back
/// by this pointer, and not by one made of a reference.
fn finish(list: &List) -> *mut List {
    let Some(slot) = LISTS.get(usize::from(list.id)) else { return core::ptr::null_mut() };
    // ORDERING [none]: Relaxed. Whoever counted its last block has found it there.
    let at = slot.load(Ordering::Relaxed);
    // ORDERING [list]: Release. Whoever takes the number next finds its counts at zero.
    slot.store(core::ptr::null_mut(), Ordering::Release);
    // ORDERING [none]: Relaxed. See `any`.
    ALIVE.fetch_sub(1, Ordering::Relaxed);
    // ORDERING [none]: Relaxed. A hint.
    ENDED.store(1, Ordering::Relaxed);
    at
}

fn unhold_members(list: &List) {
    for &member in list.members() {
        // SAFETY: members live as long as a list holds them.
        unsafe { &*member }.unhold();
    }
}

unsafe fn finished_last(item: *mut Deferred) {
    // SAFETY: `deferred` is the first field; the memory is ours until it is freed in `finished`.
    unhold_members(unsafe { &*item.cast::<List>() });
    // SAFETY: in no queue any more, and lives until `finished`.
    unsafe { grace::defer_memory(item, grace::advance(), finished) };
}

unsafe fn finished(item: *mut Deferred) {
    // SAFETY: nobody finds the list since it left LISTS, and the grace period is over.
    unsafe { scratch::free(item.cast()) };
}
