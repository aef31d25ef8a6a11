//! Random programs against a model: hooks come and go, chains are swapped, blocks are made and given
//! back, from outside and from inside callbacks, in one thread. `c/prop_driver.c` runs a program and
//! prints every callback, result and release; [`Model`] says beforehand what it must print.
//!
//! A program is any string of bytes, four to an operation. `programs_behave_as_the_model` has proptest
//! make and shrink them; `fuzz_short` takes bytes from a fixed sequence of pseudo-random numbers. Longer:
//! `PROPTEST_CASES=100000`, `MEMHOOK_FUZZ=1000000`.

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use std::collections::HashMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::OnceLock;
use support::Link;

type Op = [u8; 4];

const USERS: usize = 100;
const CHAINS: usize = 60;
const OPERATIONS: u8 = 26;
const ARM: u8 = 25;

/// What a table does; the numbers are the driver's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Kind {
    Keeper,
    /// Puts that many bytes in front of each block.
    Head(usize),
    MallocOnly,
    FreeOnly,
    /// As `Head(16)`, without the callback for memalign.
    NoMemalign,
    /// Fails calls of certain sizes.
    Veto,
    /// Answers by itself.
    Pool,
    WatchAll,
    /// Asks for the usable size too.
    WatchSizes,
    WatchAlloc,
}

use Kind::{FreeOnly, Head, Keeper, MallocOnly, NoMemalign, Pool, Veto, WatchAll, WatchAlloc, WatchSizes};

const KINDS: [Kind; 9] = [Keeper, Head(16), Head(32), Head(64), MallocOnly, FreeOnly, NoMemalign, Veto, Pool];
const WATCHES: [Kind; 3] = [WatchAll, WatchSizes, WatchAlloc];

impl Kind {
    fn is_observer(self) -> bool {
        WATCHES.contains(&self)
    }

    fn keeps_pointers(self) -> bool {
        matches!(self, Keeper | FreeOnly)
    }

    fn room(self) -> usize {
        match self {
            Head(room) => room,
            NoMemalign => 16,
            _ => 0,
        }
    }

    /// Whether the interceptor has the callback.
    fn has(self, callback: char) -> bool {
        match (self, callback) {
            (MallocOnly, _) => callback == 'M',
            (FreeOnly, _) => callback == 'F',
            (NoMemalign, 'A') => false,
            _ => !self.is_observer(),
        }
    }
}

/// One table that was given to the library, and the hook that it made.
#[derive(Clone)]
struct User {
    kind: Kind,
    priority: i32,
    flags: u32,
    /// The place among equals: when the hook came that it belongs to.
    sequence: usize,
    hook: usize,
    /// How many chains name it.
    links: usize,
    named: bool,
    dead: bool,
    passed_by: bool,
    released: bool,
    live: usize,
    armed: Option<Op>,
}

#[derive(Clone, Default)]
struct Block {
    owners: Vec<usize>,
    pads: HashMap<usize, usize>,
}

/// What the program asked for.
#[derive(Clone, Copy)]
struct Call {
    entry: u32,
    requested: usize,
    slot: usize,
}

/// The interceptors of one call, outermost first, and who of them is passed by, as far as asked.
struct Walk {
    call: Call,
    steps: Vec<(usize, bool)>,
    passed_by: Vec<Option<bool>>,
}

#[derive(Default)]
struct Model {
    out: String,
    users: Vec<User>,
    /// The table of each hook.
    hooks: Vec<usize>,
    force: Vec<usize>,
    chains: Vec<Option<Vec<usize>>>,
    slots: [Option<Block>; 8],
    busy: [bool; 8],
    inside: bool,
    suspended: usize,
}

macro_rules! say {
    ($model:expr, $($what:tt)*) => { writeln!($model.out, $($what)*).expect("a string") };
}

