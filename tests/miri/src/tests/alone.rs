//! One thread: every kind of call and every function of the interface, against what is to be expected.

use crate::abi::*;
use crate::api::backend::*;
use crate::api::chains::*;
use crate::api::diagnose::*;
use crate::api::hooks::*;
use crate::api::local::*;
use crate::api::next::*;
use crate::api::thread::*;
use crate::support::*;
use crate::sys::{SAID, tls};
use crate::{api, backend, entry, grace, guard, ownership, registry, start};
use core::ffi::{c_char, c_int, c_void};
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicUsize, Ordering};
use std::sync::Mutex;

fn live(id: memhook_id) -> usize {
    let mut live = 0;
    // SAFETY: writable.
    assert_eq!(unsafe { memhook_live_blocks(id, &raw mut live) }, 0);
    live
}

fn errno() -> c_int {
    // SAFETY: errno of this thread.
    unsafe { crate::sys::thread::errno_location().read() }
}

/// Hooks come and go between calls in any order; what observers were told and how many blocks hooks own is known
/// beforehand.
#[test]
fn random_sequences() {
    struct Observer {
        id: memhook_id,
        user: *mut c_void,
        made: usize,
        ended: usize,
    }
    struct Owner {
        id: memhook_id,
        user: *mut c_void,
    }
    test(|| {
        for seed in 1..3 {
            let mut random = Random::new(seed);
            let (mut observers, mut owners) = (Vec::<Observer>::new(), Vec::<Owner>::new());
            // A block, and the interceptors that made it.
            let mut blocks = Vec::<(Block, Vec<memhook_id>)>::new();
            for _ in 0..35 {
                match random.below(10) {
                    0 if observers.len() < 3 => {
                        let table = memhook_observer { priority: random.below(3) as i32, ..observer() };
                        observers.push(Observer { id: observe(&table), user: table.user, made: 0, ended: 0 });
                    }
                    1 if owners.len() < 3 => {
                        let table = memhook_interceptor { priority: random.below(3) as i32, ..interceptor() };
                        owners.push(Owner { id: register(&table), user: table.user });
                    }
                    2 if !observers.is_empty() => {
                        let gone = observers.swap_remove(random.below(observers.len()));
                        assert_eq!((told(gone.user, 0), told(gone.user, 1)), (gone.made, gone.ended));
                        assert_eq!(unregister(gone.id), 0);
                    }
                    3 if !owners.is_empty() => {
                        let gone = owners.swap_remove(random.below(owners.len()));
                        let owns = blocks.iter().any(|(_, by)| by.contains(&gone.id));
                        let result = unregister(gone.id);
                        assert_eq!(result, if owns { libc::EINPROGRESS } else { 0 });
                    }
                    4..8 => {
                        let by = owners.iter().map(|owner| owner.id).collect();
                        blocks.push((Block::make(&mut random), by));
                        observers.iter_mut().for_each(|observer| observer.made += 1);
                    }
                    _ if !blocks.is_empty() => {
                        let (block, _) = blocks.swap_remove(random.below(blocks.len()));
                        drop(block);
                        observers.iter_mut().for_each(|observer| observer.ended += 1);
                    }
                    _ => {}
                }
                for owner in &owners {
                    let owned = blocks.iter().filter(|(_, by)| by.contains(&owner.id)).count();
                    assert_eq!(live(owner.id), owned);
                }
            }
            drop(blocks);
            observers.iter().for_each(|observer| assert_eq!(unregister(observer.id), 0));
            owners.iter().for_each(|owner| assert_eq!(unregister(owner.id), 0));
        }
    });
}

