//! Checking the heap: red zones around every block, a quarantine for freed ones, and a judgement on every pointer
//! that is freed and is no block.
//!
//! Never: takes a lock on an allocation call, allocates, says that a correct program is wrong.
//!
//! ```text
//! mod words        starting and stopping; the environment
//! mcheck           what glibc's users know
//! hooks resize strays the interceptors: of the tool's blocks, and of blocks that are nobody's
//! walk             looking at all blocks, or at one
//! report           saying what is wrong: faults, origin, frames
//! shelves          what each thread has freed and not given back
//! places           where all cells are
//! cell kind bytes  one block between its red zones
//! fill             bytes in new and freed blocks, and nothing else
//! ```

mod bytes;
mod cell;
mod faults;
mod fill;
mod frames;
mod hooks;
mod kind;
pub mod mcheck;
mod origin;
mod places;
mod report;
mod resize;
mod settings;
mod shelves;
mod strays;
mod walk;
mod words;

pub(super) use words::{TOOL, are_variables_there, by_variables};

use crate::abi::*;
use crate::api::hooks::{memhook_register, memhook_unregister};
use crate::api::local::memhook_thread;
use crate::sys::process_id;
use crate::text::{Field, Text};
use core::ffi::{c_char, c_int, c_void};
use core::sync::atomic::{AtomicU64, Ordering};
use report::Finder;
use settings::Settings;

/// A fault: bytes behind the end of a block were changed.
pub const MEMHOOK_CHECK_OVERFLOW: u32 = 1;
/// A fault: bytes before the beginning of a block were changed.
pub const MEMHOOK_CHECK_UNDERFLOW: u32 = 2;
/// A fault: a block was written to after it was freed.
pub const MEMHOOK_CHECK_WRITE_AFTER_FREE: u32 = 3;
/// A fault: a block is freed again.
pub const MEMHOOK_CHECK_DOUBLE_FREE: u32 = 4;
/// A fault: a freed block is reallocated or measured.
pub const MEMHOOK_CHECK_USE_OF_FREED: u32 = 5;
/// A fault: a pointer into a block, or right before or behind one, is freed.
pub const MEMHOOK_CHECK_INTERIOR: u32 = 6;
/// A fault: a pointer to where there is no memory is freed.
pub const MEMHOOK_CHECK_WILD: u32 = 7;
/// A fault: a pointer to memory that is none of the allocator's is freed.
pub const MEMHOOK_CHECK_FOREIGN: u32 = 8;
/// A fault: free_sized or free_aligned_sized was told another size than the block has.
pub const MEMHOOK_CHECK_WRONG_SIZE: u32 = 9;

/// What to do about a fault: write a message to standard error.
pub const MEMHOOK_CHECK_MESSAGE: u32 = 1;
/// What to do about a fault: end the process with abort(3), after the message and the handler.
pub const MEMHOOK_CHECK_ABORT: u32 = 2;
/// The message has one line only.
pub const MEMHOOK_CHECK_SHORT: u32 = 4;
/// What to do about a fault: nothing, not even what is done where no other flag and no handler is given.
pub const MEMHOOK_CHECK_QUIET: u32 = 8;
/// All blocks are looked at before each allocation call.
pub const MEMHOOK_CHECK_PEDANTIC: u32 = 16;
/// Freed blocks are used again at once.
pub const MEMHOOK_CHECK_NO_QUARANTINE: u32 = 32;
/// New blocks are filled with `new_byte`, those of calloc excepted.
pub const MEMHOOK_CHECK_FILL_NEW: u32 = 64;
/// Freed blocks are filled with `freed_byte` instead of 0x95.
pub const MEMHOOK_CHECK_FILL_FREED: u32 = 128;
/// Nothing is checked: blocks are filled as the two flags above say, and that is all.
pub const MEMHOOK_CHECK_FILL_ONLY: u32 = 256;

