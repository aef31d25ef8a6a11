//! The machine, as far as Miri has one.

#[path = "../../../src/sys/barrier.rs"]
pub(crate) mod barrier;

use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};

/// What was written to standard error.
pub(crate) static SAID: Mutex<Vec<u8>> = Mutex::new(Vec::new());

static UNLOADING: AtomicBool = AtomicBool::new(false);

/// Whether an object whose hooks are unregistered is about to be unmapped.
pub(crate) fn is_unloading() -> bool {
    UNLOADING.load(Ordering::Relaxed)
}

pub(crate) fn set_unloading(whether: bool) {
    UNLOADING.store(whether, Ordering::Relaxed);
}

pub(crate) fn write_error(text: &[u8]) {
    SAID.lock().unwrap().extend(text);
}

pub(crate) fn die(text: &[u8]) -> ! {
    panic!("{}", String::from_utf8_lossy(text))
}

/// Everything is in memory, and nothing is known of pages.
pub(crate) fn is_in_memory(_: usize) -> bool {
    false
}

pub(crate) fn pagemap(_: usize, _: &mut [u64]) -> usize {
    0
}

macro_rules! weak {
    ($symbol:ident) => {
        core::ptr::null::<()>()
    };
}
pub(crate) use weak;

mod syscall {
    /// Refused: both sides are fences, which Miri knows.
    pub(super) fn membarrier(_: i32) -> isize {
        -1
    }
}

pub(crate) mod pages {
    use std::alloc::Layout;

    pub(crate) const PAGE: usize = 4096;

    fn layout(len: usize) -> Layout {
        Layout::from_size_align(len, PAGE).unwrap()
    }
    pub(crate) fn map(len: usize) -> Option<*mut u8> {
        // SAFETY: nobody maps nothing.
        Some(unsafe { std::alloc::alloc_zeroed(layout(len)) })
    }
    pub(crate) fn reserve(len: usize) -> Option<*mut u8> {
        map(len)
    }
    pub(crate) unsafe fn unmap(at: *mut u8, len: usize) {
        // SAFETY: mapped with this length (the caller's contract).
        unsafe { std::alloc::dealloc(at, layout(len)) }
    }
    /// The interrupt that a fence stands for here.
    pub(crate) fn shoot_down() {}
}

pub(crate) mod futex {
    use std::sync::atomic::{AtomicU32, Ordering};

    // SAFETY: the C library's.
    unsafe fn call(word: &AtomicU32, operation: i32, value: u32, timeout: *const libc::timespec) {
        // SAFETY: a word that is alive, and a timeout or none.
        unsafe { libc::syscall(libc::SYS_futex, word.as_ptr(), operation, value, timeout) };
    }

    pub(crate) fn wait(word: &AtomicU32, value: u32, timeout_ns: u64) {
        let timeout = libc::timespec {
            tv_sec: (timeout_ns / 1_000_000_000) as libc::time_t,
            tv_nsec: (timeout_ns % 1_000_000_000) as libc::c_long,
        };
        // SAFETY: see `call`.
        unsafe { call(word, libc::FUTEX_WAIT, value, &raw const timeout) };
    }

    pub(crate) fn wake_all(word: &AtomicU32) {
        // SAFETY: see `call`.
        unsafe { call(word, libc::FUTEX_WAKE, i32::MAX as u32, core::ptr::null()) };
    }
}

pub(crate) mod tls {
    use std::cell::Cell;

    /// Where stacks begin.
    const TOP: usize = 1 << 40;

    thread_local! {
        static WORD: Cell<*mut u8> = const { Cell::new(core::ptr::null_mut()) };
        static DEPTH: Cell<usize> = const { Cell::new(TOP) };
    }

