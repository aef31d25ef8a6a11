//! The types and constants that C programs are compiled against.
//!
//! Never: changes a line that is already here. Structs grow at the end; numbers are not used
//! twice. Together with `tests/abi/symbols.txt` this file is the ABI.

use core::ffi::{c_char, c_int, c_void};

/// Names a hook. Never 0, never used twice in one process.
pub type memhook_id = u64;

/// Names a chain that is being built. Never used twice in one process; 0 names the chain in
/// force where a function says so.
pub type memhook_chain = u64;

/// Names memory that a hook has in each thread. Never 0.
pub type memhook_local = u32;

/// Entry point `malloc`.
pub const MEMHOOK_ENTRY_MALLOC: u32 = 0;
/// Entry point `free`.
pub const MEMHOOK_ENTRY_FREE: u32 = 1;
/// Entry point `calloc`.
pub const MEMHOOK_ENTRY_CALLOC: u32 = 2;
/// Entry point `realloc`.
pub const MEMHOOK_ENTRY_REALLOC: u32 = 3;
/// Entry point `reallocarray`.
pub const MEMHOOK_ENTRY_REALLOCARRAY: u32 = 4;
/// Entry point `memalign`.
pub const MEMHOOK_ENTRY_MEMALIGN: u32 = 5;
/// Entry point `aligned_alloc`.
pub const MEMHOOK_ENTRY_ALIGNED_ALLOC: u32 = 6;
/// Entry point `posix_memalign`.
pub const MEMHOOK_ENTRY_POSIX_MEMALIGN: u32 = 7;
/// Entry point `valloc`.
pub const MEMHOOK_ENTRY_VALLOC: u32 = 8;
/// Entry point `pvalloc`.
pub const MEMHOOK_ENTRY_PVALLOC: u32 = 9;
/// Entry point `malloc_usable_size`.
pub const MEMHOOK_ENTRY_USABLE_SIZE: u32 = 10;
/// Entry point `free_sized` (C23).
pub const MEMHOOK_ENTRY_FREE_SIZED: u32 = 11;
/// Entry point `free_aligned_sized` (C23).
pub const MEMHOOK_ENTRY_FREE_ALIGNED_SIZED: u32 = 12;
/// How many entry points there are.
pub const MEMHOOK_ENTRY_COUNT: u32 = 13;

/// Circumstance: the process is starting; the library's constructor has not run yet.
pub const MEMHOOK_DURING_STARTUP: u32 = 1;
/// Circumstance: the process was made by `fork` from one that had this library, and has not
/// called `exec` since.
pub const MEMHOOK_DURING_FORK_CHILD: u32 = 2;
/// Circumstance: the calling thread is exiting; its thread-specific data is being destroyed.
pub const MEMHOOK_DURING_THREAD_EXIT: u32 = 4;
/// Circumstance: the process is exiting; the library's own exit handler has run. Destructors
/// and exit handlers that the C library runs later are seen with this bit.
pub const MEMHOOK_DURING_PROCESS_EXIT: u32 = 8;