/// What was found. Valid during the call of the handler.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct memhook_check_report {
    /// The size of this struct as the library knows it, in bytes.
    pub struct_size: usize,
    /// What kind of fault: a `MEMHOOK_CHECK_` number.
    pub kind: u32,
    /// The entry point whose call found it; `MEMHOOK_ENTRY_COUNT` where a look at blocks did.
    pub entry: u32,
    /// The caller of that; NULL where a look at blocks found it.
    pub caller: *const c_void,
    /// The thread that found it: see `memhook_thread()`.
    pub thread: u64,
    /// The pointer that was freed, reallocated or measured, where that is the fault; or NULL.
    pub given: *const c_void,
    /// The block that it is about; NULL for a wild or foreign pointer.
    pub block: *const c_void,
    /// What was asked for when the block was made; 0 where nothing is known of it any more.
    pub requested: usize,
    /// From the beginning of the block to the first changed byte, or to `given`.
    pub offset: isize,
    /// From the first changed byte to behind the last; for `MEMHOOK_CHECK_WRONG_SIZE` the size that was said.
    pub span: usize,
    /// Who asked for the block: the caller, and the callers of that if they were asked for.
    pub made_by: *const *const c_void,
    /// How many there are.
    pub made_by_count: usize,
    /// The thread that did.
    pub made_in: u64,
    /// Who freed the block, in the same way, where it was freed.
    pub freed_by: *const *const c_void,
    /// How many there are.
    pub freed_by_count: usize,
    /// The thread that did.
    pub freed_in: u64,
    /// The message: lines of text, not ended by NUL.
    pub text: *const c_char,
    /// How many bytes it has.
    pub text_len: usize,
}

/// Is told of a fault. It may be called in any thread, from several at once, and inside a callback, hence what it
/// allocates goes to the backend. It may end the process, or leave by longjmp as a callback may.
pub type memhook_check_fn =
    Option<unsafe extern "C" fn(report: *const memhook_check_report, user: *mut c_void)>;

/// How to check. Fill in `struct_size` and what is wanted, 0 or NULL elsewhere.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct memhook_check_options {
    /// `sizeof(memhook_check_options)`.
    pub struct_size: usize,
    /// `MEMHOOK_CHECK_` bits. Without `MESSAGE`, `ABORT` and `QUIET`, and without a handler, a fault is answered
    /// by a message and the end of the process.
    pub flags: u32,
    /// How many callers are noted of each call, at most 64; 0 and 1: its own. More are found by frame pointers, in
    /// programs that were compiled with them.
    pub frames: u32,
    /// About how many bytes of freed blocks each thread keeps; 0: 1 MiB.
    pub quarantine: usize,
    /// See `MEMHOOK_CHECK_FILL_NEW`.
    pub new_byte: u8,
    /// See `MEMHOOK_CHECK_FILL_FREED`.
    pub freed_byte: u8,
    /// 0.
    pub reserved: [u8; 6],
    /// Is told of each fault; or NULL.
    pub handler: memhook_check_fn,
    /// Given to the handler.
    pub user: *mut c_void,
}

const KNOWN: u32 = 511;
const MOST_FRAMES: u32 = 64;
const QUARANTINE: usize = 1 << 20;
/// What mcheck fills freed blocks with.
const FREED_BYTE: u8 = 0x95;

impl memhook_check_options {
    /// What is done where nothing else is asked for.
    pub(super) const USUAL: memhook_check_options = memhook_check_options {
        struct_size: size_of::<memhook_check_options>(),
        flags: 0,
        frames: 0,
        quarantine: 0,
        new_byte: 0,
        freed_byte: 0,
        reserved: [0; 6],
        handler: None,
        user: core::ptr::null_mut(),
    };

    fn is_valid(&self) -> bool {
        let fills = self.flags & (MEMHOOK_CHECK_FILL_NEW | MEMHOOK_CHECK_FILL_FREED) != 0;
        let fills_only = self.flags & MEMHOOK_CHECK_FILL_ONLY != 0;
        self.struct_size == size_of::<memhook_check_options>()
            && self.flags & !KNOWN == 0
            && self.frames <= MOST_FRAMES
            && self.reserved == [0; 6]
            && (fills || !fills_only)
    }

    fn settings(&self, status: Option<settings::Status>) -> Settings {
        let asked = self.flags & (MEMHOOK_CHECK_MESSAGE | MEMHOOK_CHECK_ABORT | MEMHOOK_CHECK_QUIET) != 0;
        let usual = MEMHOOK_CHECK_MESSAGE | MEMHOOK_CHECK_ABORT;
        let action = if asked || self.handler.is_some() { self.flags } else { self.flags | usual };
        let poison = if self.flags & MEMHOOK_CHECK_FILL_FREED != 0 { self.freed_byte } else { FREED_BYTE };
        Settings {
            action,
            poison,
            fresh: (self.flags & MEMHOOK_CHECK_FILL_NEW != 0).then_some(self.new_byte),
            frames: self.frames as u8,
            is_pedantic: self.flags & MEMHOOK_CHECK_PEDANTIC != 0,
            handler: (self.handler, self.user),
            status,
        }
    }

    fn quarantine(&self) -> usize {
        match self.quarantine {
            _ if self.flags & MEMHOOK_CHECK_NO_QUARANTINE != 0 => 0,
            0 => QUARANTINE,
            bytes => bytes,
        }
    }
}

