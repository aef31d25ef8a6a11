//! Threads whose end the library can ask for, hooks whose `user` ends with their release, blocks with contents.

use crate::abi::*;
use crate::api::hooks::*;
use crate::api::next::*;
use crate::sys::thread;
use crate::{entry, grace, guard, registry};
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicBool, AtomicIsize, AtomicPtr, AtomicUsize, Ordering};
use std::cell::UnsafeCell;
use std::sync::{Mutex, MutexGuard};

/// One test at a time, in a thread of its own: the library's statics are there once.
pub(crate) fn test(work: impl FnOnce() + Send) {
    static ALONE: Mutex<()> = Mutex::new(());
    let alone = ALONE.lock();
    crate::start::ensure();
    let before = ALIVE.load(Ordering::Relaxed);
    std::thread::scope(|scope| Thread::start(scope, work).join());
    // Deferred work is done by whoever comes.
    std::thread::scope(|scope| {
        Thread::start(scope, || {
            assert_eq!(registry::synchronize(), 0);
            grace::poll();
            grace::poll();
        })
        .join();
    });
    assert_eq!(ALIVE.load(Ordering::Relaxed), before, "a hook was not released");
    #[cfg(not(feature = "scratch"))]
    assert_eq!(
        crate::scratch::alive(),
        1 + LASTING.load(Ordering::Relaxed),
        "not the chain in force alone is left"
    );
    drop(alone);
}

/// Of the library's memory, what stays for good.
static LASTING: AtomicIsize = AtomicIsize::new(0);

/// So many blocks of the library's memory were made that stay.
pub(crate) fn lasting(blocks: isize) {
    LASTING.fetch_add(blocks, Ordering::Relaxed);
}

/// A thread that the library finds dead once it was joined.
pub(crate) struct Thread<'s>(std::thread::ScopedJoinHandle<'s, u32>);

impl<'s> Thread<'s> {
    pub(crate) fn start<'e>(
        scope: &'s std::thread::Scope<'s, 'e>,
        work: impl FnOnce() + Send + 's,
    ) -> Thread<'s> {
        Thread(scope.spawn(move || {
            work();
            thread::current().tid
        }))
    }

    pub(crate) fn join(self) {
        thread::died(self.0.join().unwrap());
    }
}

/// Runs all of them at once.
pub(crate) fn at_once(works: Vec<Box<dyn FnOnce() + Send + '_>>) {
    std::thread::scope(|scope| {
        let threads: Vec<_> = works.into_iter().map(|work| Thread::start(scope, work)).collect();
        threads.into_iter().for_each(Thread::join);
    });
}

/// The same numbers every time.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub(crate) fn below(&mut self, end: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as usize % end
    }
}

/// Hooks whose release has not been called.
static ALIVE: AtomicIsize = AtomicIsize::new(0);

/// What a hook's callbacks use. Its parts are no atomics: who uses them while another writes, or too late, is found out.
pub(crate) struct User {
    sign: UnsafeCell<u64>,
    /// Told of: new blocks, ends, reallocs begun, done, failed.
    pub(crate) told: [AtomicUsize; 5],
}

const SIGN: u64 = 0x5eed;

impl User {
    fn make() -> *mut User {
        ALIVE.fetch_add(1, Ordering::Relaxed);
        Box::into_raw(Box::new(User { sign: UnsafeCell::new(SIGN), told: Default::default() }))
    }

    /// A callback looks at its `user`.
    fn visit<'a>(user: *mut c_void) -> &'a User {
        // SAFETY: lives until the release: what is tested.
        let user = unsafe { &*user.cast::<User>() };
        // SAFETY: written by `make` and by `release` only.
        assert_eq!(unsafe { user.sign.get().read() }, SIGN);
        user
    }
}