/// Flag of an interceptor: it never changes a pointer. It produces no blocks that only it could
/// take back, and sees every free, also of blocks that are older than itself.
pub const MEMHOOK_KEEPS_POINTERS: u32 = 1;
/// Flag of a hook: it is called in the thread that registered it and in no other.
pub const MEMHOOK_THIS_THREAD: u32 = 2;
/// Flag of an interceptor without malloc and memalign callbacks: it is called for blocks that no
/// interceptor owns, and for no others. These are blocks of the backend, blocks that were made before,
/// and pointers that are none. Calls about owned blocks do not become slower by it.
pub const MEMHOOK_OF_NOBODY: u32 = 4;
/// Flag of a hook: its callbacks call `memhook_frames()`. While it is in force, every call costs a few instructions
/// more.
pub const MEMHOOK_WANTS_FRAMES: u32 = 8;
/// Flag of an interceptor: its free is called for `free(NULL)` too, of which hooks are not told otherwise.
/// `next` and `block` are NULL then; the callback has nothing to pass on.
pub const MEMHOOK_SEES_NULL: u32 = 16;
/// Flag of an interceptor: it is asked too where a call is refused, of which only observers are told otherwise: an
/// overflow in calloc, reallocarray or pvalloc, an alignment that posix_memalign does not take. `call` says what was
/// asked for, and `requested` is SIZE_MAX for what overflows. Whatever it passes on fails, and so does the call: a
/// block that it returns is not used.
pub const MEMHOOK_SEES_REFUSED: u32 = 32;
/// Flag of a hook: its callbacks leave errno as they find it, but for what the rest of the chain does to it, and for a
/// call that an interceptor fails by NULL. Where every hook in force says so, errno is not always saved and restored
/// around their callbacks, and malloc and free cost a few instructions less.
pub const MEMHOOK_KEEPS_ERRNO: u32 = 64;

/// Kind of a hook: interceptor.
pub const MEMHOOK_KIND_INTERCEPTOR: u32 = 1;
/// Kind of a hook: observer.
pub const MEMHOOK_KIND_OBSERVER: u32 = 2;

/// What the program asked for. Valid during the callback it is given to, and no longer.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct memhook_call {
    /// The size of this struct as the library knows it, in bytes.
    pub struct_size: usize,
    /// Which entry point was called: a `MEMHOOK_ENTRY_` number.
    pub entry: u32,
    /// In which circumstances: `MEMHOOK_DURING_` bits.
    pub circumstances: u32,
    /// Bytes asked for; for calloc and reallocarray the product, `SIZE_MAX` where that
    /// overflows; for free_sized and free_aligned_sized the size that was given; 0 for free.
    pub requested: usize,
    /// The alignment asked for, as it was given; 0 where the entry point takes none.
    pub alignment: usize,
    /// Number of elements, for calloc and reallocarray; 0 elsewhere.
    pub count: usize,
    /// Bytes of each element, for calloc and reallocarray; 0 elsewhere.
    pub each: usize,
    /// The block that was given to free, realloc, reallocarray or malloc_usable_size; NULL
    /// elsewhere.
    pub block: *mut c_void,
    /// The return address of the call.
    pub caller: *const c_void,
}

/// The rest of the chain, below the interceptor that it is given to. Opaque; valid during the
/// callback it is given to, in the thread that it is given to.
pub struct memhook_next {
    _opaque: u8,
}

/// Answers an allocation: malloc, and calloc, whose memory is zeroed afterwards where need be.
///
/// `requested` is the number of bytes. Returns a block, or NULL to fail the call, which then
/// has `ENOMEM`. Calls `memhook_next_malloc()` to pass the call on.
///
/// The block is none that lives already: one block for all requests of 0 bytes, say, has one owner only, and its second
/// free would go to the backend. An interceptor with `MEMHOOK_KEEPS_POINTERS`, which sees every free, may return such a
/// block, and takes it back itself. The same holds for `memhook_realloc_fn` and `memhook_memalign_fn`.
pub type memhook_malloc_fn = Option<
    unsafe extern "C" fn(
        next: *mut memhook_next,
        requested: usize,
        call: *const memhook_call,
        user: *mut c_void,
    ) -> *mut c_void,
>;

/// Answers realloc and reallocarray.
///
/// `block` is NULL where the program gave NULL: the call then makes a new block. `requested`
/// may be 0. Returns the block, or NULL: where `requested` is not 0 that is a failure and the
/// old block lives on. Calls `memhook_next_realloc()` to pass the call on.
pub type memhook_realloc_fn = Option<
    unsafe extern "C" fn(
        next: *mut memhook_next,
        block: *mut c_void,
        requested: usize,
        call: *const memhook_call,
        user: *mut c_void,
    ) -> *mut c_void,
