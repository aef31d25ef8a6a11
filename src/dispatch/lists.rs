//! The interceptors that one call meets.
//!
//! # Invariants
//!
//! 1. Lists are used in the read section in which they were made.

use crate::abi::memhook_interceptor;
use crate::chain::{Hook, MANY, View};
use crate::grace;
use crate::guard::Record;
use crate::ownership;
use core::cell::Cell;

/// The interceptors of one call, in order: two sorted arrays that are merged on the way.
pub(super) struct Lists<'a> {
    record: &'a Record,
    /// Hooks of the chain: those that are being unregistered are passed by.
    chain: &'a [*const Hook],
    /// Hooks that own the block: each must see it.
    owners: &'a [*const Hook],
    /// How far into the chain the walk has come.
    reached: Cell<usize>,
    /// Which of the hooks up to there it has passed by, one bit each: there are [`MANY`] at most.
    passed_by: Cell<u64>,
    /// A hook outside the chain that owns what the walk made, below all others.
    claimed: Cell<*const Hook>,
}

/// The bit of hook `i` of a chain that has one for each.
#[inline(always)]
fn bit(i: usize) -> u64 {
    1u64.wrapping_shl(i as u32)
}

impl<'a> Lists<'a> {
    #[inline(always)]
    fn new(record: &'a Record, chain: &'a [*const Hook], owners: &'a [*const Hook]) -> Lists<'a> {
        Lists {
            record,
            chain,
            owners,
            reached: Cell::new(0),
            passed_by: Cell::new(0),
            claimed: Cell::new(core::ptr::null()),
        }
    }

    /// Those of a call that makes a block.
    #[inline(always)]
    pub(super) fn making(view: &'a View, record: &'a Record) -> Lists<'a> {
        Lists::new(record, view.interceptors.get(), &[])
    }

    /// Those of a call about a block: its owners, and those who see every block.
    #[inline(always)]
    pub(super) fn taking(view: Option<&'a View>, owner: u16, record: &'a Record) -> Lists<'a> {
        if owner == 0 {
            return Lists::new(record, view.map_or(&[], |view| view.of_strays.get()), &[]);
        }
        // SAFETY: in the section of the call (invariant 1).
        let owners = unsafe { ownership::members(owner) };
        Lists::new(record, view.map_or(&[], |view| view.keepers.get()), owners)
    }

    /// Those that give a new block back to its makers.
    #[cold]
    pub(super) fn giving_back(view: &'a View, makers: &'a [*const Hook], record: &'a Record) -> Lists<'a> {
        Lists::new(record, view.keepers.get(), makers)
    }

    /// How many hooks of the chain and how many owners there are to be met.
    #[inline(always)]
    pub(super) fn begin(&self) -> (u32, u32) {
        if self.chain.len() > MANY {
            self.enter_all();
        }
        (self.chain.len() as u32, self.owners.len() as u32)
    }

    /// The hook of the chain that has so many hooks left from itself on, and whether it is to be called.
    #[inline(always)]
    pub(super) fn of_chain(&self, left: u32) -> Option<(&Hook, bool)> {
        let (at, hook) = nth_last(self.chain, left)?;
        Some((hook, self.enters(at, hook)))
    }

    /// The owner that has so many owners left from itself on. It is always to be called.
    #[inline(always)]
    pub(super) fn of_owners(&self, left: u32) -> Option<(&Hook, bool)> {
        let (_, hook) = nth_last(self.owners, left)?;
        grace::announce_interceptor(self.record, hook.bit());
        Some((hook, true))
    }

    /// Whether the next hook of the chain stands nearer the program than the next owner.
    #[cold]
    pub(super) fn is_chains_turn(&self, chain: u32, owners: u32) -> bool {
        let (ours, theirs) = (nth_last(self.chain, chain), nth_last(self.owners, owners));
        matches!((ours, theirs), (Some((_, ours)), Some((_, theirs))) if ours.is_before(theirs))
    }

    /// Whether no hook of the chain was passed by: then the owner lists of the view hold for what
    /// this walk made.
    #[inline(always)]
    pub(super) fn is_whole(&self) -> bool {
        let reached = self.reached.get();
        if reached < self.chain.len() {
            self.reach_the_end(reached);
        }
        self.passed_by.get() == 0
    }

    /// An interceptor that answered by itself has left those below it unasked.
    #[cold]
    fn reach_the_end(&self, reached: usize) {
        for (i, &hook) in self.chain.iter().enumerate().skip(reached) {
            // SAFETY: hooks in a chain live as long as the section (invariant 1).
            self.enters(i, unsafe { &*hook });
        }
    }

    /// Which hooks had a part in what this walk made. Not taken from the view's owner list, which
    /// may have come to its end: a member that was passed by is gone.
    #[cold]
    pub(super) fn makers<'m>(
        &self,
        makes: fn(&memhook_interceptor) -> bool,
        room: &'m mut [*const Hook],
    ) -> &'m [*const Hook] {
        let passed_by = self.passed_by.get();
        let mut len = 0;
        for (i, &pointer) in self.chain.iter().enumerate() {
            // SAFETY: hooks in a chain live as long as the section (invariant 1).
            let hook = unsafe { &*pointer };
            let had_part = passed_by & bit(i) == 0 && hook.may_own();
            // Chains in which something is passed by have at most MANY hooks.
            if let (true, Some(place)) =
                (had_part && hook.interceptor().is_some_and(makes), room.get_mut(len))
            {
                *place = pointer;
                len += 1;
            }
        }
        if let (Some(hook), Some(place)) = (self.claimed(), room.get_mut(len)) {
            *place = hook;
            len += 1;
        }
        room.get(..len).unwrap_or(&[])
    }

    /// The innermost owner of the block.
    pub(super) fn last_owner(&self) -> *const Hook {
        self.owners.last().copied().unwrap_or(core::ptr::null())
    }

    /// What this walk makes is owned by `hook` too.
    pub(super) fn claim(&self, hook: &'static Hook) {
        self.claimed.set(hook);
    }

    /// The hook that [`Lists::claim`] was called for.
    #[inline(always)]
    pub(super) fn claimed(&self) -> Option<*const Hook> {
        let hook = self.claimed.get();
        (!hook.is_null()).then_some(hook)
    }

    /// Whether hook `i` of the chain is to be called. Asked again, the answer stays the same: who
    /// had a part in a block is there when it is given back.
    #[inline(always)]
    fn enters(&self, i: usize, hook: &Hook) -> bool {
        let passed_by = self.passed_by.get();
        if i < self.reached.get() {
            return passed_by & bit(i) == 0;
        }
        let before = grace::announce_interceptor(self.record, hook.bit());
        let enters = !hook.is_passed_by();
        if !enters {
            grace::retract_interceptor(self.record, before);
            self.passed_by.set(passed_by | bit(i));
        }
        self.reached.set(i + 1);
        enters
    }

    /// For a chain that is too long to have a bit for each.
    #[cold]
    #[inline(never)]
    fn enter_all(&self) {
        grace::announce_interceptor(self.record, u64::MAX);
        self.reached.set(usize::MAX);
    }
}

/// The hook that has `left` hooks from itself to the end, and its number.
#[inline(always)]
fn nth_last(all: &[*const Hook], left: u32) -> Option<(usize, &Hook)> {
    let at = all.len().wrapping_sub(left as usize);
    // SAFETY: hooks in a chain or a list live as long as the section (invariant 1).
    all.get(at).map(|&hook| (at, unsafe { &*hook }))
}