/// Every entry point, in each mode, with arguments that can be met and such that cannot.
#[test]
fn every_entry_point() {
    let every = || {
        let null = core::ptr::null_mut::<c_void>();
        // SAFETY: as each function is to be called.
        unsafe {
            let blocks = [
                entry::malloc(24),
                entry::calloc(3, 8),
                entry::realloc(null, 24),
                entry::reallocarray(null, 3, 8),
                entry::memalign(64, 24),
                entry::aligned_alloc(64, 24),
                entry::valloc(24),
                entry::pvalloc(24),
            ];
            for block in blocks {
                assert!(entry::malloc_usable_size(block) >= 24);
                block.cast::<u8>().write_bytes(1, 24);
                let larger = entry::realloc(block, 300);
                assert_eq!(larger.cast::<[u8; 24]>().read(), [1; 24]);
                let array = entry::reallocarray(larger, 5, 7);
                assert_eq!(array.cast::<[u8; 24]>().read(), [1; 24]);
                entry::free(array);
            }
            let mut block = null;
            assert_eq!(entry::posix_memalign(&raw mut block, 256, 10), 0);
            entry::free_aligned_sized(block, 256, 10);
            assert_eq!(entry::posix_memalign(&raw mut block, 3, 10), libc::EINVAL);
            assert!(entry::calloc(usize::MAX, 2).is_null() && errno() == libc::ENOMEM);
            assert!(entry::reallocarray(null, usize::MAX, 2).is_null());
            assert!(entry::pvalloc(usize::MAX).is_null());
            let kept = entry::malloc(0);
            assert!(entry::reallocarray(kept, usize::MAX, 2).is_null());
            assert!(entry::malloc(usize::MAX / 2).is_null());
            assert!(entry::realloc(kept, usize::MAX / 2).is_null());
            assert!(entry::realloc(kept, 0).is_null());
            entry::free(null);
            entry::free_sized(null, 0);
            assert_eq!(entry::malloc_usable_size(null), 0);
        }
    };
    test(|| {
        every();
        let one = observe(&observer());
        every();
        let two = observe(&observer());
        let owner = register(&interceptor());
        let other = register(&memhook_interceptor { flags: MEMHOOK_SEES_REFUSED, ..interceptor() });
        every();
        let seen = register(&keeper());
        let strays = register(&memhook_interceptor {
            flags: MEMHOOK_OF_NOBODY,
            malloc: None,
            memalign: None,
            realloc: None,
            ..keeper()
        });
        every();
        for id in [one, two, owner, other, seen, strays] {
            assert_eq!(unregister(id), 0);
        }
        let alone = register(&interceptor());
        every();
        // Large enough for the kernel to be asked which of it was touched.
        const LARGE: usize = 128 << 10;
        // SAFETY: any size is allowed, and the block is as long.
        unsafe {
            let zeroed = entry::calloc(1, LARGE).cast::<u8>();
            assert_eq!((zeroed.read(), zeroed.add(LARGE - 1).read()), (0, 0));
            entry::free(zeroed.cast());
        }
        let own = register(&memhook_interceptor { flags: MEMHOOK_THIS_THREAD, ..interceptor() });
        drop(Block::malloc(3).resize(9));
        assert_eq!(unregister(own), 0);
        assert_eq!(unregister(alone), 0);
    });
}

/// A chain that is too long to have a bit for each hook.
#[test]
fn sixty_six_interceptors() {
    test(|| {
        let (mut chain, mut id) = (0, 0);
        // SAFETY: whole tables, and places that are writable.
        unsafe {
            assert_eq!(memhook_chain_create(&raw mut chain), 0);
            for _ in 0..66 {
                assert_eq!(memhook_chain_register(chain, &keeper(), &raw mut id), 0);
            }
            assert_eq!(memhook_chain_swap(chain, core::ptr::null_mut()), 0);
            drop(Block::malloc(7));
            assert_eq!(memhook_chain_create(&raw mut chain), 0);
            assert_eq!(memhook_chain_swap(chain, core::ptr::null_mut()), 0);
        }
    });
}

/// What finds no memory leaves everything as it was.
#[test]
#[cfg(not(feature = "scratch"))]
fn without_memory() {
    use crate::scratch::fail_after;
    test(|| {
        let stays = observe(&observer());
        let other = register(&interceptor());
        let block = Block::malloc(10);
        let kept = |done: &mut dyn FnMut() -> c_int| {
            for blocks in 0..40 {
                fail_after(blocks);
                let result = done();
                fail_after(usize::MAX);
                if [0, libc::EINPROGRESS].contains(&result) {
                    return;
                }
                assert_eq!(result, libc::ENOMEM);
                drop(Block::malloc(8));
            }
            panic!("never enough");
        };
        let mut id = 0;
        let user = |user: *mut c_void, result: c_int| {
            if result != 0 {
                // It was never in force: no release is called.
                not_registered(user);
            }
            result
        };
        kept(&mut || {
            let table = observer();
            // SAFETY: a whole table.
            user(table.user, unsafe { memhook_observe(&table, &raw mut id) })
        });
        kept(&mut || {
            let table = observer();
            // SAFETY: a whole table.
            user(table.user, unsafe { memhook_replace_observer(id, &table) })
        });
        kept(&mut || memhook_unregister(id));
        kept(&mut || {
            let table = interceptor();
            // SAFETY: a whole table.
            user(table.user, unsafe { memhook_register(&table, &raw mut id) })
        });
        let mut chain = 0;
        // SAFETY: writable.
        kept(&mut || unsafe { memhook_chain_copy(&raw mut chain) });
        // SAFETY: NULL.
        kept(&mut || unsafe { memhook_chain_swap(chain, core::ptr::null_mut()) });
        kept(&mut || memhook_unregister(id));
        assert_eq!(unregister(stays), 0);
        // A thread for which there is no record.
        at_once(vec![Box::new(|| {
            fail_after(0);
            // SAFETY: any size is allowed.
            let block = unsafe { entry::malloc(10) };
            fail_after(usize::MAX);
            if !block.is_null() {
                // SAFETY: ours.
                unsafe { entry::free(block) };
            }
        })]);
        // The backend has nothing.
        for blocks in 0..2 {
            backend::fail_after(blocks);
            // SAFETY: any size is allowed.
            let block = unsafe { entry::malloc(10) };
            backend::fail_after(usize::MAX);
            assert_eq!(block.is_null(), blocks == 0);
            // SAFETY: ours, or NULL.
            unsafe { entry::free(block) };
        }
        drop(block);
        assert_eq!(unregister(other), 0);
    });
}