>;

/// Answers an aligned allocation: memalign, aligned_alloc, posix_memalign, valloc, pvalloc.
///
/// Returns a block, or NULL to fail the call. Calls `memhook_next_memalign()` to pass it on.
pub type memhook_memalign_fn = Option<
    unsafe extern "C" fn(
        next: *mut memhook_next,
        alignment: usize,
        requested: usize,
        call: *const memhook_call,
        user: *mut c_void,
    ) -> *mut c_void,
>;

/// Takes a block back: free, free_sized, free_aligned_sized. `block` is never NULL, except with
/// `MEMHOOK_SEES_NULL`.
///
/// Calls `memhook_next_free()` to pass the call on.
pub type memhook_free_fn = Option<
    unsafe extern "C" fn(
        next: *mut memhook_next,
        block: *mut c_void,
        call: *const memhook_call,
        user: *mut c_void,
    ),
>;

/// Measures a block: the bytes from `block` on that the program may use. `block` is never NULL.
///
/// Calls `memhook_next_usable_size()` to pass the call on.
pub type memhook_usable_size_fn = Option<
    unsafe extern "C" fn(
        next: *mut memhook_next,
        block: *mut c_void,
        call: *const memhook_call,
        user: *mut c_void,
    ) -> usize,
>;

/// Is told once that a hook is gone: no thread is in its callbacks and none will enter them.
///
/// Hooks are suppressed in the calling thread meanwhile. That is the thread that waits for the
/// hook's removal, if one does; otherwise any thread, at the end of any of its allocation calls.
pub type memhook_release_fn = Option<unsafe extern "C" fn(user: *mut c_void)>;

/// An interceptor: callbacks that stand in the way of allocation calls, may change sizes and
/// pointers, answer calls themselves or fail them. Fill in `struct_size`, the callbacks, and
/// what else is wanted; 0 or NULL elsewhere. A NULL callback passes its calls on untouched.
///
/// A block goes back the way it came: an interceptor that was asked for a block (by malloc,
/// realloc of NULL, or memalign, where it has the callback) is given its free, its realloc and
/// its malloc_usable_size, also after it was unregistered, and is given no others. An
/// interceptor with no such callback, or with `MEMHOOK_KEEPS_POINTERS`, is given all. Where one
/// answers a call itself, without `next`, those below it count as asked; a block reaches them only
/// through the one that answered.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct memhook_interceptor {
    /// `sizeof(memhook_interceptor)`.
    pub struct_size: usize,
    /// A name for listings and messages, of which 31 bytes are kept; or NULL.
    pub name: *const c_char,
    /// Higher numbers stand nearer the program; among equals, who came later does. Not INT32_MIN,
    /// which is below all: glibc's old variables stand there (`memhook/glibc.h`).
    pub priority: i32,
    /// `MEMHOOK_KEEPS_POINTERS`, `MEMHOOK_THIS_THREAD`, `MEMHOOK_OF_NOBODY`, `MEMHOOK_WANTS_FRAMES`,
    /// `MEMHOOK_SEES_NULL`, `MEMHOOK_SEES_REFUSED`, `MEMHOOK_KEEPS_ERRNO`, or 0.
    pub flags: u32,
    /// The shared object that holds the code: `MEMHOOK_OBJECT`, for
    /// `memhook_unregister_object()`; or NULL.
    pub object: *const c_void,
    /// Given to every callback.
    pub user: *mut c_void,
    /// For malloc and calloc; or NULL.
    pub malloc: memhook_malloc_fn,
    /// For realloc and reallocarray; or NULL.
    pub realloc: memhook_realloc_fn,
    /// For memalign, aligned_alloc, posix_memalign, valloc and pvalloc; or NULL.
    pub memalign: memhook_memalign_fn,
    /// For free, free_sized and free_aligned_sized; or NULL.
    pub free: memhook_free_fn,
    /// For malloc_usable_size; or NULL.
    pub usable_size: memhook_usable_size_fn,
    /// Called once, when the last use of the hook has ended; or NULL.
    pub release: memhook_release_fn,
}

