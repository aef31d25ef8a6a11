//! The head in force: where the entry points jump, and the chain that calls walk.

use super::{AfterAlloc, Before, Chain, EMPTY, LONG, Single, View};
use crate::backend::{self, Entries};
use crate::grace::{self, Brief, Section};
use crate::guard::{Front, NO_OBSERVER, Record};
use crate::roster::{Link, Linked, Roster};
use crate::scratch;
use core::cell::UnsafeCell;
use core::mem::MaybeUninit;
use core::sync::atomic::{AtomicBool, AtomicPtr, AtomicU32, AtomicUsize, Ordering};

/// What the entry points do.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Mode {
    /// Jump to the backend.
    Idle,
    /// Tell observers.
    Observing,
    /// Walk interceptors, and look at every block's owner.
    Full,
    /// As `Observing`, and note the caller's frame.
    ObservingFrames,
    /// As `Full`, and note the caller's frame.
    FullFrames,
    /// As `Full` of a chain that is one interceptor and nothing else.
    Single,
    /// As `Observing`, of hooks that keep errno.
    ObservingErrnoKept,
    /// As `Single`, of a hook that keeps errno.
    SingleErrnoKept,
    /// As `Full` of a chain that is the interceptor of glibc's variables and nothing else.
    Variables,
}

impl Mode {
    /// The same with the caller's frame noted.
    pub(crate) fn with_frames(self) -> Mode {
        match self {
            Mode::Observing => Mode::ObservingFrames,
            Mode::Full => Mode::FullFrames,
            other => other,
        }
    }

    /// The shortest way for this chain that does what the mode says.
    fn for_chain(self, chain: &Chain) -> Mode {
        let mode = match self {
            Mode::Full if chain.alone().is_some() => Mode::Single,
            Mode::Full if chain.is_variables => Mode::Variables,
            other => other,
        };
        match mode {
            Mode::Observing if chain.keeps_errno() => Mode::ObservingErrnoKept,
            Mode::Single if chain.keeps_errno() => Mode::SingleErrnoKept,
            other => other,
        }
    }
}

/// What `CURRENT` points to.
#[repr(C, align(64))]
pub(crate) struct Head {
    /// First, so that a pointer to it is one to the head.
    front: Front,
    /// What all threads see of the chain, where the short ways find it without asking the chain.
    view: UnsafeCell<View>,
    /// The chain's single interceptor, in [`Mode::Single`], for the stubs.
    single: UnsafeCell<MaybeUninit<Single>>,
    chain: AtomicPtr<Chain>,
    mode: AtomicU32,
    in_use: AtomicBool,
    link: Link<Head>,
}

// SAFETY: `view` is written by who has taken the head, before it is published, and read in sections that a
// head's return waits for; the rest is atomic.
unsafe impl Sync for Head {}

// SAFETY: the link is the head's own and is written by the roster only.
unsafe impl Linked for Head {
    fn link(&self) -> &Link<Head> {
        &self.link
    }
}

/// The tables of the modes; `entry` has the stubs and gives them at start.
pub(crate) struct Tables {
    /// Leads to `start`.
    pub(crate) first: [unsafe extern "C" fn(); 13],
    /// For [`Mode::Observing`]; `None`: the backend's.
    pub(crate) observing: [Option<unsafe extern "C" fn()>; 13],
    /// For [`Mode::Full`].
    pub(crate) full: [unsafe extern "C" fn(); 13],
    /// Tells all observers of a view, which `user` is, of a new block.
    pub(crate) several_after: AfterAlloc,
    /// Tells all observers of a view, which `user` is, of a block that is about to go.
    pub(crate) several_before: Before,
    /// For [`Mode::ObservingFrames`].
    pub(crate) observing_frames: [Option<unsafe extern "C" fn()>; 13],
    /// For [`Mode::FullFrames`].
    pub(crate) full_frames: [unsafe extern "C" fn(); 13],
    /// For [`Mode::Single`].
    pub(crate) single: [unsafe extern "C" fn(); 13],
    /// For [`Mode::ObservingErrnoKept`].
    pub(crate) observing_errno_kept: [Option<unsafe extern "C" fn()>; 13],
    /// For [`Mode::SingleErrnoKept`].
    pub(crate) single_errno_kept: [unsafe extern "C" fn(); 13],
    /// For [`Mode::Variables`].
    pub(crate) variables: [unsafe extern "C" fn(); 13],
}

