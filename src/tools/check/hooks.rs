//! The tool's interceptor: puts every block between red zones, and looks at them when it comes back.
//!
//! Never: takes a lock; calls the program's handler while it holds a thread's shelves.
//!
//! It stands nearest the program. Where no interceptor is below it, its cells are the backend's memory, which it
//! may keep and use again; otherwise they go back through those in the call that frees them.

use super::cell::{Cell, HEADER, State, tail};
use super::faults::{self, Fault};
use super::frames;
use super::kind::{FreedIn, Kind, LARGEST};
use super::places;
use super::report::{Finder, deliver};
use super::resize;
use super::settings;
use super::shelves::{SMALL, Shelves, class_of, give_back};
use super::walk;
use super::{MEMHOOK_CHECK_USE_OF_FREED, MEMHOOK_CHECK_WRONG_SIZE};
use crate::abi::*;
use crate::api::backend::{memhook_backend_free, memhook_backend_malloc, memhook_backend_memalign};
use crate::api::local::memhook_thread;
use crate::api::next::{
    memhook_next_free, memhook_next_is_backend, memhook_next_malloc, memhook_next_memalign,
    memhook_next_realloc,
};
use core::ffi::c_void;

/// The offset of the usual cell, as a power of two.
const USUAL: u32 = HEADER.trailing_zeros();

/// From here on the kernel is left to clear what a calloc asks for.
const LARGE_CALLOC: usize = 128 * 1024;

/// The callbacks: `EXTRA` where more than the usual is asked for, see [`settings`].
pub(super) fn table<const EXTRA: bool>(wants_frames: bool) -> memhook_interceptor {
    memhook_interceptor {
        struct_size: size_of::<memhook_interceptor>(),
        name: c"check".as_ptr(),
        // Below `fail`, whichever was started first, and above all others.
        priority: i32::MAX - 2,
        flags: if wants_frames { MEMHOOK_WANTS_FRAMES } else { 0 },
        object: core::ptr::null(),
        user: core::ptr::null_mut(),
        malloc: Some(malloc::<EXTRA>),
        realloc: Some(resize::realloc::<EXTRA>),
        memalign: Some(memalign::<EXTRA>),
        free: Some(free::<EXTRA>),
        usable_size: Some(usable_size),
        release: None,
    }
}

pub(super) unsafe extern "C" fn malloc<const EXTRA: bool>(
    next: *mut memhook_next,
    requested: usize,
    call: *const memhook_call,
    _: *mut c_void,
) -> *mut c_void {
    // SAFETY: of this call.
    let call = unsafe { &*call };
    if EXTRA {
        before(call);
    }
    // SAFETY: of this call.
    let block = unsafe { make::<EXTRA>(next, requested, call) };
    if EXTRA {
        // SAFETY: a block of so many bytes, or null.
        unsafe { fill(block, 0, requested, call) };
    }
    block.cast()
}

/// A live block of `requested` bytes; null where there is none.
///
/// # Safety
///
/// `next` and `call` are those of a callback that is running.
#[inline(always)]
pub(super) unsafe fn make<const EXTRA: bool>(
    next: *mut memhook_next,
    requested: usize,
    call: &memhook_call,
) -> *mut u8 {
    // SAFETY: the caller's contract.
    let direct = unsafe { memhook_next_is_backend(next) } != 0;
    if requested <= SMALL
        && direct
        && let Some(shelves) = Shelves::open()
    {
        let class = class_of(requested);
        if let Some(cell) = shelves.take(class) {
            // SAFETY: from this thread's shelf, hence ours alone.
            let header = unsafe { cell.header() };
            // SAFETY: the cells of this class have so many bytes.
            if unsafe { header.is_sound_freed(class * 16, settings::poison()) } {
                let kind = Kind::new(requested, USUAL, call, true);
                header.open();
                // SAFETY: a cell of the class of this size.
                unsafe { header.make(kind, origin::<EXTRA>(call), shelves.next_number()) };
                return cell.block();
            }
            drop(shelves);
            leaves(cell, call);
        }
    }
    // SAFETY: the caller's contract.
    unsafe { make_fresh::<EXTRA>(next, requested, call) }
}

