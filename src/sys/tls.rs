//! The thread-local word: where this thread's record is.
//!
//! `thread_local!` is general-dynamic in a shared library (`__tls_get_addr`, which may
//! allocate), so the word is a symbol of our own in the static TLS block, read by one
//! initial-exec access.

// The panic runtime must come from somewhere; no other file names std.
extern crate std;

use core::arch::{asm, global_asm};

global_asm!(
    ".section .tbss.memhook_record,\"awT\",@nobits",
    ".balign 8",
    ".globl memhook_record",
    ".hidden memhook_record",
    ".type memhook_record, @object",
    ".size memhook_record, 8",
    "memhook_record: .zero 8",
    ".previous",
);

/// This thread's word; null until [`set`].
#[inline(always)]
pub(crate) fn get() -> *mut u8 {
    let word: *mut u8;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the word is in the static TLS block of every thread; reading it has no effect.
    unsafe {
        asm!("mov {0}, qword ptr [rip + memhook_record@GOTTPOFF]", "mov {0}, qword ptr fs:[{0}]",
             out(reg) word, options(nostack, readonly, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the word is in the static TLS block of every thread; reading it has no effect.
    unsafe {
        asm!("mrs {1}, tpidr_el0", "adrp {0}, :gottprel:memhook_record",
             "ldr {0}, [{0}, #:gottprel_lo12:memhook_record]", "ldr {0}, [{1}, {0}]",
             out(reg) word, out(reg) _, options(nostack, readonly, preserves_flags));
    }
    word
}

/// Sets this thread's word.
pub(crate) fn set(word: *mut u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the word is in the static TLS block of this thread and is ours alone.
    unsafe {
        asm!("mov {0}, qword ptr [rip + memhook_record@GOTTPOFF]", "mov qword ptr fs:[{0}], {1}",
             out(reg) _, in(reg) word, options(nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: the word is in the static TLS block of this thread and is ours alone.
    unsafe {
        asm!("mrs {1}, tpidr_el0", "adrp {0}, :gottprel:memhook_record",
             "ldr {0}, [{0}, #:gottprel_lo12:memhook_record]", "str {2}, [{1}, {0}]",
             out(reg) _, out(reg) _, in(reg) word, options(nostack, preserves_flags));
    }
}

/// The stack pointer of the calling function.
#[inline(always)]
pub(crate) fn stack_pointer() -> usize {
    let sp: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: reads a register.
    unsafe {
        asm!("mov {}, rsp", out(reg) sp, options(nomem, nostack, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: reads a register.
    unsafe {
        asm!("mov {}, sp", out(reg) sp, options(nomem, nostack, preserves_flags));
    }
    sp
}

/// An address that tells this thread's stack from others: that of its thread control block, which lies at the
/// top of it.
pub(crate) fn thread_pointer() -> usize {
    let pointer: usize;
    #[cfg(target_arch = "x86_64")]
    // SAFETY: the first word of the block is its own address (the x86-64 ABI for thread-local storage).
    unsafe {
        asm!("mov {}, qword ptr fs:[0]", out(reg) pointer, options(nostack, readonly, preserves_flags));
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: reads a register.
    unsafe {
        asm!("mrs {}, tpidr_el0", out(reg) pointer, options(nomem, nostack, preserves_flags));
    }
    pointer
}
