//! `core::sync::atomic` and `UnsafeCell` as the library's text sees them, over loom's.
//!
//! A facade atomic is as large as the real one and holds its first value only; loom's object
//! for it is found by address and made anew in every execution. So constant statics and zeroed
//! memory work as they do in the library, and every execution starts from the beginning.
//!
//! loom treats sequentially consistent accesses as acquire-release ones. The library has none, only fences.

use crate::world;
use loom::sync::atomic as real;
use std::panic::Location;
pub(crate) use std::sync::atomic::Ordering;

/// Says which place was used with which ordering; gives what the mutation makes of it.
fn tuned(at: &'static Location<'static>, kind: world::Kind, order: Ordering) -> Ordering {
    assert!(kind == world::Kind::Fence || order != Ordering::SeqCst, "loom has no such access");
    world::visit(at, kind, order)
}

#[track_caller]
pub(crate) fn fence(order: Ordering) {
    let order = tuned(Location::caller(), world::Kind::Fence, order);
    if order != Ordering::Relaxed {
        world::meet_fences();
        real::fence(order);
        world::trace(Location::caller(), "fence", 0, 0);
    }
}

/// Where the library has one, a reader relies on a fence that a writer makes it execute. It is where signals
/// come, too.
pub(crate) fn compiler_fence(_: Ordering) {
    world::may_be_interrupted();
    world::take_signal();
}

macro_rules! atomic {
    ($name:ident $(<$t:ident>)?, $value:ty, $to:expr, $from:expr) => {
        #[repr(transparent)]
        pub(crate) struct $name $(<$t>)? { first: $value }

        // SAFETY: the value is only copied; sharing is loom's business.
        unsafe impl $(<$t>)? Sync for $name $(<$t>)? {}
        // SAFETY: as above.
        unsafe impl $(<$t>)? Send for $name $(<$t>)? {}

        #[allow(dead_code, reason = "one shape for all")]
        impl $(<$t>)? $name $(<$t>)? {
            pub(crate) const fn new(first: $value) -> Self { $name { first } }

            pub(crate) unsafe fn from_ptr<'a>(at: *mut $value) -> &'a Self {
                // SAFETY: transparent; the caller's contract.
                unsafe { &*at.cast::<Self>() }
            }

            fn cell(&self) -> world::Atom {
                // SAFETY: our own value, never written.
                let first = unsafe { std::ptr::read(&raw const self.first) };
                world::atom(std::ptr::from_ref(self) as usize, ($to)(first))
            }

            #[track_caller]
            pub(crate) fn load(&self, order: Ordering) -> $value {
                let order = tuned(Location::caller(), world::Kind::Load, order);
                let atom = self.cell();
                let value = atom.first.wrapping_add(atom.loom.load(order));
                world::trace(Location::caller(), "load", std::ptr::from_ref(self) as usize, value);
                ($from)(value)
            }

            #[track_caller]
            pub(crate) fn store(&self, value: $value, order: Ordering) {
                let order = tuned(Location::caller(), world::Kind::Store, order);
                let atom = self.cell();
                atom.loom.store(($to)(value).wrapping_sub(atom.first), order);
                world::trace(Location::caller(), "store", std::ptr::from_ref(self) as usize, ($to)(value));
            }

            #[track_caller]
            pub(crate) fn swap(&self, value: $value, order: Ordering) -> $value {
                let order = tuned(Location::caller(), world::Kind::Update, order);
                let atom = self.cell();
                let old = atom.loom.swap(($to)(value).wrapping_sub(atom.first), order);
                world::trace(Location::caller(), "swap, was", std::ptr::from_ref(self) as usize, old.wrapping_add(atom.first));
                ($from)(old.wrapping_add(atom.first))
            }

            #[track_caller]
            pub(crate) fn compare_exchange(&self, from: $value, to: $value, order: Ordering, failed: Ordering) -> Result<$value, $value> {
                let order = tuned(Location::caller(), world::Kind::Update, order);
                let failed = tuned(Location::caller(), world::Kind::Failure, failed);
                let atom = self.cell();
                let inner = |v| ($to)(v).wrapping_sub(atom.first);
                let outer = |v: u64| ($from)(v.wrapping_add(atom.first));
                let result = atom.loom.compare_exchange(inner(from), inner(to), order, failed).map(outer).map_err(outer);
                world::trace(Location::caller(), if result.is_ok() { "exchange to" } else { "no exchange to" }, std::ptr::from_ref(self) as usize, ($to)(to));
                result
            }

            #[track_caller]
            pub(crate) fn compare_exchange_weak(&self, from: $value, to: $value, order: Ordering, failed: Ordering) -> Result<$value, $value> {
                self.compare_exchange(from, to, order, failed)
            }

            #[track_caller]
            pub(crate) fn fetch_update(&self, order: Ordering, failed: Ordering, mut f: impl FnMut($value) -> Option<$value>) -> Result<$value, $value> {
                let mut now = self.load(failed);
                while let Some(next) = f(now) {
                    match self.compare_exchange(now, next, order, failed) {
                        Ok(old) => return Ok(old),
                        Err(other) => now = other,
                    }
                }
                Err(now)
            }
        }
    };
}

