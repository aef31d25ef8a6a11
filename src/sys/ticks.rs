//! The processor's clock: a number that grows at a constant rate, read without a system call.

use super::file;

/// Whether the clock grows at a constant rate and is the same on all processors. On x86 the kernel
/// watches over that, and takes the clock from its list of usable ones where it is not so.
pub(crate) fn is_usable() -> bool {
    #[cfg(target_arch = "x86_64")]
    {
        let name = b"/sys/devices/system/clocksource/clocksource0/available_clocksource\0";
        let Ok(fd) = file::open(name, libc::O_RDONLY, 0) else {
            // The processor itself promises the constant rate only.
            let leaf = core::arch::x86_64::__cpuid(0x8000_0000).eax;
            return leaf >= 0x8000_0007 && core::arch::x86_64::__cpuid(0x8000_0007).edx & 1 << 8 != 0;
        };
        let mut text = [0; 256];
        let got = file::read_at(fd, &mut text, 0).unwrap_or(0);
        file::close(fd);
        let mut words = text.get(..got).unwrap_or(&[]).split(|&byte| byte == b' ' || byte == b'\n');
        words.any(|word| word == b"tsc")
    }
    #[cfg(target_arch = "aarch64")]
    {
        let _ = file::open;
        true
    }
}

/// The time now; what comes later in the program may already have been read, but not written.
#[inline(always)]
pub(crate) fn now() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: reads the clock.
    unsafe {
        core::arch::x86_64::_rdtsc()
    }
    #[cfg(target_arch = "aarch64")]
    {
        let ticks: u64;
        // SAFETY: reads the clock.
        unsafe { core::arch::asm!("mrs {}, cntvct_el0", out(reg) ticks, options(nostack)) };
        ticks
    }
}

/// The time after everything that comes earlier in the program has been read.
#[inline(always)]
pub(crate) fn now_after() -> u64 {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: waits for earlier loads, changes nothing.
    unsafe {
        core::arch::x86_64::_mm_lfence();
    }
    #[cfg(target_arch = "aarch64")]
    // SAFETY: waits for earlier instructions, changes nothing.
    unsafe {
        core::arch::asm!("isb", options(nostack));
    }
    now()
}
