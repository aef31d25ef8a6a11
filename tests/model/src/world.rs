//! What an execution of a model consists of besides threads: loom's objects by address, memory
//! and who may still look at it, and the mutation that is being tried.

use loom::cell;
use loom::sync::atomic::AtomicU64;
use loom::thread::ThreadId;
use std::alloc::Layout;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::marker::PhantomData;
use std::panic::Location;
use std::rc::Rc;
use std::sync::atomic::Ordering;

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) enum Kind {
    Load,
    Store,
    Update,
    Failure,
    Fence,
}

/// A place in the library's text: file, line, kind of access, ordering as written.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Site {
    pub(crate) file: &'static str,
    pub(crate) line: u32,
    pub(crate) kind: Kind,
    pub(crate) order: &'static str,
}

/// One site, weakened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Mutation {
    pub(crate) site: Site,
    pub(crate) to: Ordering,
}

/// Memory. Its atomics are made with it, for loom to know since when they are there; which
/// address each stands for is seen when it is first used.
struct Block {
    len: usize,
    cell: Rc<cell::UnsafeCell<()>>,
    gone: bool,
    layout: Layout,
    spare: Vec<Rc<AtomicU64>>,
}

/// An atomic's value is loom's plus the value with which it began.
#[derive(Clone)]
pub(crate) struct Atom {
    pub(crate) loom: Rc<AtomicU64>,
    pub(crate) first: u64,
}

/// Which of the two ways `sys::barrier` goes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Variant {
    /// Readers execute no fence; writers interrupt them.
    Membarrier,
    /// membarrier(2) is refused: both sides are fences.
    Fenced,
}

/// What happened before a moment of one thread, to be known to another. Of all that loom has, its lazy
/// statics alone carry that without being a place where threads may be switched.
type Snapshot = loom::lazy_static::Lazy<()>;

#[derive(Default)]
pub(crate) struct World {
    atoms: HashMap<usize, Atom>,
    cells: HashMap<usize, Rc<cell::UnsafeCell<()>>>,
    blocks: BTreeMap<usize, Block>,
    words: HashMap<ThreadId, usize>,
    stacks: HashMap<ThreadId, usize>,
    numbers: HashMap<ThreadId, u32>,
    begun: bool,
    pub(crate) failure: Option<String>,
    pub(crate) futex: Option<Rc<(loom::sync::Mutex<()>, loom::sync::Condvar)>>,
    pub(crate) released: Vec<usize>,
    barrier: Option<Rc<AtomicU64>>,
    /// What each thread had done before the access that it is about to make.
    done: HashMap<ThreadId, &'static Snapshot>,
    /// What the callers of membarrier(2) had done, in order; and how many of them each thread knows of.
    interrupts: Vec<&'static Snapshot>,
    taken: HashMap<ThreadId, usize>,
    snapshots: usize,
    /// Whether other threads go first when the next block is counted.
    pub(crate) pause_in_count: bool,
    /// Threads for which there is no memory.
    poor: HashSet<ThreadId>,
    /// Whether a signal handler comes, and leaves by longjmp, once the next block is counted.
    pub(crate) leave_after_count: bool,
    /// What a signal handler does that comes at the thread's next compiler fence.
    signals: HashMap<ThreadId, Box<dyn FnOnce()>>,
    /// Whether loom is told that fences do not commute, which it cannot see; what each of them then accesses.
    pub(crate) fences_meet: bool,
    fences: Option<Rc<AtomicU64>>,
    /// Whether a seccomp filter refuses membarrier(2) from now on.
    pub(crate) refuses_membarrier: bool,
    /// The thread number that the setup gives itself, to be another thread.
    pub(crate) disguise: Option<u32>,
    /// How many threads' records were prepared.
    pub(crate) prepared: u32,
    /// Threads that may end, by number, and whether they have.
    ends: HashMap<u32, Rc<AtomicU64>>,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::default());
    static STATICS: RefCell<BTreeMap<usize, u64>> = const { RefCell::new(BTreeMap::new()) };
    static MUTATION: RefCell<Option<Mutation>> = const { RefCell::new(None) };
    static SNAPSHOTS: RefCell<Vec<&'static Snapshot>> = const { RefCell::new(Vec::new()) };
    static VARIANT: Cell<Variant> = const { Cell::new(Variant::Membarrier) };
    static VISITED: RefCell<BTreeSet<Site>> = const { RefCell::new(BTreeSet::new()) };
}

pub(crate) fn with<R>(f: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with(|world| f(&mut world.borrow_mut()))
}

