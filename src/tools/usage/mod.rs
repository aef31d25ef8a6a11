//! Memory usage, for libmemusage: an interceptor that counts, and the report of what it counted.
//!
//! | file | what is there |
//! | --- | --- |
//! | `callbacks` | the interceptor |
//! | `counts` `peak` `sums` | what a thread has counted; the most of all; all threads together |
//! | `session` `before` | from a start to its stop, and to the end of its last block; what was counted before a reset |
//! | `control` `begin` | the functions of the header; the start |
//! | `limits` `exit` | budgets; the end of the process |
//! | `maps` | mmap and its like |
//! | `reading` `report` `allocator` | what is shown; the allocator's and the system's own view |
//! | `data` `signal` | the file that memusagestat draws; reports and samples by signal |
//! | `words` | the environment variables |

mod allocator;
mod before;
mod begin;
mod callbacks;
pub mod control;
mod counts;
mod data;
mod exit;
mod limits;
pub mod maps;
mod peak;
mod reading;
mod report;
mod session;
mod signal;
mod sums;
mod words;

pub(super) use exit::at_start;
pub(super) use words::TOOL;

use core::ffi::{c_char, c_int};

/// Flag of a usage session: a report is written when the process ends by exit or by a return from main.
pub const MEMHOOK_USAGE_AT_EXIT: u32 = 1 << 8;
/// Flag of a usage session: a profiling timer enters into the data file how deep the stack is between
/// allocation calls. It takes the signal SIGPROF, and interrupts system calls that are not restarted.
pub const MEMHOOK_USAGE_TIMER: u32 = 1 << 9;
/// Flag of a usage session: the process is aborted, with a message, by the call that exceeds the limit of
/// the peak.
pub const MEMHOOK_USAGE_ABORT: u32 = 1 << 10;

/// Flag of a usage session: `memhook_mmap()`, `memhook_mremap()` and `memhook_munmap()` are counted, to which
/// `libmemhook-mmap.so` leads a process's calls of mmap, mmap64, mremap and munmap. Total, peak and histogram contain
/// them then.
pub const MEMHOOK_USAGE_MAPS: u32 = 1 << 11;

/// Limit of the bytes that are in use at the same moment.
pub const MEMHOOK_USAGE_PEAK: u32 = 1;
/// Limit of the bytes that are asked for in total.
pub const MEMHOOK_USAGE_TOTAL: u32 = 2;
/// Limit of the calls that ask for memory: all but free.
pub const MEMHOOK_USAGE_CALLS: u32 = 4;
/// Limit of the bytes in use at the end.
pub const MEMHOOK_USAGE_LIVE_BYTES: u32 = 8;
/// Limit of the blocks in use at the end.
pub const MEMHOOK_USAGE_LIVE_BLOCKS: u32 = 16;

/// How many numbers a histogram has: one for each 16 bytes below 64 KiB, and the last for all larger
/// blocks.
pub const MEMHOOK_USAGE_BUCKETS: usize = 4097;

const _: () = assert!(MEMHOOK_USAGE_BUCKETS == counts::BUCKETS);

/// A budget: what usage may be at most. Fill in `struct_size`, `which`, and the members that it names.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct memhook_usage_limits {
    /// `sizeof(memhook_usage_limits)`.
    pub struct_size: usize,
    /// Which of the following are limits: `MEMHOOK_USAGE_PEAK` and its like.
    pub which: u32,
    /// 0.
    pub reserved: u32,
    /// See `MEMHOOK_USAGE_PEAK`.
    pub peak: u64,
    /// See `MEMHOOK_USAGE_TOTAL`.
    pub total: u64,
    /// See `MEMHOOK_USAGE_CALLS`.
    pub calls: u64,
    /// See `MEMHOOK_USAGE_LIVE_BYTES`.
    pub live_bytes: u64,
    /// See `MEMHOOK_USAGE_LIVE_BLOCKS`.
    pub live_blocks: u64,
}

