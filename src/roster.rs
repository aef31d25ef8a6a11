//! A list that only grows: nodes are pushed once, found by all, and never leave.
//!
//! Never: unlinks or frees a node. Who no longer needs one marks it free for the next.
//!
//! # Edges
//!
//! | edge     | from                   | to                     | carries |
//! | -------- | ---------------------- | ---------------------- | ------- |
//! | `roster` | `Roster::push` Release | `Roster::iter` Acquire | a node's first contents and the nodes behind it |

use core::sync::atomic::{AtomicPtr, AtomicUsize, Ordering};

/// A node's place in its roster.
#[repr(transparent)]
pub(crate) struct Link<T>(AtomicPtr<T>);

impl<T> Link<T> {
    pub(crate) const fn new() -> Link<T> {
        Link(AtomicPtr::new(core::ptr::null_mut()))
    }
}

/// A type whose values can stand in a roster.
///
/// # Safety
///
/// `link` gives the same link every time, and nobody but the roster writes it.
pub(crate) unsafe trait Linked: Sized + 'static {
    /// The node's link.
    fn link(&self) -> &Link<Self>;
}

/// The list.
pub(crate) struct Roster<T> {
    first: AtomicPtr<T>,
    len: AtomicUsize,
}

impl<T: Linked> Roster<T> {
    pub(crate) const fn new() -> Roster<T> {
        Roster { first: AtomicPtr::new(core::ptr::null_mut()), len: AtomicUsize::new(0) }
    }

    /// Adds a node, for ever.
    pub(crate) fn push(&self, node: &'static T) {
        let node_pointer = core::ptr::from_ref(node).cast_mut();
        // ORDERING [none]: Relaxed. The exchange below checks it.
        let mut first = self.first.load(Ordering::Relaxed);
        loop {
            // ORDERING [none]: Relaxed. Published with the node.
            node.link().0.store(first, Ordering::Relaxed);
            // ORDERING [roster]: Release and Relaxed. The node's contents before its place.
            match self.first.compare_exchange_weak(first, node_pointer, Ordering::Release, Ordering::Relaxed)
            {
                Ok(_) => break,
                Err(now) => first = now,
            }
        }
        // ORDERING [none]: Relaxed. A statistic.
        self.len.fetch_add(1, Ordering::Relaxed);
    }

    /// How many nodes there are, about.
    pub(crate) fn len(&self) -> usize {
        // ORDERING [none]: Relaxed. A statistic.
        self.len.load(Ordering::Relaxed)
    }

    /// All nodes that were pushed before the call, latest first.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'static T> {
        // ORDERING [roster]: Acquire. Other end: `push`. The nodes behind come with it, since
        // each exchange continues the release of the one before.
        let mut at = self.first.load(Ordering::Acquire);
        core::iter::from_fn(move || {
            // SAFETY: null or a node, and nodes live for ever.
            let node: &'static T = unsafe { at.as_ref() }?;
            // ORDERING [none]: Relaxed. Never written again after the node was pushed.
            at = node.link().0.load(Ordering::Relaxed);
            Some(node)
        })
    }
}