/// A new execution.
pub(crate) fn begin() {
    let old = WORLD.with(|world| world.replace(World::default()));
    let lines = take_trace();
    if std::env::var("MEMHOOK_TRACE").is_ok_and(|t| t == "all") {
        println!("{}\n", lines.join("\n"));
    }
    for (at, block) in &old.blocks {
        // SAFETY: allocated by `allocate` with this layout; the execution that used it is over.
        unsafe { std::alloc::dealloc(*at as *mut u8, block.layout) };
    }
    for (at, first) in STATICS.with(|s| s.borrow().clone()) {
        let atom = Atom { loom: Rc::new(AtomicU64::new(0)), first };
        with(|w| w.atoms.insert(at, atom));
    }
    with(|w| w.barrier = Some(Rc::new(AtomicU64::new(0))));
    with(|w| w.fences = Some(Rc::new(AtomicU64::new(0))));
    with(|w| w.begun = true);
    with(|w| w.futex = Some(Rc::new((loom::sync::Mutex::new(()), loom::sync::Condvar::new()))));
}

pub(crate) fn mutate(mutation: Option<Mutation>) {
    MUTATION.with(|m| *m.borrow_mut() = mutation);
}
pub(crate) fn take_visited() -> BTreeSet<Site> {
    VISITED.with(|v| std::mem::take(&mut *v.borrow_mut()))
}

pub(crate) fn set_variant(variant: Variant) {
    VARIANT.set(variant);
}
pub(crate) fn variant() -> Variant {
    VARIANT.get()
}

/// This thread's past, as it is now.
fn snapshot() -> &'static Snapshot {
    let number = with(|w| {
        w.snapshots += 1;
        w.snapshots - 1
    });
    let taken = SNAPSHOTS.with(|all| {
        let mut all = all.borrow_mut();
        if all.len() == number {
            all.push(Box::leak(Box::new(Snapshot { init: || (), _p: PhantomData })));
        }
        all[number]
    });
    taken.get();
    taken
}

/// Before each access of a thread: the interrupts that have come since its last one are full fences in it,
/// and whoever sends the next one finds what was done so far.
pub(crate) fn take_interrupts() {
    if variant() == Variant::Fenced || with(|w| w.barrier.is_none()) {
        return;
    }
    let me = loom::thread::current().id();
    let new = with(|w| {
        let all = w.interrupts.len();
        let known = w.taken.insert(me, all).unwrap_or(0);
        w.interrupts[known..].to_vec()
    });
    if !new.is_empty() {
        trace(Location::caller(), "interrupted", 0, 0);
        new.iter().for_each(|interrupt| _ = interrupt.get());
        loom::sync::atomic::fence(Ordering::AcqRel);
    }
    let done = snapshot();
    with(|w| w.done.insert(me, done));
}

/// A place where it matters whether an interrupt comes before it or after it: loom is told that the two do
/// not commute, which it cannot see. Nothing is read or written.
pub(crate) fn may_be_interrupted() {
    if variant() == Variant::Membarrier {
        take_interrupts();
        if let Some(barrier) = with(|w| w.barrier.clone()) {
            barrier.load(Ordering::Relaxed);
        }
    }
}

/// Before a fence, where the model says that fences meet. Nothing is read or written.
pub(crate) fn meet_fences() {
    if let Some(fences) = with(|w| w.fences.clone().filter(|_| w.fences_meet)) {
        // Never succeeds.
        let _ = fences.compare_exchange(1, 1, Ordering::Relaxed, Ordering::Relaxed);
    }
}

/// membarrier(2): a full fence in every other thread at this moment, which each is in between two accesses at.
/// What one of them did before it, the caller finds, but not the next of them: each has a moment of its own.
pub(crate) fn interrupt_all() {
    interrupt_others();
    loom::sync::atomic::fence(Ordering::Release);
}

/// The same where nothing is promised of the caller but that it finds what the others did.
pub(crate) fn interrupt_others() {
    take_interrupts();
    let barrier = with(|w| w.barrier.clone()).unwrap();
    trace(Location::caller(), "interrupt", 0, 0);
    // Never succeeds.
    let _ = barrier.compare_exchange(1, 1, Ordering::Relaxed, Ordering::Relaxed);
    take_interrupts();
    let before = snapshot();
    with(|w| w.done.values().copied().collect::<Vec<_>>()).iter().for_each(|done| _ = done.get());
    loom::sync::atomic::fence(Ordering::Acquire);
    let after = snapshot();
    let me = loom::thread::current().id();
    with(|w| {
        w.interrupts.push(before);
        w.taken.insert(me, w.interrupts.len());
        w.done.insert(me, after);
    });
}