/// Where in a head the stubs find what they need.
#[cfg(target_arch = "x86_64")]
pub(crate) mod at {
    use super::super::Telling;
    use super::*;
    use core::mem::offset_of;

    const AFTER: usize = offset_of!(Head, view) + offset_of!(View, after);
    pub(crate) const AFTER_FUNCTION: usize = AFTER + offset_of!(Telling<AfterAlloc>, function);
    pub(crate) const AFTER_USER: usize = AFTER + offset_of!(Telling<AfterAlloc>, user);
    const BEFORE: usize = offset_of!(Head, view) + offset_of!(View, before);
    pub(crate) const BEFORE_FUNCTION: usize = BEFORE + offset_of!(Telling<Before>, function);
    pub(crate) const BEFORE_USER: usize = BEFORE + offset_of!(Telling<Before>, user);
    const SINGLE: usize = offset_of!(Head, single);
    pub(crate) const SINGLE_USER: usize = SINGLE + offset_of!(Single, user);
    pub(crate) const SINGLE_MALLOC: usize = SINGLE + offset_of!(Single, malloc);
    pub(crate) const SINGLE_FREE: usize = SINGLE + offset_of!(Single, free);
    pub(crate) const SINGLE_OWNER: usize = SINGLE + offset_of!(Single, owner);
}

static HEADS: Roster<Head> = Roster::new();

/// The head in force; at first, one that leads to `start`.
pub(crate) static CURRENT: AtomicPtr<Head> = AtomicPtr::new((&raw const FIRST).cast_mut());

core::arch::global_asm!(
    // The name by which archive.S knows CURRENT.
    ".globl memhook_current",
    ".hidden memhook_current",
    ".set memhook_current, {current}",
    current = sym CURRENT,
);

static FIRST: Head = Head {
    front: Front {
        entries: {
            let mut entries = [const { AtomicPtr::new(core::ptr::null_mut()) }; 13];
            let mut i = 0;
            #[allow(clippy::indexing_slicing, reason = "evaluated by the compiler")]
            while i < 13 {
                entries[i] = AtomicPtr::new(crate::entry::TABLES.first[i] as *mut ());
                i += 1;
            }
            entries
        },
        only: AtomicUsize::new(NO_OBSERVER),
    },
    view: UnsafeCell::new(View::EMPTY),
    single: UnsafeCell::new(MaybeUninit::uninit()),
    chain: AtomicPtr::new((&raw const EMPTY).cast_mut()),
    mode: AtomicU32::new(0),
    in_use: AtomicBool::new(true),
    link: Link::new(),
};

/// Whether nothing was ever published: the next allocation call is the first.
pub(crate) fn is_first() -> bool {
    // ORDERING [none]: Relaxed. The pointer only.
    core::ptr::eq(CURRENT.load(Ordering::Relaxed), &raw const FIRST)
}

/// The chain in force.
#[inline(always)]
pub(crate) fn current(_section: &Section) -> &Chain {
    // SAFETY: in the section, which began before the load of the head.
    unsafe { in_force().chain() }
}

/// The section of a short way, on the head in force: see [`grace::enter_briefly`].
#[inline(always)]
pub(crate) fn enter_briefly(record: &'static Record, frame: usize) -> Option<(Brief, &'static Head)> {
    let (section, front) = grace::enter_briefly(record, frame, fronts())?;
    // SAFETY: it is in force.
    Some((section, unsafe { Head::of(front) }))
}

/// The head that a section of a stub names.
///
/// # Safety
///
/// It was seen in force after the section had named it.
#[cfg(target_arch = "x86_64")]
pub(crate) unsafe fn named(section: &Brief) -> &'static Head {
    // SAFETY: the caller's contract.
    unsafe { Head::of(section.front()) }
}

/// `CURRENT`, for who knows no heads.
#[inline(always)]
fn fronts() -> &'static AtomicPtr<Front> {
    // SAFETY: a pointer to a head is one to its front, and the same place serves for both.
    unsafe { &*(&raw const CURRENT).cast::<AtomicPtr<Front>>() }
}

#[inline(always)]
fn in_force() -> &'static Head {
    // ORDERING [publish]: Acquire. The hooks inside it. Other end: `publish`.
    let head = CURRENT.load(Ordering::Acquire);
    // SAFETY: never null (invariant 1), and heads are never unmapped.
    unsafe { &*head }
}

/// The entry table in force.
pub(crate) fn entries() -> &'static Entries {
    &in_force().front.entries
}

