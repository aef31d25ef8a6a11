//! Reports and samples by signal. A handler is installed where one was asked for, and never otherwise.
//!
//! Never, in a handler: asks the allocator (mallinfo2 takes locks that the interrupted call may have).

use super::MEMHOOK_USAGE_TIMER;
use super::data;
use super::reading::Reading;
use super::session::Session;
use crate::sys::thread::errno_location;
use crate::sys::{process_id, timer};
use crate::tools::say;
use core::ffi::{c_int, c_void};
use core::sync::atomic::{AtomicPtr, AtomicU64, Ordering};

/// Signals 1 to 64.
const SIGNALS: usize = 65;

/// Which session a signal is for.
static SESSIONS: [AtomicPtr<Session>; SIGNALS] = [const { AtomicPtr::new(core::ptr::null_mut()) }; SIGNALS];

/// The process that started the timer, and its number, in the lower half; 0: nobody has.
static TIMER: AtomicU64 = AtomicU64::new(0);

/// Whether a handler for the signal can be installed; 0: none is asked for.
pub(super) fn is_possible(signal: c_int) -> bool {
    (0..SIGNALS as c_int).contains(&signal)
        && ![libc::SIGKILL, libc::SIGSTOP, libc::SIGSEGV, libc::SIGBUS, libc::SIGFPE, libc::SIGILL].contains(&signal)
        // Two are the C library's own.
        && !(32..34).contains(&signal)
}

fn place(signal: c_int) -> Option<&'static AtomicPtr<Session>> {
    SESSIONS.get(usize::try_from(signal).ok()?)
}

/// Whether a handler for the signal can be installed now; 0: none is asked for.
pub(super) fn is_free(signal: c_int) -> Result<(), c_int> {
    match place(signal) {
        Some(place) if signal != 0 => kept(|| available(signal, place)).map(|_| ()),
        _ => Ok(()),
    }
}

/// Installs the handler that the session asked for; what was done with the signal before.
pub(super) fn begin(session: &'static Session) -> Result<libc::sighandler_t, c_int> {
    let signal = session.setup().signal;
    if signal == 0 { Ok(libc::SIG_DFL) } else { install(session, signal, on_report) }
}

/// Starts the timer that the session asked for.
pub(super) fn begin_timer(session: &'static Session) {
    let setup = session.setup();
    if setup.flags & MEMHOOK_USAGE_TIMER == 0 || setup.data.is_none() {
        return;
    }
    if install(session, libc::SIGPROF, on_timer).is_err() {
        say(&[b"usage: there is no timer: SIGPROF has a handler"]);
        return;
    }
    match timer::start(libc::SIGPROF) {
        Ok(number) => {
            let word = u64::from(process_id()) << 32 | number as u64;
            // ORDERING [none]: Relaxed. Read by who ends the session.
            TIMER.store(word, Ordering::Relaxed);
        }
        Err(_) => say(&[b"usage: there is no timer: the system gives none"]),
    }
}

/// Ends the timer, if this process started it: a child of fork has none.
fn end_timer() {
    // ORDERING [none]: Relaxed. Decides who ends it.
    let word = TIMER.swap(0, Ordering::Relaxed);
    if word >> 32 == u64::from(process_id()) {
        timer::end(word as u32 as i32);
    }
}

type Handler = unsafe extern "C" fn(c_int, *mut libc::siginfo_t, *mut c_void);

/// With errno as it was.
fn kept<T>(what: impl FnOnce() -> T) -> T {
    let errno = errno_location();
    // SAFETY: errno of this thread.
    let before = unsafe { errno.read() };
    let result = what();
    // SAFETY: errno of this thread.
    unsafe { errno.write(before) };
    result
}

fn install(session: &'static Session, signal: c_int, handler: Handler) -> Result<libc::sighandler_t, c_int> {
    let place = place(signal).ok_or(libc::EINVAL)?;
    kept(|| exchange(session, signal, handler, place))
}

/// What is done with the signal.
fn handler_of(signal: c_int) -> Result<libc::sighandler_t, c_int> {
    // SAFETY: all zero is a valid value.
    let mut now: libc::sigaction = unsafe { core::mem::zeroed() };
    // SAFETY: asks only; the place is writable.
    match unsafe { libc::sigaction(signal, core::ptr::null(), &raw mut now) } {
        0 => Ok(now.sa_sigaction),
        _ => Err(libc::EINVAL),
    }
}

fn is_ours(handler: libc::sighandler_t) -> bool {
    [on_report as *const () as usize, on_timer as *const () as usize].contains(&handler)
}

