//! Read sections, grace periods, and work that waits for them.
//!
//! Never: makes a reader wait; runs deferred work inside a section.
//!
//! Every publication begins a new epoch. A thread that enters a section notes the epoch in its
//! record; the grace period of a publication is over when no section is open that was entered
//! in an older epoch. A reader that finds, on leaving, that the epoch has changed under it does
//! what writers wait for: it wakes them and runs the deferred work that has become due.
//!
//! Who removes one hook waits for less than all older sections: for those that may be in that hook
//! just now, or have work of it to finish (see [`Scope`]). A section that meets a single hook names, as
//! it begins, the head that it will work on, and then sees whether that is still in force ([`Brief`]): the
//! head says which hook it is. In any other section a thread announces each hook before it looks whether the
//! hook is to be passed by, as it announces a section before it loads the chain ([`Section`]).
//!
//! # Invariants
//!
//! 1. Who loads the chain in force in a section may use it until the section ends.
//! 2. Deferred work runs once, outside all sections older than its ticket.
//! 3. A reader leaves its section after its last use of the chain, and looks at the epoch after that.
//!
//! # Edges
//!
//! | edge    | from                            | to                        | carries |
//! | ------- | ------------------------------- | ------------------------- | ------- |
//! | `enter` | `barrier::light` in `enter`, and at the end | `barrier::heavy` in `advance` | either the reader sees the new chain (at the end: the new epoch), or the writer sees the reader (that it left) |
//! | `leave` | `close` Release                 | `epoch_inside` Acquire    | the reader's last use of the chain |
//! | `epoch` | `advance` Release               | `open` Acquire            | a section in the new epoch sees the new chain |
//! | `wake`  | `changed` Release, SeqCst fence | `wait` SeqCst fence, Acquire | either the reader sees the waiter, or the waiter sees that the reader left |
//! | `defer` | `push` Release                  | `work_off` Acquire        | the deferred work itself |
//! | `use`   | `barrier::light` after the announcement | `barrier::heavy` in `advance` | either the reader sees that the hook is to be passed by, or the writer sees the reader in it |
//! | `name`  | `open` Release                  | `Scope::includes` Acquire | which head a section works on, or that it announces |

use crate::guard::{self, Front, NO_OBSERVER, Record};
use crate::sys::{barrier, futex, thread};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicU64, Ordering, fence};

#[repr(align(64))]
pub(crate) struct Line<T>(T);

/// One epoch. The lowest bit, in a record, says that more than the epoch is to be looked at when the
/// section ends: see [`guard::LOOK`].
const EPOCH_ONE: u64 = 2;

pub(crate) static EPOCH: Line<AtomicU64> = Line(AtomicU64::new(EPOCH_ONE));

/// Changes whenever somebody who waits should look again.
static CHANGES: AtomicU32 = AtomicU32::new(0);
static WAITERS: AtomicU32 = AtomicU32::new(0);

/// How many forks lie between this process and the one that began. Who waits may be the one that forks, in a
/// release that it calls: in the child its waiting does not count any more.
static FORKS: AtomicU32 = AtomicU32::new(0);

fn forks() -> u32 {
    // ORDERING [none]: Relaxed. Changes while there is one thread.
    FORKS.load(Ordering::Relaxed)
}

