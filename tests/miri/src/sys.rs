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

/// Pages have 4096 bytes; nothing else is asked for.
pub(crate) fn auxiliary(_: u64) -> u64 {
    4096
}

pub(crate) mod copies {
    /// There is one copy of the library.
    pub(crate) fn first_other() -> Option<&'static [u8]> {
        None
    }
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
    use std::cell::Cell;

    thread_local! {
        static NONE: Cell<bool> = const { Cell::new(false) };
    }

    /// Whether this thread gets no pages.
    pub(crate) fn refuse(whether: bool) {
        NONE.set(whether);
    }

    pub(crate) const PAGE: usize = 4096;

    fn layout(len: usize) -> Layout {
        Layout::from_size_align(len, PAGE).unwrap()
    }
    pub(crate) fn map(len: usize) -> Option<*mut u8> {
        // SAFETY: nobody maps nothing.
        (!NONE.get()).then(|| unsafe { std::alloc::alloc_zeroed(layout(len)) })
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
    pub(crate) fn thread_pointer() -> usize {
        TOP + (WORD.with(|word| core::ptr::from_ref(word) as usize) >> 3 << 3)
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

/// No files but the standard ones; what is written to any is kept for who looks at it.
pub(crate) mod file {
    pub(crate) fn write_all(_: i32, bytes: &[u8]) -> Result<(), i32> {
        super::write_error(bytes);
        Ok(())
    }
    pub(crate) fn write_quietly(fd: i32, pieces: [&[u8]; 2]) -> Result<(), i32> {
        write_all(fd, &pieces.concat())
    }
    pub(crate) fn permitted(_: u64, _: u64) -> Result<(), i32> {
        Ok(())
    }
    /// Every name ends in `0` or is that of no file yet.
    pub(crate) fn open(path: &[u8], flags: i32, _: u32) -> Result<i32, i32> {
        assert_eq!(path.last(), Some(&0));
        match path {
            [.., b'0', 0] if flags & libc::O_EXCL != 0 => Err(libc::EEXIST),
            [b'/', b'p', b'r', b'o', b'c', ..] => Err(libc::ENOENT),
            _ => Ok(9),
        }
    }
    pub(crate) fn close(_: i32) {}
    pub(crate) fn read_at(_: i32, _: &mut [u8], _: usize) -> Result<usize, i32> {
        Ok(0)
    }
}

#[path = "../../../src/sys/paged.rs"]
pub(crate) mod paged;

pub(crate) mod program {
    pub(crate) fn path(buffer: &mut [u8]) -> usize {
        buffer[..9].copy_from_slice(b"/bin/true");
        9
    }
    pub(crate) fn first_argument(_: &mut [u8]) -> usize {
        0
    }
}

pub(crate) mod kept {
    #[derive(Clone, Copy)]
    pub(crate) struct Kept(i32);

    impl Kept {
        pub(crate) fn keep(fd: i32) -> Kept {
            Kept(fd)
        }
        pub(crate) fn fd(&self) -> Option<i32> {
            Some(self.0)
        }
        pub(crate) fn is_own(&self) -> bool {
            true
        }
        pub(crate) fn close(&self) {}
    }
    pub(crate) fn write_at(_: i32, bytes: &[u8], _: usize) -> Result<(), i32> {
        super::write_error(bytes);
        Ok(())
    }
    pub(crate) fn is_terminal(_: i32) -> bool {
        true
    }
}

/// No timers are to be had.
pub(crate) mod timer {
    pub(crate) fn start(_: i32) -> Result<i32, i32> {
        Err(libc::EAGAIN)
    }
    pub(crate) fn end(_: i32) {}
}

pub(crate) mod environment {
    use std::sync::Mutex;

    /// The environment: `MEMHOOK` alone.
    pub(crate) static VARIABLE: Mutex<Option<&'static [u8]>> = Mutex::new(None);

    pub(crate) fn is_privileged() -> bool {
        false
    }
    pub(crate) fn variable(name: &[u8]) -> Option<&'static [u8]> {
        VARIABLE.lock().unwrap().filter(|_| name == b"MEMHOOK")
    }
}

pub(crate) mod exit {
    use core::ffi::{c_int, c_void};

    pub(crate) type Handler = unsafe extern "C" fn(c_int, *mut c_void);

    pub(crate) fn at_exit(_: Handler) -> bool {
        true
    }
    pub(crate) fn exit(status: c_int) -> ! {
        panic!("exit with {status}")
    }
}

pub(crate) fn process_id() -> u32 {
    4711
}

/// No mappings can be made.
pub(crate) unsafe fn mapping(_: libc::c_long, _: [usize; 6]) -> Result<usize, i32> {
    Err(libc::ENOMEM)
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
/// There is none, and nothing of glibc's in it.
pub(crate) mod heap {
    pub(crate) fn note_begin() {}

    pub(crate) fn end_around(_: usize) -> Option<usize> {
        None
    }
}

pub(crate) mod probe {
    pub(crate) fn is_readable(_: usize) -> bool {
        false
    }
}

pub(crate) mod find {
    pub(crate) fn identity(_: usize) -> usize {
        0
    }
}

pub(crate) mod elf {
    use core::ffi::CStr;

    pub(crate) fn find_in_libc(_: &CStr) -> Option<usize> {
        None
    }

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
