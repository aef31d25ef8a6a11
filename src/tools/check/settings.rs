//! What was asked for when the tool was started: read by callbacks at any time, written when it starts.

use super::memhook_check_fn;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicPtr, AtomicU8, AtomicU32, AtomicU64, AtomicUsize, Ordering, fence};

/// The function that `mcheck` was given.
pub(super) type Status = unsafe extern "C" fn(c_int);

static ACTION: AtomicU32 = AtomicU32::new(0);
static POISON: AtomicU64 = AtomicU64::new(0);
/// A byte, and bit 8 where new blocks are filled with it.
static FRESH: AtomicU32 = AtomicU32::new(0);
static FRAMES: AtomicU8 = AtomicU8::new(0);
static PEDANTIC: AtomicU8 = AtomicU8::new(0);
/// The program's handler and its `user`, in two places that are written in turn: a fault of a block that is older than
/// this start is told the one with the other.
static HANDLERS: [(AtomicPtr<()>, AtomicPtr<c_void>); 2] =
    [const { (AtomicPtr::new(core::ptr::null_mut()), AtomicPtr::new(core::ptr::null_mut())) }; 2];
/// How often they were written; the last bit says which place is valid.
static TURN: AtomicUsize = AtomicUsize::new(0);
static STATUS: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// What the tool does, beside what its quarantine holds.
#[derive(Clone, Copy)]
pub(super) struct Settings {
    pub(super) action: u32,
    pub(super) poison: u8,
    pub(super) fresh: Option<u8>,
    pub(super) frames: u8,
    pub(super) is_pedantic: bool,
    /// The program's handler, and its `user`.
    pub(super) handler: (memhook_check_fn, *mut c_void),
    pub(super) status: Option<Status>,
}

impl Settings {
    /// Those in force.
    pub(super) fn now() -> Settings {
        Settings {
            action: action(),
            poison: poison() as u8,
            fresh: fresh(),
            frames: frames() as u8,
            is_pedantic: is_pedantic(),
            handler: handler(),
            status: status(),
        }
    }

    pub(super) fn put_in_force(&self) {
        // ORDERING [none]: Relaxed. Published by the registration that follows.
        ACTION.store(self.action, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. As above.
        POISON.store(0x0101_0101_0101_0101 * u64::from(self.poison), Ordering::Relaxed);
        let fresh = self.fresh.map_or(0, |byte| 0x100 | u32::from(byte));
        // ORDERING [none]: Relaxed. As above.
        FRESH.store(fresh, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. As above.
        FRAMES.store(self.frames, Ordering::Relaxed);
        // ORDERING [none]: Relaxed. As above.
        PEDANTIC.store(self.is_pedantic.into(), Ordering::Relaxed);
        set_handler(self.handler);
        set_status(self.status);
    }
}

/// `MEMHOOK_CHECK_` bits.
pub(super) fn action() -> u32 {
    // ORDERING [none]: Relaxed. Published by the registration.
    ACTION.load(Ordering::Relaxed)
}

/// What freed blocks are filled with.
#[inline(always)]
pub(super) fn poison() -> u64 {
    // ORDERING [none]: Relaxed. As above.
    POISON.load(Ordering::Relaxed)
}

/// What new blocks are filled with.
pub(super) fn fresh() -> Option<u8> {
    // ORDERING [none]: Relaxed. As above.
    let fresh = FRESH.load(Ordering::Relaxed);
    (fresh & 0x100 != 0).then_some(fresh as u8)
}

pub(super) fn frames() -> usize {
    // ORDERING [none]: Relaxed. As above.
    FRAMES.load(Ordering::Relaxed).into()
}

pub(super) fn is_pedantic() -> bool {
    // ORDERING [none]: Relaxed. As above.
    PEDANTIC.load(Ordering::Relaxed) != 0
}

fn place(turn: usize) -> &'static (AtomicPtr<()>, AtomicPtr<c_void>) {
    let [even, odd] = &HANDLERS;
    if turn.is_multiple_of(2) { even } else { odd }
}

/// Only who starts or stops the tool calls it.
pub(super) fn set_handler((handler, user): (memhook_check_fn, *mut c_void)) {
    // ORDERING [none]: Relaxed. Only who calls this writes it.
    let next = TURN.load(Ordering::Relaxed).wrapping_add(1);
    // ORDERING [turn]: Release. The former turn before what is written for this one. Other end: `handler`.
    fence(Ordering::Release);
    let (function, to) = place(next);
    // ORDERING [none]: Relaxed. Published by the turn.
    function.store(handler.map_or(core::ptr::null_mut(), |handler| handler as *mut ()), Ordering::Relaxed);
    // ORDERING [none]: Relaxed. As above.
    to.store(user, Ordering::Relaxed);
    // ORDERING [handler]: Release. Both, and what the program wrote before. Other end: `handler`.
    TURN.store(next, Ordering::Release);
}

/// The program's handler, and its `user`.
pub(super) fn handler() -> (memhook_check_fn, *mut c_void) {
    loop {
        // ORDERING [handler]: Acquire. Other end: `set_handler`.
        let turn = TURN.load(Ordering::Acquire);
        let (function, user) = place(turn);
        // ORDERING [none]: Relaxed. Ordered by the turn.
        let (function, user) = (function.load(Ordering::Relaxed), user.load(Ordering::Relaxed));
        // ORDERING [turn]: Acquire. What was read before the turn that would have changed it. Other end: `set_handler`.
        fence(Ordering::Acquire);
        // ORDERING [none]: Relaxed. Ordered by the fence.
        if TURN.load(Ordering::Relaxed) == turn {
            // SAFETY: null, or what `set_handler` was given.
            return (unsafe { core::mem::transmute::<*mut (), memhook_check_fn>(function) }, user);
        }
    }
}

/// The function that `mcheck` was given: what it does is done in place of what was asked for.
pub(super) fn set_status(function: Option<Status>) {
    let function = function.map_or(core::ptr::null_mut(), |function| function as *mut ());
    // ORDERING [handler]: Release. What the program wrote before. Other end: `status`.
    STATUS.store(function, Ordering::Release);
}

pub(super) fn status() -> Option<Status> {
    // ORDERING [handler]: Acquire. Other end: `set_status`.
    let function = STATUS.load(Ordering::Acquire);
    // SAFETY: null, or what `set_status` was given.
    unsafe { core::mem::transmute::<*mut (), Option<Status>>(function) }
}