impl Model {
    /// What the driver prints for a program.
    fn run(bytes: &[u8]) -> String {
        let mut model = Model::default();
        let ops: Vec<Op> = bytes.chunks_exact(4).map(|op| [op[0], op[1], op[2], op[3]]).collect();
        let mut at = ops.iter();
        while let Some(&op) = at.next() {
            if op[0] % OPERATIONS != ARM {
                model.top(op);
                continue;
            }
            let Some(&action) = at.next() else { break };
            if model.users.is_empty() {
                break;
            }
            let user = usize::from(op[1]) % model.users.len();
            model.users[user].armed = Some(action);
        }
        model.clear(ops.len() % 2 == 1);
        model.out
    }

    fn top(&mut self, op: Op) {
        self.perform(op);
        self.tell_released();
    }

    fn tell_released(&mut self) {
        for i in 0..self.users.len() {
            let user = &mut self.users[i];
            if user.dead && user.named && user.live == 0 && !user.released {
                user.released = true;
                say!(self, "released {i}");
            }
        }
    }

    fn clear(&mut self, hooks_first: bool) {
        self.users.iter_mut().for_each(|user| user.armed = None);
        while self.suspended != 0 {
            self.top([15, 0, 0, 0]);
        }
        for blocks in [!hooks_first, hooks_first] {
            if blocks {
                (0..8).for_each(|slot| self.top([22, slot, 0, 0]));
                continue;
            }
            for i in 0..self.chains.len() {
                let result = self.destroy(Some(i));
                say!(self, "r {result}");
            }
            for i in 0..self.hooks.len() {
                let result = self.unregister(Some(i));
                say!(self, "r {result}");
            }
            self.tell_released();
        }
    }

    fn is_gone(&self, user: usize) -> bool {
        let user = &self.users[user];
        user.released || (user.dead && user.live == 0 && !self.inside)
    }

    /// The result of waiting for the end of a dead hook.
    fn ended(&self, user: usize) -> i32 {
        if self.inside || self.users[user].live != 0 { libc::EINPROGRESS } else { 0 }
    }

    fn sort(&self, hooks: &mut [usize]) {
        hooks.sort_by_key(|&u| (-self.users[u].priority, usize::MAX - self.users[u].sequence));
    }

    fn create(&mut self, kind: Kind, priority: u8, this_thread: bool) -> usize {
        let flags = if this_thread { 2 } else { 0 } | u32::from(kind == Keeper);
        let number = self.users.len();
        self.users.push(User {
            kind,
            priority: i32::from(priority % 3) - 1,
            flags,
            sequence: number,
            hook: usize::MAX,
            links: 1,
            named: false,
            dead: false,
            passed_by: false,
            released: false,
            live: 0,
            armed: None,
        });
        number
    }

    fn register(&mut self, user: usize, chain: Option<Option<usize>>) -> i32 {
        let mut into = match chain {
            None => self.force.clone(),
            Some(chain) => match self.object(chain) {
                Some(object) => object.clone(),
                None => return libc::EINVAL,
            },
        };
        self.users[user].hook = self.hooks.len();
        self.users[user].named = true;
        self.hooks.push(user);
        into.push(user);
        self.sort(&mut into);
        match chain {
            None => self.force = into,
            Some(chain) => *self.object(chain).expect("looked at above") = into,
        }
        0
    }

    fn object(&mut self, chain: Option<usize>) -> Option<&mut Vec<usize>> {
        self.chains[chain?].as_mut()
    }

    /// The table of a hook that is not gone.
    fn find(&self, hook: Option<usize>) -> Option<usize> {
        let user = self.hooks[hook?];
        (!self.is_gone(user)).then_some(user)
    }

    fn unregister(&mut self, hook: Option<usize>) -> i32 {
        let Some(user) = self.find(hook) else { return libc::ESRCH };
        if self.users[user].dead {
            return libc::EALREADY;
        }
        self.users[user].dead = true;
        self.users[user].passed_by = true;
        self.force.retain(|&u| u != user);
        self.ended(user)
    }