/// What is done with a signal that nobody has a handler for, and whose place it is still.
fn available(signal: c_int, place: &AtomicPtr<Session>) -> Result<(libc::sighandler_t, *mut Session), c_int> {
    let former = handler_of(signal)?;
    if !is_ours(former) && ![libc::SIG_DFL, libc::SIG_IGN].contains(&former) {
        return Err(libc::EBUSY);
    }
    // ORDERING [none]: Relaxed. Sessions are never unmapped.
    let other = place.load(Ordering::Relaxed);
    // SAFETY: null or a session, never unmapped.
    if unsafe { other.as_ref() }.is_some_and(Session::is_taken) {
        return Err(libc::EBUSY);
    }
    Ok((former, other))
}

fn exchange(
    session: &'static Session,
    signal: c_int,
    handler: Handler,
    place: &AtomicPtr<Session>,
) -> Result<libc::sighandler_t, c_int> {
    let me = core::ptr::from_ref(session).cast_mut();
    let (former, other) = available(signal, place)?;
    // ORDERING [none]: Relaxed and Relaxed. Decides whose the signal is.
    if place.compare_exchange(other, me, Ordering::Relaxed, Ordering::Relaxed).is_err() {
        return Err(libc::EBUSY);
    }
    // SAFETY: all zero is a valid value.
    let mut action: libc::sigaction = unsafe { core::mem::zeroed() };
    action.sa_sigaction = handler as *const () as usize;
    action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
    // SAFETY: a live set.
    unsafe { libc::sigfillset(&raw mut action.sa_mask) };
    // SAFETY: a whole action, whose handler stays loaded for ever.
    unsafe { libc::sigaction(signal, &raw const action, core::ptr::null_mut()) };
    Ok(former)
}

/// Takes the handlers of a session away, for `handler`. A session that has stopped leaves SIG_IGN: a signal that comes late
/// is not to end the process.
pub(super) fn end(session: &Session, handler: libc::sighandler_t) {
    let setup = session.setup();
    let me = core::ptr::from_ref(session).cast_mut();
    let null = core::ptr::null_mut();
    for signal in [setup.signal, libc::SIGPROF] {
        let Some(place) = place(signal).filter(|_| signal != 0) else { continue };
        // ORDERING [none]: Relaxed and Relaxed. A handler that runs finds the session ended, or not yet.
        if place.compare_exchange(me, null, Ordering::Relaxed, Ordering::Relaxed).is_err() {
            continue;
        }
        if signal == libc::SIGPROF && setup.flags & MEMHOOK_USAGE_TIMER != 0 {
            end_timer();
        }
        kept(|| {
            // The program may have a handler of its own there by now.
            if handler_of(signal).is_ok_and(is_ours) {
                // SAFETY: SIG_IGN, SIG_DFL, or one of ours, which stays loaded for ever.
                unsafe { libc::signal(signal, handler) };
            }
        });
    }
}

fn session_of(signal: c_int) -> Option<&'static Session> {
    // ORDERING [none]: Relaxed. Sessions are never unmapped.
    let session = place(signal)?.load(Ordering::Relaxed);
    // SAFETY: null or a session, never unmapped.
    unsafe { session.as_ref() }
}

unsafe extern "C" fn on_report(signal: c_int, _info: *mut libc::siginfo_t, _context: *mut c_void) {
    let Some(hold) = session_of(signal).and_then(|session| session.hold(0)) else { return };
    match Reading::of(&hold, true) {
        Some(reading) => hold.setup().target.write(&reading),
        None => say(&[b"usage: no memory for the report"]),
    }
}

unsafe extern "C" fn on_timer(signal: c_int, _info: *mut libc::siginfo_t, context: *mut c_void) {
    let Some(hold) = session_of(signal).and_then(|session| session.hold(0)) else { return };
    // Nobody has counted in a thread that has not: its stack is not known.
    let Some(counts) = hold.known_counts() else { return };
    // SAFETY: the kernel gives a handler with SA_SIGINFO a context.
    let context = unsafe { &*context.cast::<libc::ucontext_t>() };
    #[cfg(target_arch = "x86_64")]
    let at = context.uc_mcontext.gregs.get(libc::REG_RSP as usize).copied().unwrap_or(0) as usize;
    #[cfg(target_arch = "aarch64")]
    let at = context.uc_mcontext.sp as usize;
    counts.reach(at, &hold.peak);
    data::note_depth(&hold, counts.depth_of(at));
}
