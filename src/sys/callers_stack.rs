//! The calling thread's stack: where it ends, and the registers that lead through it. x86-64.

use super::maps::Maps;
use super::tls::thread_pointer;

/// The addresses of a stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bounds {
    from: usize,
    to: usize,
}

/// Whether stacks can be walked on this machine.
pub(crate) const IS_KNOWN: bool = cfg!(target_arch = "x86_64");

/// Program counter, stack pointer and frame pointer of the calling function.
#[inline(always)]
pub(crate) fn registers() -> [usize; 3] {
    #[cfg(target_arch = "x86_64")]
    {
        let (pc, stack, frame): (usize, usize, usize);
        // SAFETY: reads registers.
        unsafe {
            core::arch::asm!("lea {0}, [rip]", "mov {1}, rsp", "mov {2}, rbp", out(reg) pc, out(reg) stack,
                             out(reg) frame, options(nomem, nostack, preserves_flags));
        }
        // As a return address is taken for the instruction before it.
        [pc + 1, stack, frame]
    }
    #[cfg(target_arch = "aarch64")]
    {
        [0; 3]
    }
}

impl Bounds {
    /// The calling thread's stack, by the kernel's list of mappings; empty where `stack` is not an address of
    /// it, but of a signal's or a coroutine's.
    pub(crate) fn of_this_thread(stack: usize) -> Bounds {
        let maps = Maps::read();
        let Some(region) = maps.find(stack) else { return Bounds { from: 0, to: 0 } };
        if region.path == b"[stack]" {
            // The main thread's. What is below may become a part of it.
            return Bounds { from: region.end.saturating_sub(1 << 30), to: region.end };
        }
        // Mappings side by side may be one to the kernel: up to the thread's own words, all is its stack.
        let own = thread_pointer();
        if own > stack && own < region.end {
            Bounds { from: region.start, to: own }
        } else {
            Bounds { from: 0, to: 0 }
        }
    }

    /// Whether a word lies in the stack.
    #[inline(always)]
    pub(crate) fn holds(&self, at: usize) -> bool {
        at >= self.from && at < self.to.saturating_sub(7)
    }
}
