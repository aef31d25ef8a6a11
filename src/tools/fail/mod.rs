//! Failing allocations: an interceptor above those of programs that answers selected calls with NULL.

mod words;

pub(super) use words::TOOL;

use crate::abi::*;
use crate::api::hooks::{memhook_register, memhook_unregister};
use crate::api::next::{memhook_next_malloc, memhook_next_memalign, memhook_next_realloc};
use crate::roster::{Link, Linked, Roster};
use crate::scratch;
use crate::sys::paged::Paged;
use crate::sys::{bytes, elf, program};
use core::cell::UnsafeCell;
use core::ffi::{c_char, c_int, c_void};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};

/// Which allocation calls are to fail. All members that are not 0 must agree to *select* a call;
/// selected calls are numbered from 1; of these, each of `nth`, `every`, `per_million` and `after_bytes`
/// makes some fail. Fill in `struct_size` and what is wanted, 0 or NULL elsewhere.
///
/// A call fails as it does when memory has run out: NULL and ENOMEM (posix_memalign returns
/// ENOMEM); the block of a realloc lives on. Observers are told. Interceptors are not asked.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct memhook_fail_rule {
    /// `sizeof(memhook_fail_rule)`.
    pub struct_size: usize,
    /// Fails: the selected call with this number.
    pub nth: u64,
    /// Fails: every selected call whose number this divides.
    pub every: u64,
    /// Fails: each selected call with this probability, in millionths.
    pub per_million: u32,
    /// `MEMHOOK_THIS_THREAD`, to select calls of the calling thread only, or 0.
    pub flags: u32,
    /// Where the random numbers of `per_million` begin. The same seed fails the calls with the same
    /// numbers.
    pub seed: u64,
    /// Fails: all selected calls from the one on with which more than so many bytes were asked for in
    /// total.
    pub after_bytes: u64,
    /// Selects: calls that ask for more than so many bytes.
    pub above: usize,
    /// Selects: calls through these entry points, one bit `1 << MEMHOOK_ENTRY_…` each.
    pub entries: u32,
    /// 0.
    pub reserved: u32,
    /// Selects: callers from this address on (see `caller` of a call).
    pub caller_from: *const c_void,
    /// Selects: callers below this address.
    pub caller_to: *const c_void,
    /// Selects: callers in the executable and the shared objects, of those loaded now, whose path
    /// contains these characters.
    pub object: *const c_char,
    /// How many characters.
    pub object_len: usize,
}

/// What has become of a rule.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct memhook_fail_counts {
    /// `sizeof(memhook_fail_counts)`.
    pub struct_size: usize,
    /// How many calls were selected.
    pub selected: u64,
    /// How many of them failed.
    pub failed: u64,
    /// How many bytes they asked for in total, failed ones too.
    pub bytes: u64,
}

impl memhook_fail_rule {
    /// A rule that fails nothing.
    pub(super) const NONE: memhook_fail_rule = memhook_fail_rule {
        struct_size: size_of::<memhook_fail_rule>(),
        nth: 0,
        every: 0,
        per_million: 0,
        flags: 0,
        seed: 0,
        after_bytes: 0,
        above: 0,
        entries: 0,
        reserved: 0,
        caller_from: core::ptr::null(),
        caller_to: core::ptr::null(),
        object: core::ptr::null(),
        object_len: 0,
    };

    /// Whether any call could fail.
    pub(super) fn fails_anything(&self) -> bool {
        self.nth != 0 || self.every != 0 || self.per_million != 0 || self.after_bytes != 0
    }
}

/// How many shared objects a rule can be limited to.
const OBJECTS: usize = 16;

/// A rule at work. Used again when it was stopped.
struct Rule {
    /// 0: nobody's. Else 1 for the hook, until its release, and 1 for who may stop it, while `id` is set.
    uses: AtomicU32,
    id: AtomicU64,
    selected: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
    fixed: UnsafeCell<Fixed>,
    link: Link<Rule>,
}

struct Fixed {
    rule: memhook_fail_rule,
    /// Address ranges of the objects.
    objects: [(usize, usize); OBJECTS],
}

impl Fixed {
    fn selects(&self, call: &memhook_call) -> bool {
        let rule = &self.rule;
        let caller = call.caller as usize;
        (rule.above == 0 || call.requested > rule.above)
            && (rule.entries == 0 || rule.entries >> call.entry & 1 != 0)
            && caller >= rule.caller_from as usize
            && (rule.caller_to.is_null() || caller < rule.caller_to as usize)
            && (rule.object.is_null() || self.objects.iter().any(|&(from, to)| caller >= from && caller < to))
    }
}