    fn replace(&mut self, hook: Option<usize>, new: usize) -> i32 {
        let Some(old) = self.find(hook) else { return libc::ESRCH };
        if self.users[old].kind.is_observer() != self.users[new].kind.is_observer() {
            return libc::EINVAL;
        }
        if self.users[old].dead {
            return libc::EALREADY;
        }
        let Some(place) = self.force.iter().position(|&u| u == old) else { return libc::ESRCH };
        // Chain objects go on naming `old`, which is dead: see `a_replaced_hook_stays_in_chain_objects`.
        self.users[new].sequence = self.users[old].sequence;
        self.users[new].hook = self.users[old].hook;
        self.users[new].named = true;
        self.users[old].dead = true;
        self.hooks[self.users[new].hook] = new;
        let mut force = self.force.clone();
        force[place] = new;
        self.sort(&mut force);
        self.force = force;
        self.ended(old)
    }

    /// One chain fewer names each of them.
    fn unlink(&mut self, hooks: &[usize]) -> i32 {
        let mut result = 0;
        for &user in hooks {
            self.users[user].links -= 1;
            if self.users[user].links == 0 && !self.users[user].dead {
                self.users[user].dead = true;
                result = result.max(self.ended(user));
            }
        }
        result
    }

    fn copy_chain(&mut self) -> Vec<usize> {
        for &user in &self.force {
            self.users[user].links += 1;
        }
        self.force.clone()
    }

    fn add(&mut self, chain: Option<usize>, hook: Option<usize>) -> i32 {
        let Some(mut object) = self.object(chain).cloned() else { return libc::EINVAL };
        let Some(user) = self.find(hook) else { return libc::ESRCH };
        if self.users[user].dead {
            return libc::ESRCH;
        }
        if object.contains(&user) {
            return libc::EEXIST;
        }
        self.users[user].links += 1;
        object.push(user);
        self.sort(&mut object);
        self.chains[chain.expect("found above")] = Some(object);
        0
    }

    fn remove(&mut self, chain: Option<usize>, hook: Option<usize>) -> i32 {
        if self.object(chain).is_none() {
            return libc::EINVAL;
        }
        let Some(user) = self.find(hook) else { return libc::ESRCH };
        let object = self.object(chain).expect("looked at above");
        let Some(place) = object.iter().position(|&u| u == user) else { return libc::ESRCH };
        object.remove(place);
        let under_way = self.users[user].dead;
        match self.unlink(&[user]) {
            0 if under_way => libc::EALREADY,
            result => result,
        }
    }

    fn swap(&mut self, chain: Option<usize>, keep: bool) -> i32 {
        let Some(next) = chain.and_then(|chain| self.chains[chain].take()) else { return libc::EINVAL };
        let next: Vec<usize> = next.into_iter().filter(|&u| !self.users[u].dead).collect();
        let former = std::mem::replace(&mut self.force, next);
        if keep {
            self.chains.push(Some(former));
            return if self.inside { libc::EINPROGRESS } else { 0 };
        }
        let result = self.unlink(&former);
        if self.inside { libc::EINPROGRESS } else { result }
    }

    fn destroy(&mut self, chain: Option<usize>) -> i32 {
        match chain.and_then(|chain| self.chains[chain].take()) {
            Some(hooks) => self.unlink(&hooks),
            None => libc::EINVAL,
        }
    }

    fn list(&mut self, chain: Option<usize>) {
        let hooks = match chain {
            None => Some(self.force.clone()),
            Some(_) => self.object(chain).cloned(),
        };
        let Some(hooks) = hooks else { return say!(self, "r {}", libc::EINVAL) };
        let mut line = "r 0".to_owned();
        for number in hooks {
            let user = &self.users[number];
            if !user.dead {
                let kind = if user.kind.is_observer() { 2 } else { 1 };
                write!(line, " {}:{number}:{}:{kind}:{}", user.hook, user.priority, user.flags)
                    .expect("a string");
            }
        }
        say!(self, "{line}");
    }

