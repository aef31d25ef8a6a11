//! The counts of all threads together.

use super::counts::{BUCKETS, Counts, KINDS, Kind, read};
use super::maps::{WAYS, Way};
use super::session::Session;
use crate::api::local::memhook_local_each;
use crate::scratch;
use core::ffi::{c_int, c_void};
use core::ops::{Deref, DerefMut};

/// Sums, or differences of sums. Zero is valid.
#[repr(C)]
#[derive(Clone, Copy)]
pub(super) struct Sums {
    /// For a list of sums that are no longer used.
    pub(super) next: *mut Sums,
    pub(super) made: u64,
    pub(super) gone: u64,
    /// Not a difference of the former, which are read one after the other, while threads go on.
    in_use: i64,
    pub(super) frees: u64,
    pub(super) null_frees: u64,
    pub(super) blocks: [u64; KINDS],
    pub(super) bytes: [u64; KINDS],
    pub(super) failed: [u64; KINDS],
    pub(super) in_place: u64,
    pub(super) decreasing: u64,
    pub(super) realloc_free: u64,
    pub(super) realloc_new: u64,
    pub(super) shrunk: u64,
    pub(super) maps: [u64; WAYS],
    pub(super) map_bytes: [u64; WAYS],
    pub(super) map_failed: [u64; WAYS],
    pub(super) mapped: u64,
    pub(super) unmapped: u64,
    pub(super) remap_in_place: u64,
    pub(super) remap_decreasing: u64,
    pub(super) threads: u64,
    pub(super) histogram: [u64; BUCKETS],
}

/// Sums in memory of the library's own: they are large for a stack.
pub(super) struct Boxed(*mut Sums);

impl Deref for Boxed {
    type Target = Sums;

    fn deref(&self) -> &Sums {
        // SAFETY: a live block of this size that is ours alone.
        unsafe { &*self.0 }
    }
}

impl DerefMut for Boxed {
    fn deref_mut(&mut self) -> &mut Sums {
        // SAFETY: a live block of this size that is ours alone.
        unsafe { &mut *self.0 }
    }
}

impl Drop for Boxed {
    fn drop(&mut self) {
        // SAFETY: from `scratch::malloc`, and not used any more.
        unsafe { scratch::free(self.0.cast()) };
    }
}

impl Boxed {
    /// Nothing counted; `None` where there is no memory.
    pub(super) fn zero() -> Option<Boxed> {
        let at = scratch::malloc(size_of::<Sums>()).cast::<Sums>();
        if at.is_null() {
            return None;
        }
        // SAFETY: a fresh block of this size, aligned to 16.
        unsafe { at.write_bytes(0, 1) };
        Some(Boxed(at))
    }

    /// What all threads have counted since the session began.
    pub(super) fn of(session: &Session) -> Option<Boxed> {
        let mut sums = Boxed::zero()?;
        // SAFETY: `one` takes the sums as its argument.
        let _ = unsafe { memhook_local_each(session.slot_key(), Some(one), sums.0.cast()) };
        sums.derive();
        Some(sums)
    }

    /// Gives up ownership, for somebody who keeps the pointer.
    pub(super) fn leak(self) -> *mut Sums {
        let at = self.0;
        core::mem::forget(self);
        at
    }
}

/// Numbers that grow with whatever a thread does: where two looks find the same, nothing was done between them.
#[derive(PartialEq, Eq, Default)]
pub(super) struct Marks([u64; 4]);

impl Marks {
    /// Those of all threads together.
    pub(super) fn of(session: &Session) -> Marks {
        let mut marks = Marks::default();
        // SAFETY: `mark` takes the marks as its argument.
        let _ = unsafe { memhook_local_each(session.slot_key(), Some(mark), (&raw mut marks).cast()) };
        marks
    }
}