/// Chains that are built, listed, put in force and ended.
#[test]
fn chain_objects() {
    unsafe fn listed(chain: memhook_chain) -> Vec<memhook_id> {
        let mut count = 0;
        let null = core::ptr::null_mut();
        // SAFETY: room for none.
        assert_eq!(
            unsafe { memhook_chain_list(chain, null, size_of::<memhook_hook_info>(), 0, &raw mut count) },
            0
        );
        let empty = memhook_hook_info {
            id: 0,
            kind: 0,
            flags: 0,
            priority: 0,
            reserved: 0,
            user: core::ptr::null_mut(),
            name: [0; 32],
        };
        let mut infos = vec![empty; count];
        // SAFETY: room for all.
        assert_eq!(
            unsafe {
                memhook_chain_list(
                    chain,
                    infos.as_mut_ptr(),
                    size_of::<memhook_hook_info>(),
                    count,
                    &raw mut count,
                )
            },
            0
        );
        infos.iter().map(|info| info.id).collect()
    }
    test(|| {
        // SAFETY: whole tables, and places that are writable.
        unsafe {
            let first = observe(&observer());
            let mut chain = 0;
            assert_eq!(memhook_chain_create(&raw mut chain), 0);
            let (mut a, mut b) = (0, 0);
            assert_eq!(memhook_chain_observe(chain, &observer(), &raw mut a), 0);
            let low = memhook_interceptor { priority: -1, ..interceptor() };
            assert_eq!(memhook_chain_register(chain, &low, &raw mut b), 0);
            assert_eq!(memhook_chain_add(chain, first), 0);
            assert_eq!(memhook_chain_add(chain, first), libc::EEXIST);
            assert_eq!(listed(chain), [a, first, b]);
            assert_eq!(memhook_chain_remove(chain, a), 0);
            assert_eq!(memhook_chain_remove(chain, a), libc::ESRCH);
            let mut former = 0;
            assert_eq!(memhook_chain_swap(chain, &raw mut former), 0);
            assert_eq!(memhook_chain_destroy(chain), libc::EINVAL);
            assert_eq!((listed(0), listed(former)), (vec![first, b], vec![first]));
            let block = Block::malloc(5);
            assert_eq!(memhook_chain_swap(former, &raw mut chain), 0);
            assert_eq!(listed(0), [first]);
            assert_eq!(live(b), 1);
            assert_eq!(memhook_chain_destroy(chain), libc::EINPROGRESS);
            drop(block);
            let mut none = 0;
            assert_eq!(memhook_chain_create(&raw mut none), 0);
            assert_eq!(memhook_chain_swap(none, core::ptr::null_mut()), 0);
            assert_eq!(memhook_unregister(first), libc::ESRCH);
        }
    });
}

/// Many lists, one after the other and at once: numbers are given out again, and looked for.
#[test]
fn owner_lists_are_used_again() {
    test(|| {
        for _ in 0..2 {
            let ids: Vec<_> = (0..3).map(|_| register(&interceptor())).collect();
            let mut blocks = Vec::new();
            for (i, &id) in ids.iter().enumerate() {
                blocks.push(Block::malloc(i + 1));
                assert_eq!(unregister(id), libc::EINPROGRESS);
            }
            while let Some(block) = blocks.pop() {
                drop(block);
            }
        }
    });
}