    /// What a callback does first.
    fn act(&mut self, user: usize) {
        if let Some(action) = self.users[user].armed.take() {
            self.perform(action);
        }
    }

    fn observers(&self, snapshot: &[usize], always: bool) -> Vec<usize> {
        let told = |&u: &usize| match self.users[u].kind {
            WatchAlloc => always,
            kind => kind.is_observer(),
        };
        snapshot.iter().copied().filter(told).collect()
    }

    fn tell(&mut self, observers: &[usize], call: Call, letter: char, end: &str) {
        for &u in observers {
            if self.users[u].passed_by {
                continue;
            }
            let Call { entry, requested, slot } = call;
            match letter {
                'f' => say!(self, "f{u} e{entry} s{slot}"),
                'b' | 'x' => say!(self, "{letter}{u} e{entry} r{requested} s{slot}"),
                _ => say!(self, "{letter}{u} e{entry} r{requested} {end}"),
            }
            if matches!(letter, 'f' | 'b') && self.users[u].kind == WatchSizes {
                let block = self.slots[slot].clone().expect("in its slot");
                let mut walk = self.walk(call, &[], &block);
                self.take(&mut walk, 0, 'S', 0, 0, &block);
            }
            self.act(u);
        }
    }

    /// A walk about a block: its owners, and of `chain` who sees every block.
    fn walk(&self, call: Call, chain: &[usize], block: &Block) -> Walk {
        let keepers = chain.iter().filter(|&&u| self.users[u].kind.keeps_pointers()).map(|&u| (u, false));
        let mut steps: Vec<_> = block.owners.iter().map(|&u| (u, true)).chain(keepers).collect();
        steps.sort_by_key(|&(u, _)| (-self.users[u].priority, usize::MAX - self.users[u].sequence));
        Walk { call, passed_by: vec![None; steps.len()], steps }
    }

    /// The next interceptor with a callback, from `at` on.
    fn step(&self, walk: &mut Walk, mut at: usize, callback: char) -> Option<usize> {
        loop {
            let &(user, owner) = walk.steps.get(at)?;
            let passed = *walk.passed_by[at].get_or_insert(!owner && self.users[user].passed_by);
            if !passed && self.users[user].kind.has(callback) {
                return Some(at);
            }
            at += 1;
        }
    }

    /// The rest of the chain makes a block, or fails.
    fn make(&mut self, walk: &mut Walk, at: usize, callback: char, n: usize, align: usize) -> Option<Block> {
        let Some(at) = self.step(walk, at, callback) else { return Some(Block::default()) };
        let u = walk.steps[at].0;
        let entry = walk.call.entry;
        match callback {
            'M' => say!(self, "M{u} e{entry} n{n}"),
            'R' => say!(self, "R{u} e{entry} n{n} new"),
            _ => say!(self, "A{u} e{entry} n{n} a{align}"),
        }
        self.act(u);
        let kind = self.users[u].kind;
        let pad = match kind {
            Veto if walk.call.requested % 16 == 15 => return None,
            Pool => return Some(Block::default()),
            _ if callback == 'A' && kind.room() != 0 => kind.room().max(align),
            _ => kind.room(),
        };
        let mut block = self.make(walk, at + 1, callback, n + pad, align)?;
        block.pads.insert(u, pad);
        Some(block)
    }

    /// A walk about a block; whether there is a block afterwards.
    fn take(
        &mut self,
        walk: &mut Walk,
        at: usize,
        callback: char,
        n: usize,
        off: usize,
        block: &Block,
    ) -> bool {
        let Some(at) = self.step(walk, at, callback) else { return callback == 'R' && n != 0 };
        let u = walk.steps[at].0;
        let entry = walk.call.entry;
        let minus = if off == 0 { String::from("0") } else { format!("-{off}") };
        match callback {
            'R' => say!(self, "R{u} e{entry} n{n} at{minus}"),
            _ => say!(self, "{callback}{u} e{entry} at{minus}"),
        }
        self.act(u);
        match self.users[u].kind {
            Pool => return callback == 'R',
            Veto if callback == 'R' && walk.call.requested % 16 == 15 => return false,
            _ => {}
        }
        let pad = block.pads.get(&u).copied().unwrap_or(0);
        self.take(walk, at + 1, callback, n + pad, off + pad, block)
    }

