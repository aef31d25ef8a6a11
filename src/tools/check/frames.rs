//! From where a call came: its caller, or on request the callers of that too.
//!
//! What a header keeps of it is one word: the caller's address, or the place of a list of addresses, which is kept
//! for good and used for all calls that came the same way.
//!
//! # Edges
//!
//! | edge    | from           | to             | carries |
//! | ------- | -------------- | -------------- | ------- |
//! | `kept`  | `keep` Release | `keep` Acquire | a list  |

use super::{MOST_FRAMES, settings};
use crate::abi::memhook_call;
use crate::api::frames::memhook_frames;
use crate::scratch;
use core::ffi::c_void;
use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// Tells the place of a list from an address of code.
const IS_LIST: u64 = 1 << 63;

/// A list of addresses, which stand behind it.
#[repr(C)]
struct List {
    next: *mut List,
    hash: u64,
    len: usize,
}

const BUCKETS: usize = 1 << 14;
/// How many lists are kept. Calls that come in more ways are known by their caller alone.
const MOST_LISTS: usize = 1 << 18;

static LISTS: [AtomicPtr<List>; BUCKETS] = [const { AtomicPtr::new(core::ptr::null_mut()) }; BUCKETS];
static COUNT: AtomicUsize = AtomicUsize::new(0);

impl List {
    fn addresses(&self) -> &'static [usize] {
        let first = core::ptr::from_ref(self).wrapping_add(1).cast();
        // SAFETY: as many follow, and lists are kept for good.
        unsafe { core::slice::from_raw_parts(first, self.len) }
    }
}

/// The callers of one call, innermost first.
#[derive(Clone, Copy)]
pub(super) struct Stack {
    one: [usize; 1],
    list: Option<&'static [usize]>,
}

impl Stack {
    /// What a header keeps of a call.
    pub(super) fn of(origin: u64) -> Stack {
        let place = (origin & !IS_LIST) as usize as *const List;
        // SAFETY: the place of a list, which is kept for good: the header's seal was right.
        let list = (origin & IS_LIST != 0).then(|| unsafe { &*place }.addresses());
        Stack { one: [origin as usize], list }
    }

    pub(super) fn addresses(&self) -> &[usize] {
        self.list.unwrap_or(&self.one)
    }

    pub(super) fn len(&self) -> usize {
        self.addresses().len()
    }

    pub(super) fn pointer(&self) -> *const *const c_void {
        self.addresses().as_ptr().cast()
    }
}

/// What to keep of a call.
pub(super) fn origin(call: &memhook_call) -> u64 {
    let mut addresses = [0usize; MOST_FRAMES as usize];
    let wanted = settings::frames().min(addresses.len());
    // SAFETY: of the callback that is running; there is room.
    let count = unsafe { memhook_frames(call, addresses.as_mut_ptr().cast(), wanted) };
    let list = addresses.get(..count).filter(|_| count > 1).and_then(keep);
    list.map_or(call.caller as u64, |list| list as u64 | IS_LIST)
}

/// The list of these addresses, a new one where there is none.
fn keep(addresses: &[usize]) -> Option<*mut List> {
    let hash = addresses.iter().fold(0u64, |hash, &address| {
        (hash ^ address as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15).rotate_left(29)
    });
    let bucket = LISTS.get((hash >> 20) as usize % BUCKETS)?;
    // ORDERING [kept]: Acquire. Other end: below.
    let mut first = bucket.load(Ordering::Acquire);
    if let Some(known) = find(first, core::ptr::null_mut(), hash, addresses) {
        return Some(known);
    }
    // ORDERING [none]: Relaxed. A bound, no more.
    if COUNT.fetch_add(1, Ordering::Relaxed) >= MOST_LISTS {
        // ORDERING [none]: Relaxed. A bound, no more.
        COUNT.fetch_sub(1, Ordering::Relaxed);
        return None;
    }
    let bytes = size_of::<List>() + size_of_val(addresses);
    let list = scratch::permanent(bytes, align_of::<List>())?.cast::<List>();
    let place = list.wrapping_add(1).cast::<usize>();
    // SAFETY: fresh memory with room for them.
    unsafe { place.copy_from_nonoverlapping(addresses.as_ptr(), addresses.len()) };
    loop {
        // SAFETY: fresh memory, which nobody else knows.
        unsafe { list.write(List { next: first, hash, len: addresses.len() }) };
        // ORDERING [kept]: Release and Acquire. The list before its place. Other end: above.
        match bucket.compare_exchange(first, list, Ordering::Release, Ordering::Acquire) {
            Ok(_) => return Some(list),
            Err(now) => {
                if let Some(known) = find(now, first, hash, addresses) {
                    return Some(known);
                }
                first = now;
            }
        }
    }
}

/// The list of these addresses among those from `at` up to `end`.
fn find(mut at: *mut List, end: *mut List, hash: u64, addresses: &[usize]) -> Option<*mut List> {
    while at != end {
        // SAFETY: lists are kept for good, and loaded with an acquire.
        let list = unsafe { &*at };
        if list.hash == hash && list.addresses() == addresses {
            return Some(at);
        }
        at = list.next;
    }
    None
}