// SAFETY: `fixed` is written by who has set `uses`, before the hook is registered; the rest is atomic.
unsafe impl Sync for Rule {}

// SAFETY: the link is the rule's own and is written by the roster only.
unsafe impl Linked for Rule {
    fn link(&self) -> &Link<Rule> {
        &self.link
    }
}

static RULES: Roster<Rule> = Roster::new();

impl Rule {
    /// A rule that is nobody's.
    fn take() -> Option<&'static Rule> {
        // ORDERING [rule]: Acquire and Relaxed. The end of its last use. Other end: `leave`.
        let take =
            |rule: &Rule| rule.uses.compare_exchange(0, 2, Ordering::Acquire, Ordering::Relaxed).is_ok();
        if let Some(rule) = RULES.iter().find(|rule| take(rule)) {
            return Some(rule);
        }
        let memory = scratch::permanent(size_of::<Rule>(), align_of::<Rule>())?;
        // SAFETY: fresh zeroed memory, which is a valid rule.
        let rule: &'static Rule = unsafe { &*memory.cast::<Rule>() };
        // ORDERING [none]: Relaxed. Published by the roster.
        rule.uses.store(2, Ordering::Relaxed);
        RULES.push(rule);
        Some(rule)
    }

    fn leave(&self, uses: u32) {
        // ORDERING [rule]: AcqRel. Our last use. Other end: `take`.
        self.uses.fetch_sub(uses, Ordering::AcqRel);
    }

    fn counts(&self) -> memhook_fail_counts {
        // ORDERING [none]: Relaxed. Statistics.
        let read = |count: &AtomicU64| count.load(Ordering::Relaxed);
        memhook_fail_counts {
            struct_size: size_of::<memhook_fail_counts>(),
            selected: read(&self.selected),
            failed: read(&self.failed),
            bytes: read(&self.bytes),
        }
    }

    /// Whether the call is to fail.
    fn fails(&self, call: &memhook_call) -> bool {
        // SAFETY: not written while the hook is registered.
        let fixed = unsafe { &*self.fixed.get() };
        if !fixed.selects(call) {
            return false;
        }
        // ORDERING [none]: Relaxed. Statistics; the number need only be this call's alone.
        let number = self.selected.fetch_add(1, Ordering::Relaxed) + 1;
        let add = |bytes: u64| bytes.saturating_add(call.requested as u64);
        // ORDERING [none]: Relaxed and Relaxed. As above.
        let before = self.bytes.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |bytes| Some(add(bytes)));
        let bytes = before.map_or(u64::MAX, add);
        let rule = &fixed.rule;
        let fails = number == rule.nth
            || number.is_multiple_of(rule.every)
            || random(rule.seed, number) % 1_000_000 < u64::from(rule.per_million)
            || (rule.after_bytes != 0 && bytes > rule.after_bytes);
        if fails {
            // ORDERING [none]: Relaxed. As above.
            self.failed.fetch_add(1, Ordering::Relaxed);
        }
        fails
    }
}

