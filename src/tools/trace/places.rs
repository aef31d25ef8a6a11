//! Callers as glibc's mtrace shows them: `@ ./program:(function+1f)[0x11e9] `, or without the function where
//! the object's table for the dynamic linker does not name it.
//!
//! The text of a caller is made once and kept for ever; there are as many as there are calls in the code
//! of the process. It is right as long as the object is there. Whenever the dynamic linker gives memory
//! back (it does when it unloads an object, among other occasions) each text is checked before its next use:
//! code that was loaded later runs after that in any case.
//!
//! # Edges
//!
//! | edge    | from           | to             | carries |
//! | ------- | -------------- | -------------- | ------- |
//! | `place` | `make` Release | `text` Acquire | the text, and the nodes behind it |

use crate::scratch;
use crate::sys;
use crate::sys::find::{self, Found};
use crate::text::Text;
use core::sync::atomic::{AtomicPtr, AtomicU64, AtomicUsize, Ordering};

/// A caller's text.
struct Node {
    next: AtomicPtr<Node>,
    caller: usize,
    found: Found,
    /// The epoch in which it was seen to be right.
    epoch: AtomicU64,
    len: usize,
    // The text follows.
}

impl Node {
    fn text(&self) -> &'static [u8] {
        let start = core::ptr::from_ref(self).wrapping_add(1).cast::<u8>();
        // SAFETY: `len` bytes follow every node; nodes live for ever.
        unsafe { core::slice::from_raw_parts(start, self.len) }
    }
}

const BITS: u32 = 11;
static TABLE: [AtomicPtr<Node>; 1 << BITS] = [const { AtomicPtr::new(core::ptr::null_mut()) }; _];

/// Where the dynamic linker's code is: address and length.
static LINKER: [AtomicUsize; 2] = [const { AtomicUsize::new(0) }; 2];

/// How often the dynamic linker has given memory back.
static EPOCH: AtomicU64 = AtomicU64::new(1);

/// Must be called before the first text is asked for.
pub(super) fn prepare() {
    find::prepare();
    let base = sys::auxiliary(libc::AT_BASE) as usize;
    if let Some(linker) = find::find(base).filter(|_| base != 0) {
        let [start, len] = &LINKER;
        // ORDERING [none]: Relaxed. Found the same by whoever comes here.
        start.store(linker.start, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. As above.
        len.store(linker.end - linker.start, Ordering::Relaxed);
    }
}

/// Must be told of every caller that gives memory back.
#[inline(always)]
pub(super) fn frees(caller: usize) {
    let [start, len] = &LINKER;
    // ORDERING [none]: Relaxed. Not changed after the start.
    let (start, len) = (start.load(Ordering::Relaxed), len.load(Ordering::Relaxed));
    if caller.wrapping_sub(start) < len {
        // ORDERING [none]: Relaxed. Code that is loaded afterwards runs after this by the program's own order.
        EPOCH.fetch_add(1, Ordering::Relaxed);
    }
}

/// The epoch: what was known of objects in another one must be looked at again.
#[inline(always)]
pub(super) fn epoch() -> u64 {
    // ORDERING [none]: Relaxed. See `frees`.
    EPOCH.load(Ordering::Relaxed)
}

/// A short text that is not kept.
pub(super) type Short = [u8; 32];

/// The text of a caller.
#[inline(always)]
pub(super) fn text(caller: usize, short: &mut Short) -> &[u8] {
    let hash = (caller as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - BITS);
    let Some(bucket) = TABLE.get(hash as usize) else { return &[] };
    let now = epoch();
    // ORDERING [place]: Acquire. Other end: `make`.
    let mut at = bucket.load(Ordering::Acquire);
    // SAFETY: null or a node; nodes live for ever.
    while let Some(node) = unsafe { at.as_ref() } {
        // The latest node of a caller is the right one.
        if node.caller == caller {
            // ORDERING [none]: Relaxed. Only the number matters.
            if node.epoch.load(Ordering::Relaxed) == now || is_right(node, now) {
                return node.text();
            }
            break;
        }
        // ORDERING [none]: Relaxed. Not written after the node was published.
        at = node.next.load(Ordering::Relaxed);
    }
    make(caller, bucket, now, short)
}

/// Whether the caller's object is still the one of the text.
#[cold]
fn is_right(node: &Node, now: u64) -> bool {
    let right = find::find(node.caller) == Some(node.found)
        && node.text().starts_with(b"@ ")
        && node.text().get(2..).is_some_and(|text| text.starts_with(node.found.name()));
    if right {
        // ORDERING [none]: Relaxed. Only the number matters.
        node.epoch.store(now, Ordering::Relaxed);
    }
    right
}

#[cold]
#[inline(never)]
fn make<'s>(caller: usize, bucket: &AtomicPtr<Node>, now: u64, short: &'s mut Short) -> &'s [u8] {
    let made = find::find(caller).and_then(|found| {
        let symbol = found.symbol_around(caller);
        let room = found.name().len() + symbol.map_or(0, |(name, _)| name.count_bytes()) + 64;
        let memory = scratch::permanent(size_of::<Node>() + room, align_of::<Node>())?;
        let text = memory.wrapping_add(size_of::<Node>());
        // SAFETY: fresh memory with as much room behind the node.
        let mut line = Text::cut(unsafe { core::slice::from_raw_parts_mut(text, room) });
        line.add(b"@ ").add(found.name());
        if !found.name().is_empty() {
            line.add(b":");
        }
        if let Some((name, start)) = symbol {
            line.add(b"(").add(name.to_bytes()).add(b"+");
            line.number(b"", (caller - start) as u64, 16, false, Default::default()).add(b")");
        }
        let len = line.add(b"[").hex(caller.wrapping_sub(found.start) as u64).add(b"] ").bytes().len();
        let next = AtomicPtr::new(core::ptr::null_mut());
        let node = memory.cast::<Node>();
        // SAFETY: fresh memory of a node's size and alignment.
        unsafe { node.write(Node { next, caller, found, epoch: AtomicU64::new(now), len }) };
        // SAFETY: written just now; nodes live for ever.
        Some(unsafe { &*node })
    });
    let Some(node) = made else {
        let mut line = Text::cut(short);
        let len = line.add(b"@ [").hex(caller as u64).add(b"] ").bytes().len();
        return short.get(..len).unwrap_or(&[]);
    };
    // ORDERING [none]: Relaxed. The exchange below checks it.
    let mut first = bucket.load(Ordering::Relaxed);
    loop {
        // ORDERING [none]: Relaxed. Published with the node.
        node.next.store(first, Ordering::Relaxed);
        let new = core::ptr::from_ref(node).cast_mut();
        // ORDERING [place]: Release and Relaxed. The text before its place. Other end: `text`.
        match bucket.compare_exchange_weak(first, new, Ordering::Release, Ordering::Relaxed) {
            Ok(_) => return node.text(),
            Err(other) => first = other,
        }
    }
}
