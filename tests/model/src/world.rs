//! What an execution of a model consists of besides threads: loom's objects by address, memory
//! and who may still look at it, and the mutation that is being tried.

use loom::cell;
use loom::sync::atomic::AtomicU64;
use loom::thread::ThreadId;
use std::alloc::Layout;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
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

#[derive(Default)]
pub(crate) struct World {
    atoms: HashMap<usize, Atom>,
    cells: HashMap<usize, Rc<cell::UnsafeCell<()>>>,
    blocks: BTreeMap<usize, Block>,
    ordered: HashSet<ThreadId>,
    words: HashMap<ThreadId, usize>,
    stacks: HashMap<ThreadId, usize>,
    numbers: HashMap<ThreadId, u32>,
    begun: bool,
    pub(crate) failure: Option<String>,
    pub(crate) futex: Option<Rc<(loom::sync::Mutex<()>, loom::sync::Condvar)>>,
    pub(crate) released: Vec<usize>,
    /// The thread number that the setup gives itself, to prepare other threads' records.
    pub(crate) disguise: Option<u32>,
}

thread_local! {
    static WORLD: RefCell<World> = RefCell::new(World::default());
    static STATICS: RefCell<BTreeMap<usize, u64>> = const { RefCell::new(BTreeMap::new()) };
    static MUTATION: RefCell<Option<Mutation>> = const { RefCell::new(None) };
    static VISITED: RefCell<BTreeSet<Site>> = const { RefCell::new(BTreeSet::new()) };
}

pub(crate) fn with<R>(f: impl FnOnce(&mut World) -> R) -> R {
    WORLD.with(|world| f(&mut world.borrow_mut()))
}

/// A new execution.
pub(crate) fn begin() {
    let old = WORLD.with(|world| world.replace(World::default()));
    take_trace();
    for (at, block) in &old.blocks {
        // SAFETY: allocated by `allocate` with this layout; the execution that used it is over.
        unsafe { std::alloc::dealloc(*at as *mut u8, block.layout) };
    }
    for (at, first) in STATICS.with(|s| s.borrow().clone()) {
        let atom = Atom { loom: Rc::new(AtomicU64::new(0)), first };
        with(|w| w.atoms.insert(at, atom));
    }
    with(|w| w.begun = true);
    with(|w| w.futex = Some(Rc::new((loom::sync::Mutex::new(()), loom::sync::Condvar::new()))));
}

pub(crate) fn mutate(mutation: Option<Mutation>) {
    MUTATION.with(|m| *m.borrow_mut() = mutation);
}
pub(crate) fn take_visited() -> BTreeSet<Site> {
    VISITED.with(|v| std::mem::take(&mut *v.borrow_mut()))
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
    if order == Ordering::Relaxed {
        return order;
    }
    let file = room(at);
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
    look(at as usize);
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
    pub(crate) fn note_ordered_write(&mut self) {
        self.ordered.insert(loom::thread::current().id());
    }
    pub(crate) fn take_ordered_write(&mut self) -> bool {
        self.ordered.remove(&loom::thread::current().id())
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
