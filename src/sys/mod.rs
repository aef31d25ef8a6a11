//! The machine: system calls, the thread-local word, pages, futexes, barriers.
//!
//! Never: touches errno, calls into the C library on an allocation call, allocates from a heap.

pub(crate) mod barrier;
pub(crate) mod bytes;
pub(crate) mod call;
pub(crate) mod copies;
pub(crate) mod elf;
pub(crate) mod environment;
pub(crate) mod exit;
pub(crate) mod file;
pub(crate) mod find;
pub(crate) mod futex;
pub(crate) mod heap;
pub(crate) mod kept;
pub(crate) mod maps;
mod own;
pub(crate) mod paged;
pub(crate) mod pages;
pub(crate) mod probe;
pub(crate) mod program;
pub(crate) mod stack;
mod syscall;
pub(crate) mod thread;
pub(crate) mod ticks;
pub(crate) mod timer;
pub(crate) mod tls;
pub(crate) mod unwind;

/// The address of a weak symbol, null where nobody defines it.
macro_rules! weak {
    ($symbol:ident) => {{
        let place: *const ();
        #[cfg(target_arch = "x86_64")]
        // SAFETY: reads the address that the linker gave the symbol.
        unsafe {
            core::arch::asm!(concat!("mov {}, qword ptr [rip + ", stringify!($symbol), "@GOTPCREL]"), out(reg) place,
                             options(nostack, readonly, preserves_flags));
        }
        #[cfg(target_arch = "aarch64")]
        // SAFETY: reads the address that the linker gave the symbol.
        unsafe {
            core::arch::asm!(concat!("adrp {0}, :got:", stringify!($symbol)),
                             concat!("ldr {0}, [{0}, #:got_lo12:", stringify!($symbol), "]"), out(reg) place,
                             options(nostack, readonly, preserves_flags));
        }
        place
    }};
}
pub(crate) use weak;

/// Writes to standard error. A full or closed one loses the text: there is nobody to tell. No signal says that it cannot
/// be written: that would end the program.
pub(crate) fn write_error(text: &[u8]) {
    let _ = file::write_quietly(2, [text, &[]]);
}

/// Says what is wrong and ends the process: for states in which no call can be answered.
pub(crate) fn die(text: &[u8]) -> ! {
    write_error(text);
    // SAFETY: abort has no precondition.
    unsafe { libc::abort() }
}

pub(crate) use own::auxiliary;
pub(crate) use syscall::{getpid as process_id, is_in_memory, mapping, pagemap};