    /// A call that makes a block.
    fn allocate(&mut self, call: Call, callback: char, bytes: Option<usize>, align: usize) {
        if self.inside || self.suspended != 0 {
            return self.made(call.slot, bytes.map(|_| Block::default()));
        }
        self.inside = true;
        let snapshot = self.force.clone();
        let steps: Vec<_> =
            snapshot.iter().filter(|&&u| !self.users[u].kind.is_observer()).map(|&u| (u, false)).collect();
        let mut walk = Walk { call, passed_by: vec![None; steps.len()], steps };
        let mut block = bytes.and_then(|n| self.make(&mut walk, 0, callback, n, align));
        if let Some(block) = &mut block {
            for at in 0..walk.steps.len() {
                let u = walk.steps[at].0;
                let passed = *walk.passed_by[at].get_or_insert(self.users[u].passed_by);
                let kind = self.users[u].kind;
                // As it is, not as it should be: see `who_was_not_asked_owns_nothing`.
                if !passed && !kind.keeps_pointers() && kind.has(callback) {
                    block.owners.push(u);
                    self.users[u].live += 1;
                }
            }
        }
        let end = if block.is_some() { "ok" } else { "null" };
        let observers = self.observers(&snapshot, true);
        self.tell(&observers, call, 'a', end);
        self.inside = false;
        self.made(call.slot, block);
    }

    fn made(&mut self, slot: usize, block: Option<Block>) {
        self.busy[slot] = false;
        match block {
            Some(_) => say!(self, "r ok"),
            None => say!(self, "r null {}", libc::ENOMEM),
        }
        self.slots[slot] = block;
    }

    fn release(&mut self, call: Call, block: &Block) {
        let outside = !self.inside && self.suspended == 0;
        if !outside && block.owners.is_empty() {
            return;
        }
        let before = std::mem::replace(&mut self.inside, true);
        let snapshot = if outside { self.force.clone() } else { Vec::new() };
        let observers = self.observers(&snapshot, false);
        self.tell(&observers, call, 'f', "");
        let mut walk = self.walk(call, &snapshot, block);
        self.take(&mut walk, 0, 'F', 0, 0, block);
        block.owners.iter().for_each(|&u| self.users[u].live -= 1);
        self.inside = before;
    }

    fn resize(&mut self, call: Call, block: &Block, bytes: Option<usize>) {
        let outside = !self.inside && self.suspended == 0;
        let before = std::mem::replace(&mut self.inside, true);
        let snapshot = if outside { self.force.clone() } else { Vec::new() };
        let observers = self.observers(&snapshot, false);
        self.tell(&observers, call, 'b', "");
        let mut kept = false;
        if let Some(bytes) = bytes {
            let mut walk = self.walk(call, &snapshot, block);
            kept = self.take(&mut walk, 0, 'R', bytes, 0, block);
        }
        let gone = !kept && bytes == Some(0);
        if gone {
            block.owners.iter().for_each(|&u| self.users[u].live -= 1);
        }
        match kept || gone {
            true => self.tell(&observers, call, 'c', if kept { "ok" } else { "null" }),
            false => self.tell(&observers, call, 'x', ""),
        }
        self.inside = before;
        self.busy[call.slot] = false;
        match (kept, gone) {
            (true, _) => say!(self, "r ok"),
            (_, true) => {
                self.slots[call.slot] = None;
                say!(self, "r gone");
            }
            _ => say!(self, "r null {}", libc::ENOMEM),
        }
    }