/// In a fork child: nobody waits.
pub(crate) fn forked() {
    // ORDERING [none]: Relaxed. There is one thread.
    WAITERS.store(0, Ordering::Relaxed);
    // ORDERING [none]: Relaxed. As above.
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// The point in time from which on a section sees a publication.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Ticket(u64);

/// An open read section, in which every hook is announced before it is called. Ends when dropped.
pub(crate) struct Section {
    record: &'static Record,
    /// False where an outer section of this thread is open anyway.
    outermost: bool,
    /// The interceptors that the outer section had entered.
    entered: u64,
}

/// An open read section on the head that it names, which has one hook, or several that are announced as
/// usual. Ends when dropped.
pub(crate) struct Brief {
    record: &'static Record,
}

/// Begins a read section for an allocation call; `None` where this thread's calls go to the
/// backend: inside a callback, and while suspended.
///
/// `frame` is the stack pointer of the entry point's caller.
#[inline(always)]
pub(crate) fn enter(record: &'static Record, frame: usize) -> Option<Section> {
    // ORDERING [none]: Relaxed. Written by this thread.
    let word = record.word.load(Ordering::Relaxed);
    if word != 0 && !(was_abandoned(record, word, frame) && record.suspensions() == 0) {
        return None;
    }
    Some(open_announcing(record, frame))
}

/// As [`enter`] for a thread that is at rest, on the head that `in_force` holds. `None`: any other thread, or
/// the head has just changed; [`enter`] finds out the rest.
#[inline(always)]
pub(crate) fn enter_briefly(
    record: &'static Record,
    frame: usize,
    in_force: &AtomicPtr<Front>,
) -> Option<(Brief, *mut Front)> {
    // ORDERING [none]: Relaxed. Written by this thread.
    if record.word.load(Ordering::Relaxed) != 0 {
        return None;
    }
    // ORDERING [none]: Relaxed. Looked at again below.
    let head = in_force.load(Ordering::Relaxed);
    let section = open(record, frame, head);
    // ORDERING [publish]: Acquire. The hooks of the head. Other end: `chain::publish`.
    if !core::ptr::eq(in_force.load(Ordering::Acquire), head) {
        give_up(section);
        return None;
    }
    Some((section, head))
}

/// The head has changed while the section began.
#[cold]
#[inline(never)]
fn give_up(section: Brief) {
    drop(section);
}

/// Begins a read section of a function of the interface, which calls no callback in it.
#[inline(always)]
pub(crate) fn enter_here(record: &'static Record) -> Section {
    enter_anyhow(record, crate::sys::tls::stack_pointer())
}

/// Begins a read section whatever the thread is doing: for writers, and for the free of an
/// owned block inside a callback. One that is open already is continued.
///
/// `frame` is as for [`enter`].
pub(crate) fn enter_anyhow(record: &'static Record, frame: usize) -> Section {
    // ORDERING [none]: Relaxed. Written by this thread.
    let word = record.word.load(Ordering::Relaxed);
    if guard::is_section(word) && !was_abandoned(record, word, frame) {
        // ORDERING [none]: Relaxed. Written by this thread.
        let entered = record.entered.load(Ordering::Relaxed);
        return Section { record, outermost: false, entered };
    }
    open_announcing(record, frame)
}

/// A signal handler of this thread that comes between the first two stores opens and closes sections of its
/// own, and leaves a newer epoch behind: one that our load of the chain, which comes later, has seen. After
/// the second it finds the thread inside. Who looks before the third sees another head, whose section is
/// over, and is a writer that our look at the head in force will not miss.
#[inline(always)]
fn open(record: &'static Record, frame: usize, head: *mut Front) -> Brief {
    // ORDERING [epoch]: Acquire. A new epoch implies the new chain. Other end: `advance`.
    let epoch = EPOCH.0.load(Ordering::Acquire);
    // ORDERING [leave]: Release. What former sections did is before it, for who sees this epoch instead
    // of their end. Other end: `epoch_inside`.
    record.epoch.store(epoch, Ordering::Release);
    // ORDERING [leave]: Release. The epoch before it. `light` puts it before our load of the chain.
    record.word.store(frame, Ordering::Release);
    // ORDERING [name]: Release. What was announced before, and the end of former sections. `light` puts it before
    // our load of the chain. Other end: `Scope::includes`.
    record.head.store(head, Ordering::Release);
    if barrier::is_special() {
        open_with_fence(record, epoch);
    }
    barrier::light_unfenced();
    Brief { record }
}

/// The end of such a section looks at the epoch behind a fence.
#[cold]
fn open_with_fence(record: &Record, epoch: u64) {
    // ORDERING [leave]: Release. As in `open`.
    record.epoch.store(epoch | guard::LOOK, Ordering::Release);
    barrier::light();
}

/// A section that announces each hook; so far it is in none.
#[inline(always)]
fn open_announcing(record: &'static Record, frame: usize) -> Section {
    // A signal handler that comes next leaves an observer here, which costs a wait and no more.
    // ORDERING [name]: Relaxed. The store of the head in `open` is behind it.
    record.inside.store(NO_OBSERVER, Ordering::Relaxed);
    core::mem::forget(open(record, frame, core::ptr::null_mut()));
    Section { record, outermost: true, entered: 0 }
}

/// For entry stubs that have opened a section as `open` does, and end it as `close` does.
#[cfg(target_arch = "x86_64")]
pub(crate) mod stub {
    use super::*;

    /// The open section that a stub has begun.
    ///
    /// # Safety
    ///
    /// It is this thread's, and whoever began it leaves it to us.
    pub(crate) unsafe fn section(record: &'static Record) -> Brief {
        Brief { record }
    }

    /// A stub's section is not what it seemed: its head has changed, or more is to be looked at.
    pub(crate) extern "C" fn give_up(record: &Record) {
        // As `open` has it where readers must use a fence: then `close` would not do.
        // ORDERING [none]: Relaxed. Written by this thread.
        super::left_with(record, record.epoch.load(Ordering::Relaxed));
    }

    /// A stub's section, which it has ended, was entered in another epoch than it ended in.
    pub(crate) extern "C" fn left_with(record: &Record, epoch: u64) {
        super::left_with(record, epoch);
    }
}

impl Brief {
    /// The call will announce each hook, and pass by those that are being unregistered.
    #[inline(always)]
    pub(crate) fn announcing(self) -> Section {
        let record = self.record;
        core::mem::forget(self);
        // ORDERING [name]: Relaxed. The store of the head is behind it.
        record.inside.store(NO_OBSERVER, Ordering::Relaxed);
        // ORDERING [name]: Release. What was announced is before it. Other end: `Scope::includes`.
        record.head.store(core::ptr::null_mut(), Ordering::Release);
        Section { record, outermost: true, entered: 0 }
    }

    /// The head that it names.
    #[cfg(target_arch = "x86_64")]
    pub(crate) fn front(&self) -> *mut Front {
        // ORDERING [none]: Relaxed. Written by this thread.
        self.record.head.load(Ordering::Relaxed)
    }

    /// The thread whose section it is.
    #[inline(always)]
    pub(crate) fn record(&self) -> &'static Record {
        self.record
    }
}

