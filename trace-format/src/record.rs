//! Records: what a thread did, one after the other.

use crate::bytes::Reader;
use crate::chunk::Chunk;
use crate::module::{self, Module};
use std::rc::Rc;

/// The function that the program called.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[allow(missing_docs, reason = "the names say it")]
pub enum Function {
    Malloc,
    Free,
    Calloc,
    Realloc,
    Reallocarray,
    Memalign,
    AlignedAlloc,
    PosixMemalign,
    Valloc,
    Pvalloc,
    FreeSized,
    FreeAlignedSized,
}

impl Function {
    fn of(kind: u16) -> Option<Function> {
        Some(match kind {
            0 => Function::Malloc,
            1 => Function::Free,
            2 => Function::Calloc,
            3 => Function::Realloc,
            4 => Function::Reallocarray,
            5 => Function::Memalign,
            6 => Function::AlignedAlloc,
            7 => Function::PosixMemalign,
            8 => Function::Valloc,
            9 => Function::Pvalloc,
            11 => Function::FreeSized,
            12 => Function::FreeAlignedSized,
            _ => return None,
        })
    }

    /// Its name in C.
    pub fn name(self) -> &'static str {
        match self {
            Function::Malloc => "malloc",
            Function::Free => "free",
            Function::Calloc => "calloc",
            Function::Realloc => "realloc",
            Function::Reallocarray => "reallocarray",
            Function::Memalign => "memalign",
            Function::AlignedAlloc => "aligned_alloc",
            Function::PosixMemalign => "posix_memalign",
            Function::Valloc => "valloc",
            Function::Pvalloc => "pvalloc",
            Function::FreeSized => "free_sized",
            Function::FreeAlignedSized => "free_aligned_sized",
        }
    }
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum What {
    /// A block was made, or could not be.
    Made {
        /// The block; `None` where there was none to be had.
        block: Option<u64>,
        /// Bytes asked for; the product for arrays, `u64::MAX` where that overflows.
        requested: u64,
        /// The alignment asked for; 0 for functions without one.
        alignment: u64,
        /// The number of elements; 1 for functions without one.
        count: u64,
    },
    /// A block is about to be given back.
    Freed {
        /// The block.
        block: u64,
        /// The size that was given to free_sized and free_aligned_sized; 0 for free.
        requested: u64,
    },
    /// A block is about to be reallocated: its address is given up.
    ReallocBegins {
        /// The block.
        block: u64,
        /// Bytes asked for.
        requested: u64,
        /// The number of elements; 1 for realloc.
        count: u64,
    },
    /// The realloc of the same thread that had begun is done.
    ReallocDone {
        /// The block that it was of; 0 where that is not in the file.
        old: u64,
        /// The new block; `None` where the old one was given back only (a realloc to nothing).
        block: Option<u64>,
        /// Bytes asked for.
        requested: u64,
    },
    /// It failed: the old block lives on.
    ReallocFailed {
        /// The block.
        old: u64,
        /// Bytes asked for.
        requested: u64,
    },
}

/// One event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Event {
    /// When, in nanoseconds of CLOCK_MONOTONIC.
    pub time_ns: u64,
    /// When, by the processor's clock: what `Trace::module` wants to know.
    pub ticks: u64,
    /// The thread, by its number in memhook: never used for another one.
    pub thread: u64,
    /// The thread, by the kernel's number.
    pub tid: u32,
    /// `MEMHOOK_DURING_` bits.
    pub circumstances: u32,
    /// The function.
    pub function: Function,
    /// The caller's return address, and its callers' as far as they were recorded.
    pub callers: Rc<[u64]>,
    /// What happened.
    pub what: What,
}

/// What a record says.
pub(crate) enum Item {
    Event(Event),
    Clock(u64, u64),
    Module(Module),
}

/// Reads a chunk's records.
pub(crate) struct Records {
    bytes: Vec<u8>,
    at: usize,
    state: State,
}

/// What records build on.
struct State {
    ticks: u64,
    block: u64,
    thread: u64,
    tid: u32,
    circumstances: u32,
    callers: Vec<Option<Rc<[u64]>>>,
    /// The realloc that has begun: function, block, size.
    begun: Begun,
    none: Rc<[u64]>,
}

impl Records {
    pub(crate) fn new(chunk: &Chunk, bytes: Vec<u8>, begun: Begun) -> Records {
        let state = State {
            ticks: chunk.ticks,
            block: 0,
            thread: chunk.thread,
            tid: chunk.tid,
            circumstances: 0,
            callers: vec![None; 256],
            begun,
            none: Rc::new([]),
        };
        Records { bytes, at: 0, state }
    }