#[inline(always)]
pub(super) fn origin<const EXTRA: bool>(call: &memhook_call) -> u64 {
    if EXTRA { frames::origin(call) } else { call.caller as u64 }
}

/// A block in new memory.
///
/// # Safety
///
/// As [`make`].
#[cold]
#[inline(never)]
pub(super) unsafe fn make_fresh<const EXTRA: bool>(
    next: *mut memhook_next,
    requested: usize,
    call: &memhook_call,
) -> *mut u8 {
    if requested > LARGEST {
        return core::ptr::null_mut();
    }
    // SAFETY: the caller's contract.
    let direct = unsafe { memhook_next_is_backend(next) } != 0;
    // Room for 8 bytes by which interceptors below may be off.
    let bytes = HEADER + tail(requested) + if direct { 0 } else { 8 };
    let is_large_calloc = call.entry == MEMHOOK_ENTRY_CALLOC && requested >= LARGE_CALLOC;
    let whole = if direct && !is_large_calloc {
        memhook_backend_malloc(bytes)
    } else {
        // SAFETY: the caller's contract.
        unsafe { below(next, bytes, call) }
    };
    let kind = Kind::new(requested, USUAL, call, direct);
    // SAFETY: memory of so many bytes, or null.
    unsafe { dress(whole.cast(), kind, origin::<EXTRA>(call)) }
}

/// Memory from the interceptors below, by the function that the call came by: a block that one of them makes is its own
/// if it has a callback for that.
///
/// # Safety
///
/// As [`make`].
unsafe fn below(next: *mut memhook_next, bytes: usize, call: &memhook_call) -> *mut c_void {
    match call.entry {
        // SAFETY: the caller's contract. The same for those below.
        MEMHOOK_ENTRY_MALLOC | MEMHOOK_ENTRY_CALLOC => unsafe { memhook_next_malloc(next, bytes) },
        MEMHOOK_ENTRY_REALLOC | MEMHOOK_ENTRY_REALLOCARRAY => {
            // SAFETY: as above.
            unsafe { memhook_next_realloc(next, core::ptr::null_mut(), bytes) }
        }
        // SAFETY: as above.
        _ => unsafe { memhook_next_memalign(next, 16, bytes) },
    }
}

/// Makes new memory a live cell. Returns its block; null for null.
///
/// # Safety
///
/// `whole` is null or has room for the offset, the block and the tail, and, if it is no multiple of 16, 8 bytes
/// more; it is nobody's.
pub(super) unsafe fn dress(whole: *mut u8, kind: Kind, maker: u64) -> *mut u8 {
    if whole.is_null() {
        return whole;
    }
    let odd = !(whole as usize).is_multiple_of(16);
    if odd && kind.is_direct() {
        // A backend that aligns less than the C library does.
        // SAFETY: nobody's.
        unsafe { memhook_backend_free(whole.cast()) };
        let bytes = kind.offset() + tail(kind.requested());
        let whole = memhook_backend_memalign(16, bytes).cast::<u8>();
        // SAFETY: nobody's, and aligned to 16, or null.
        return unsafe { dress(whole, kind, maker) };
    }
    let kind = if odd { kind.odd() } else { kind };
    let block = whole.wrapping_add(kind.offset() + if odd { 8 } else { 0 });
    let cell = Cell::of(block);
    // SAFETY: within the memory, aligned to 16.
    let header = unsafe { cell.header() };
    header.set_front_zone();
    let number = Shelves::open().map_or(memhook_thread() << 32, |shelves| shelves.next_number());
    // SAFETY: the caller's contract.
    unsafe { header.make(kind, maker, number) };
    if kind.is_direct() {
        // Without memory for the note the cell is checked when it is freed, and not before.
        let _ = places::insert(cell);
    }
    block
}