/// A call that was left by longjmp is noticed by the next.
#[test]
fn a_section_that_was_left() {
    test(|| {
        let id = observe(&observer());
        let record = guard::record().unwrap();
        core::mem::forget(grace::enter(record, tls::stack_pointer()).unwrap());
        assert!(record.is_inside());
        // SAFETY: any size is allowed.
        let inner = unsafe { entry::malloc(8) };
        tls::back_to_the_top();
        // SAFETY: ours.
        unsafe { entry::free(inner) };
        assert!(!record.is_inside());
        assert_eq!(unregister(id), 0);
    });
}

/// A process forks while nothing is under way, and while removals are.
#[test]
fn forked() {
    test(|| {
        let told = observe(&observer());
        let owner = register(&interceptor());
        let block = Block::malloc(8);
        start::forked();
        drop(Block::malloc(8));
        assert_eq!(unregister(owner), libc::EINPROGRESS);
        drop(block);
        let other = register(&interceptor());
        let record = guard::record().unwrap();
        let section = grace::enter(record, tls::stack_pointer()).unwrap();
        assert_eq!(memhook_unregister(other), libc::EINPROGRESS);
        assert_eq!(memhook_unregister(told), libc::EINPROGRESS);
        start::forked();
        drop(section);
    });
}

/// An object is unmapped while blocks of its interceptor live: these are lost, and nobody calls it any more.
#[test]
fn an_object_that_is_unmapped() {
    static OBJECT: u8 = 0;
    test(|| {
        let object = (&raw const OBJECT).cast::<c_void>();
        register(&memhook_interceptor { object, ..interceptor() });
        // SAFETY: any size is allowed.
        let (block, other) = unsafe { (entry::malloc(8), entry::malloc(8)) };
        crate::sys::set_unloading(true);
        assert_eq!(memhook_unregister_object(object), libc::EINPROGRESS);
        crate::sys::set_unloading(false);
        assert!(String::from_utf8_lossy(&SAID.lock().unwrap()).contains("was unloaded while"));
        // SAFETY: ours.
        unsafe {
            assert!(entry::realloc(other, 20).is_null());
            assert_eq!(entry::malloc_usable_size(block), 0);
            entry::free(block);
            entry::free(other);
            // The interceptor would have given back what lies before.
            backend::free(block.wrapping_byte_sub(64));
            backend::free(other.wrapping_byte_sub(64));
        }
    });
}

/// Hooks are suspended, and calls go past them.
#[test]
fn suspended() {
    test(|| {
        let table = observer();
        let id = observe(&table);
        assert_eq!((memhook_suspend(), memhook_suspend(), memhook_is_suspended()), (0, 0, 1));
        drop(Block::malloc(1));
        assert_eq!((memhook_resume(), memhook_resume(), memhook_resume()), (0, 0, libc::EINVAL));
        let block = memhook_backend_malloc(4);
        // SAFETY: ours.
        unsafe {
            let block = memhook_backend_realloc(block, 9);
            assert!(memhook_backend_usable_size(block) >= 9);
            memhook_backend_free(block);
            memhook_backend_free(memhook_backend_calloc(2, 3));
            memhook_backend_free(memhook_backend_memalign(32, 3));
            memhook_scratch_free(memhook_scratch_malloc(100));
        }
        assert_eq!(told(table.user, 0), 0);
        drop(Block::malloc(1));
        assert_eq!(told(table.user, 0), 1);
        assert_eq!(unregister(id), 0);
        assert_eq!(memhook_synchronize(), 0);
    });
}

/// Callbacks call everything: allocation functions, registration, removal of others, waiting.
#[test]
fn callbacks_that_call() {
    static OTHER: Mutex<Option<memhook_id>> = Mutex::new(None);
    unsafe extern "C" fn busy(call: *const memhook_call, block: *mut c_void, _: *mut c_void) {
        // SAFETY: any size is allowed.
        unsafe { entry::free(entry::realloc(entry::malloc(3), 30)) };
        // SAFETY: in the callback.
        assert!(block.is_null() || unsafe { memhook_usable_size(call) } == 0);
        assert_eq!(memhook_synchronize(), libc::EDEADLK);
        let other = OTHER.lock().unwrap().replace(observe(&observer()));
        if let Some(other) = other {
            assert_eq!(memhook_unregister(other), libc::EINPROGRESS);
        }
    }
    test(|| {
        let id = observe(&memhook_observer { after_alloc: Some(busy), ..observer() });
        for len in 1..5 {
            drop(Block::malloc(len));
        }
        let owner = register(&interceptor());
        drop(Block::malloc(3));
        assert_eq!(unregister(id), 0);
        assert_eq!(unregister(OTHER.lock().unwrap().take().unwrap()), 0);
        assert_eq!(unregister(owner), 0);
    });
}