/// A place in time: the head that a writer starts from.
#[derive(Clone, Copy)]
pub(crate) struct Base(*mut Head);

impl Base {
    /// What the entry points do there, as was asked for.
    pub(crate) fn mode(self) -> Mode {
        // SAFETY: it was in force, and heads are never unmapped.
        let head = unsafe { &*self.0 };
        // ORDERING [none]: Relaxed. Written once.
        match head.mode.load(Ordering::Relaxed) {
            m if [Mode::Full, Mode::Single, Mode::SingleErrnoKept, Mode::Variables]
                .iter()
                .any(|&full| m == full as u32) =>
            {
                Mode::Full
            }
            m if m == Mode::Observing as u32 || m == Mode::ObservingErrnoKept as u32 => Mode::Observing,
            m if m == Mode::ObservingFrames as u32 => Mode::ObservingFrames,
            m if m == Mode::FullFrames as u32 => Mode::FullFrames,
            _ => Mode::Idle,
        }
    }
}

/// The head and the chain in force, to build the next from.
pub(crate) fn base(section: &Section) -> (Base, &Chain) {
    loop {
        // ORDERING [none]: Relaxed. Only compared.
        let head = CURRENT.load(Ordering::Relaxed);
        let chain = current(section);
        // A head in force may have been another's when `current` read it.
        // ORDERING [none]: Relaxed. Only compared.
        if core::ptr::eq(CURRENT.load(Ordering::Relaxed), head) {
            return (Base(head), chain);
        }
    }
}

/// Puts `chain` in force if `base` still is; gives back the chain that was, to be reclaimed
/// after a grace period with [`reclaim`], or null where it was no chain that was built.
/// `Err(None)`: another writer was first; `Err(Some(ENOMEM))`.
pub(crate) fn publish(base: Base, chain: *mut Chain, mode: Mode) -> Result<*mut Chain, Option<i32>> {
    // SAFETY: the caller's until it is published.
    let new = unsafe { &*chain };
    let head = Head::take(mode.for_chain(new)).ok_or(Some(libc::ENOMEM))?;
    // ORDERING [none]: Relaxed. Published with the head.
    head.chain.store(chain, Ordering::Relaxed);
    // SAFETY: ours until it is published.
    let own = unsafe { &(*chain).head };
    // SAFETY: as above.
    let view = unsafe { (*chain).main };
    // SAFETY: the head is ours until it is published.
    unsafe { head.view.get().write(view) };
    if let Some(&single) = new.alone() {
        // SAFETY: as above.
        unsafe { head.single.get().write(MaybeUninit::new(single)) };
    }
    // SAFETY: as above.
    let only = unsafe { (*chain).only() };
    // ORDERING [head]: Release. Whoever reads it for a section of the head's last time in force sees that the
    // section ended. Other end: `Front::only`.
    head.front.only.store(only, Ordering::Release);
    // ORDERING [none]: Relaxed. Published with the chain.
    own.store(core::ptr::from_ref(head).cast_mut(), Ordering::Relaxed);
    let next = core::ptr::from_ref(head).cast_mut();
    // ORDERING [publish]: Release and Relaxed. Whoever loads the head sees the hooks in the chain. What it takes the
    // place of, `base` has acquired, and no head comes back into force in a section that saw it there.
    if CURRENT.compare_exchange(base.0, next, Ordering::Release, Ordering::Relaxed).is_err() {
        // ORDERING [none]: Relaxed. The chain is the caller's again.
        own.store(core::ptr::null_mut(), Ordering::Relaxed);
        head.give_back();
        return Err(None);
    }
    // SAFETY: it was in force, and heads are never unmapped.
    let before = unsafe { &*base.0 };
    // ORDERING [none]: Relaxed. Stored by whoever published it, which our exchange comes after.
    let retired = before.chain.load(Ordering::Relaxed);
    let built = !core::ptr::eq(retired, &raw const EMPTY);
    Ok(if built { retired } else { core::ptr::null_mut() })
}

/// Gives a chain's memory and head back.
///
/// # Safety
///
/// The chain was never published, or its grace period is over.
pub(crate) unsafe fn reclaim(chain: *mut Chain) {
    // SAFETY: alive until freed below (the caller's contract).
    let known = unsafe { &*chain };
    if known.is_long {
        // ORDERING [none]: Relaxed. No section is open on it.
        LONG.fetch_sub(1, Ordering::Relaxed);
    }
    // ORDERING [none]: Relaxed. Written before publication.
    let head = known.head.load(Ordering::Relaxed);
    // SAFETY: null, or a head, and heads are never unmapped.
    if let Some(head) = unsafe { head.as_ref() } {
        head.give_back();
    }
    // SAFETY: the caller's contract.
    unsafe { scratch::free(chain.cast()) };
}