unsafe extern "C" fn memalign<const EXTRA: bool>(
    next: *mut memhook_next,
    alignment: usize,
    requested: usize,
    call: *const memhook_call,
    user: *mut c_void,
) -> *mut c_void {
    if alignment <= 16 {
        // SAFETY: of this call.
        return unsafe { malloc::<EXTRA>(next, requested, call, user) };
    }
    // SAFETY: of this call.
    let call = unsafe { &*call };
    if EXTRA {
        before(call);
    }
    let power = alignment.checked_next_power_of_two().map(|power| power.max(HEADER));
    let Some(offset) = power.filter(|&power| power <= LARGEST && requested <= LARGEST) else {
        // The backend says why not.
        // SAFETY: of this call.
        let none = unsafe { memhook_next_memalign(next, alignment, requested.max(LARGEST)) };
        // SAFETY: of this call.
        unsafe { memhook_next_free(next, none) };
        return core::ptr::null_mut();
    };
    let bytes = offset + tail(requested);
    // The backend judges an alignment that is no power of two.
    let alignment = if alignment.is_power_of_two() { alignment.max(16) } else { alignment };
    // SAFETY: of this call.
    let direct = unsafe { memhook_next_is_backend(next) } != 0;
    // SAFETY: of this call.
    let whole = unsafe { memhook_next_memalign(next, alignment, bytes + 8) };
    let kind = Kind::new(requested, offset.trailing_zeros(), call, direct);
    // SAFETY: memory of so many bytes, or null.
    let block = unsafe { dress(whole.cast(), kind, origin::<EXTRA>(call)) };
    if EXTRA {
        // SAFETY: a block of so many bytes, or null.
        unsafe { fill(block, 0, requested, call) };
    }
    block.cast()
}

pub(super) unsafe extern "C" fn free<const EXTRA: bool>(
    next: *mut memhook_next,
    block: *mut c_void,
    call: *const memhook_call,
    _: *mut c_void,
) {
    // SAFETY: of this call.
    let call = unsafe { &*call };
    if EXTRA {
        before(call);
    }
    let cell = Cell::of(block.cast());
    // SAFETY: a block that this interceptor made.
    let header = unsafe { cell.header() };
    // SAFETY: as above; it was live until now.
    let kind = match unsafe { header.sound_live() } {
        Some(kind) if call.entry == MEMHOOK_ENTRY_FREE => kind,
        _ => {
            let Some(kind) = judge_free(cell, call) else { return };
            kind
        }
    };
    if kind.is_usual()
        && kind.requested() <= SMALL
        && let Some(shelves) = Shelves::open()
    {
        let class = class_of(kind.requested());
        let poison = settings::poison();
        let by = FreedIn::new(shelves.thread(), call.entry, poison);
        // SAFETY: a block that this interceptor made.
        unsafe { header.release(kind, origin::<EXTRA>(call), by, poison) };
        if shelves.put(class, cell) {
            return;
        }
        drop(shelves);
        return overflows(class, cell, call);
    }
    // SAFETY: of this call.
    unsafe { release_large(next, cell, kind, origin::<EXTRA>(call), call) };
}

/// A free that is not plainly right: reports what is wrong. The block's kind, if it can be given back.
#[cold]
#[inline(never)]
pub(super) fn judge_free(cell: Cell, call: &memhook_call) -> Option<Kind> {
    // SAFETY: a block of the tool's that the calling thread frees.
    let found = unsafe { faults::of_cell(cell, true) };
    found.iter().flatten().for_each(|fault| deliver(fault, Finder::Call(call)));
    // SAFETY: as above.
    let header = unsafe { cell.header() };
    let State::Live(facts) = header.state().0 else {
        // Nothing is known of it any more, not even where it begins.
        places::forget(cell);
        return None;
    };
    if found.iter().any(Option::is_some) {
        // It is said once.
        header.open();
        header.set_front_zone();
        // SAFETY: what it was.
        unsafe { header.make(facts.kind, facts.maker, facts.made_in) };
    }
    let sized = [MEMHOOK_ENTRY_FREE_SIZED, MEMHOOK_ENTRY_FREE_ALIGNED_SIZED].contains(&call.entry);
    // What the program says it says of its own block: an interceptor above may have made another of it.
    let comparable = facts.kind.is_as_asked() && call.block == cell.block().cast();
    if sized && comparable && call.requested != facts.kind.requested() {
        let fault = Fault::of(MEMHOOK_CHECK_WRONG_SIZE, call.block as usize).about(cell, Some(facts), false);
        deliver(&Fault { span: call.requested, ..fault }, Finder::Call(call));
    }
    Some(facts.kind)
}