impl Drop for Brief {
    /// Nothing was suspended when it began; if something is by now, `left_with` finds out.
    #[inline(always)]
    fn drop(&mut self) {
        close(self.record, 0);
    }
}

impl Drop for Section {
    #[inline(always)]
    fn drop(&mut self) {
        // ORDERING [use]: Release. The end of all callbacks since it began. Other end: `Scope::includes`.
        self.record.entered.store(self.entered, Ordering::Release);
        if self.outermost {
            close(self.record, self.record.suspensions());
        }
    }
}

#[inline(always)]
fn close(record: &Record, rest: usize) {
    // Read before the end: a signal handler's sections after it may store others.
    // ORDERING [none]: Relaxed. Written by this thread.
    let epoch = record.epoch.load(Ordering::Relaxed);
    // ORDERING [leave]: Release. Our last use of the chain before it. Other end: `epoch_inside`.
    record.word.store(rest, Ordering::Release);
    barrier::light_unfenced();
    // ORDERING [epoch]: Relaxed. Only whether it changed. `light` keeps it after the store.
    if EPOCH.0.load(Ordering::Relaxed) != epoch {
        left_with(record, epoch);
    }
}

/// A section ended during which the epoch changed, or hooks were suspended, or that was entered with a fence.
#[cold]
#[inline(never)]
fn left_with(record: &Record, epoch: u64) {
    // ORDERING [leave]: Release. Whoever reads it, and not the store in `close`, sees our last use too.
    record.word.store(record.suspensions(), Ordering::Release);
    // ORDERING [enter]: SeqCst. Our leaving before our look at the epoch: `light`, for who did without it. Other
    // end: `barrier::heavy`.
    fence(Ordering::SeqCst);
    // ORDERING [epoch]: Relaxed. Only whether it changed.
    if EPOCH.0.load(Ordering::Relaxed) != epoch & !guard::LOOK {
        left();
    }
    let hurry = barrier::hurried();
    if hurry != 0 && record.may_give_way(hurry) {
        thread::give_way();
    }
}

/// Whether the open section was left without being ended: by longjmp, by an exception, by
/// pthread_exit, or by a vfork child that ended in a callback. Its frame is gone then: the
/// stack pointer has come back to where it was entered, or beyond.
#[cold]
fn was_abandoned(record: &Record, word: usize, frame: usize) -> bool {
    if !guard::is_section(word) || frame < word || thread::on_signal_stack() {
        return false;
    }
    abandon(record);
    true
}