/// How usage is counted. Fill in `struct_size` and what is wanted, 0 or NULL elsewhere.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct memhook_usage_options {
    /// `sizeof(memhook_usage_options)`.
    pub struct_size: usize,
    /// `MEMHOOK_THIS_THREAD`, to count what the calling thread allocates only, `MEMHOOK_USAGE_AT_EXIT`,
    /// `MEMHOOK_USAGE_TIMER`, `MEMHOOK_USAGE_ABORT`, `MEMHOOK_USAGE_MAPS`, or 0.
    pub flags: u32,
    /// A signal that has a report written whenever it arrives; 0: none. The signal must not have a handler.
    pub signal: c_int,
    /// The file that reports are added to; NULL: standard error. In it `%p` stands for the process id, `%e`
    /// for the name of the executable, `%n` for the first number that gives a new file, `%%` for a percent
    /// sign.
    pub report: *const c_char,
    /// A file for memusagestat, emptied first, named likewise; NULL: none. Every call is entered, which
    /// takes its time: 24 bytes for each.
    pub data: *const c_char,
    /// How many entries are collected before they are written; 0: 32,768, which is the most.
    pub data_buffer: u32,
    /// The exit status of a process that exits with 0 and has exceeded a limit; 0: 88.
    pub exit_status: c_int,
    /// By how many bytes each thread may make the peak wrong, once there is more than one; 0: 65,536. The
    /// smaller, the more often threads write to memory that they share.
    pub batch: usize,
    /// What usage may be at most when the process ends; NULL: anything.
    pub limits: *const memhook_usage_limits,
}

/// What was counted of one kind of call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct memhook_usage_calls {
    /// Calls, failed ones too.
    pub calls: u64,
    /// Bytes that were asked for, of calls that succeeded; for realloc: that it added; for free: that
    /// were freed.
    pub bytes: u64,
    /// Calls that failed.
    pub failed: u64,
}

/// What was counted, exactly if no other thread is in an allocation call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct memhook_usage {
    /// `sizeof(memhook_usage)`.
    pub struct_size: usize,
    /// Bytes that were asked for in total: "heap total" of the report.
    pub total: u64,
    /// The most bytes in use at the same moment: "heap peak".
    pub peak: u64,
    /// By how many bytes the peak may be off: 0 while one thread only has allocated; after that, so many
    /// threads times `batch`.
    pub peak_error: u64,
    /// The most that a thread's stack grew between two of its allocation calls, in bytes: "stack peak". Of a thread that
    /// goes over to another stack (sigaltstack(2), coroutines) it says how far apart the two are, as libmemusage's does.
    pub stack_peak: u64,
    /// malloc.
    pub malloc: memhook_usage_calls,
    /// realloc and reallocarray.
    pub realloc: memhook_usage_calls,
    /// calloc.
    pub calloc: memhook_usage_calls,
    /// memalign, aligned_alloc, posix_memalign, valloc and pvalloc.
    pub aligned: memhook_usage_calls,
    /// free, of NULL too, free_sized and free_aligned_sized; and the bytes that a realloc to nothing freed.
    pub free: memhook_usage_calls,
    /// Calls of realloc that left the block where it was.
    pub realloc_nomove: u64,
    /// Calls of realloc that made the block smaller.
    pub realloc_dec: u64,
    /// Calls of realloc that freed the block.
    pub realloc_free: u64,
    /// Bytes in use. While several threads go on, twice `peak_error` more or less.
    pub live_bytes: u64,
    /// Blocks in use.
    pub live_blocks: u64,
    /// Mappings of files that cannot be written to. This and the next are 0 without `MEMHOOK_USAGE_MAPS`.
    pub mmap_read: memhook_usage_calls,
    /// Mappings of files that can be written to.
    pub mmap_write: memhook_usage_calls,
    /// Mappings of no file.
    pub mmap_anonymous: memhook_usage_calls,
    /// mremap; bytes are those that it added.
    pub mremap: memhook_usage_calls,
    /// munmap.
    pub munmap: memhook_usage_calls,
    /// Calls of mremap that left the mapping where it was.
    pub mremap_nomove: u64,
    /// Calls of mremap that made it smaller.
    pub mremap_dec: u64,
    /// Bytes in use by mappings, in whole pages: what calls added less what they took away. Where a mapping was put
    /// over another, or pages were unmapped that no counted call had mapped, that is not what is mapped.
    pub mapped_bytes: u64,
    /// How many threads have counted, at the same time at most.
    pub threads: u64,
    /// 1: the allocator below has a mallinfo2, and the next five are what it says, 0 otherwise. They are of
    /// the whole process, and contain the 16 bytes that are in front of each block that is counted.
    pub has_allocator: u32,
    /// 0.
    pub reserved: u32,
    /// Bytes that the allocator has taken from the system.
    pub allocator_system: u64,
    /// Of these, bytes in use.
    pub allocator_in_use: u64,
    /// Of these, bytes that are free and were not given back.
    pub allocator_free: u64,
    /// Of these, bytes of blocks with a mapping of their own.
    pub allocator_mapped: u64,
    /// How many such blocks.
    pub allocator_mapped_blocks: u64,
    /// Bytes of the process that are in memory.
    pub resident: u64,
    /// In: NULL, or `MEMHOOK_USAGE_BUCKETS` numbers, which receive the calls that gave a block by the bytes
    /// that they asked for. Out: unchanged.
    pub histogram: *mut u64,
}