unsafe extern "C" fn release(user: *mut c_void) {
    let user = user.cast::<User>();
    // SAFETY: nobody uses it any more: what is tested.
    unsafe { (*user).sign.get().write(0) };
    // SAFETY: made by `make`, and released once.
    drop(unsafe { Box::from_raw(user) });
    ALIVE.fetch_sub(1, Ordering::Relaxed);
}

unsafe extern "C" fn after_alloc(call: *const memhook_call, block: *mut c_void, user: *mut c_void) {
    // SAFETY: valid during the callback.
    let call = unsafe { &*call };
    assert_eq!(call.struct_size, size_of::<memhook_call>());
    assert!(block.is_null() || call.requested < 1 << 20);
    User::visit(user).told[0].fetch_add(1, Ordering::Relaxed);
}

unsafe extern "C" fn before_free(call: *const memhook_call, user: *mut c_void) {
    // SAFETY: valid during the callback.
    assert!(!unsafe { &*call }.block.is_null());
    User::visit(user).told[1].fetch_add(1, Ordering::Relaxed);
}

unsafe extern "C" fn realloc_begin(_: *const memhook_call, user: *mut c_void) {
    User::visit(user).told[2].fetch_add(1, Ordering::Relaxed);
}

unsafe extern "C" fn realloc_commit(_: *const memhook_call, _: *mut c_void, user: *mut c_void) {
    User::visit(user).told[3].fetch_add(1, Ordering::Relaxed);
}

unsafe extern "C" fn realloc_abort(_: *const memhook_call, user: *mut c_void) {
    User::visit(user).told[4].fetch_add(1, Ordering::Relaxed);
}

pub(crate) fn observer() -> memhook_observer {
    memhook_observer {
        struct_size: size_of::<memhook_observer>(),
        name: c"observer".as_ptr(),
        priority: 0,
        flags: 0,
        object: core::ptr::null(),
        user: User::make().cast(),
        after_alloc: Some(after_alloc),
        before_free: Some(before_free),
        realloc_begin: Some(realloc_begin),
        realloc_commit: Some(realloc_commit),
        realloc_abort: Some(realloc_abort),
        release: Some(release),
    }
}

/// Bytes in front of a block that an interceptor has made, with a number of its own in them.
const FRONT: usize = 64;

fn stamp(block: *mut c_void, user: *mut c_void) -> *mut c_void {
    if block.is_null() {
        return block;
    }
    // SAFETY: there are FRONT bytes more than the program asked for.
    unsafe { block.cast::<usize>().write(user as usize) };
    block.wrapping_byte_add(FRONT)
}

/// Where the block of the next one begins. It was made by this hook or one that it replaced.
fn unstamp(block: *mut c_void) -> *mut c_void {
    let below = block.wrapping_byte_sub(FRONT);
    // SAFETY: the hook has made the block: what is tested.
    assert_ne!(unsafe { below.cast::<usize>().read() }, 0);
    below
}

unsafe extern "C" fn malloc(
    next: *mut memhook_next,
    bytes: usize,
    _: *const memhook_call,
    user: *mut c_void,
) -> *mut c_void {
    User::visit(user).told[0].fetch_add(1, Ordering::Relaxed);
    // SAFETY: in the callback.
    stamp(unsafe { memhook_next_malloc(next, bytes.saturating_add(FRONT)) }, user)
}

unsafe extern "C" fn memalign(
    next: *mut memhook_next,
    alignment: usize,
    bytes: usize,
    _: *const memhook_call,
    user: *mut c_void,
) -> *mut c_void {
    User::visit(user).told[0].fetch_add(1, Ordering::Relaxed);
    // SAFETY: in the callback.
    stamp(unsafe { memhook_next_memalign(next, alignment, bytes.saturating_add(FRONT)) }, user)
}

