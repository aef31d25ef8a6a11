//! One order for the events of all threads.
//!
//! A chunk's records are in order. Chunks are merged by time, which is exact to what it takes one processor to
//! hear of another. What is closer together is put right by what the events say: a block that is there
//! cannot be made. Who makes it waits until it is given back, for as long as the clocks could disagree.

use crate::record::{Begun, Event, Item, Records, What};
use crate::trace::Trace;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet, VecDeque};

/// So many nanoseconds an event may have to wait for another thread's.
const SKEW_NS: u64 = 100_000;

/// A chunk that is being read, and its next event.
struct Open {
    records: Records,
    event: Option<Event>,
}

/// The events of a trace.
pub struct Events<'t> {
    trace: &'t Trace,
    /// The next chunk to be opened.
    next: usize,
    open: Vec<Option<Open>>,
    /// Of open chunks: the time of the next event, and which chunk.
    order: BinaryHeap<Reverse<(u64, usize)>>,
    /// Chunks whose next event would make a block that is there: until when, which chunk, the block.
    waiting: VecDeque<(u64, usize, u64)>,
    alive: HashSet<u64>,
    begun: HashMap<u64, Begun>,
}

impl<'t> Events<'t> {
    pub(crate) fn new(trace: &'t Trace) -> Events<'t> {
        Events {
            trace,
            next: 0,
            open: Vec::new(),
            order: BinaryHeap::new(),
            waiting: VecDeque::new(),
            alive: HashSet::new(),
            begun: HashMap::new(),
        }
    }

    /// Opens the chunks that begin before the next event of those that are open. Stops before one of a thread whose
    /// event waits, in an earlier chunk: which of `waiting` that is.
    fn open_chunks(&mut self) -> Option<usize> {
        while let Some(chunk) = self.trace.chunks.get(self.next) {
            let first = self.order.peek().map(|Reverse((ticks, _))| *ticks);
            let waits = self.waiting.front().is_some();
            if first.is_some_and(|first| first < chunk.ticks)
                || (first.is_none() && waits && !self.is_near(chunk.ticks))
            {
                return None;
            }
            let of_same = |&(_, index, _): &(u64, usize, u64)| {
                self.event(index).is_some_and(|event| event.thread == chunk.thread)
            };
            let before = self.waiting.iter().position(of_same);
            if before.is_some() {
                return before;
            }
            let index = self.next;
            self.next += 1;
            if chunk.kind != crate::chunk::KIND_RECORDS {
                continue;
            }
            let (bytes, _) = chunk.records(self.trace.source.as_ref());
            // A realloc may begin in one chunk of a thread and end in the next.
            let begun = self.begun.remove(&chunk.thread).flatten();
            let records = Records::new(chunk, bytes, begun);
            self.open.resize_with(index + 1, || None);
            if let Some(place) = self.open.get_mut(index) {
                *place = Some(Open { records, event: None });
            }
            self.advance(index);
        }
        None
    }

    /// Whether a time is near enough to who waits first.
    fn is_near(&self, ticks: u64) -> bool {
        self.waiting.front().is_none_or(|&(until, ..)| self.trace.clock.ns(ticks) <= until)
    }

    /// Reads a chunk's next event.
    fn advance(&mut self, index: usize) {
        let Some(place) = self.open.get_mut(index) else { return };
        let Some(open) = place else { return };
        loop {
            match open.records.next() {
                Some(Ok(Item::Event(event))) => {
                    self.order.push(Reverse((event.ticks, index)));
                    open.event = Some(event);
                    return;
                }
                Some(Ok(_)) => {}
                Some(Err(_)) | None => {
                    let (thread, begun) = open.records.pending();
                    if begun.is_some() {
                        self.begun.insert(thread, begun);
                    }
                    *place = None;
                    return;
                }
            }
        }
    }

    /// A chunk's next event.
    fn event(&self, index: usize) -> Option<&Event> {
        self.open.get(index)?.as_ref()?.event.as_ref()
    }

    /// The block that an event makes.
    fn made(event: &Event) -> Option<u64> {
        match event.what {
            What::Made { block, .. } | What::ReallocDone { block, .. } => block,
            _ => None,
        }
    }

    /// Hands out a chunk's event.
    fn give(&mut self, index: usize) -> Option<Event> {
        let mut event = self.open.get_mut(index)?.as_mut()?.event.take()?;
        self.advance(index);
        match event.what {
            What::Freed { block, .. } | What::ReallocBegins { block, .. } => {
                self.alive.remove(&block);
            }
            What::ReallocFailed { old, .. } => {
                self.alive.insert(old);
            }
            What::Made { .. } | What::ReallocDone { .. } => self.alive.extend(Events::made(&event)),
        }
        event.time_ns = self.trace.clock.ns(event.ticks);
        Some(event)
    }
}

impl Iterator for Events<'_> {
    type Item = Event;

    fn next(&mut self) -> Option<Event> {
        loop {
            // Who waited for a block that is free now.
            let ready = self.waiting.iter().position(|(_, _, block)| !self.alive.contains(block));
            if let Some((_, index, _)) = ready.and_then(|place| self.waiting.remove(place)) {
                return self.give(index);
            }
            // Who waited, and whose thread goes on: in each thread the order is exact.
            if let Some(place) = self.open_chunks() {
                let (_, index, _) = self.waiting.remove(place)?;
                return self.give(index);
            }
            let next = self.order.peek().map(|Reverse((ticks, _))| *ticks);
            // Who has waited long enough: there was a free that is not in the file.
            if self.waiting.front().is_some() && next.is_none_or(|ticks| !self.is_near(ticks)) {
                let (_, index, _) = self.waiting.pop_front()?;
                return self.give(index);
            }
            let Reverse((ticks, index)) = self.order.pop()?;
            let block = self.event(index).and_then(Events::made);
            match block.filter(|block| self.alive.contains(block)) {
                Some(block) => {
                    self.waiting.push_back((
                        self.trace.clock.ns(ticks).saturating_add(SKEW_NS),
                        index,
                        block,
                    ));
                }
                None => return self.give(index),
            }
        }
    }
}