    /// The calls about blocks.
    fn block_op(&mut self, number: u8, [_, a, b, c]: Op) {
        let slot = usize::from(a % 8);
        let makes = matches!(number, 18 | 19 | 21);
        if self.busy[slot] || (makes && self.slots[slot].is_some()) {
            return say!(self, "skip");
        }
        self.busy[slot] = true;
        let n = usize::from(b);
        let align = 32 << (c / 4 % 3);
        let call = |entry, requested| Call { entry, requested, slot };
        match number {
            18 => self.allocate(call(0, n), 'M', Some(n), 0),
            19 if c % 8 == 7 => self.allocate(call(2, usize::MAX), 'M', None, 0),
            19 => {
                let n = n * (1 + usize::from(c % 4));
                self.allocate(call(2, n), 'M', Some(n), 0);
            }
            21 => {
                let (entry, align) = match c % 4 {
                    0 => (5, align),
                    1 => (6, align),
                    2 => (7, align),
                    _ => (8, 4096),
                };
                self.allocate(call(entry, n), 'A', Some(n), align);
            }
            20 => {
                let n = n * (1 + usize::from(c / 4 % 8));
                let (call, bytes) = match c % 4 {
                    3 => (call(4, usize::MAX), None),
                    2 => (call(4, n), Some(n)),
                    _ => (call(3, n), Some(n)),
                };
                match self.slots[slot].clone() {
                    None => self.allocate(call, 'R', bytes, 0),
                    Some(block) => self.resize(call, &block, bytes),
                }
            }
            22 => {
                if let Some(block) = self.slots[slot].clone() {
                    self.release(call(if c & 1 == 1 { 11 } else { 1 }, 0), &block);
                }
                self.slots[slot] = None;
                self.busy[slot] = false;
                say!(self, "r");
            }
            _ => {
                if let Some(block) = self.slots[slot].clone() {
                    let outside = !self.inside && self.suspended == 0;
                    let before = std::mem::replace(&mut self.inside, true);
                    let snapshot = if outside { self.force.clone() } else { Vec::new() };
                    let mut walk = self.walk(call(10, 0), &snapshot, &block);
                    self.take(&mut walk, 0, 'S', 0, 0, &block);
                    self.inside = before;
                }
                self.busy[slot] = false;
                say!(self, "r");
            }
        }
    }

    fn perform(&mut self, op: Op) {
        let [number, a, b, c] = op;
        let number = number % OPERATIONS;
        let full = self.users.len() == USERS || self.chains.len() == CHAINS;
        if number == ARM || (number < 13 && full) {
            return say!(self, "skip");
        }
        say!(self, "- {number}");
        let named = |byte: u8, many: usize| (many != 0).then(|| usize::from(byte) % many);
        let (hook, chain) = (named(a, self.hooks.len()), named(a, self.chains.len()));
        let second = named(b, self.hooks.len());
        let kind = |byte: u8| KINDS[usize::from(byte) % KINDS.len()];
        let watch = |byte: u8| WATCHES[usize::from(byte) % WATCHES.len()];
        let flag = c & 1 == 1;
        let result = match number {
            0 | 1 => {
                let user = self.create(if number == 0 { kind(a) } else { watch(a) }, b, flag);
                self.register(user, None)
            }
            2 => self.unregister(hook),
            3 | 4 => {
                let user = self.create(if number == 3 { kind(b) } else { watch(b) }, c, false);
                self.replace(hook, user)
            }
            5 => {
                self.chains.push(Some(Vec::new()));
                0
            }
            6 => {
                let copy = self.copy_chain();
                self.chains.push(Some(copy));
                0
            }
            7 => self.add(chain, second),
            8 | 9 => {
                let user = self.create(if number == 8 { kind(b) } else { watch(b) }, c, flag);
                self.register(user, Some(chain))
            }
            10 => self.remove(chain, second),
            11 => self.swap(chain, b & 1 == 1),
            12 => self.destroy(chain),
            13 => return self.list(if b & 1 == 1 { None } else { chain }),
            14 => {
                self.suspended += 1;
                0
            }
            15 if self.suspended == 0 => libc::EINVAL,
            15 => {
                self.suspended -= 1;
                0
            }
            16 => i32::from(self.inside || self.suspended != 0),
            17 => {
                if self.inside {
                    libc::EDEADLK
                } else {
                    0
                }
            }
            18..=23 => return self.block_op(number, op),
            _ => match hook {
                None => return say!(self, "r {} 0", libc::ESRCH),
                Some(hook) => {
                    let live: usize = self.users.iter().filter(|u| u.hook == hook).map(|u| u.live).sum();
                    return say!(self, "r 0 {live}");
                }
            },
        };
        say!(self, "r {result}");
    }
}

