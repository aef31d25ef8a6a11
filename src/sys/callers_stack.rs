//! Registers and return addresses, which lead through a thread's stack.

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