/// A freed cell whose shelf is full takes the place of the oldest there, which goes to the queue.
#[cold]
#[inline(never)]
pub(super) fn overflows(class: usize, cell: Cell, call: &memhook_call) {
    let oldest = Shelves::open().and_then(|shelves| {
        let oldest = shelves.take_any(class)?;
        shelves.put(class, cell).then_some(oldest)
    });
    retire(oldest.unwrap_or(cell), super::shelves::cell_bytes(class), call);
}

/// A freed cell waits in the queue, or leaves if that is not for it; others leave for it.
fn retire(cell: Cell, bytes: usize, call: &memhook_call) {
    if !Shelves::open().is_some_and(|shelves| shelves.enqueue(cell, bytes)) {
        return leaves(cell, call);
    }
    while let Some(oldest) = Shelves::open().and_then(|shelves| shelves.dequeue()) {
        leaves(oldest, call);
    }
}

/// A freed cell leaves the quarantine: reports what has become of it there.
#[cold]
#[inline(never)]
fn leaves(cell: Cell, call: &memhook_call) {
    // SAFETY: taken from a shelf or the queue, hence the caller's own.
    let header = unsafe { cell.header() };
    // SAFETY: as above.
    if unsafe { header.is_sound_as_freed() } {
        return give_back(cell);
    }
    // SAFETY: as above.
    let found = unsafe { faults::of_cell(cell, true) };
    found.iter().flatten().for_each(|fault| deliver(fault, Finder::Call(call)));
    give_back(cell);
}

/// # Safety
///
/// `next` and `call` are those of a callback that is running; the cell is live and sound enough, and its own.
#[cold]
#[inline(never)]
pub(super) unsafe fn release_large(
    next: *mut memhook_next,
    cell: Cell,
    kind: Kind,
    freer: u64,
    call: &memhook_call,
) {
    // SAFETY: the caller's contract.
    let header = unsafe { cell.header() };
    if !kind.is_direct() {
        header.open();
        // SAFETY: the caller's contract: it came from the interceptors below.
        return unsafe { memhook_next_free(next, kind.whole(cell).cast()) };
    }
    let bytes = kind.offset() + tail(kind.requested());
    if !super::shelves::may_wait(bytes) {
        header.open();
        return places::give_back(cell, kind.whole(cell));
    }
    let poison = settings::poison();
    // SAFETY: the caller's contract.
    unsafe { header.release(kind, freer, FreedIn::new(memhook_thread(), call.entry, poison), poison) };
    retire(cell, bytes, call);
}

unsafe extern "C" fn usable_size(
    _: *mut memhook_next,
    block: *mut c_void,
    call: *const memhook_call,
    _: *mut c_void,
) -> usize {
    // SAFETY: of this call.
    let call = unsafe { &*call };
    let cell = Cell::of(block.cast());
    // SAFETY: a block that this interceptor made.
    match unsafe { cell.header() }.state().0 {
        State::Live(facts) => facts.kind.requested(),
        State::Changing => 0,
        State::Freed(facts) => {
            let fault = Fault::of(MEMHOOK_CHECK_USE_OF_FREED, block as usize).about(cell, Some(facts), true);
            deliver(&fault, Finder::Call(call));
            0
        }
        State::Broken => {
            // SAFETY: a block that this interceptor made.
            let found = unsafe { faults::of_cell(cell, true) };
            found.iter().flatten().for_each(|fault| deliver(fault, Finder::Call(call)));
            0
        }
    }
}

/// What is done before each call where more than the usual is asked for.
pub(super) fn before(call: &memhook_call) {
    if settings::is_pedantic() {
        walk::all(Finder::Call(call));
    }
}

/// Fills the bytes of a new block from `from` to `to`, if that was asked for.
///
/// # Safety
///
/// `block` is null or has so many bytes.
pub(super) unsafe fn fill(block: *mut u8, from: usize, to: usize, call: &memhook_call) {
    if block.is_null() || call.entry == MEMHOOK_ENTRY_CALLOC {
        return;
    }
    if let Some(byte) = settings::fresh() {
        // SAFETY: the caller's contract.
        unsafe { block.wrapping_add(from).write_bytes(byte, to - from) };
    }
}
