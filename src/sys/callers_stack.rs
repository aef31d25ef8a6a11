//! The calling thread's stack: where it ends, and the registers that lead through it.

use super::maps::Maps;
use super::tls::thread_pointer;

/// The addresses of a stack.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Bounds {
    from: usize,
    to: usize,
}

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
        let (pc, stack, frame): (usize, usize, usize);
        // SAFETY: reads registers.
        unsafe {
            core::arch::asm!("adr {0}, .", "mov {1}, sp", "mov {2}, x29", out(reg) pc, out(reg) stack,
                             out(reg) frame, options(nomem, nostack, preserves_flags));
        }
        [pc + 1, stack, frame]
    }
}

/// A return address as it was found in a frame, without the signature that AArch64 may have given it.
#[inline(always)]
pub(crate) fn plain(pc: usize) -> usize {
    #[cfg(target_arch = "aarch64")]
    {
        let plain: usize;
        // SAFETY: changes a register: `xpaclri`, which processors without signatures pass by.
        unsafe {
            core::arch::asm!("hint #7", inlateout("x30") pc => plain, options(nomem, nostack, preserves_flags));
        }
        plain
    }
    #[cfg(target_arch = "x86_64")]
    {
        pc
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
