//! The calling thread's stack: how far up it may be read.

use super::maps::Maps;
use super::tls::thread_pointer;
use core::cell::Cell;

/// The addresses of a stack; none where `high` is 0.
#[derive(Clone, Copy, Default)]
struct Bounds {
    low: usize,
    high: usize,
}

impl Bounds {
    fn hold(self, address: usize) -> bool {
        (self.low..self.high).contains(&address)
    }
}

/// How far below its known part a stack may have grown: less than the kernel leaves free below the main thread's.
const GROWTH: usize = 64 << 20;

/// What a thread remembers of its stack. Zero is valid: nothing so far.
#[derive(Default)]
pub(crate) struct Stack {
    own: Cell<Bounds>,
    /// Another stack that was taken for the thread's own, before the kernel was asked.
    other: Cell<Bounds>,
}

impl Stack {
    /// The end up to which the calling thread's stack may be read from `stack_pointer` on, which is that of one of its
    /// calls; `None` on another stack: a signal's, a coroutine's.
    pub(crate) fn end(&self, stack_pointer: usize) -> Option<usize> {
        let (own, other) = (self.own.get(), self.other.get());
        if own.hold(stack_pointer) {
            return Some(own.high);
        }
        let has_grown = stack_pointer < own.low && own.low - stack_pointer < GROWTH;
        if other.hold(stack_pointer) || (own.high != 0 && !has_grown) {
            return None;
        }
        let maps = Maps::read();
        let region = maps.find(stack_pointer)?;
        // What is mapped right behind a thread's stack is not part of it; the C library keeps what is the
        // thread's own at its upper end.
        let at_end = thread_pointer();
        let high = match (stack_pointer..region.end).contains(&at_end) {
            true => at_end,
            false if region.path == b"[stack]" => region.end,
            false => 0,
        };
        if high == 0 || (own.high != 0 && own.high != high) {
            self.other.set(Bounds { low: region.start, high: region.end });
            return None;
        }
        self.own.set(Bounds { low: region.start, high });
        Some(high)
    }

    /// For memory that is another thread's from now on.
    pub(crate) fn forget(&self) {
        self.own.take();
        self.other.take();
    }
}