/// Nothing is checked.
const OFF: u64 = 0;
const ON: u64 = 1;
/// Blocks are filled and not checked.
const FILLING: u64 = 2;

/// One of these, or, while somebody is starting or stopping the tool, [`busy`].
static STATE: AtomicU64 = AtomicU64::new(OFF);
/// The interceptor of the tool's blocks, and the one of blocks that are nobody's.
static IDS: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];

/// Whether blocks are being checked.
fn is_on() -> bool {
    // ORDERING [none]: Relaxed. A word about itself.
    STATE.load(Ordering::Relaxed) == ON
}

/// A thread of this process is starting or stopping the tool.
fn busy() -> u64 {
    1 << 32 | u64::from(process_id())
}

/// Whether a thread was starting or stopping the tool when this process was forked from its own. What it had come to is
/// for the next start or stop.
fn is_left(state: u64) -> bool {
    state >> 32 != 0 && state != busy()
}

/// Takes the state, if it is one of these: what it was.
fn take(from: impl Fn(u64) -> bool) -> Option<u64> {
    let next = |state| from(state).then(busy);
    // ORDERING [state]: Acquire and Relaxed. The ids. Other end: `give`.
    STATE.fetch_update(Ordering::Acquire, Ordering::Relaxed, next).ok()
}

fn give(state: u64) {
    // ORDERING [state]: Release. The ids before it. Other end: `take`.
    STATE.store(state, Ordering::Release);
}

fn start(options: &memhook_check_options, status: Option<settings::Status>) -> c_int {
    if take(|state| state == OFF || is_left(state)).is_none() {
        return libc::EALREADY;
    }
    // What a start that failed for want of memory could not take back, for the same reason.
    if let Err(error) = unregister() {
        give(OFF);
        return error;
    }
    let fills_only = options.flags & MEMHOOK_CHECK_FILL_ONLY != 0;
    let settings = options.settings(status);
    let before = Settings::now();
    let extra = settings.fresh.is_some() || settings.is_pedantic || settings.frames > 1;
    settings.put_in_force();
    let tables = match (fills_only, extra) {
        (true, _) => [Some(fill::table(settings.poison, options.flags)), None],
        (_, true) => [Some(hooks::table::<true>(settings.frames > 1)), Some(strays::table())],
        (_, false) => [Some(hooks::table::<false>(false)), Some(strays::table())],
    };
    let mut error = 0;
    if !fills_only {
        strays::prepare();
        places::prepare();
        if !shelves::prepare(options.quarantine()) {
            error = libc::ENOSPC;
        }
    }
    for (place, table) in IDS.iter().zip(&tables) {
        let mut id = 0;
        if let (0, Some(table)) = (error, table) {
            // SAFETY: a whole table, and a place for the id.
            error = unsafe { memhook_register(table, &raw mut id) };
        }
        // ORDERING [none]: Relaxed. The state orders it.
        place.store(id, Ordering::Relaxed);
    }
    if error != 0 {
        let _ = unregister();
        // Blocks of an earlier start may live on.
        before.put_in_force();
        shelves::stop();
    }
    give(match (error, fills_only) {
        (0, true) => FILLING,
        (0, false) => ON,
        _ => OFF,
    });
    error
}

/// The interceptors leave. 0, or `EINPROGRESS` where one has not left yet. `Err`: one could not be taken out of force,
/// and is where it was.
fn unregister() -> Result<c_int, c_int> {
    let mut result = 0;
    for place in IDS.iter().rev() {
        // ORDERING [none]: Relaxed. The state orders it.
        let id = place.load(Ordering::Relaxed);
        if id == 0 {
            continue;
        }
        let error = match memhook_unregister(id) {
            // Another thread, perhaps of the process that this one was forked from, has begun it.
            libc::EALREADY => libc::EINPROGRESS,
            error => error,
        };
        if matches!(error, libc::ENOMEM | libc::ENOSPC | libc::EBUSY) {
            return Err(error);
        }
        // ORDERING [none]: Relaxed. The state orders it.
        place.store(0, Ordering::Relaxed);
        result = if error == 0 { result } else { error };
    }
    Ok(result)
}