/// Is told of a new block after it was made: every entry point that makes blocks, realloc and
/// reallocarray of NULL among them. `block` is NULL where the call fails.
pub type memhook_after_alloc_fn =
    Option<unsafe extern "C" fn(call: *const memhook_call, block: *mut c_void, user: *mut c_void)>;

/// Is told of `call->block` before it is given back, or before it is reallocated. Not told of
/// `free(NULL)`.
pub type memhook_before_fn = Option<unsafe extern "C" fn(call: *const memhook_call, user: *mut c_void)>;

/// Is told how a realloc ended that `realloc_begin` announced: `block` is the new block, equal
/// to `call->block` where that was resized in place, or NULL where realloc to 0 bytes freed it.
pub type memhook_realloc_commit_fn =
    Option<unsafe extern "C" fn(call: *const memhook_call, block: *mut c_void, user: *mut c_void)>;

/// An observer: callbacks that are told of allocation calls and change nothing. They see the
/// program's side: what it asked for and the pointers that it gets. Fill in `struct_size`, the
/// callbacks, and what else is wanted; 0 or NULL elsewhere.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct memhook_observer {
    /// `sizeof(memhook_observer)`.
    pub struct_size: usize,
    /// A name for listings and messages, of which 31 bytes are kept; or NULL.
    pub name: *const c_char,
    /// Higher numbers are told first; among equals, who came later is.
    pub priority: i32,
    /// `MEMHOOK_THIS_THREAD`, `MEMHOOK_WANTS_FRAMES`, `MEMHOOK_KEEPS_ERRNO`, or 0.
    pub flags: u32,
    /// The shared object that holds the code: `MEMHOOK_OBJECT`, for
    /// `memhook_unregister_object()`; or NULL.
    pub object: *const c_void,
    /// Given to every callback.
    pub user: *mut c_void,
    /// A block was made, or could not be; or NULL.
    pub after_alloc: memhook_after_alloc_fn,
    /// A block is about to be given back; or NULL.
    pub before_free: memhook_before_fn,
    /// A block is about to be reallocated: from here on its address is no longer certain; or
    /// NULL.
    pub realloc_begin: memhook_before_fn,
    /// The realloc was done; or NULL.
    pub realloc_commit: memhook_realloc_commit_fn,
    /// The realloc failed: the old block lives on; or NULL.
    pub realloc_abort: memhook_before_fn,
    /// Called once, when the last use of the hook has ended; or NULL.
    pub release: memhook_release_fn,
}

/// One hook in a listing.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct memhook_hook_info {
    /// The hook.
    pub id: memhook_id,
    /// `MEMHOOK_KIND_INTERCEPTOR` or `MEMHOOK_KIND_OBSERVER`.
    pub kind: u32,
    /// Its flags.
    pub flags: u32,
    /// Its priority.
    pub priority: i32,
    /// 0; for later use.
    pub reserved: u32,
    /// Its `user` pointer.
    pub user: *mut c_void,
    /// Its name, ended by NUL; empty where it has none.
    pub name: [c_char; 32],
}

/// The entry points as one program or shared object calls them; `MEMHOOK_SELF_TEST()` fills
/// it in. A NULL member is not tested.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct memhook_entry_points {
    /// `sizeof(memhook_entry_points)`.
    pub struct_size: usize,
    /// By `MEMHOOK_ENTRY_` number, cast to a plain function pointer.
    pub functions: [Option<unsafe extern "C" fn()>; 13],
}

/// Is shown one thread's memory by `memhook_local_each()`. Returns 0 to be shown the next.
pub type memhook_local_fn =
    Option<unsafe extern "C" fn(memory: *mut c_void, thread: u64, argument: *mut c_void) -> c_int>;