fn driver() -> &'static Path {
    static DRIVER: OnceLock<PathBuf> = OnceLock::new();
    DRIVER.get_or_init(|| support::build("prop_driver", Link::Shared))
}

/// Runs programs in one process, one after another.
fn execute(file: &Path, programs: &[Vec<u8>]) -> Output {
    let mut bytes = Vec::new();
    for program in programs {
        bytes.extend((program.len() as u32).to_le_bytes());
        bytes.extend(program);
    }
    fs::write(file, bytes).expect("target/tests is writable");
    Command::new(driver()).arg(file).output().expect("the driver runs")
}

/// As [`execute`]; what differs from the model, if anything does.
fn check(name: &str, programs: &[Vec<u8>]) -> Result<(), String> {
    let output = execute(&driver().with_file_name(name), programs);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let mut expected = String::new();
    for (i, program) in programs.iter().enumerate() {
        say!(Out { out: &mut expected }, "# {i}");
        expected += &Model::run(program);
    }
    if output.status.success() && stdout == expected {
        return Ok(());
    }
    let same = stdout.lines().zip(expected.lines()).take_while(|(a, b)| a == b).count();
    let shown =
        |text: &str| text.lines().skip(same.saturating_sub(12)).take(16).collect::<Vec<_>>().join("\n");
    let stderr = String::from_utf8_lossy(&output.stderr);
    Err(format!(
        "{}{stderr}\nthe library, from line {same} less 12:\n{}\nthe model:\n{}",
        output.status,
        shown(&stdout),
        shown(&expected)
    ))
}

struct Out<'a> {
    out: &'a mut String,
}

/// Operations, each as often as makes programs in which much happens.
const LIKELY: [u8; 54] = [
    0, 0, 0, 0, 0, 0, 1, 1, 2, 2, 3, 3, 4, 5, 6, 6, 7, 7, 8, 8, 9, 10, 11, 11, 11, 12, 13, 13, 14, 15, 15,
    16, 17, 18, 18, 18, 18, 19, 20, 20, 20, 20, 21, 22, 22, 22, 22, 23, 24, 25, 25, 25, 25, 25,
];

/// Sizes at which something special happens; as numbers of hooks they are as good as others.
const SIZES: [u8; 7] = [0, 1, 15, 31, 47, 128, 255];

fn operation() -> impl Strategy<Value = Op> {
    let number = proptest::sample::select(&LIKELY[..]);
    let second = prop_oneof![0..16u8, any::<u8>(), proptest::sample::select(&SIZES[..])];
    (number, 0..16u8, second, 0..32u8).prop_map(|(number, a, b, c)| [number, a, b, c])
}

#[test]
fn programs_behave_as_the_model() {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(400);
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 4000, ..Config::default() };
    let program = proptest::collection::vec(operation(), 0..=40);
    let programs = proptest::collection::vec(program, 1..=4);
    let result = TestRunner::new(config).run(&programs, |programs| {
        let bytes: Vec<Vec<u8>> = programs.iter().map(|program| program.concat()).collect();
        check("property", &bytes).map_err(TestCaseError::fail)
    });
    if let Err(failure) = result {
        panic!("{failure}");
    }
}

