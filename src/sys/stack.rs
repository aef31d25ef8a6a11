//! The calling thread's own stack: how far up it may be read, and the registers that lead through it.
//!
//! Which mapping is the stack does not depend on where the stack pointer is: a thread that comes here first on a
//! signal's stack or a coroutine's is not taken in by it. The main thread's is the one that the kernel calls so. The
//! C library keeps what is any other thread's own at the upper end of its stack, also where the program has given
//! it that: there the stack ends, though to the kernel it may be one with what is mapped behind it.
//!
//! What lies directly below a stack, without a guard between, is taken for a part of it. That can only be where the
//! program made the stack.

use super::maps::{Maps, Region};
use super::thread;
use super::tls::thread_pointer;
use core::cell::Cell;
use core::sync::atomic::{AtomicUsize, Ordering};

/// How far below its known part the main thread's stack may have grown: less than the kernel leaves free there.
const GROWTH: usize = 64 << 20;

/// So much below the main thread's stack the kernel puts nothing else (it leaves four times that free), so that who
/// stands there stands on the stack.
const SLACK: usize = 256 << 10;

/// The main thread's thread pointer. 0: not known yet.
static MAIN: AtomicUsize = AtomicUsize::new(0);

/// Called at the start of the process: the thread with the process's number is the one that began it. Later that may
/// be another, whose fork made the process.
pub(crate) fn note_main_thread() {
    if is_first() {
        // ORDERING [none]: Relaxed. A number that does not change.
        MAIN.store(thread_pointer(), Ordering::Relaxed);
    }
}

fn is_first() -> bool {
    let thread = thread::current();
    thread.pid == thread.tid
}

/// Where the calling thread's own stack lies.
#[derive(Clone, Copy, Default)]
struct Bounds {
    low: usize,
    high: usize,
    /// Whether what is below may become a part of it.
    grows: bool,
}

impl Bounds {
    /// Empty where the kernel does not tell; `None` where it may another time.
    fn of_this_thread() -> Option<Bounds> {
        let own = thread_pointer();
        // ORDERING [none]: Relaxed. A number that does not change.
        let is_main = match MAIN.load(Ordering::Relaxed) {
            0 => is_first(),
            main => main == own,
        };
        let maps = Maps::read();
        if maps.is_missing_for_now() {
            return None;
        }
        let is_it = |region: &Region| if is_main { region.path == b"[stack]" } else { region.holds(own) };
        // A stack is several mappings where a part of it was locked, say.
        let (mut low, mut behind) = (0, 0);
        for region in maps.iter() {
            if !region.is_readable {
                continue;
            }
            if region.start != behind {
                low = region.start;
            }
            behind = region.end;
            if is_it(&region) {
                return Some(if is_main {
                    Bounds { low: low.saturating_sub(SLACK), high: region.end, grows: true }
                } else {
                    Bounds { low, high: own, grows: false }
                });
            }
        }
        Some(Bounds::default())
    }

    fn hold(self, at: usize) -> bool {
        (self.low..self.high).contains(&at)
    }

    /// Whether the stack may have grown so that it holds this address.
    fn may_have_grown_to(self, at: usize) -> bool {
        self.grows && at < self.low && self.low - at < GROWTH
    }
}

/// What a thread remembers of its stack. Zero is valid.
#[repr(C)]
pub(crate) struct Stack {
    /// The thread that it is about, by a number that is never 0.
    thread: Cell<u64>,
    bounds: Cell<Bounds>,
}

impl Stack {
    /// The end up to which the stack of the calling thread, which is `thread`, may be read from its stack pointer
    /// on; `None` where that is on another stack.
    #[inline(always)]
    pub(crate) fn end(&self, thread: u64, stack_pointer: usize) -> Option<usize> {
        let bounds = self.bounds.get();
        if self.thread.get() == thread && bounds.hold(stack_pointer) {
            Some(bounds.high)
        } else {
            self.look(thread, stack_pointer)
        }
    }

    #[cold]
    #[inline(never)]
    fn look(&self, thread: u64, stack_pointer: usize) -> Option<usize> {
        if self.thread.get() == thread && !self.bounds.get().may_have_grown_to(stack_pointer) {
            return None;
        }
        let bounds = Bounds::of_this_thread()?;
        self.bounds.set(bounds);
        self.thread.set(thread);
        bounds.hold(stack_pointer).then_some(bounds.high)
    }
}

/// Whether an address is on the calling thread's own stack, at or above the caller's frame.
pub(crate) fn holds(address: usize) -> bool {
    let here = 0u8;
    let here = &raw const here as usize;
    let bounds = Bounds::of_this_thread().unwrap_or_default();
    bounds.hold(here) && (here..bounds.high).contains(&address)
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