unsafe extern "C" fn realloc(
    next: *mut memhook_next,
    block: *mut c_void,
    bytes: usize,
    _: *const memhook_call,
    user: *mut c_void,
) -> *mut c_void {
    User::visit(user).told[2].fetch_add(1, Ordering::Relaxed);
    if block.is_null() {
        // SAFETY: in the callback.
        return stamp(unsafe { memhook_next_realloc(next, block, bytes.saturating_add(FRONT)) }, user);
    }
    let below = unstamp(block);
    if bytes == 0 {
        // SAFETY: in the callback.
        unsafe { memhook_next_free(next, below) };
        return core::ptr::null_mut();
    }
    // SAFETY: in the callback.
    let new = unsafe { memhook_next_realloc(next, below, bytes.saturating_add(FRONT)) };
    if new.is_null() { new } else { new.wrapping_byte_add(FRONT) }
}

unsafe extern "C" fn free(
    next: *mut memhook_next,
    block: *mut c_void,
    call: *const memhook_call,
    user: *mut c_void,
) {
    // SAFETY: valid during the callback.
    assert_eq!(unsafe { &*call }.struct_size, size_of::<memhook_call>());
    User::visit(user).told[1].fetch_add(1, Ordering::Relaxed);
    // SAFETY: in the callback.
    unsafe { memhook_next_free(next, unstamp(block)) };
}

unsafe extern "C" fn usable_size(
    next: *mut memhook_next,
    block: *mut c_void,
    _: *const memhook_call,
    user: *mut c_void,
) -> usize {
    User::visit(user);
    // SAFETY: in the callback.
    unsafe { memhook_next_usable_size(next, unstamp(block)) - FRONT }
}

/// One that gives other pointers than it gets, and so owns its blocks.
pub(crate) fn interceptor() -> memhook_interceptor {
    memhook_interceptor {
        struct_size: size_of::<memhook_interceptor>(),
        name: c"interceptor".as_ptr(),
        priority: 0,
        flags: 0,
        object: core::ptr::null(),
        user: User::make().cast(),
        malloc: Some(malloc),
        realloc: Some(realloc),
        memalign: Some(memalign),
        free: Some(free),
        usable_size: Some(usable_size),
        release: Some(release),
    }
}

unsafe extern "C" fn see_malloc(
    next: *mut memhook_next,
    bytes: usize,
    _: *const memhook_call,
    user: *mut c_void,
) -> *mut c_void {
    User::visit(user).told[0].fetch_add(1, Ordering::Relaxed);
    // SAFETY: in the callback.
    unsafe { memhook_next_malloc(next, bytes) }
}

unsafe extern "C" fn see_free(
    next: *mut memhook_next,
    block: *mut c_void,
    _: *const memhook_call,
    user: *mut c_void,
) {
    User::visit(user).told[1].fetch_add(1, Ordering::Relaxed);
    if !block.is_null() {
        // SAFETY: in the callback.
        unsafe { memhook_next_free(next, block) };
    }
}

/// One that sees every call and changes nothing.
pub(crate) fn keeper() -> memhook_interceptor {
    memhook_interceptor {
        flags: MEMHOOK_KEEPS_POINTERS | MEMHOOK_SEES_NULL | MEMHOOK_SEES_REFUSED,
        malloc: Some(see_malloc),
        realloc: None,
        memalign: None,
        free: Some(see_free),
        usable_size: None,
        ..interceptor()
    }
}

/// What a hook was told, while it lives.
pub(crate) fn told(user: *mut c_void, what: usize) -> usize {
    User::visit(user).told[what].load(Ordering::Relaxed)
}

/// Gives a `user` back that no hook was made of.
pub(crate) fn not_registered(user: *mut c_void) {
    // SAFETY: nobody has it.
    unsafe { release(user) };
}

pub(crate) fn observe(table: &memhook_observer) -> memhook_id {
    let mut id = 0;
    // SAFETY: a whole table.
    assert_eq!(unsafe { memhook_observe(table, &raw mut id) }, 0);
    id
}

pub(crate) fn register(table: &memhook_interceptor) -> memhook_id {
    let mut id = 0;
    // SAFETY: a whole table.
    assert_eq!(unsafe { memhook_register(table, &raw mut id) }, 0);
    id
}

