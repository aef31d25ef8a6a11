//! One order for the events of all threads.
//!
//! A chunk's records are in order. Chunks are merged by time, which is exact to what it takes one processor to
//! hear of another. What is closer together is put right by what the events say: a block that is there
//! cannot be made. Who makes it waits until it is given back, for as long as the clocks could disagree.

use crate::record::{Begun, Event, Item, Records, What};
use crate::trace::Trace;
use crate::waiting::{Waiter, Waiting};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, HashSet};

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
    /// Chunks whose next event would make a block that is there.
    waiting: Waiting,
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
            waiting: Waiting::default(),
            alive: HashSet::new(),
            begun: HashMap::new(),
        }
    }

    /// Opens the chunks that begin before the next event of those that are open. Stops before one of a thread whose
    /// event waits, in an earlier chunk: which of `waiting` that is.
    fn open_chunks(&mut self) -> Option<u64> {
        while let Some(chunk) = self.trace.chunks.get(self.next) {
            let first = self.order.peek().map(|Reverse((ticks, _))| *ticks);
            if first.is_some_and(|first| first < chunk.ticks)
                || (first.is_none() && !self.waiting.is_empty() && !self.is_near(chunk.ticks))
            {
                return None;
            }
            let before = self.waiting.first_of(chunk.thread);
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
        self.waiting.first().is_none_or(|(_, first)| self.trace.clock.ns(ticks) <= first.until_ns)
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

    /// A block is there.
    fn comes(&mut self, block: u64) {
        if self.alive.insert(block) {
            self.waiting.block_comes(block);
        }
    }

    /// Hands out the event that waited with this number.
    fn give_waiter(&mut self, number: u64) -> Option<Event> {
        let waiter = self.waiting.remove(number)?;
        self.give(waiter.index)
    }

    /// Hands out a chunk's event.
    fn give(&mut self, index: usize) -> Option<Event> {
        let mut event = self.open.get_mut(index)?.as_mut()?.event.take()?;
        self.advance(index);
        match event.what {
            What::Freed { block, .. } | What::ReallocBegins { block, .. } => {
                if self.alive.remove(&block) {
                    self.waiting.block_goes(block);
                }
            }
            What::ReallocFailed { old, .. } => self.comes(old),
            What::Made { .. } | What::ReallocDone { .. } => {
                Events::made(&event).into_iter().for_each(|block| self.comes(block));
            }
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
            if let Some(number) = self.waiting.first_ready() {
                return self.give_waiter(number);
            }
            // Who waited, and whose thread goes on: in each thread the order is exact.
            if let Some(number) = self.open_chunks() {
                return self.give_waiter(number);
            }
            let next = self.order.peek().map(|Reverse((ticks, _))| *ticks);
            // Who has waited long enough: there was a free that is not in the file.
            if let Some((number, _)) = self.waiting.first()
                && next.is_none_or(|ticks| !self.is_near(ticks))
            {
                return self.give_waiter(number);
            }
            let Reverse((ticks, index)) = self.order.pop()?;
            let event = self.event(index);
            let waits = event.and_then(|event| Some((event.thread, Events::made(event)?)));
            match waits.filter(|(_, block)| self.alive.contains(block)) {
                Some((thread, block)) => {
                    let until_ns = self.trace.clock.ns(ticks).saturating_add(SKEW_NS);
                    self.waiting.push(Waiter { until_ns, index, block, thread });
                }
                None => return self.give(index),
            }
        }
    }
}