/// Begins to check blocks that are made from now on; older ones are left alone.
///
/// # Parameters
///
/// - `options`: how, copied before return; `options->struct_size` is its size. NULL: a message and abort.
///
/// # Returns
///
/// 0, or an error number; `errno` itself is never touched. On error nothing has changed.
///
/// - `EINVAL`: `struct_size` is no size that this library knows, a flag is unknown, `frames` is above 64,
///   `reserved` is not 0, or blocks are only to be filled and with nothing.
/// - `EALREADY`: blocks are being checked already, perhaps since the environment asked for it.
/// - `ENOMEM`: there was no memory for it.
/// - `ENOSPC`: as for `memhook_register()`, or all keys of `memhook_local_create()` are given out.
///
/// # Threads
///
/// Any thread, any time, except while the dynamic linker's lock is held.
///
/// # Reentrancy
///
/// Inside a callback: the call that the callback belongs to is not checked.
///
/// # Lifetime
///
/// `options->user` must stay valid until `memhook_check_stop()` has returned 0 and no thread is in a call of
/// `memhook_check_all()`, `memhook_check_block()` or `mprobe()` any more that began before; or for ever.
///
/// # Safety
///
/// `options` is NULL or points to options of the size that it says; the handler is one.
#[must_use]
#[unsafe(no_mangle)]
pub unsafe extern "C" fn memhook_check_start(options: *const memhook_check_options) -> c_int {
    let mut asked = memhook_check_options::USUAL;
    if !options.is_null() {
        // SAFETY: not NULL, and the first member is a size (the caller's contract).
        if unsafe { options.cast::<usize>().read() } != size_of::<memhook_check_options>() {
            return libc::EINVAL;
        }
        // SAFETY: of the size that it says (the caller's contract).
        asked = unsafe { options.read() };
    }
    if asked.is_valid() { start(&asked, None) } else { libc::EINVAL }
}

/// Ends what `memhook_check_start()`, the environment, or `mcheck()` began. Blocks that live on are looked at when
/// they are freed, and faults are answered as the last start asked for, though no handler is told any more once this
/// has returned 0; freed blocks that a thread keeps are given back when it frees another.
///
/// # Returns
///
/// 0, or an error number; `errno` itself is never touched.
///
/// - `ESRCH`: nothing is being checked.
/// - `EINPROGRESS`: blocks live on, or the call came from inside a callback. It has ended otherwise.
/// - `ENOMEM`, `ENOSPC`, `EBUSY`: as for `memhook_unregister()`. It goes on, though pointers to no block may not be
///   noticed any more.
///
/// # Threads
///
/// Any thread, any time. Waits as `memhook_unregister()`.
///
/// # Reentrancy
///
/// Inside a callback: does not wait.
#[unsafe(no_mangle)]
pub extern "C" fn memhook_check_stop() -> c_int {
    let Some(from) = take(|state| state == ON || state == FILLING || is_left(state)) else {
        return libc::ESRCH;
    };
    let result = unregister();
    if result.is_ok() {
        shelves::stop();
    }
    if result == Ok(0) {
        // Nobody may be told any more.
        settings::set_handler((None, core::ptr::null_mut()));
    }
    give(match result {
        Ok(_) => OFF,
        Err(_) if is_left(from) => ON,
        Err(_) => from,
    });
    result.unwrap_or_else(|error| error)
}

/// Looks at every block that the tool made, live or in quarantine, and answers each fault as it was asked for at the
/// start.
///
/// # Returns
///
/// How many faults there are; 0 also where nothing is being checked.
///
/// # Threads
///
/// Any thread, any time. Never waits; the other threads go on. A fault in a block that is just being made or
/// freed may be missed.
///
/// # Reentrancy
///
/// Allowed inside a callback.
#[unsafe(no_mangle)]
pub extern "C" fn memhook_check_all() -> usize {
    if is_on() { walk::all(Finder::Look("memhook_check_all")) } else { 0 }
}

/// Looks at one block, and answers a fault as it was asked for at the start.
///
/// # Parameters
///
/// - `block`: any pointer.
///
/// # Returns
///
/// - 0: it is a live block and nothing is wrong with it.
/// - `EFAULT`: something is wrong with it, or it is freed.
/// - `ENOENT`: no block that the tool made begins there and is in its keeping, or nothing is being checked.
///
/// # Threads
///
/// As `memhook_check_all()`.
///
/// # Reentrancy
///
/// As `memhook_check_all()`.
#[unsafe(no_mangle)]
pub extern "C" fn memhook_check_block(block: *const c_void) -> c_int {
    let found = if is_on() { walk::one(block as usize, "memhook_check_block") } else { None };
    match found {
        None => libc::ENOENT,
        Some(mcheck::OK) => 0,
        Some(_) => libc::EFAULT,
    }
}

/// The end of the process: the last look at blocks that were never freed.
unsafe extern "C" fn at_end() {
    if is_on() {
        walk::all(Finder::Look("the end of the process"));
    }
}

#[used]
#[unsafe(link_section = ".fini_array")]
static AT_END: unsafe extern "C" fn() = at_end;
