//! Calls in some threads while hooks come and go in others.

use crate::abi::*;
use crate::api::chains::*;
use crate::api::hooks::*;
use crate::api::local::*;
use crate::support::*;
use crate::sys::thread;
use crate::{guard, registry};
use core::ffi::c_void;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};
use std::sync::Mutex;

/// Two threads with calls, beside `writer`.
fn beside_calls(seed: u64, times: usize, writer: impl FnOnce() + Send) {
    let shelf = Mutex::new(Vec::new());
    let caller = |n: u64| {
        let shelf = &shelf;
        Box::new(move || calls(&mut Random::new(seed * 100 + n), times, shelf)) as Box<dyn FnOnce() + Send>
    };
    at_once(vec![caller(1), caller(2), Box::new(writer)]);
}

#[test]
fn observers_come_and_go() {
    test(|| {
        beside_calls(1, 16, || {
            for i in 0..4 {
                let kept = observe(&observer());
                let id = observe(&observer());
                if i % 2 == 0 {
                    assert_eq!(unregister(id), 0);
                    assert_eq!(unregister(kept), 0);
                } else {
                    assert_eq!(unregister(kept), 0);
                    assert_eq!(unregister(id), 0);
                }
            }
        });
    });
}

/// Without a release, `user` ends when the unregistration has returned.
#[test]
fn the_user_ends_after_the_unregistration() {
    test(|| {
        beside_calls(2, 12, || {
            for _ in 0..3 {
                let table = memhook_observer { release: None, ..observer() };
                let id = observe(&table);
                assert_eq!(unregister(id), 0);
                not_registered(table.user);
            }
        });
    });
}

#[test]
fn interceptors_come_and_go() {
    test(|| {
        beside_calls(3, 16, || {
            for i in 0..2 {
                let low = register(&interceptor());
                let high = register(&memhook_interceptor { priority: 1, ..interceptor() });
                unregister(if i % 2 == 0 { low } else { high });
                unregister(if i % 2 == 0 { high } else { low });
            }
        });
    });
}

#[test]
fn keepers_and_observers_beside_an_owner() {
    test(|| {
        let owner = register(&interceptor());
        beside_calls(4, 12, || {
            for _ in 0..3 {
                let seen = register(&keeper());
                let told = observe(&observer());
                assert_eq!(unregister(seen), 0);
                assert_eq!(unregister(told), 0);
            }
        });
        assert_eq!(unregister(owner), 0);
    });
}

#[test]
fn hooks_are_replaced() {
    test(|| {
        let owner = register(&interceptor());
        let told = observe(&observer());
        beside_calls(5, 12, || {
            for _ in 0..2 {
                // SAFETY: whole tables.
                let result = unsafe { memhook_replace(owner, &interceptor()) };
                assert!([0, libc::EINPROGRESS].contains(&result), "{result}");
                // SAFETY: whole tables.
                assert_eq!(unsafe { memhook_replace_observer(told, &observer()) }, 0);
            }
        });
        assert_eq!(unregister(told), 0);
        unregister(owner);
    });
}

#[test]
fn chains_are_swapped() {
    test(|| {
        let stays = observe(&observer());
        beside_calls(6, 12, || {
            for i in 0..3 {
                let mut chain = 0;
                // SAFETY: writable.
                assert_eq!(unsafe { memhook_chain_copy(&raw mut chain) }, 0);
                let mut id = 0;
                // SAFETY: a whole table.
                assert_eq!(unsafe { memhook_chain_observe(chain, &observer(), &raw mut id) }, 0);
                let mut former = 0;
                // SAFETY: writable.
                assert_eq!(unsafe { memhook_chain_swap(chain, &raw mut former) }, 0);
                if i % 2 == 0 {
                    // SAFETY: NULL.
                    assert_eq!(unsafe { memhook_chain_swap(former, core::ptr::null_mut()) }, 0);
                    assert_eq!(memhook_unregister(id), libc::ESRCH);
                } else {
                    assert_eq!(unregister(id), 0);
                    assert_eq!(memhook_chain_destroy(former), 0);
                }
            }
        });
        assert_eq!(unregister(stays), 0);
    });
}

#[test]
fn two_writers() {
    test(|| {
        let writer = |seed: u64| {
            Box::new(move || {
                let mut random = Random::new(seed);
                for _ in 0..3 {
                    let a = observe(&observer());
                    let b =
                        register(&memhook_interceptor { priority: random.below(3) as i32, ..interceptor() });
                    let block = Block::make(&mut random);
                    assert_eq!(unregister(a), 0);
                    unregister(b);
                    drop(block);
                }
            }) as Box<dyn FnOnce() + Send>
        };
        at_once(vec![writer(7), writer(8)]);
    });
}

/// Two threads unregister the same hook: one does, the other is told so.
#[test]
fn one_hook_two_removals() {
    test(|| {
        for _ in 0..3 {
            let id = observe(&observer());
            let done = AtomicUsize::new(0);
            let remove = || {
                let done = &done;
                Box::new(move || match memhook_unregister(id) {
                    0 => _ = done.fetch_add(1, Ordering::Relaxed),
                    other => assert!([libc::ESRCH, libc::EALREADY].contains(&other), "{other}"),
                }) as Box<dyn FnOnce() + Send>
            };
            at_once(vec![remove(), remove(), Box::new(|| calls(&mut Random::new(9), 5, &Mutex::default()))]);
            assert_eq!(done.into_inner(), 1);
        }
    });
}

