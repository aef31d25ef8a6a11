//! The library's own text under loom: see README.md.
//!
//! The library is what `build.rs` copies into `rooms.rs`. This file is what stands around it: memory,
//! the kernel, thread-local storage.
#![cfg(test)]

mod check;
mod facade;
mod models;
mod world;

use sys::pages;

include!(concat!(env!("OUT_DIR"), "/rooms.rs"));

/// The memory under the modelled rooms: finds uses after the end, and ends before a use.
mod scratch {
    use crate::world;

    pub(crate) fn malloc(bytes: usize) -> *mut u8 {
        if world::is_poor() { core::ptr::null_mut() } else { world::allocate(bytes, 16) }
    }
    pub(crate) unsafe fn free(block: *mut u8) {
        world::give_back(block)
    }
    pub(crate) fn permanent(bytes: usize, align: usize) -> Option<*mut u8> {
        Some(world::allocate(bytes, align.max(64)))
    }
}

mod backend {
    use crate::facade::AtomicPtr;

    pub(crate) type Entries = [AtomicPtr<()>; 13];
    pub(crate) fn function(_: usize) -> *mut () {
        std::ptr::null_mut()
    }
}

mod entry {
    unsafe extern "C" fn stub() {}
    use crate::abi::memhook_call;
    use core::ffi::c_void;

    unsafe extern "C" fn several_after(_: *const memhook_call, _: *mut c_void, _: *mut c_void) {}
    unsafe extern "C" fn several_before(_: *const memhook_call, _: *mut c_void) {}
    pub(crate) const TABLES: crate::chain::Tables = crate::chain::Tables {
        first: [stub; 13],
        observing: [Some(stub); 13],
        full: [stub; 13],
        observing_frames: [Some(stub); 13],
        full_frames: [stub; 13],
        single: [stub; 13],
        observing_errno_kept: [Some(stub); 13],
        single_errno_kept: [stub; 13],
        variables: [stub; 13],
        several_after,
        several_before,
    };
}

mod sys {
    pub(crate) use crate::sys_barrier as barrier;

    pub(crate) fn write_error(_: &[u8]) {}
    pub(crate) fn die(text: &[u8]) -> ! {
        panic!("{}", String::from_utf8_lossy(text))
    }

    pub(crate) mod pages {
        pub(crate) const PAGE: usize = 4096;
        pub(crate) fn map(len: usize) -> Option<*mut u8> {
            Some(crate::world::allocate(len, 4096))
        }
        pub(crate) fn reserve(len: usize) -> Option<*mut u8> {
            map(len)
        }
        pub(crate) unsafe fn unmap(at: *mut u8, _: usize) {
            crate::world::give_back(at)
        }
        /// Interrupts all, as the real one does by way of the TLB.
        pub(crate) fn shoot_down() {
            crate::world::interrupt_others();
        }
    }

    /// A kernel that sleeps for ever if it is not woken: the library's naps hide nothing.
    pub(crate) mod futex {
        use crate::facade::{AtomicU32, Ordering};
        use crate::world;

        pub(crate) fn wait(word: &AtomicU32, value: u32, _nap_ns: u64) {
            world::take_interrupts();
            let queue = world::with(|w| w.futex.clone()).unwrap();
            let guard = queue.0.lock().unwrap();
            if word.load(Ordering::Relaxed) == value {
                drop(queue.1.wait(guard).unwrap());
            }
        }

        pub(crate) fn wake_all(_: &AtomicU32) {
            world::take_interrupts();
            let queue = world::with(|w| w.futex.clone()).unwrap();
            let _guard = queue.0.lock().unwrap();
            queue.1.notify_all();
        }
    }

    pub(crate) mod tls {
        use crate::world::{self, World};
        pub(crate) fn get() -> *mut u8 {
            world::with(World::word)
        }
        pub(crate) fn set(word: *mut u8) {
            world::with(|w| w.set_word(word))
        }
        pub(crate) fn stack_pointer() -> usize {
            world::with(World::deeper)
        }
    }

    pub(crate) mod thread {
        #[derive(Clone, Copy, PartialEq, Eq)]
        pub(crate) struct Thread {
            pub(crate) pid: u32,
            pub(crate) tid: u32,
        }
        pub(crate) fn current() -> Thread {
            Thread { pid: 1, tid: crate::world::with(crate::world::World::number) }
        }
        pub(crate) fn is_dead(thread: Thread) -> bool {
            crate::world::is_dead(thread.tid)
        }
        pub(crate) fn give_way() {}
        pub(crate) fn monotonic_ns() -> u64 {
            0
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
            use crate::facade::{AtomicI64, Ordering};
            // SAFETY: the caller's contract.
            let number = unsafe { AtomicI64::from_ptr(number) };
            if crate::world::with(|w| std::mem::take(&mut w.pause_in_count)) {
                loom::thread::yield_now();
            }
            number.store(number.load(Ordering::Relaxed) + delta, Ordering::Relaxed);
            if crate::world::with(|w| std::mem::take(&mut w.leave_after_count)) {
                std::panic::resume_unwind(Box::new("longjmp"));
            }
        }
    }

    pub(crate) mod syscall {}
}

/// What `sys::barrier` finds above it: membarrier(2), or a kernel that refuses it.
mod syscall {
    use crate::world::{self, Variant};

    const REGISTER: i32 = 1 << 4;

    pub(crate) fn membarrier(command: i32) -> i32 {
        if world::variant() == Variant::Fenced || world::with(|w| w.refuses_membarrier) {
            return -1;
        }
        if command != REGISTER {
            world::interrupt_all();
        }
        0
    }
}