impl Head {
    /// # Safety
    ///
    /// `front` was loaded from `CURRENT`.
    #[inline(always)]
    unsafe fn of(front: *mut Front) -> &'static Head {
        // SAFETY: a head begins with it (the caller's contract), and heads are never unmapped.
        unsafe { &*front.cast::<Head>() }
    }

    /// What every thread sees of the chain, in the modes in which no hook is limited to one.
    ///
    /// # Safety
    ///
    /// In the section that `enter_briefly` gave with the head.
    #[inline(always)]
    pub(crate) unsafe fn view<'a>(&self) -> &'a View {
        // SAFETY: written before the head was published, and not again before the section has ended.
        unsafe { &*self.view.get() }
    }

    /// Whether observers are all that its calls meet.
    #[inline(always)]
    pub(crate) fn is_observing(&self) -> bool {
        // ORDERING [none]: Relaxed. Written once.
        let mode = self.mode.load(Ordering::Relaxed);
        mode == Mode::Observing as u32
            || mode == Mode::ObservingFrames as u32
            || mode == Mode::ObservingErrnoKept as u32
    }

    /// Whether the interceptor of glibc's variables is all that its calls meet.
    #[inline(always)]
    pub(crate) fn is_variables(&self) -> bool {
        // ORDERING [none]: Relaxed. Written once.
        self.mode.load(Ordering::Relaxed) == Mode::Variables as u32
    }

    /// The chain.
    ///
    /// # Safety
    ///
    /// As [`Head::view`].
    #[inline(always)]
    pub(crate) unsafe fn chain<'a>(&self) -> &'a Chain {
        // ORDERING [none]: Relaxed. Stored before the head was published, whose load acquired it; and not again
        // before the section has ended.
        let chain = self.chain.load(Ordering::Relaxed);
        // SAFETY: not reclaimed while the section lives (invariant 3; it began before the load of the head).
        unsafe { &*chain }
    }

    fn take(mode: Mode) -> Option<&'static Head> {
        let free = HEADS.iter().find(|head| {
            // ORDERING [none]: Relaxed. Written once, before the head stood in the roster.
            head.mode.load(Ordering::Relaxed) == mode as u32
                // ORDERING [head]: Acquire and Relaxed. Other end: `give_back`.
                && head.in_use.compare_exchange(false, true, Ordering::Acquire, Ordering::Relaxed).is_ok()
        });
        if free.is_some() {
            return free;
        }
        let memory = scratch::permanent(size_of::<Head>(), align_of::<Head>())?.cast::<Head>();
        // SAFETY: fresh zeroed memory, which is a valid head.
        let head = unsafe { &*memory };
        for (i, slot) in head.front.entries.iter().enumerate() {
            let stub = match mode {
                Mode::Idle => None,
                Mode::Observing => crate::entry::TABLES.observing.get(i).copied().flatten(),
                Mode::Full => crate::entry::TABLES.full.get(i).copied(),
                Mode::ObservingFrames => crate::entry::TABLES.observing_frames.get(i).copied().flatten(),
                Mode::FullFrames => crate::entry::TABLES.full_frames.get(i).copied(),
                Mode::Single => crate::entry::TABLES.single.get(i).copied(),
                Mode::ObservingErrnoKept => {
                    crate::entry::TABLES.observing_errno_kept.get(i).copied().flatten()
                }
                Mode::SingleErrnoKept => crate::entry::TABLES.single_errno_kept.get(i).copied(),
                Mode::Variables => crate::entry::TABLES.variables.get(i).copied(),
            };
            let target = match stub {
                Some(stub) => stub as *mut (),
                None => backend::function(i),
            };
            // ORDERING [none]: Relaxed. Published with the head.
            slot.store(target, Ordering::Relaxed);
        }
        // ORDERING [none]: Relaxed. Published with the head.
        head.mode.store(mode as u32, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. Published with the head.
        head.in_use.store(true, Ordering::Relaxed);
        HEADS.push(head);
        Some(head)
    }

    fn give_back(&self) {
        // ORDERING [head]: Release. Other end: `take`.
        self.in_use.store(false, Ordering::Release);
    }
}