/// The random number with this number (splitmix64): the same whichever thread asks.
fn random(seed: u64, number: u64) -> u64 {
    let mut z = seed.wrapping_add(number.wrapping_mul(0x9e37_79b9_7f4a_7c15));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Whether a callback's call is to fail.
///
/// # Safety
///
/// `call` and `user` are those of a callback of ours that is running.
unsafe fn fails(call: *const memhook_call, user: *mut c_void) -> bool {
    // SAFETY: the caller's contract; rules are never unmapped.
    let rule = unsafe { &*user.cast::<Rule>() };
    // SAFETY: the caller's contract.
    rule.fails(unsafe { &*call })
}

unsafe extern "C" fn malloc(
    next: *mut memhook_next,
    requested: usize,
    call: *const memhook_call,
    user: *mut c_void,
) -> *mut c_void {
    // SAFETY: of this call.
    if unsafe { fails(call, user) } {
        return core::ptr::null_mut();
    }
    // SAFETY: of this call.
    unsafe { memhook_next_malloc(next, requested) }
}

unsafe extern "C" fn realloc(
    next: *mut memhook_next,
    block: *mut c_void,
    requested: usize,
    call: *const memhook_call,
    user: *mut c_void,
) -> *mut c_void {
    // A realloc to nothing is a free, which does not fail.
    // SAFETY: of this call.
    if (requested != 0 || block.is_null()) && unsafe { fails(call, user) } {
        return core::ptr::null_mut();
    }
    // SAFETY: of this call.
    unsafe { memhook_next_realloc(next, block, requested) }
}

unsafe extern "C" fn memalign(
    next: *mut memhook_next,
    alignment: usize,
    requested: usize,
    call: *const memhook_call,
    user: *mut c_void,
) -> *mut c_void {
    // SAFETY: of this call.
    if unsafe { fails(call, user) } {
        return core::ptr::null_mut();
    }
    // SAFETY: of this call.
    unsafe { memhook_next_memalign(next, alignment, requested) }
}

unsafe extern "C" fn release(user: *mut c_void) {
    // SAFETY: rules are never unmapped.
    let rule = unsafe { &*user.cast::<Rule>() };
    // Unregistered as a hook of the program's own, it is stopped.
    // ORDERING [none]: Relaxed. Decides who stops it.
    rule.leave(if rule.id.swap(0, Ordering::Relaxed) == 0 { 1 } else { 2 });
}

/// The objects whose path contains `part`.
fn find_objects(part: &[u8]) -> Result<[(usize, usize); OBJECTS], c_int> {
    let mut objects = [(0, 0); OBJECTS];
    let mut free = objects.iter_mut();
    let mut any = false;
    let mut executable = Paged::<[u8; 4096]>::zero().ok_or(libc::ENOMEM)?;
    let len = program::path(&mut *executable);
    elf::for_each_object(&mut |object| {
        let name = object.name().to_bytes();
        // The executable is the one object without a name.
        let path = if name.is_empty() { executable.get(..len).unwrap_or(&[]) } else { name };
        if bytes::contains(path, part)
            && let Some(place) = free.next()
        {
            *place = object.range();
            any = true;
        }
        true
    });
    if any { Ok(objects) } else { Err(libc::ENOENT) }
}

/// Makes allocations fail.
///
/// # Parameters
///
/// - `rule`: which, copied before return. Not NULL; `rule->struct_size` is its size.
/// - `out`: receives the id to give to `memhook_fail_stop()`. Not NULL.
///
/// # Returns
///
/// 0, or an error number; `errno` itself is never touched. On error nothing has changed.
///
/// - `EINVAL`: `rule` or `out` is NULL, `struct_size` is no size that this library knows, a
///   flag or an entry point is unknown, `per_million` is above 1,000,000, `reserved` is not 0, an object is named by no
///   characters, or no call could fail by this rule.
/// - `ENOENT`: no object that is loaded has this in its path.
/// - `ENOMEM`: there was no memory for the new chain.
///
/// # Threads
///
/// Any thread, any time, except while the dynamic linker's lock is held and `object` is given.
///
/// # Reentrancy
///
/// Inside a callback: the call that the callback belongs to does not fail by this rule.
///
/// # Safety
///
/// `rule` is NULL or points to a rule of the size that it says; `out` is NULL or writable.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_fail_start(rule: *const memhook_fail_rule, out: *mut memhook_id) -> c_int {
    if rule.is_null() || out.is_null() {
        return libc::EINVAL;
    }
    // SAFETY: not NULL, and the first member is a size (the caller's contract).
    if unsafe { rule.cast::<usize>().read() } != size_of::<memhook_fail_rule>() {
        return libc::EINVAL;
    }
    // SAFETY: of the size that it says (the caller's contract).
    let rule = unsafe { *rule };
    let valid = rule.flags & !MEMHOOK_THIS_THREAD == 0
        && rule.per_million <= 1_000_000
        && rule.reserved == 0
        && rule.entries >> MEMHOOK_ENTRY_COUNT == 0
        && rule.object.is_null() == (rule.object_len == 0)
        && rule.fails_anything();
    if !valid {
        return libc::EINVAL;
    }
    let mut objects = [(0, 0); OBJECTS];
    if !rule.object.is_null() {
        // SAFETY: as many characters as the rule says (the caller's contract).
        let part = unsafe { core::slice::from_raw_parts(rule.object.cast::<u8>(), rule.object_len) };
        match find_objects(part) {
            Ok(found) => objects = found,
            Err(error) => return error,
        }
    }
    let Some(taken) = Rule::take() else { return libc::ENOMEM };
    for count in [&taken.selected, &taken.failed, &taken.bytes] {
        // ORDERING [none]: Relaxed. Before the hook is registered.
        count.store(0, Ordering::Relaxed);
    }
    // SAFETY: taken by us alone, and not registered.
    unsafe { taken.fixed.get().write(Fixed { rule, objects }) };
    let table = memhook_interceptor {
        struct_size: size_of::<memhook_interceptor>(),
        name: c"fail".as_ptr(),
        // Below `usage`, which counts what fails, and above `check`, which keeps blocks.
        priority: i32::MAX - 1,
        flags: MEMHOOK_KEEPS_POINTERS | rule.flags,
        user: core::ptr::from_ref(taken).cast_mut().cast(),
        object: core::ptr::null(),
        malloc: Some(malloc),
        realloc: Some(realloc),
        memalign: Some(memalign),
        free: None,
        usable_size: None,
        release: Some(release),
    };
    let mut id = 0;
    // SAFETY: a whole table, and a place for the id; rules are never unmapped.
    let error = unsafe { memhook_register(&raw const table, &raw mut id) };
    if error != 0 {
        taken.leave(2);
        return error;
    }
    // ORDERING [none]: Relaxed. Who knows the id was told.
    taken.id.store(id, Ordering::Relaxed);
    // SAFETY: not NULL, hence writable (the caller's contract).
    unsafe { out.write(id) };
    0
}