unsafe extern "C" fn mark(memory: *mut c_void, _thread: u64, argument: *mut c_void) -> c_int {
    // SAFETY: a thread's counts, never unmapped.
    let counts = unsafe { &*memory.cast::<Counts>() };
    // SAFETY: the marks that `Marks::of` gave.
    let marks = unsafe { &mut *argument.cast::<Marks>() };
    let numbers = [&counts.made, &counts.gone, &counts.mapped, &counts.unmapped];
    for (sum, number) in marks.0.iter_mut().zip(numbers) {
        *sum = sum.wrapping_add(read(number));
    }
    0
}

unsafe extern "C" fn one(memory: *mut c_void, _thread: u64, argument: *mut c_void) -> c_int {
    // SAFETY: a thread's counts, never unmapped.
    let counts = unsafe { &*memory.cast::<Counts>() };
    // SAFETY: the sums that `Boxed::of` gave.
    let sums = unsafe { &mut *argument.cast::<Sums>() };
    sums.add(counts);
    0
}

impl Sums {
    fn add(&mut self, counts: &Counts) {
        let mut any = 0;
        let mut take = |to: &mut u64, from| {
            let number = read(from);
            any |= number;
            *to = to.wrapping_add(number);
        };
        self.in_use = self.in_use.wrapping_add(counts.in_use());
        // What is gone first: it was made before.
        take(&mut self.gone, &counts.gone);
        take(&mut self.frees, &counts.frees);
        take(&mut self.realloc_free, &counts.realloc_free);
        take(&mut self.shrunk, &counts.shrunk);
        take(&mut self.made, &counts.made);
        take(&mut self.null_frees, &counts.null_frees);
        take(&mut self.in_place, &counts.realloc_in_place);
        take(&mut self.decreasing, &counts.realloc_decreasing);
        take(&mut self.realloc_new, &counts.realloc_new);
        take(&mut self.unmapped, &counts.unmapped);
        take(&mut self.mapped, &counts.mapped);
        take(&mut self.remap_in_place, &counts.remap_in_place);
        take(&mut self.remap_decreasing, &counts.remap_decreasing);
        let kinds = self.blocks.iter_mut().zip(&mut self.bytes).zip(&mut self.failed).zip(&counts.kinds);
        let maps = self.maps.iter_mut().zip(&mut self.map_bytes).zip(&mut self.map_failed).zip(&counts.maps);
        for (((blocks, bytes), failed), kind) in kinds.chain(maps) {
            take(blocks, &kind.made);
            take(bytes, &kind.bytes);
            take(failed, &kind.failed);
        }
        for (sum, bucket) in self.histogram.iter_mut().zip(&counts.histogram) {
            take(sum, bucket);
        }
        self.threads += u64::from(any != 0);
    }

    /// What malloc's part is.
    fn derive(&mut self) {
        let blocks = self.with_blocks();
        let [malloc_blocks, blocks_of_others @ ..] = &mut self.blocks;
        *malloc_blocks = blocks_of_others.iter().fold(blocks, |rest, other| rest.saturating_sub(*other));
        let [malloc_bytes, bytes_of_others @ ..] = &mut self.bytes;
        *malloc_bytes = bytes_of_others.iter().fold(self.made, |rest, other| rest.saturating_sub(*other));
    }

    /// Calls that gave a block.
    pub(super) fn with_blocks(&self) -> u64 {
        let [maps @ .., _unmaps] = &self.maps;
        self.histogram.iter().sum::<u64>().saturating_sub(maps.iter().sum())
    }

    /// Bytes that were asked for, of the heap and mapped.
    pub(super) fn total(&self) -> u64 {
        let [maps @ .., _unmaps] = &self.map_bytes;
        self.made.wrapping_add(maps.iter().sum())
    }

    /// Calls, bytes and failures of a way of mapping.
    pub(super) fn of_maps(&self, way: Way) -> [u64; 3] {
        let at = |numbers: &[u64; WAYS]| numbers.get(way as usize).copied().unwrap_or(0);
        let failed = at(&self.map_failed);
        [at(&self.maps) + failed, at(&self.map_bytes), failed]
    }

