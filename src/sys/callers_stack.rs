//! The calling thread's stack: where it ends, and the registers that lead through it. x86-64.

use super::file;

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

/// The thread pointer: what glibc keeps of a thread, at the upper end of the stack that it made for it.
fn thread_pointer() -> usize {
    #[cfg(target_arch = "x86_64")]
    {
        let at: usize;
        // SAFETY: the first word there is its own address.
        unsafe {
            core::arch::asm!("mov {}, fs:[0]", out(reg) at, options(nostack, readonly, preserves_flags));
        }
        at
    }
    #[cfg(target_arch = "aarch64")]
    {
        0
    }
}

impl Bounds {
    /// The calling thread's stack, by the kernel's list of mappings; empty where `stack` is not an address of
    /// it, but of a signal's or a coroutine's.
    pub(crate) fn of_this_thread(stack: usize) -> Bounds {
        match mapping(stack) {
            // The main thread's. What is below may become a part of it.
            Some((_, to, true)) => Bounds { from: to.saturating_sub(1 << 30), to },
            // Mappings side by side may be one to the kernel: up to the thread's own words, all is its stack.
            Some((from, to, false)) => {
                let own = thread_pointer();
                if own > stack && own < to { Bounds { from, to: own } } else { Bounds { from: 0, to: 0 } }
            }
            None => Bounds { from: 0, to: 0 },
        }
    }

    /// Whether a word lies in the stack.
    #[inline(always)]
    pub(crate) fn holds(&self, at: usize) -> bool {
        at >= self.from && at < self.to.saturating_sub(7)
    }
}

/// The mapping in which an address lies, and whether it is the main thread's stack.
fn mapping(address: usize) -> Option<(usize, usize, bool)> {
    let fd = file::open(b"/proc/self/maps\0", libc::O_RDONLY, 0).ok()?;
    let mut buffer = [0u8; 1024];
    let (mut offset, mut kept) = (0, 0);
    let found = loop {
        let Ok(got) = file::read_at(fd, buffer.get_mut(kept..).unwrap_or(&mut []), offset) else {
            break None;
        };
        if got == 0 {
            break None;
        }
        offset += got;
        let len = kept + got;
        let text = buffer.get(..len).unwrap_or(&[]);
        let whole = text.iter().rposition(|&byte| byte == b'\n').map_or(0, |last| last + 1);
        let lines = text.get(..whole).unwrap_or(&[]).split(|&byte| byte == b'\n');
        let mut parsed =
            lines.filter_map(|line| parse(line).map(|(from, to)| (from, to, line.ends_with(b"[stack]"))));
        let found = parsed.find(|&(from, to, _)| (from..to).contains(&address));
        if found.is_some() {
            break found;
        }
        // A line longer than the buffer is a path that nobody asks for: its rest is no line.
        kept = if whole == 0 && len == buffer.len() { 0 } else { len - whole };
        let start = buffer.as_mut_ptr();
        // SAFETY: both parts lie in the buffer.
        unsafe { core::ptr::copy(start.wrapping_add(len - kept), start, kept) };
    };
    file::close(fd);
    found
}

/// The addresses at the beginning of a line.
fn parse(line: &[u8]) -> Option<(usize, usize)> {
    let words = line.split(|&byte| byte == b' ').next()?;
    let mut numbers = words.split(|&byte| byte == b'-').map(|word| {
        word.iter().try_fold(0usize, |sum, &digit| {
            let value = char::from(digit).to_digit(16)?;
            Some(sum << 4 | value as usize)
        })
    });
    Some((numbers.next()??, numbers.next()??))
}
