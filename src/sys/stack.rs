//! The calling thread's stack: how far up it may be read.

use super::maps::Maps;
use super::tls::thread_pointer;

/// Where a stack lies.
#[derive(Clone, Copy, Default)]
pub(crate) struct Bounds {
    low: usize,
    high: usize,
}

/// How far below its known part a stack may have grown: less than the kernel leaves free below the main thread's.
const GROWTH: usize = 64 << 20;

impl Bounds {
    /// What is known of the stack on which `stack_pointer` is; nothing where the kernel does not tell.
    pub(crate) fn find(stack_pointer: usize) -> Bounds {
        let maps = Maps::read();
        let Some(region) = maps.find(stack_pointer) else { return Bounds::default() };
        // What is mapped right behind a thread's stack is not part of it; the C library keeps what is the
        // thread's own at its upper end.
        let own = thread_pointer();
        let is_within = (stack_pointer..region.end).contains(&own);
        Bounds { low: region.start, high: if is_within { own } else { region.end } }
    }

    /// The end up to which the stack may be read from `stack_pointer` on, which is the caller's; `None` where that
    /// is another stack.
    pub(crate) fn end(self, stack_pointer: usize) -> Option<usize> {
        (self.low..self.high).contains(&stack_pointer).then_some(self.high)
    }

    /// Whether `stack_pointer` may be on the same stack, which has grown.
    pub(crate) fn may_have_grown_to(self, stack_pointer: usize) -> bool {
        stack_pointer < self.low && self.low - stack_pointer < GROWTH
    }
}