/// glibc's old variables: callbacks that take themselves out, call malloc, and put themselves back.
#[test]
fn old_variables() {
    use api::glibc::{free_hook, malloc_hook, memalign_hook, realloc_hook};
    static CALLS: AtomicUsize = AtomicUsize::new(0);
    unsafe extern "C" fn old_malloc(bytes: usize, _: *const c_void) -> *mut c_void {
        CALLS.fetch_add(1, Ordering::Relaxed);
        let place = malloc_hook(tls::stack_pointer());
        // SAFETY: this callback's own copy.
        let own = unsafe { place.replace(core::ptr::null_mut()) };
        // SAFETY: any size is allowed.
        let block = unsafe { entry::malloc(bytes + 32) };
        // SAFETY: this callback's own copy.
        unsafe { malloc_hook(tls::stack_pointer()).write(own) };
        block.wrapping_byte_add(32)
    }
    unsafe extern "C" fn old_free(block: *mut c_void, _: *const c_void) {
        CALLS.fetch_add(1, Ordering::Relaxed);
        if block.is_null() {
            return;
        }
        let place = free_hook(tls::stack_pointer());
        // SAFETY: this callback's own copy.
        let own = unsafe { place.replace(core::ptr::null_mut()) };
        // SAFETY: made by `old_malloc`.
        unsafe { entry::free(block.wrapping_byte_sub(32)) };
        // SAFETY: this callback's own copy.
        unsafe { free_hook(tls::stack_pointer()).write(own) };
    }
    unsafe extern "C" fn old_realloc(block: *mut c_void, bytes: usize, _: *const c_void) -> *mut c_void {
        CALLS.fetch_add(1, Ordering::Relaxed);
        let below = if block.is_null() { block } else { block.wrapping_byte_sub(32) };
        let place = realloc_hook(tls::stack_pointer());
        // SAFETY: this callback's own copy.
        let own = unsafe { place.replace(core::ptr::null_mut()) };
        // SAFETY: made by these callbacks.
        let new = unsafe { entry::realloc(below, bytes + 32) };
        // SAFETY: this callback's own copy.
        unsafe { realloc_hook(tls::stack_pointer()).write(own) };
        new.wrapping_byte_add(32)
    }
    test(|| {
        let write = |malloc: *mut (), realloc: *mut (), free: *mut ()| {
            // SAFETY: the process's variables.
            unsafe {
                malloc_hook(tls::stack_pointer()).write(malloc);
                realloc_hook(tls::stack_pointer()).write(realloc);
                free_hook(tls::stack_pointer()).write(free);
                memalign_hook(tls::stack_pointer()).write(core::ptr::null_mut());
            }
        };
        let null = core::ptr::null_mut();
        write(old_malloc as *mut (), old_realloc as *mut (), old_free as *mut ());
        let block = Block::malloc(10).resize(50);
        drop(Block::malloc(3));
        let owner = register(&interceptor());
        let other = Block::malloc(10).resize(50);
        assert!(CALLS.load(Ordering::Relaxed) > 4);
        write(null, null, null);
        drop(Block::malloc(9));
        drop(other);
        drop(block);
        assert_eq!(unregister(owner), 0);
        // The owner list of the set of callbacks stays.
        lasting(1);
        // The variables' interceptor goes with the others.
        let mut none = 0;
        // SAFETY: writable.
        assert_eq!(unsafe { memhook_chain_create(&raw mut none) }, 0);
        // SAFETY: NULL.
        assert_eq!(unsafe { memhook_chain_swap(none, core::ptr::null_mut()) }, 0);
    });
}

/// Keys of local memory: all of them, and one too many.
#[test]
fn local_memory() {
    test(|| {
        let mut key = 0;
        // SAFETY: writable.
        unsafe {
            assert_eq!(memhook_local_create(0, &raw mut key), libc::EINVAL);
            assert_eq!(memhook_local_create(1000, &raw mut key), 0);
        }
        assert!(memhook_local_known(key).is_null());
        let memory = memhook_local_get(key);
        assert_eq!(memhook_local_known(key), memory);
        // SAFETY: so long.
        assert!(unsafe { core::slice::from_raw_parts(memory.cast::<u8>(), 1000) }.iter().all(|&b| b == 0));
        assert!(memhook_local_get(0).is_null() && memhook_local_get(77).is_null());
        assert_ne!(memhook_thread(), 0);
    });
}

