//! The tool that counts: the sums of all threads are what the threads have done.

use crate::abi::*;
use crate::entry;
use crate::support::*;
use crate::sys::SAID;
use crate::tools::usage::control::*;
use crate::tools::usage::*;
use core::ffi::c_void;

fn options(flags: u32, batch: usize) -> memhook_usage_options {
    memhook_usage_options {
        struct_size: size_of::<memhook_usage_options>(),
        flags,
        signal: 0,
        report: core::ptr::null(),
        data: core::ptr::null(),
        data_buffer: 0,
        exit_status: 0,
        batch,
        limits: core::ptr::null(),
    }
}

fn usage() -> memhook_usage {
    // SAFETY: numbers and a pointer that may be NULL.
    let mut usage: memhook_usage = unsafe { core::mem::zeroed() };
    usage.struct_size = size_of::<memhook_usage>();
    usage
}

/// So many blocks are made and resized, and half of them end in another thread.
fn work(blocks: &mut Vec<Block>, times: usize) {
    for i in 1..=times {
        let block = Block::malloc(i);
        blocks.push(if i % 2 == 0 { block.resize(2 * i) } else { block });
    }
}

#[test]
fn threads_are_summed() {
    const EACH: usize = 6;
    test(|| {
        let mut id = 0;
        // SAFETY: a whole table.
        assert_eq!(unsafe { memhook_usage_start(&options(0, 0), &raw mut id) }, 0);
        let (mut a, mut b) = (Vec::new(), Vec::new());
        let (into_a, into_b) = (&mut a, &mut b);
        at_once(vec![
            Box::new(move || work(into_a, EACH)),
            Box::new(move || work(into_b, EACH)),
            Box::new(move || {
                let mut now = usage();
                // SAFETY: a whole table.
                assert_eq!(unsafe { memhook_usage_read(id, &raw mut now) }, 0);
                // Of calls that are under way, it may be counted what they are later than that they are.
                assert!(now.malloc.calls <= 3 * EACH as u64);
            }),
        ]);
        at_once(vec![Box::new(move || drop(a)), Box::new(move || drop(b.split_off(EACH / 2)))]);
        let mut end = usage();
        SAID.lock().unwrap().clear();
        assert_eq!(memhook_usage_report(id, 2), 0);
        assert!(String::from_utf8_lossy(&SAID.lock().unwrap()).contains("heap total"));
        // SAFETY: a whole table.
        assert_eq!(unsafe { memhook_usage_stop(id, &raw mut end) }, 0);
        let made: usize = (1..=EACH).sum();
        let more: usize = (1..=EACH).filter(|i| i % 2 == 0).sum();
        assert_eq!((end.malloc.calls, end.malloc.bytes), (2 * EACH as u64, 2 * made as u64));
        assert_eq!(end.realloc.calls, EACH as u64);
        assert_eq!(end.total, 2 * (made + more) as u64);
        assert!(end.peak <= end.total && (end.peak + end.peak_error) as usize >= 2 * (made + more));
    });
}

/// A session for one thread, limits that were exceeded, and a session that is begun anew.
#[test]
fn one_thread_and_limits() {
    test(|| {
        let mut id = 0;
        // SAFETY: a whole table.
        assert_eq!(unsafe { memhook_usage_start(&options(MEMHOOK_THIS_THREAD, 1), &raw mut id) }, 0);
        at_once(vec![Box::new(|| drop(Block::malloc(1000)))]);
        drop(Block::malloc(10));
        let mut now = usage();
        // SAFETY: whole tables, and room for the text.
        unsafe {
            assert_eq!(memhook_usage_read(id, &raw mut now), 0);
            assert_eq!((now.malloc.calls, now.total, now.peak, now.live_bytes), (1, 10, 10, 0));
            let mut limits: memhook_usage_limits = core::mem::zeroed();
            limits.struct_size = size_of::<memhook_usage_limits>();
            limits.which = MEMHOOK_USAGE_PEAK;
            limits.peak = 9;
            let mut text = [0; 64];
            assert_ne!(memhook_usage_expect(id, &limits, text.as_mut_ptr(), text.len()), 0);
            assert_ne!(text[0], 0);
        }
        assert_eq!(memhook_usage_reset(id), 0);
        // SAFETY: a whole table.
        assert_eq!(unsafe { memhook_usage_stop(id, &raw mut now) }, 0);
        assert_eq!((now.total, now.peak), (0, 0));
        // SAFETY: NULL.
        assert_eq!(unsafe { memhook_usage_stop(id, core::ptr::null_mut()) }, libc::ESRCH);
    });
}