    /// How far they have been read.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// The thread at the point that was read to, and its realloc under way: which may end in its next chunk.
    pub(crate) fn pending(&self) -> (u64, Begun) {
        (self.state.thread, self.state.begun)
    }

    /// The next record: `None` at the end, an error where there is none that makes sense.
    pub(crate) fn next(&mut self) -> Option<Result<Item, &'static str>> {
        loop {
            let rest = self.bytes.get(self.at..).filter(|rest| !rest.is_empty())?;
            let mut reader = Reader(rest);
            let Some(item) = self.state.read(&mut reader) else {
                return Some(Err("has a record that makes no sense"));
            };
            self.at = self.bytes.len() - reader.0.len();
            if let Some(item) = item {
                return Some(Ok(item));
            }
        }
    }
}

impl State {
    /// Reads a record; `Some(None)` for one that concerns this reader only.
    fn read(&mut self, reader: &mut Reader) -> Option<Option<Item>> {
        let head = reader.u16().filter(|head| head & 1 << 15 != 0)?;
        let kind = head & 15;
        if kind == 15 {
            return self.other(reader);
        }
        let slot = reader.u8()?;
        let mut field = |shift: u32| match head >> shift & 7 {
            7 => reader.u64(),
            bytes => reader.number(bytes.into()),
        };
        let (time, distance, requested) = (field(4)?, field(7)?, field(10)?);
        let (mut alignment, mut count) = (0, 1);
        if head & 1 << 13 != 0 {
            let lengths = usize::from(reader.u8()?);
            alignment = reader.number(lengths & 15)?;
            count = reader.number(lengths >> 4)?;
        }
        let is_special = head & 1 << 14 != 0;
        self.ticks = self.ticks.wrapping_add(time);
        let has_block = !is_special || kind == 13;
        if has_block {
            let signed = (distance >> 1) as i64 ^ -((distance & 1) as i64);
            self.block = self.block.wrapping_add(signed as u64);
        }
        let block = self.block;
        let (function, what) = match kind {
            13 => {
                let function = if is_special { Function::Reallocarray } else { Function::Realloc };
                self.begun = Some((function, block, requested));
                (function, What::ReallocBegins { block, requested, count })
            }
            14 => {
                let (function, old, requested) = self.begun.take().unwrap_or((Function::Realloc, 0, 0));
                let block = Some(block).filter(|&block| block != 0);
                let done = What::ReallocDone { old, block, requested };
                (function, if is_special { What::ReallocFailed { old, requested } } else { done })
            }
            1 | 11 | 12 => (Function::of(kind)?, What::Freed { block, requested }),
            _ => {
                let block = has_block.then_some(block);
                (Function::of(kind)?, What::Made { block, requested, alignment, count })
            }
        };
        let callers = self.callers.get(usize::from(slot)).cloned().flatten();
        Some(Some(Item::Event(Event {
            time_ns: 0,
            ticks: self.ticks,
            thread: self.thread,
            tid: self.tid,
            circumstances: self.circumstances,
            function,
            callers: callers.unwrap_or_else(|| self.none.clone()),
            what,
        })))
    }

    fn other(&mut self, reader: &mut Reader) -> Option<Option<Item>> {
        let kind = reader.u8()?;
        let length = reader.u16()?;
        let mut body = Reader(reader.take(length.into())?);
        match kind {
            1 => {
                let slot = usize::from(body.u8()?);
                let mut callers = Vec::new();
                while let Some(caller) = body.u64() {
                    callers.push(caller);
                }
                *self.callers.get_mut(slot)? = Some(callers.into());
            }
            2 => {
                (self.thread, self.tid) = (body.u64()?, body.u32()?);
                self.begun = None;
            }
            3 => self.circumstances = body.u32()?,
            4 => {
                let (ticks, ns) = (body.u64()?, body.u64()?);
                return Some(Some(Item::Clock(ticks, ns)));
            }
            5 => {
                let (start, end, base, ticks) = (body.u64()?, body.u64()?, body.u64()?, body.u64()?);
                let length = body.u8()?;
                let build_id = body.take(length.into())?.to_vec();
                let path = module::path(body.0);
                return Some(Some(Item::Module(Module { start, end, base, ticks, build_id, path })));
            }
            // Of a later writer: to be passed over.
            _ => {}
        }
        Some(None)
    }
}

/// A realloc that has begun: function, block, size.
pub(crate) type Begun = Option<(Function, u64, u64)>;
