//! A trace as a whole.

use crate::bytes::{Reader, Source};
use crate::chunk::{Chunk, HEAD, KIND_HEAD, KIND_RECORDS, NoHead, PAGE};
use crate::clock::Clock;
use crate::merge::Events;
use crate::module::{self, Module, Modules};
use crate::record::{Item, Records};
use std::fmt;
use std::fs::File;
use std::io;
use std::path::{Path, PathBuf};

/// What the first chunk says of the process.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Head {
    /// The process.
    pub pid: u32,
    /// Whether it is a fork child that goes on with its parent's trace: blocks of the parent's may be freed
    /// here that were made there.
    pub is_fork_child: bool,
    /// When the trace began, in nanoseconds since 1970.
    pub began_ns: u64,
    /// Whether times are of the processor's clock. Otherwise of CLOCK_MONOTONIC.
    pub by_ticks: bool,
    /// The machine, by its number in ELF files.
    pub machine: u16,
    /// Whether the trace was ended in order: stopped, or by the process's exit.
    pub is_finished: bool,
    /// How many records are missing, as far as the trace was ended in order.
    pub missing: u64,
    /// The program.
    pub executable: PathBuf,
}

/// A part that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// Where in the file it begins.
    pub offset: u64,
    /// How long it is.
    pub bytes: u64,
    /// What is wrong with it.
    pub what: String,
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "{} bytes at {:#x} skipped: {}", self.bytes, self.offset, self.what)
    }
}

/// A trace.
pub struct Trace {
    pub(crate) source: Box<dyn Source>,
    pub(crate) chunks: Vec<Chunk>,
    pub(crate) clock: Clock,
    head: Option<Head>,
    modules: Modules,
    damage: Vec<Damage>,
    threads: usize,
    events: u64,
}

impl Trace {
    /// Opens a file. An error is one of reading; a file that is no trace is a trace with nothing but damage.
    pub fn open(path: impl AsRef<Path>) -> io::Result<Trace> {
        Trace::read(Box::new(File::open(path)?))
    }

    /// Reads a trace from wherever it is.
    pub fn read(source: Box<dyn Source>) -> io::Result<Trace> {
        let mut trace = Trace {
            source,
            chunks: Vec::new(),
            clock: Clock::default(),
            head: None,
            modules: Modules::default(),
            damage: Vec::new(),
            threads: 0,
            events: 0,
        };
        trace.find_chunks()?;
        trace.look_through();
        Ok(trace)
    }