/// Ends a section of this thread whose call will not return.
pub(crate) fn abandon(record: &Record) {
    // ORDERING [none]: Relaxed. Written by this thread; it was on the frames that are gone.
    record.inner.store(core::ptr::null_mut(), Ordering::Relaxed);
    // ORDERING [use]: Release. Had it been counting a block, it would have gone on.
    record.settling.store(false, Ordering::Release);
    // ORDERING [none]: Relaxed. Written by this thread.
    record.polling.store(false, Ordering::Relaxed);
    record.describe_array(0, 0);
    // ORDERING [use]: Release. Whatever the abandoned call did is over.
    record.entered.store(0, Ordering::Release);
    // ORDERING [leave]: Release. As above.
    record.word.store(record.suspensions(), Ordering::Release);
    left();
}

/// A section ended during which the epoch changed. Our look at the queues is behind the fence of `changed`: who
/// has their items in hand meanwhile sees the change.
#[cold]
fn left() {
    changed();
    poll();
}

/// Wakes all who wait for what the caller has just done.
pub(crate) fn changed() {
    // ORDERING [wake]: Release. What was done, before the number that says so. Other ends: `wait`, `poll`.
    CHANGES.fetch_add(1, Ordering::Release);
    // ORDERING [wake]: SeqCst. The change before our look at WAITERS, and at the queues in `left`. Other ends:
    // `wait`, `poll`.
    fence(Ordering::SeqCst);
    // ORDERING [wake]: Relaxed. The fence is before it.
    if WAITERS.load(Ordering::Relaxed) != 0 {
        futex::wake_all(&CHANGES);
    }
}

/// Begins a new epoch after a publication. Sections that do not see it are older than the ticket.
pub(crate) fn advance() -> Ticket {
    // ORDERING [epoch]: Release. The publication before the epoch, and before later ones: additions go on with
    // what was released. Other end: `open`.
    let before = EPOCH.0.fetch_add(EPOCH_ONE, Ordering::Release);
    barrier::heavy();
    Ticket(before.wrapping_add(EPOCH_ONE))
}

/// Which of the older sections matter.
#[derive(Clone, Copy)]
pub(crate) enum Scope {
    /// All: for memory that they may read.
    All,
    /// Those that are in this observer (its address).
    Observer(usize),
    /// Those that are in this interceptor (its address), or have entered one with this bit.
    Interceptor(usize, u64),
    /// The same, and those that are just counting a block.
    Settling(usize, u64),
}

impl Scope {
    /// A number of the kind and the bit's, and the address.
    fn pack(self) -> (u32, u64) {
        let with = |kind: u32, bit: u64| kind | bit.trailing_zeros() << 8;
        match self {
            Scope::All => (0, 0),
            Scope::Observer(address) => (1, address as u64),
            Scope::Interceptor(address, bit) => (with(2, bit), address as u64),
            Scope::Settling(address, bit) => (with(3, bit), address as u64),
        }
    }

    fn unpack(kind: u32, address: u64) -> Scope {
        let (address, bit) = (address as usize, 1u64.checked_shl(kind >> 8).unwrap_or(0));
        match kind & 0xff {
            0 => Scope::All,
            1 => Scope::Observer(address),
            2 => Scope::Interceptor(address, bit),
            _ => Scope::Settling(address, bit),
        }
    }

    fn includes(self, record: &Record) -> bool {
        // ORDERING [name]: Acquire. Before the look at what was announced. Other ends: `open`, `announcing`.
        let head = record.head.load(Ordering::Acquire);
        // SAFETY: null, or a head, and heads are never unmapped.
        let only = unsafe { head.as_ref() }.map_or(NO_OBSERVER, Front::only);
        // ORDERING [use]: Acquire. Other end: `announce_observer`.
        let inside = || if only == NO_OBSERVER { record.inside.load(Ordering::Acquire) } else { only };
        // ORDERING [use]: Acquire. Other end: `announce_interceptor`.
        let entered = || record.entered.load(Ordering::Acquire);
        let in_it = |address, bit| inside() == address || entered() & bit != 0;
        match self {
            Scope::All => true,
            Scope::Observer(address) => in_it(address, 0),
            Scope::Interceptor(address, bit) => in_it(address, bit),
            // ORDERING [use]: Acquire. Other end: `List::lose`.
            Scope::Settling(address, bit) => in_it(address, bit) || record.settling.load(Ordering::Acquire),
        }
    }
}

/// Announces that this thread is about to call an observer. Look afterwards whether it is to be
/// passed by. The former one has returned.
#[inline(always)]
pub(crate) fn announce_observer(record: &Record, observer: usize) {
    // ORDERING [use]: Release. The end of the former callback. `light` puts it before our look.
    record.inside.store(observer, Ordering::Release);
    barrier::light();
}