/// A signal comes to this thread at its next compiler fence.
pub(crate) fn signal(handler: impl FnOnce() + 'static) {
    let me = loom::thread::current().id();
    with(|w| w.signals.insert(me, Box::new(handler)));
}

/// The handler of a signal that has come.
pub(crate) fn take_signal() {
    if with(|w| w.signals.is_empty()) {
        return;
    }
    let me = loom::thread::current().id();
    if let Some(handler) = with(|w| w.signals.remove(&me)) {
        handler();
    }
}

/// A thread with this number may end before the execution does.
pub(crate) fn is_mortal(number: u32) {
    let end = Rc::new(AtomicU64::new(0));
    with(|w| w.ends.insert(number, end));
}

/// The thread that runs here, which has this number, ends: it does nothing any more.
pub(crate) fn dies(number: u32) {
    take_interrupts();
    let end = with(|w| w.ends[&number].clone());
    end.store(1, Ordering::Release);
    take_interrupts();
}

/// What the kernel says of a thread. Who is told that it has ended finds all that it did: the kernel executes
/// a full barrier in a thread that ends before anybody can miss it.
pub(crate) fn is_dead(number: u32) -> bool {
    take_interrupts();
    with(|w| w.ends.get(&number).cloned()).is_some_and(|end| end.load(Ordering::Acquire) != 0)
}

/// Whether memory that was not given back stands there.
pub(crate) fn is_memory(at: *const u8) -> bool {
    with(|w| w.block(at as usize).is_some_and(|b| !b.gone))
}

/// The library's file that a place in the generated text stands for.
fn room(at: &'static Location<'static>) -> &'static str {
    at.file().rsplit_once("/out/").map_or("?", |(_, room)| room)
}

impl Mutation {
    /// From `file:line:kind:order:weaker`.
    pub(crate) fn parse(text: &str) -> Mutation {
        let parts: Vec<&str> = text.split(':').collect();
        let &[file, line, kind, order, to] = parts.as_slice() else { panic!("{text}") };
        let kinds = [Kind::Load, Kind::Store, Kind::Update, Kind::Failure, Kind::Fence];
        let kind = kinds.into_iter().find(|k| format!("{k:?}") == kind).unwrap();
        let orders =
            [Ordering::Relaxed, Ordering::Acquire, Ordering::Release, Ordering::AcqRel, Ordering::SeqCst];
        let find = |text| orders.into_iter().find(|&o| name(o) == text).unwrap();
        let file = file.to_owned().leak();
        Mutation {
            site: Site { file, line: line.parse().unwrap(), kind, order: name(find(order)) },
            to: find(to),
        }
    }
}

fn name(order: Ordering) -> &'static str {
    match order {
        Ordering::Relaxed => "Relaxed",
        Ordering::Acquire => "Acquire",
        Ordering::Release => "Release",
        Ordering::AcqRel => "AcqRel",
        _ => "SeqCst",
    }
}

pub(crate) fn visit(at: &'static Location<'static>, kind: Kind, order: Ordering) -> Ordering {
    if let Some(text) = with(|w| w.failure.take()) {
        panic!("{text}");
    }
    if kind != Kind::Failure {
        take_interrupts();
    }
    if order == Ordering::Relaxed {
        return order;
    }
    let file = room(at);
    // What a model itself does stands for the program.
    if file == "?" {
        return order;
    }
    let site = Site { file, line: at.line(), kind, order: name(order) };
    let to = MUTATION.with(|m| m.borrow().as_ref().filter(|m| m.site == site).map(|m| m.to));
    VISITED.with(|v| {
        if !v.borrow().contains(&site) {
            v.borrow_mut().insert(site);
        }
    });
    to.unwrap_or(order)
}

/// The block that holds the address, to be looked at.
fn look(at: usize) {
    let found = with(|w| w.block(at).map(|b| (b.cell.clone(), b.gone)));
    if let Some((cell, gone)) = found {
        assert!(!gone, "memory is used after it was given back");
        cell.with(|_| ());
    }
}

pub(crate) fn atom(at: usize, first: u64) -> Atom {
    look(at);
    if let Some(known) = with(|w| w.atoms.get(&at).cloned()) {
        return known;
    }
    // A static is there before any thread: where one is found only now, the model starts again.
    if with(|w| w.block(at).is_none())
        && STATICS.with(|s| s.borrow_mut().insert(at, first).is_none())
        && with(|w| w.begun)
    {
        panic!("{AGAIN}");
    }
    let spare = with(|w| w.block(at).map(|b| b.spare.pop().expect("a block with so many atomics")));
    let atom = Atom { loom: spare.unwrap_or_else(|| Rc::new(AtomicU64::new(0))), first };
    with(|w| w.atoms.insert(at, atom.clone()));
    atom
}