/// 0 or `EINPROGRESS`.
pub(crate) fn unregister(id: memhook_id) -> c_int {
    let result = memhook_unregister(id);
    assert!([0, libc::EINPROGRESS].contains(&result), "{result}");
    result
}

/// A block and what was written into it: who is given another's, or one that has ended, is found out.
pub(crate) struct Block {
    at: *mut u8,
    len: usize,
    with: u8,
}

// SAFETY: who has it has the block.
unsafe impl Send for Block {}

impl Block {
    fn of(at: *mut c_void, len: usize, with: u8) -> Block {
        assert!(!at.is_null());
        let block = Block { at: at.cast(), len, with };
        block.fill();
        block
    }

    fn fill(&self) {
        // SAFETY: ours.
        unsafe { self.at.write_bytes(self.with, self.len) };
    }

    fn check(&self, len: usize) {
        // SAFETY: ours.
        let bytes = unsafe { core::slice::from_raw_parts(self.at, len) };
        assert!(bytes.iter().all(|&byte| byte == self.with));
    }

    /// By one of the calls that make blocks.
    pub(crate) fn make(random: &mut Random) -> Block {
        let len = random.below(100) + 1;
        let with = random.below(255) as u8 + 1;
        let null = core::ptr::null_mut;
        // SAFETY: any size is allowed.
        let at = unsafe {
            match random.below(12) {
                0 => {
                    let block = entry::calloc(len, 1);
                    core::mem::ManuallyDrop::new(Block { at: block.cast(), len, with: 0 }).check(len);
                    block
                }
                1 => entry::realloc(null(), len),
                2 => entry::memalign(64, len),
                3 => entry::aligned_alloc(32, len),
                4 => {
                    let mut block = null();
                    assert_eq!(entry::posix_memalign(&raw mut block, 128, len), 0);
                    block
                }
                5 => entry::reallocarray(null(), len, 1),
                _ => entry::malloc(len),
            }
        };
        Block::of(at, len, with)
    }

    pub(crate) fn malloc(len: usize) -> Block {
        // SAFETY: any size is allowed.
        Block::of(unsafe { entry::malloc(len) }, len, 7)
    }

    pub(crate) fn resize(self, len: usize) -> Block {
        self.check(self.len);
        let at = self.at.cast();
        // SAFETY: a block of ours.
        let block = Block { at: unsafe { entry::realloc(at, len) }.cast(), len, with: self.with };
        assert!(!block.at.is_null());
        block.check(len.min(self.len));
        block.fill();
        core::mem::forget(self);
        block
    }

    pub(crate) fn usable(&self) -> usize {
        // SAFETY: a block of ours.
        unsafe { entry::malloc_usable_size(self.at.cast()) }
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }

    pub(crate) fn at(&self) -> *mut c_void {
        self.at.cast()
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        self.check(self.len);
        let at = self.at.cast();
        // SAFETY: a block of ours.
        unsafe {
            match self.len % 4 {
                0 => entry::free_sized(at, self.len),
                1 => entry::free_aligned_sized(at, 16, self.len),
                _ => entry::free(at),
            }
        }
    }
}

/// A program's calls: blocks are made, grow, are given to other threads by `shelf`, and end.
pub(crate) fn calls(random: &mut Random, times: usize, shelf: &Mutex<Vec<Block>>) {
    let mut own = Vec::new();
    for _ in 0..times {
        match random.below(8) {
            0..3 => own.push(Block::make(random)),
            3 => shelf.lock().unwrap().extend(own.pop()),
            4 => drop(shelf.lock().unwrap().pop()),
            5 if !own.is_empty() => {
                let block = own.swap_remove(random.below(own.len()));
                own.push(block.resize(random.below(200) + 1));
            }
            6 if !own.is_empty() => {
                let block = &own[random.below(own.len())];
                assert!(block.usable() >= block.len());
            }
            _ => drop(own.pop()),
        }
    }
}