    /// Finds all chunks: one behind the other, and where there is none, the next one at a page.
    fn find_chunks(&mut self) -> io::Result<()> {
        let length = self.source.length()?;
        let mut at = 0;
        let mut bad: Option<(u64, &'static str)> = None;
        while at < length {
            let mut head = [0; HEAD];
            let got = self.source.read(at, &mut head)?;
            let parsed = if got < HEAD { Err(NoHead::Damaged) } else { Chunk::parse(&head, at) };
            match parsed {
                Ok(chunk) => {
                    self.note_bad(bad.take(), at);
                    at = at.saturating_add(chunk.bytes.into());
                    self.chunks.push(chunk);
                    continue;
                }
                // Taken for a chunk that never was begun.
                Err(NoHead::Empty) => {
                    let next = at.saturating_add(PAGE);
                    at = (self.source.next_data(next) / PAGE * PAGE).max(next);
                    continue;
                }
                Err(NoHead::Version(version)) => {
                    self.note_bad(bad.take(), at);
                    let what = format!("of version {version}, which this reader does not know");
                    self.damage.push(Damage { offset: at, bytes: PAGE.min(length - at), what });
                }
                Err(NoHead::Damaged) => bad = bad.or(Some((at, "no chunk begins here"))),
            }
            at = at.saturating_add(PAGE);
        }
        self.note_bad(bad, length);
        // In the order in which they were begun.
        self.chunks.sort_by_key(|chunk| (chunk.ticks, chunk.number, chunk.offset));
        Ok(())
    }

    fn note_bad(&mut self, bad: Option<(u64, &'static str)>, end: u64) {
        if let Some((offset, what)) = bad {
            self.damage.push(Damage { offset, bytes: end - offset, what: what.into() });
        }
    }

    /// Reads everything once: the clock, the objects, and what is damaged.
    fn look_through(&mut self) {
        let (mut moments, mut others) = (Vec::new(), Vec::new());
        let mut modules = Vec::new();
        let mut threads = std::collections::HashSet::new();
        for chunk in self.chunks.clone() {
            moments.push((chunk.ticks, chunk.ns));
            let (records, wrong) = chunk.records(self.source.as_ref());
            let length = records.len();
            if let Some(what) = wrong {
                let bytes = u64::from(chunk.bytes) - length as u64;
                self.damage.push(Damage { offset: chunk.offset, bytes, what: format!("the chunk {what}") });
            }
            match chunk.kind {
                KIND_HEAD => {
                    let (head, end) = parse_head(&records, chunk.is_finished);
                    self.head = self.head.take().or(head);
                    others.extend(end);
                }
                KIND_RECORDS => {
                    let mut records = Records::new(&chunk, records, None);
                    while let Some(item) = records.next() {
                        match item {
                            Ok(Item::Clock(ticks, ns)) => others.push((ticks, ns)),
                            Ok(Item::Module(module)) => modules.push(module),
                            Ok(Item::Event(event)) => {
                                threads.insert(event.thread);
                                self.events += 1;
                            }
                            Err(what) => {
                                let at = records.at();
                                self.damage.push(Damage {
                                    offset: chunk.offset + (HEAD + at) as u64,
                                    bytes: (length - at) as u64,
                                    what: format!("the chunk {what}"),
                                });
                                break;
                            }
                        }
                    }
                }
                _ => {}
            }
        }
        self.threads = threads.len();
        self.clock = Clock::new(moments, others);
        self.modules = Modules::new(modules);
    }

    /// What is known of the process; `None` where the first chunk is lost.
    pub fn head(&self) -> Option<&Head> {
        self.head.as_ref()
    }

    /// All objects of which addresses were recorded.
    pub fn modules(&self) -> &[Module] {
        &self.modules.all
    }

    /// The object that an event's caller was in: by its address and the event's `ticks`.
    pub fn module(&self, address: u64, ticks: u64) -> Option<&Module> {
        self.modules.find(address, ticks)
    }

    /// What could not be read.
    pub fn damage(&self) -> &[Damage] {
        &self.damage
    }

    /// How many events there are.
    pub fn count(&self) -> u64 {
        self.events
    }

    /// How many threads they are of.
    pub fn threads(&self) -> usize {
        self.threads
    }

    /// All events, in one order that is true.
    pub fn events(&self) -> Events<'_> {
        Events::new(self)
    }
}

/// The first chunk's contents, and the end by both clocks.
fn parse_head(bytes: &[u8], is_finished: bool) -> (Option<Head>, Option<(u64, u64)>) {
    let mut end = None;
    let mut parse = || {
        let mut reader = Reader(bytes);
        let (pid, forked, began_ns) = (reader.u32()?, reader.u32()?, reader.u64()?);
        let (clock, machine) = (reader.u32()?, reader.u32()?);
        let (ticks, ns, missing) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let (_page, _frames, length) = (reader.u32()?, reader.u32()?, reader.u32()?);
        end = is_finished.then_some((ticks, ns));
        let executable = module::path(reader.take(length as usize)?);
        let (is_fork_child, by_ticks) = (forked != 0, clock == 1);
        let machine = machine as u16;
        Some(Head { pid, is_fork_child, began_ns, by_ticks, machine, is_finished, missing, executable })
    };
    let head = parse();
    (head, end)
}