/// Marks find a place though the table has none.
#[test]
fn marks_without_a_table() {
    test(|| {
        // An address that no block of Miri's has.
        let blocks: Vec<usize> = (1..6).map(|n| (1 << 47) + n * 64).collect();
        crate::sys::pages::refuse(true);
        for (&block, id) in blocks.iter().zip(1..) {
            let block = core::ptr::without_provenance_mut(block);
            assert!(!ownership::mark(block, id));
            ownership::mark_surely(block, id);
        }
        crate::sys::pages::refuse(false);
        assert!(!ownership::is_crowded());
        for (&block, id) in blocks.iter().zip(1..) {
            let block = core::ptr::without_provenance_mut(block);
            assert_eq!(ownership::owner(block), id);
            ownership::clear(block);
            assert_eq!(ownership::owner(block), 0);
        }
    });
}

/// All formatters, into buffers that are too short as well.
#[test]
fn texts() {
    use crate::text::{Field, Text};
    for room in 0..40 {
        let mut buffer = vec![0xaa; room];
        let mut line = Text::cut(&mut buffer);
        line.add(b"n=").decimal(u64::MAX).add(b" ").hex(0xbeef).field(b"-", b"7", Field::of(4));
        line.number(b"", 5, 2, true, Field { width: 6, zero: true, left: false });
        let whole = b"n=18446744073709551615 0xbeef  -7000101";
        assert_eq!(line.bytes(), &whole[..room.min(whole.len())]);
        line.end();
        assert!(room == 0 || buffer.contains(&0));
    }
    let log = |format: &core::ffi::CStr, arguments: &[u64]| {
        SAID.lock().unwrap().clear();
        let (registers, stack) = arguments.split_at(arguments.len().min(2));
        // SAFETY: as many as the format names.
        unsafe {
            api::log::log(format.as_ptr(), registers.as_ptr(), registers.len(), stack.as_ptr());
        }
        String::from_utf8(SAID.lock().unwrap().clone()).unwrap()
    };
    assert_eq!(
        log(c"%d|%5u|%-4x|%04o|%lx|%%|%c", &[u64::MAX, 7, 255, 8, u64::MAX, 65]),
        "-1|    7|ff  |0010|ffffffffffffffff|%|A"
    );
    assert_eq!(log(c"%p %.*d", &[0x10, 3, 4]), "0x10 4");
    // A pointer among the arguments is a number that is made one.
    #[cfg(feature = "scratch")]
    assert_eq!(log(c"%s|%-6.3s|", &[0, c"longer".as_ptr().expose_provenance() as u64]), "(null)|lon   |");
    assert_eq!(log(c"%", &[]), "");
    assert_eq!(log(c"%500d|", &[1]).len(), 501);
    assert_eq!(log(c"%q%zu", &[9]), "%q9");
}

/// What the library says of itself.
#[test]
fn questions() {
    test(|| {
        // SAFETY: a string.
        let version = unsafe { core::ffi::CStr::from_ptr(memhook_version()) };
        assert_eq!(version.to_str().unwrap(), env!("CARGO_PKG_VERSION"));
        let table =
            memhook_entry_points { struct_size: size_of::<memhook_entry_points>(), functions: [None; 13] };
        let mut missed = 1;
        let mut text = [0 as c_char; 20];
        // SAFETY: a whole table, and writable places.
        unsafe {
            assert_eq!(memhook_self_test(&table, &raw mut missed, text.as_mut_ptr(), text.len()), 0);
            assert_eq!((missed, text[19]), (0, 0));
            let result = memhook_self_test_object(core::ptr::null(), &raw mut missed, text.as_mut_ptr(), 20);
            assert_eq!(result, libc::ENOENT);
            let wrong = memhook_interceptor { priority: i32::MIN, ..interceptor() };
            let mut id = 0;
            assert_eq!(memhook_register(&wrong, &raw mut id), libc::EINVAL);
            not_registered(wrong.user);
            assert_eq!(memhook_register(core::ptr::null(), &raw mut id), libc::EINVAL);
        }
        assert_eq!(memhook_unregister(u64::MAX), libc::ESRCH);
    });
}