/// Takes [`announce_observer`] back: the observer has returned.
#[inline(always)]
pub(crate) fn retract_observer(record: &Record) {
    // ORDERING [use]: Release. The end of the callback. Other end: `Scope::includes`.
    record.inside.store(NO_OBSERVER, Ordering::Release);
}

/// Announces that this thread is about to call an interceptor. Look afterwards whether it is to
/// be passed by, and if so give the result to [`retract_interceptor`].
#[inline(always)]
pub(crate) fn announce_interceptor(record: &Record, bit: u64) -> u64 {
    // ORDERING [none]: Relaxed. Written by this thread.
    let before = record.entered.load(Ordering::Relaxed);
    // ORDERING [use]: Relaxed. `light` puts it before our look at the hook.
    record.entered.store(before | bit, Ordering::Relaxed);
    barrier::light();
    before
}

/// Takes [`announce_interceptor`] back: the interceptor has returned, or was not called.
#[inline(always)]
pub(crate) fn retract_interceptor(record: &Record, before: u64) {
    // ORDERING [use]: Release. The end of the callback. Other end: `Scope::includes`.
    record.entered.store(before, Ordering::Release);
}

/// Whether every section in the scope that may not have seen the publication has ended.
pub(crate) fn is_over(ticket: Ticket, scope: Scope) -> bool {
    guard::records().all(|record| has_ended(record, ticket, scope))
}

/// As [`is_over`], for the sections of all threads but that of `mine`.
pub(crate) fn is_over_elsewhere(ticket: Ticket, scope: Scope, mine: &Record) -> bool {
    guard::records().all(|record| core::ptr::eq(record, mine) || has_ended(record, ticket, scope))
}

fn has_ended(record: &Record, ticket: Ticket, scope: Scope) -> bool {
    let word = epoch_inside(record);
    word >= ticket.0 || !scope.includes(record) || record.is_dead() || epoch_inside(record) != word
}

/// The epoch of the record's open section; the largest number where none is open. Without `LOOK`, which comes into the
/// number while the section is open: who looks twice would take that for another section.
fn epoch_inside(record: &Record) -> u64 {
    // ORDERING [leave]: Acquire. The reader's last use of its chain, and the epoch that goes with the word.
    // Other ends: `open`, `close`.
    if !guard::is_section(record.word.load(Ordering::Acquire)) {
        return u64::MAX;
    }
    // ORDERING [leave]: Acquire. Where a later section has stored it: the end of the former. Other end: `open`.
    record.epoch.load(Ordering::Acquire) & !guard::LOOK
}

/// The epoch of the oldest open section; the largest number where none is open.
fn oldest() -> u64 {
    // ORDERING [none]: Relaxed. Whether a thread is dead is asked only of older sections.
    let now = EPOCH.0.load(Ordering::Relaxed);
    let open = guard::records().map(|record| (record, epoch_inside(record)));
    let living = open.filter(|&(record, epoch)| epoch >= now || !record.is_dead());
    living.map(|(_, epoch)| epoch).min().unwrap_or(u64::MAX)
}

/// Waits until `done` answers true, asking again whenever a section ends that delays somebody;
/// false if `deadline_ns` (monotonic) passes before. Does the work that is waited for itself, if
/// there is any: what it calls may take its time, and is nobody else's concern.
pub(crate) fn wait(
    deadline_ns: Option<u64>,
    work: Option<&Deferred>,
    done: &mut dyn FnMut() -> bool,
) -> bool {
    const LOOK_AGAIN_NS: u64 = 20_000_000;
    // Who is waited for may have been preempted, behind threads that go on: these are asked to give way. Not
    // for longer than this, for a callback may never return.
    const HURRY_NS: u64 = 100_000_000;
    let mut is_done = || {
        if let Some(item) = work {
            while item.is_in_hand() && item.is_due() {
                item.perform();
                changed();
            }
        }
        done()
    };
    let mut result = false;
    for _ in 0..64 {
        result = is_done();
        if result {
            break;
        }
        core::hint::spin_loop();
    }
    // ORDERING [wake]: Relaxed. The fence is behind it.
    WAITERS.fetch_add(1, Ordering::Relaxed);
    // ORDERING [wake]: SeqCst. Our being there before the kernel's look at CHANGES. Other end: `changed`.
    fence(Ordering::SeqCst);
    barrier::hurry(true);
    let hurry_until = thread::monotonic_ns().saturating_add(HURRY_NS);
    let mut hurried = true;
    let process = forks();
    while !result {
        // ORDERING [wake]: Acquire. What was done, before our look at it. Other end: `changed`.
        let seen = CHANGES.load(Ordering::Acquire);
        result = is_done();
        if result {
            break;
        }
        // Once in a while without being woken: a thread that dies in its section wakes nobody.
        let mut nap = LOOK_AGAIN_NS;
        if let Some(deadline) = deadline_ns {
            let now = thread::monotonic_ns();
            if now >= deadline {
                break;
            }
            nap = nap.min(deadline - now);
        }
        futex::wait(&CHANGES, seen, nap);
        if work.is_none() {
            // What is waited for may be nobody's: a thread that dies in its section does no work either.
            poll();
        }
        if hurried && thread::monotonic_ns() > hurry_until {
            hurried = false;
            if forks() == process {
                barrier::hurry(false);
            }
        }
    }
    if forks() == process {
        if hurried {
            barrier::hurry(false);
        }
        // ORDERING [none]: Relaxed. Nothing is published by waiting less.
        WAITERS.fetch_sub(1, Ordering::Relaxed);
    }
    if let Some(item) = work {
        item.put_down();
    }
    poll();
    result
}