/// What an execution that found a new static ends with.
pub(crate) const AGAIN: &str = "a static was found late";

pub(crate) fn cell(at: usize) -> Rc<cell::UnsafeCell<()>> {
    take_interrupts();
    look(at);
    if let Some(known) = with(|w| w.cells.get(&at).cloned()) {
        return known;
    }
    let fresh = Rc::new(cell::UnsafeCell::new(()));
    with(|w| w.cells.insert(at, fresh.clone()));
    fresh
}

/// Touches memory as a reader does.
pub(crate) fn reads<T>(at: *const T) {
    take_interrupts();
    look(at as usize);
}

/// Whether this thread finds no memory from now on.
pub(crate) fn lack_memory(whether: bool) {
    let me = loom::thread::current().id();
    with(|w| if whether { w.poor.insert(me) } else { w.poor.remove(&me) });
}

pub(crate) fn is_poor() -> bool {
    let me = loom::thread::current().id();
    with(|w| w.poor.contains(&me))
}

/// The same of what a pointer leads to, if it does.
pub(crate) fn looked_at<T>(at: *mut T) -> *mut T {
    if !at.is_null() {
        reads(at);
    }
    at
}

pub(crate) fn allocate(bytes: usize, align: usize) -> *mut u8 {
    let layout = Layout::from_size_align(bytes.max(1), align).unwrap();
    // SAFETY: not zero-sized.
    let at = unsafe { std::alloc::alloc_zeroed(layout) };
    let cell = Rc::new(cell::UnsafeCell::new(()));
    let spare = (0..if align == 4096 { 160 } else { 36 }).map(|_| Rc::new(AtomicU64::new(0))).collect();
    with(|w| w.blocks.insert(at as usize, Block { len: layout.size(), cell, gone: false, layout, spare }));
    at
}

pub(crate) fn give_back(at: *mut u8) {
    if at.is_null() {
        return;
    }
    let cell = with(|w| {
        let block = w.blocks.get_mut(&(at as usize)).expect("not a block");
        assert!(!block.gone, "given back twice");
        block.gone = true;
        block.cell.clone()
    });
    // Whoever looked at it must have done so before.
    cell.with_mut(|_| ());
}

impl World {
    fn block(&mut self, at: usize) -> Option<&mut Block> {
        self.blocks.range_mut(..=at).next_back().filter(|(from, b)| at < **from + b.len).map(|(_, b)| b)
    }
    pub(crate) fn word(&mut self) -> *mut u8 {
        *self.words.entry(loom::thread::current().id()).or_insert(0) as *mut u8
    }
    pub(crate) fn set_word(&mut self, to: *mut u8) {
        self.words.insert(loom::thread::current().id(), to as usize);
    }
    pub(crate) fn deeper(&mut self) -> usize {
        let at = self.stacks.entry(loom::thread::current().id()).or_insert(1 << 20);
        *at -= 1;
        *at
    }
    pub(crate) fn number(&mut self) -> u32 {
        if let Some(number) = self.disguise {
            return number;
        }
        let next = self.numbers.len() as u32 + 1;
        *self.numbers.entry(loom::thread::current().id()).or_insert(next)
    }
    pub(crate) fn alive_pages(&self) -> usize {
        self.blocks.values().filter(|b| b.layout.align() == 4096).count()
    }
    /// Blocks that were not given back and are as long as `len` at least.
    pub(crate) fn alive(&self) -> usize {
        self.blocks.values().filter(|b| !b.gone && b.layout.align() == 16).count()
    }
}

/// With MEMHOOK_TRACE set, says what is done; `check` prints the last execution's when it fails.
pub(crate) fn trace(at: &'static Location<'static>, what: &str, address: usize, value: u64) {
    if *TRACING {
        LINES.with(|l| {
            l.borrow_mut().push(format!(
                "{:?} {}:{} {what} {:x} {value:x}",
                loom::thread::current().id(),
                room(at),
                at.line(),
                address & 0xfff_ffff
            ))
        });
    }
}

static TRACING: std::sync::LazyLock<bool> =
    std::sync::LazyLock::new(|| std::env::var_os("MEMHOOK_TRACE").is_some());
thread_local! { static LINES: RefCell<Vec<String>> = const { RefCell::new(Vec::new()) }; }
pub(crate) fn take_trace() -> Vec<String> {
    LINES.with(|l| std::mem::take(&mut *l.borrow_mut()))
}