    pub(crate) fn get() -> *mut u8 {
        WORD.get()
    }
    pub(crate) fn set(word: *mut u8) {
        WORD.set(word);
    }
    /// Miri's addresses say nothing about who called whom: each call is taken for one that stands deeper.
    pub(crate) fn stack_pointer() -> usize {
        DEPTH.set(DEPTH.get() - 16);
        DEPTH.get()
    }
    /// All that this thread has called has returned, or is left by longjmp.
    pub(crate) fn back_to_the_top() {
        DEPTH.set(TOP);
    }
}

pub(crate) mod thread {
    use std::cell::Cell;
    use std::collections::BTreeSet;
    use std::sync::Mutex;
    use std::sync::atomic::{AtomicI64, AtomicU32, Ordering};

    #[derive(Clone, Copy, PartialEq, Eq)]
    pub(crate) struct Thread {
        pub(crate) pid: u32,
        pub(crate) tid: u32,
    }

    static LAST: AtomicU32 = AtomicU32::new(0);
    static DEAD: Mutex<BTreeSet<u32>> = Mutex::new(BTreeSet::new());

    thread_local! {
        static TID: Cell<u32> = const { Cell::new(0) };
    }

    pub(crate) fn current() -> Thread {
        if TID.get() == 0 {
            TID.set(LAST.fetch_add(1, Ordering::Relaxed) + 1);
        }
        Thread { pid: 1, tid: TID.get() }
    }
    /// The kernel is told of a thread's end by who has joined it.
    pub(crate) fn died(thread: u32) {
        DEAD.lock().unwrap().insert(thread);
    }
    pub(crate) fn is_dead(thread: Thread) -> bool {
        DEAD.lock().unwrap().contains(&thread.tid)
    }
    pub(crate) fn give_way() {
        std::thread::yield_now();
    }
    pub(crate) fn monotonic_ns() -> u64 {
        clock_ns(libc::CLOCK_MONOTONIC)
    }
    pub(crate) fn clock_ns(clock: libc::clockid_t) -> u64 {
        let mut now = libc::timespec { tv_sec: 0, tv_nsec: 0 };
        // SAFETY: writable.
        unsafe { libc::clock_gettime(clock, &raw mut now) };
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    }
    pub(crate) fn on_signal_stack() -> bool {
        false
    }
    pub(crate) fn errno_location() -> *mut i32 {
        // SAFETY: no precondition.
        unsafe { libc::__errno_location() }
    }
    /// One instruction, but not a locked one: to other threads, a load and a store.
    pub(crate) unsafe fn local_add(number: *mut i64, delta: i64) {
        // SAFETY: the caller's contract.
        let number = unsafe { AtomicI64::from_ptr(number) };
        number.store(number.load(Ordering::Relaxed) + delta, Ordering::Relaxed);
    }
}

pub(crate) mod file {
    /// What is written is kept for who looks at it.
    pub(crate) fn write_all(_: i32, bytes: &[u8]) -> Result<(), i32> {
        super::write_error(bytes);
        Ok(())
    }
}

pub(crate) mod stack {
    pub(crate) struct Stack(u64);

    impl Stack {
        pub(crate) fn end(&self, _: u64, _: usize) -> Option<usize> {
            None
        }
    }
    pub(crate) fn plain(pc: usize) -> usize {
        pc
    }
}

/// A process without objects.
pub(crate) mod elf {
    use core::ffi::CStr;

    #[derive(Clone, Copy)]
    pub(crate) struct Object;

    impl Object {
        pub(crate) fn contains(&self, _: usize) -> bool {
            false
        }
        pub(crate) fn function(&self, _: &CStr) -> Option<usize> {
            None
        }
        pub(crate) fn variable(&self, _: &CStr) -> Option<(usize, bool)> {
            None
        }
        pub(crate) fn refers_to(&self, _: &CStr) -> bool {
            false
        }
        pub(crate) fn for_each_binding(&self, _: &CStr, _: &mut dyn FnMut(*const usize)) {}
    }

    pub(crate) fn for_each_object(_: &mut dyn FnMut(&Object) -> bool) {}
}