/// Work that is done once a grace period is over. Embedded in what it is about.
#[repr(C)]
pub(crate) struct Deferred {
    /// The next in the queue; in hand, itself.
    next: AtomicPtr<Deferred>,
    ticket: AtomicU64,
    run: AtomicPtr<()>,
    scope: AtomicU32,
    scope_value: AtomicU64,
    /// Whether a thread waits for this work: then that thread has it in hand, and no queue.
    awaited: AtomicBool,
}

type Work = unsafe fn(*mut Deferred);

impl Deferred {
    pub(crate) const fn new() -> Deferred {
        Deferred {
            next: AtomicPtr::new(core::ptr::null_mut()),
            ticket: AtomicU64::new(0),
            run: AtomicPtr::new(core::ptr::null_mut()),
            scope: AtomicU32::new(0),
            scope_value: AtomicU64::new(0),
            awaited: AtomicBool::new(false),
        }
    }
}

/// Deferred work, latest first.
struct Queue(AtomicPtr<Deferred>);

/// What waits for all older sections: memory. Looked through only when the oldest section is
/// another than last time, so that a callback that never returns makes nobody pay but memory.
static MEMORY: Queue = Queue(AtomicPtr::new(core::ptr::null_mut()));
static MEMORY_LOOKED: AtomicU64 = AtomicU64::new(u64::MAX);
/// What waits for some: removals.
static REMOVALS: Queue = Queue(AtomicPtr::new(core::ptr::null_mut()));