/// Makes the `nth` allocation call of the calling thread from now on fail, and no other: for a loop
/// that walks through every failure point of a piece of code.
///
/// ```c
/// for (uint64_t n = 1; ; n++) {
///     memhook_id id;
///     memhook_fail_counts counts = { .struct_size = sizeof counts };
///     memhook_fail_nth(n, &id);
///     work();
///     memhook_fail_stop(id, &counts);
///     if (counts.failed == 0)
///         break;
/// }
/// ```
///
/// # Returns
///
/// As `memhook_fail_start()`; `EINVAL` also where `nth` is 0.
///
/// # Threads
///
/// Any thread, any time.
///
/// # Reentrancy
///
/// As `memhook_fail_start()`.
///
/// # Safety
///
/// `out` is NULL or writable.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_fail_nth(nth: u64, out: *mut memhook_id) -> c_int {
    let rule = memhook_fail_rule { nth, flags: MEMHOOK_THIS_THREAD, ..memhook_fail_rule::NONE };
    // SAFETY: a whole rule; the caller's contract for `out`.
    unsafe { memhook_fail_start(&raw const rule, out) }
}

/// Ends what `memhook_fail_start()` or `memhook_fail_nth()` began.
///
/// # Parameters
///
/// - `id`: what they gave.
/// - `counts`: receives what has become of the rule; `counts->struct_size` is its size. Or NULL.
///
/// # Returns
///
/// 0, or an error number; `errno` itself is never touched.
///
/// - `EINVAL`: `counts->struct_size` is no size that this library knows. Nothing has changed.
/// - `ESRCH`: there is no such rule.
/// - `EINPROGRESS`: called inside a callback: another thread may be failing a call by this rule
///   for the last time. It has ended otherwise.
/// - `ENOMEM`, `EBUSY`: as for `memhook_unregister()`. The rule is in force still.
///
/// # Threads
///
/// Any thread, any time. Waits until no thread is failing a call by this rule.
///
/// # Reentrancy
///
/// Inside a callback: does not wait.
///
/// # Safety
///
/// `counts` is NULL or points to counts of the size that they say.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_fail_stop(id: memhook_id, counts: *mut memhook_fail_counts) -> c_int {
    // SAFETY: not NULL, and the first member is a size (the caller's contract).
    if !counts.is_null() && unsafe { counts.cast::<usize>().read() } != size_of::<memhook_fail_counts>() {
        return libc::EINVAL;
    }
    // ORDERING [none]: Relaxed. Who knows the id was told.
    let named = |rule: &&Rule| id != 0 && rule.id.load(Ordering::Relaxed) == id;
    let Some(rule) = RULES.iter().find(named) else { return libc::ESRCH };
    // ORDERING [none]: Relaxed and Relaxed. Decides who stops it.
    if rule.id.compare_exchange(id, 0, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return libc::ESRCH;
    }
    let result = memhook_unregister(id);
    if matches!(result, libc::ENOMEM | libc::EBUSY) {
        // ORDERING [none]: Relaxed. It can be stopped again.
        rule.id.store(id, Ordering::Relaxed);
        return result;
    }
    if !counts.is_null() {
        // SAFETY: not NULL (the caller's contract).
        unsafe { counts.write(rule.counts()) };
    }
    rule.leave(1);
    result
}