    /// Bytes of mappings that are in use. Before `subtract`.
    pub(super) fn mapped_bytes(&self) -> u64 {
        (self.mapped.wrapping_sub(self.unmapped) as i64).max(0) as u64
    }

    /// What was counted since `before`. Threads stay.
    pub(super) fn subtract(&mut self, before: &Sums) {
        let less = |now: &mut u64, before: &u64| *now = now.saturating_sub(*before);
        less(&mut self.made, &before.made);
        less(&mut self.gone, &before.gone);
        less(&mut self.frees, &before.frees);
        less(&mut self.null_frees, &before.null_frees);
        less(&mut self.in_place, &before.in_place);
        less(&mut self.decreasing, &before.decreasing);
        less(&mut self.realloc_free, &before.realloc_free);
        less(&mut self.realloc_new, &before.realloc_new);
        less(&mut self.shrunk, &before.shrunk);
        less(&mut self.remap_in_place, &before.remap_in_place);
        less(&mut self.remap_decreasing, &before.remap_decreasing);
        let maps = [
            (&mut self.maps, &before.maps),
            (&mut self.map_bytes, &before.map_bytes),
            (&mut self.map_failed, &before.map_failed),
        ];
        for (now, before) in maps {
            now.iter_mut().zip(before).for_each(|(now, before)| less(now, before));
        }
        let arrays = [
            (&mut self.blocks, &before.blocks),
            (&mut self.bytes, &before.bytes),
            (&mut self.failed, &before.failed),
        ];
        for (now, before) in arrays {
            now.iter_mut().zip(before).for_each(|(now, before)| less(now, before));
        }
        self.histogram.iter_mut().zip(&before.histogram).for_each(|(now, before)| less(now, before));
    }

    /// Calls, bytes and failures of a kind.
    pub(super) fn of(&self, kind: Kind) -> [u64; 3] {
        let at = |numbers: &[u64; KINDS]| numbers.get(kind as usize).copied().unwrap_or(0);
        let (blocks, failed) = (at(&self.blocks), at(&self.failed));
        let freed = if kind == Kind::Realloc { self.realloc_free } else { 0 };
        [blocks + failed + freed, at(&self.bytes), failed]
    }

    /// Calls of free, and the bytes that were freed.
    pub(super) fn of_free(&self) -> [u64; 2] {
        [self.frees + self.null_frees, self.gone.saturating_sub(self.shrunk)]
    }

    /// Calls that asked for memory.
    pub(super) fn asked(&self) -> u64 {
        [Kind::Malloc, Kind::Realloc, Kind::Calloc, Kind::Aligned]
            .iter()
            .map(|&kind| {
                let [calls, _, _] = self.of(kind);
                calls
            })
            .sum()
    }

    /// Bytes in use, of the heap and mapped.
    pub(super) fn in_use(&self) -> i64 {
        self.in_use
    }

    /// It is known that so many bytes are in use, `error` more or less.
    pub(super) fn bound_in_use(&mut self, bytes: i64, error: i64) {
        self.in_use = self.in_use.max(bytes.saturating_sub(error)).min(bytes.saturating_add(error));
    }

    /// Bytes in use of the heap. Before `subtract`.
    pub(super) fn live_bytes(&self) -> u64 {
        let mapped = self.mapped.wrapping_sub(self.unmapped) as i64;
        self.in_use.wrapping_sub(mapped).max(0) as u64
    }

    /// Blocks in use. Before `subtract`.
    pub(super) fn live_blocks(&self) -> u64 {
        let [_, resized, ..] = self.blocks;
        // Blocks that came from a realloc of NULL are new; the others were there before.
        let made = self.with_blocks().saturating_sub(resized) + self.realloc_new;
        made.saturating_sub(self.frees + self.realloc_free)
    }
}