impl Deferred {
    fn prepare(&self, ticket: Ticket, scope: Scope, run: Work) {
        // ORDERING [none]: Relaxed. Published by `push`.
        self.ticket.store(ticket.0, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. Published by `push`.
        self.run.store(run as *mut (), Ordering::Relaxed);
        let (kind, value) = scope.pack();
        // ORDERING [none]: Relaxed. Published by `push`.
        self.scope.store(kind, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. Published by `push`.
        self.scope_value.store(value, Ordering::Relaxed);
    }

    /// The calling thread will [`wait`] for this work, which is deferred next.
    pub(crate) fn take_in_hand(&self) {
        // ORDERING [none]: Relaxed. Looked at by this thread, and by whom `push` gives the work.
        self.awaited.store(true, Ordering::Relaxed);
    }

    /// In a fork child, where who had the work in hand may be gone.
    pub(crate) fn lose(&self) {
        // ORDERING [none]: Relaxed. There is one thread.
        self.awaited.store(false, Ordering::Relaxed);
    }

    /// Leaves work that was not awaited to its end to whoever comes.
    pub(crate) fn put_down(&self) {
        let left = self.is_in_hand();
        // ORDERING [none]: Relaxed. As above.
        self.awaited.store(false, Ordering::Relaxed);
        if left {
            REMOVALS.push(self.in_hand());
        }
    }

    /// Work that is in hand, as it was deferred: a pointer made of `self` would not lead to what it is embedded in.
    fn in_hand(&self) -> *mut Deferred {
        // ORDERING [none]: Relaxed. Written by this thread.
        self.next.load(Ordering::Relaxed)
    }

    fn is_in_hand(&self) -> bool {
        // ORDERING [none]: Relaxed. Written by this thread.
        self.awaited.load(Ordering::Relaxed) && !self.run.load(Ordering::Relaxed).is_null()
    }

    /// Does work that is in hand and due. It may be deferred again by that.
    fn perform(&self) {
        // ORDERING [none]: Relaxed. Written by this thread.
        let run = self.run.swap(core::ptr::null_mut(), Ordering::Relaxed);
        // SAFETY: `defer` stored a `Work`.
        let run = unsafe { core::mem::transmute::<*mut (), Work>(run) };
        // SAFETY: the grace period of its ticket is over, which is what it waited for.
        unsafe { run(self.in_hand()) };
    }

    fn is_due(&self) -> bool {
        // ORDERING [none]: Relaxed. Ordered by the swap in `work_off`.
        let ticket = Ticket(self.ticket.load(Ordering::Relaxed));
        // ORDERING [none]: Relaxed. As above.
        let kind = self.scope.load(Ordering::Relaxed);
        // ORDERING [none]: Relaxed. As above.
        is_over(ticket, Scope::unpack(kind, self.scope_value.load(Ordering::Relaxed)))
    }
}

/// Has `run` called on `item` when the grace period of `ticket` is over, by any thread.
///
/// # Safety
///
/// `item` lives until then and is in no queue; `run` may be called with it.
pub(crate) unsafe fn defer(item: *mut Deferred, ticket: Ticket, scope: Scope, run: Work) {
    // SAFETY: alive by the caller's contract.
    let work = unsafe { &*item };
    work.prepare(ticket, scope, run);
    // ORDERING [none]: Relaxed. See `take_in_hand`.
    if work.awaited.load(Ordering::Relaxed) {
        // ORDERING [none]: Relaxed. Read by this thread.
        work.next.store(item, Ordering::Relaxed);
    } else {
        REMOVALS.push(item);
    }
}

/// As [`defer`], for memory that any older section may read: runs no code of the program.
///
/// # Safety
///
/// As [`defer`].
pub(crate) unsafe fn defer_memory(item: *mut Deferred, ticket: Ticket, run: Work) {
    // SAFETY: alive by the caller's contract.
    unsafe { &*item }.prepare(ticket, Scope::All, run);
    MEMORY.push(item);
}

impl Queue {
    fn push(&self, item: *mut Deferred) {
        // SAFETY: queued items live until they are run.
        let node = unsafe { &*item };
        // ORDERING [none]: Relaxed. The exchange below checks it.
        let mut first = self.0.load(Ordering::Relaxed);
        loop {
            // ORDERING [none]: Relaxed. Published by the exchange.
            node.next.store(first, Ordering::Relaxed);
            // ORDERING [defer]: Release and Relaxed. The item before its place, also for who finds it behind
            // items that were pushed later: exchanges go on with what was released. Other end: `work_off`.
            match self.0.compare_exchange_weak(first, item, Ordering::Release, Ordering::Relaxed) {
                Ok(_) => return,
                Err(now) => first = now,
            }
        }
    }

    fn is_empty(&self) -> bool {
        // ORDERING [none]: Relaxed. A first look; who pushes looks again itself.
        self.0.load(Ordering::Relaxed).is_null()
    }

    /// Runs what is due, at most `most` of it, and puts the rest back before that. Returns whether
    /// anything ran, and whether something was put back.
    fn work_off(&self, most: usize) -> (bool, bool) {
        // ORDERING [defer]: Acquire. The items. Other end: `push`.
        let mut item = self.0.swap(core::ptr::null_mut(), Ordering::Acquire);
        let mut due: *mut Deferred = core::ptr::null_mut();
        let (mut count, mut put_back) = (0, false);
        while !item.is_null() {
            // SAFETY: taken from the queue by us alone, and alive until it is run.
            let node = unsafe { &*item };
            // ORDERING [none]: Relaxed. Ordered by the swap above.
            let next = node.next.load(Ordering::Relaxed);
            if count < most && node.is_due() {
                // ORDERING [none]: Relaxed. Ours alone.
                node.next.store(due, Ordering::Relaxed);
                due = item;
                count += 1;
            } else {
                self.push(item);
                put_back = true;
            }
            item = next;
        }
        while !due.is_null() {
            // SAFETY: as above.
            let node = unsafe { &*due };
            // ORDERING [none]: Relaxed. Ours alone.
            let next = node.next.load(Ordering::Relaxed);
            // ORDERING [none]: Relaxed. Ordered by the swap above.
            let run = node.run.load(Ordering::Relaxed);
            // SAFETY: `defer` stored a `Work`.
            let run = unsafe { core::mem::transmute::<*mut (), Work>(run) };
            // SAFETY: the grace period of its ticket is over, which is what it waited for.
            unsafe { run(due) };
            due = next;
        }
        (count != 0, put_back)
    }

    /// Whether the item is in the queue. For a process with one thread.
    fn holds(&self, item: *const Deferred) -> bool {
        // ORDERING [none]: Relaxed. There is one thread.
        let mut at = self.0.load(Ordering::Relaxed);
        // SAFETY: queued items live until they are run.
        while let Some(node) = unsafe { at.as_ref() } {
            if core::ptr::eq(at, item) {
                return true;
            }
            // ORDERING [none]: Relaxed. There is one thread.
            at = node.next.load(Ordering::Relaxed);
        }
        false
    }
}

/// Whether a removal is still queued. For fork children: one that a thread of the parent had in
/// its hands is lost.
pub(crate) fn is_queued(item: *const Deferred) -> bool {
    REMOVALS.holds(item)
}

/// Calls `visit` with every removal that is queued to be done by `run`. For fork children.
pub(crate) fn for_each_queued(run: Work, visit: &mut dyn FnMut(*const Deferred)) {
    // ORDERING [none]: Relaxed. There is one thread.
    let mut at = REMOVALS.0.load(Ordering::Relaxed);
    // SAFETY: queued items live until they are run.
    while let Some(node) = unsafe { at.as_ref() } {
        // ORDERING [none]: Relaxed. There is one thread.
        if core::ptr::eq(node.run.load(Ordering::Relaxed), run as *mut ()) {
            visit(at);
        }
        // ORDERING [none]: Relaxed. There is one thread.
        at = node.next.load(Ordering::Relaxed);
    }
}

/// What is to be done after deferred work: see [`after_deferred`].
static AFTER: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Sets what [`poll`] does after it ran deferred work.
pub(crate) fn after_deferred(work: fn()) {
    // ORDERING [none]: Relaxed. A function, which is there before the program is.
    AFTER.store(work as *mut (), Ordering::Relaxed);
}

fn after() {
    // ORDERING [none]: Relaxed. As above.
    let work = AFTER.load(Ordering::Relaxed);
    if !work.is_null() {
        // SAFETY: `after_deferred` stored a function of this type.
        let work = unsafe { core::mem::transmute::<*mut (), fn()>(work) };
        work();
    }
}

/// Runs the deferred work that is due. Does nothing inside a section, nor inside itself: what ends
/// a section in the course of that work leaves the rest to it.
pub(crate) fn poll() {
    if MEMORY.is_empty() && REMOVALS.is_empty() {
        return;
    }
    let Some(record) = guard::record() else { return };
    // ORDERING [none]: Relaxed. Written by this thread.
    if record.is_inside() || record.polling.swap(true, Ordering::Relaxed) {
        return;
    }
    // A section may end where its call has not looked at errno yet.
    let errno = record.errno();
    let mut rounds = 0;
    loop {
        // ORDERING [wake]: Acquire. What was done, before our look whether work is due. Other end: `changed`.
        let seen = CHANGES.load(Ordering::Acquire);
        // One at a time: it may call a release, which may take its time, while other threads work
        // off the rest.
        let (ran, put_back) = REMOVALS.work_off(1);
        let oldest = oldest();
        // ORDERING [none]: Relaxed. What was pushed since is younger than any open section.
        let look = oldest == u64::MAX || MEMORY_LOOKED.swap(oldest, Ordering::Relaxed) != oldest;
        let (freed, kept) = if look { MEMORY.work_off(usize::MAX) } else { (false, false) };
        if ran || freed {
            changed();
            after();
        }
        rounds += 1;
        // What ran may have deferred more. And whoever left its section while we had the items in
        // hand found the queue empty: its change is visible to who put them back after it looked.
        // ORDERING [wake]: SeqCst. The items' return before our look. Other end: `changed`.
        fence(Ordering::SeqCst);
        // ORDERING [wake]: Relaxed. Only whether it changed: the next round acquires. The fence is before it.
        let look_again = (put_back || kept) && CHANGES.load(Ordering::Relaxed) != seen && rounds < 16;
        if !ran && !freed && !look_again {
            break;
        }
    }
    // ORDERING [none]: Relaxed. Written by this thread.
    record.polling.store(false, Ordering::Relaxed);
    record.set_errno(errno);
}