macro_rules! number {
    ($name:ident, $value:ty) => {
        atomic!($name, $value, |v: $value| v as u64, |v: u64| v as $value);

        #[allow(dead_code, reason = "one shape for all")]
        impl $name {
            #[track_caller]
            pub(crate) fn fetch_add(&self, by: $value, order: Ordering) -> $value {
                let order = tuned(Location::caller(), world::Kind::Update, order);
                let atom = self.cell();
                let old = atom.loom.fetch_add(by as u64, order);
                world::trace(
                    Location::caller(),
                    "add, was",
                    std::ptr::from_ref(self) as usize,
                    old.wrapping_add(atom.first),
                );
                old.wrapping_add(atom.first) as $value
            }

            #[track_caller]
            pub(crate) fn fetch_sub(&self, by: $value, order: Ordering) -> $value {
                let order = tuned(Location::caller(), world::Kind::Update, order);
                let atom = self.cell();
                let old = atom.loom.fetch_add((by as u64).wrapping_neg(), order);
                world::trace(
                    Location::caller(),
                    "add, was",
                    std::ptr::from_ref(self) as usize,
                    old.wrapping_add(atom.first),
                );
                old.wrapping_add(atom.first) as $value
            }

            #[track_caller]
            pub(crate) fn fetch_max(&self, with: $value, order: Ordering) -> $value {
                let order = tuned(Location::caller(), world::Kind::Update, order);
                let atom = self.cell();
                assert_eq!(atom.first, 0);
                atom.loom.fetch_max(with as u64, order) as $value
            }

            #[track_caller]
            pub(crate) fn fetch_or(&self, bits: $value, order: Ordering) -> $value {
                let order = tuned(Location::caller(), world::Kind::Update, order);
                let atom = self.cell();
                assert_eq!(atom.first, 0);
                atom.loom.fetch_or(bits as u64, order) as $value
            }

            #[track_caller]
            pub(crate) fn fetch_and(&self, bits: $value, order: Ordering) -> $value {
                let order = tuned(Location::caller(), world::Kind::Update, order);
                let atom = self.cell();
                assert_eq!(atom.first, 0);
                atom.loom.fetch_and(bits as u64, order) as $value
            }

            pub(crate) fn as_ptr(&self) -> *mut $value {
                std::ptr::from_ref(self).cast_mut().cast()
            }
        }
    };
}

number!(AtomicU8, u8);
number!(AtomicU16, u16);
number!(AtomicU32, u32);
number!(AtomicU64, u64);
number!(AtomicI64, i64);
number!(AtomicUsize, usize);
atomic!(AtomicBool, bool, |v: bool| u64::from(v), |v: u64| v != 0);
atomic!(AtomicPtr<T>, *mut T, |v: *mut T| v.expose_provenance() as u64, |v: u64| {
    std::ptr::with_exposed_provenance_mut::<T>(v as usize)
});

/// `UnsafeCell` whose looks and writes loom is told of.
#[repr(transparent)]
pub(crate) struct UnsafeCell<T>(std::cell::UnsafeCell<T>);

impl<T> UnsafeCell<T> {
    pub(crate) const fn new(value: T) -> UnsafeCell<T> {
        UnsafeCell(std::cell::UnsafeCell::new(value))
    }

    pub(crate) fn get(&self) -> *mut T {
        world::cell(std::ptr::from_ref(self) as usize).with(|_| ());
        self.0.get()
    }

    pub(crate) fn writing(&self) -> *mut T {
        world::cell(std::ptr::from_ref(self) as usize).with_mut(|_| ());
        self.0.get()
    }
}