/// splitmix64.
fn random(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut z = *state;
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Leaves operations out as long as the program still fails.
fn shrink(mut program: Vec<u8>) -> Vec<u8> {
    let mut at = 0;
    while at < program.len() {
        let mut shorter = program.clone();
        shorter.drain(at..(at + 4).min(program.len()));
        if check("fuzz", std::slice::from_ref(&shorter)).is_err() {
            program = shorter;
            at = 0;
        } else {
            at += 4;
        }
    }
    program
}

#[test]
fn fuzz_short() {
    let many: usize = std::env::var("MEMHOOK_FUZZ").ok().and_then(|n| n.parse().ok()).unwrap_or(5000);
    let mut state = 20261122;
    for start in (0..many).step_by(100) {
        let programs: Vec<Vec<u8>> = (0..100.min(many - start))
            .map(|_| {
                let len = random(&mut state) % 512;
                let likely = random(&mut state) & 3 != 0;
                let byte = |at| match (random(&mut state), at % 4) {
                    (n, 0) if likely => LIKELY[n as usize % LIKELY.len()],
                    (n, _) => n as u8,
                };
                (0..len).map(byte).collect()
            })
            .collect();
        let Err(all) = check("fuzz", &programs) else { continue };
        let Some(alone) = programs.iter().find(|p| check("fuzz", std::slice::from_ref(p)).is_err()) else {
            panic!("programs {start} and the 99 after it, only together:\n{all}");
        };
        let program = shrink(alone.clone());
        let why = check("fuzz", std::slice::from_ref(&program)).expect_err("it failed before");
        panic!("{program:?}\n{why}");
    }
}

/// Runs one short program and expects these lines at the beginning of its output.
fn begins(name: &str, program: &[Op], lines: &[&str]) {
    let output = execute(&driver().with_file_name(name), &[program.concat()]);
    let stdout = String::from_utf8_lossy(&output.stdout);
    let got: Vec<&str> = stdout.lines().skip(1).take(lines.len()).collect();
    assert_eq!(got, lines, "{}", String::from_utf8_lossy(&output.stderr));
}

/// The observer is in its callback, and in no chain in force any more, though still in an object.
#[test]
fn swap_in_a_callback_says_that_it_may_still_run() {
    let program = [[1, 0, 1, 0], [6, 0, 0, 0], [5, 0, 0, 0], [ARM, 0, 0, 0], [11, 1, 0, 0], [18, 0, 10, 0]];
    let mut lines = vec!["- 1", "r 0", "- 6", "r 0", "- 5", "r 0", "- 18", "a0 e0 r10 ok", "- 11"];
    lines.extend(["r 115", "r ok"]);
    begins("swap", &program, &lines);
}

/// The id stays, and a chain object is made of ids: it lists the hook with its new callbacks.
#[test]
#[ignore = "the chain object is empty afterwards, and swapping it in takes the hook out of force"]
fn a_replaced_hook_stays_in_chain_objects() {
    let program = [[1, 0, 1, 0], [6, 0, 0, 0], [4, 0, 0, 1], [13, 0, 0, 0]];
    let lines = ["- 1", "r 0", "- 6", "r 0", "- 4", "r 0", "released 0", "- 13", "r 0 0:1:0:2:0"];
    begins("replaced", &program, &lines);
}

/// One that answers by itself stands before one that puts sizes in front of blocks.
#[test]
#[ignore = "memhook_live_blocks() of the one below counts the block"]
fn who_was_not_asked_owns_nothing() {
    let program = [[0, 1, 1, 0], [0, 8, 1, 0], [18, 0, 10, 0], [24, 0, 0, 0]];
    let lines = ["- 0", "r 0", "- 0", "r 0", "- 18", "M1 e0 n10", "r ok", "- 24", "r 0 0"];
    begins("unasked", &program, &lines);
}