/// Threads come and end; their records, and what hooks keep in them, are taken again.
#[test]
fn records_are_used_again() {
    test(|| {
        let mut key = 0;
        // SAFETY: writable.
        assert_eq!(unsafe { memhook_local_create(24, &raw mut key) }, 0);
        let owner = register(&interceptor());
        let shelf = Mutex::new(Vec::new());
        for round in 0..4 {
            let work = |n: u64| {
                let shelf = &shelf;
                Box::new(move || {
                    let memory = memhook_local_get(key).cast::<u64>();
                    // SAFETY: 24 bytes of this thread's. No atomic: threads follow one another.
                    unsafe { memory.write(memory.read() + 1) };
                    calls(&mut Random::new(round * 10 + n), 6, shelf);
                }) as Box<dyn FnOnce() + Send>
            };
            at_once(vec![work(1), work(2), work(3)]);
        }
        unsafe extern "C" fn add(memory: *mut c_void, _: u64, sum: *mut c_void) -> i32 {
            // SAFETY: the memory of a thread that has ended, and a number of ours.
            unsafe { *sum.cast::<u64>() += *memory.cast::<u64>() };
            0
        }
        let mut sum = 0u64;
        // SAFETY: `add` takes a number.
        assert_eq!(unsafe { memhook_local_each(key, Some(add), (&raw mut sum).cast()) }, 0);
        assert_eq!(sum, 12);
        assert!(guard::records().count() < 16, "{} records", guard::records().count());
        drop(shelf);
        assert_eq!(unregister(owner), 0);
    });
}

/// A block of each of two threads, and the end of its interceptor in a third: the last block's end releases it.
#[test]
fn last_blocks_end_at_once() {
    test(|| {
        for _ in 0..3 {
            let owner = register(&interceptor());
            let (a, b) = (Block::malloc(10), Block::malloc(20));
            at_once(vec![
                Box::new(move || drop(a)),
                Box::new(move || drop(b)),
                Box::new(move || _ = unregister(owner)),
            ]);
        }
    });
}

/// Callbacks that unregister their own hook.
#[test]
fn unregistered_inside() {
    static IDS: Mutex<Vec<memhook_id>> = Mutex::new(Vec::new());
    unsafe extern "C" fn leave(_: *const memhook_call, _: *mut c_void, _: *mut c_void) {
        let id = IDS.lock().unwrap().pop();
        if let Some(id) = id {
            let result = memhook_unregister(id);
            assert_eq!(result, libc::EINPROGRESS);
        }
    }
    test(|| {
        beside_calls(10, 12, || {
            for _ in 0..3 {
                let id = observe(&memhook_observer { after_alloc: Some(leave), ..observer() });
                IDS.lock().unwrap().push(id);
                drop(Block::malloc(1));
            }
            while !IDS.lock().unwrap().is_empty() {
                drop(Block::malloc(1));
            }
        });
    });
}

/// A removal that gives up waiting goes on without who asked for it.
#[test]
fn unregistered_with_a_deadline() {
    static INSIDE: AtomicU32 = AtomicU32::new(0);
    unsafe extern "C" fn stay(_: *const memhook_call, _: *mut c_void, _: *mut c_void) {
        INSIDE.store(1, Ordering::Relaxed);
        while INSIDE.load(Ordering::Relaxed) == 1 {
            std::thread::yield_now();
        }
    }
    test(|| {
        let id = observe(&memhook_observer { after_alloc: Some(stay), ..observer() });
        at_once(vec![
            Box::new(|| drop(Block::malloc(1))),
            Box::new(move || {
                while INSIDE.load(Ordering::Relaxed) == 0 {
                    std::thread::yield_now();
                }
                assert_eq!(memhook_unregister_timed(id, 1), libc::ETIMEDOUT);
                INSIDE.store(2, Ordering::Relaxed);
            }),
        ]);
    });
}

/// Hooks for one thread, while others come and go.
#[test]
fn hooks_of_one_thread() {
    test(|| {
        beside_calls(11, 12, || {
            let shelf = Mutex::new(Vec::new());
            for n in 0..2 {
                let own = observe(&memhook_observer { flags: MEMHOOK_THIS_THREAD, ..observer() });
                let mine = register(&memhook_interceptor { flags: MEMHOOK_THIS_THREAD, ..interceptor() });
                calls(&mut Random::new(n), 5, &shelf);
                assert_eq!(unregister(own), 0);
                unregister(mine);
            }
        });
    });
}

/// All hooks of an object go, while threads are in them.
#[test]
fn an_object_goes() {
    test(|| {
        beside_calls(12, 12, || {
            let object = (&raw const OBJECT).cast::<c_void>();
            static OBJECT: u8 = 0;
            for _ in 0..3 {
                observe(&memhook_observer { object, ..observer() });
                observe(&memhook_observer { object, ..observer() });
                assert_eq!(memhook_unregister_object(object), 0);
            }
        });
    });
}

/// What a thread announces is there for who looks, whoever was first.
#[test]
fn rosters_grow_in_many_threads() {
    use crate::roster::{Link, Linked, Roster};
    struct Node {
        number: u64,
        link: Link<Node>,
    }
    // SAFETY: the link is the node's own.
    unsafe impl Linked for Node {
        fn link(&self) -> &Link<Node> {
            &self.link
        }
    }
    static NODES: Roster<Node> = Roster::new();
    let add = |from: u64| {
        Box::new(move || {
            for number in from..from + 4 {
                NODES.push(Box::leak(Box::new(Node { number, link: Link::new() })));
                let all: Vec<u64> = NODES.iter().map(|node| node.number).collect();
                assert!(all.contains(&number) && all.iter().all(|&number| number != 0));
            }
        }) as Box<dyn FnOnce() + Send>
    };
    at_once(vec![add(10), add(20), add(30)]);
    assert_eq!((NODES.len(), NODES.iter().count()), (12, 12));
}
