/* memhook.h: generated from the library's sources by build.rs; do not edit. */

#ifndef MEMHOOK_H
#define MEMHOOK_H

#include <stddef.h>
#include <stdint.h>

/* # Conventions
 *
 * Functions that can fail return 0 or an error number from <errno.h> and leave errno alone; on
 * failure nothing has changed. Structs that a program fills in begin with their own size.
 * Structs given to callbacks are valid during the callback only.
 *
 * A callback runs in the thread whose call it belongs to. What it allocates itself goes to the
 * allocator below (the backend) and is seen by no hook. It must return normally. It may call
 * every function of this header, whatever locks the C library holds: none of them takes one.
 *
 * Stack: every function, and the first allocation call of a process or of a fork child, takes at
 * most 4 KiB of the caller's stack; an allocation call under any tool at most 2 KiB. What
 * callbacks take, and what the dynamic linker takes to bind a symbol, comes on top. So tools
 * start in threads of PTHREAD_STACK_MIN, and signal handlers on alternate stacks may allocate.
 *
 * Threads: "any time" includes before main, inside callbacks, in exit handlers and in children
 * of fork. */

#if defined(__GNUC__)
#define MEMHOOK_MUST_USE __attribute__((warn_unused_result))
#define MEMHOOK_PRINTF_(text, rest) __attribute__((format(printf, text, rest)))
#else
#define MEMHOOK_MUST_USE
#define MEMHOOK_PRINTF_(text, rest)
#endif


/**
 * Entry point `malloc`.
 */
#define MEMHOOK_ENTRY_MALLOC 0

/**
 * Entry point `free`.
 */
#define MEMHOOK_ENTRY_FREE 1

/**
 * Entry point `calloc`.
 */
#define MEMHOOK_ENTRY_CALLOC 2

/**
 * Entry point `realloc`.
 */
#define MEMHOOK_ENTRY_REALLOC 3

/**
 * Entry point `reallocarray`.
 */
#define MEMHOOK_ENTRY_REALLOCARRAY 4

/**
 * Entry point `memalign`.
 */
#define MEMHOOK_ENTRY_MEMALIGN 5

/**
 * Entry point `aligned_alloc`.
 */
#define MEMHOOK_ENTRY_ALIGNED_ALLOC 6

/**
 * Entry point `posix_memalign`.
 */
#define MEMHOOK_ENTRY_POSIX_MEMALIGN 7

/**
 * Entry point `valloc`.
 */
#define MEMHOOK_ENTRY_VALLOC 8

/**
 * Entry point `pvalloc`.
 */
#define MEMHOOK_ENTRY_PVALLOC 9

/**
 * Entry point `malloc_usable_size`.
 */
#define MEMHOOK_ENTRY_USABLE_SIZE 10

/**
 * Entry point `free_sized` (C23).
 */
#define MEMHOOK_ENTRY_FREE_SIZED 11

/**
 * Entry point `free_aligned_sized` (C23).
 */
#define MEMHOOK_ENTRY_FREE_ALIGNED_SIZED 12

/**
 * How many entry points there are.
 */
#define MEMHOOK_ENTRY_COUNT 13

/**
 * Circumstance: the process is starting; the library's constructor has not run yet.
 */
#define MEMHOOK_DURING_STARTUP 1

/**
 * Circumstance: the process was made by `fork` from one that had this library, and has not
 * called `exec` since.
 */
#define MEMHOOK_DURING_FORK_CHILD 2

/**
 * Circumstance: the calling thread is exiting; its thread-specific data is being destroyed.
 */
#define MEMHOOK_DURING_THREAD_EXIT 4

/**
 * Circumstance: the process is exiting; the library's own exit handler has run. Destructors
 * and exit handlers that the C library runs later are seen with this bit.
 */
#define MEMHOOK_DURING_PROCESS_EXIT 8

/**
 * Flag of an interceptor: it never changes a pointer. It produces no blocks that only it could
 * take back, and sees every free, also of blocks that are older than itself.
 */
#define MEMHOOK_KEEPS_POINTERS 1

/**
 * Flag of a hook: it is called in the thread that registered it and in no other.
 */
#define MEMHOOK_THIS_THREAD 2

/**
 * Flag of an interceptor without malloc and memalign callbacks: it is called for blocks that no
 * interceptor owns, and for no others. These are blocks of the backend, blocks that were made before,
 * and pointers that are none. Calls about owned blocks do not become slower by it.
 */
#define MEMHOOK_OF_NOBODY 4

/**
 * Flag of a hook: its callbacks call `memhook_frames()`. While it is in force, every call costs a few instructions
 * more.
 */
#define MEMHOOK_WANTS_FRAMES 8

/**
 * Flag of an interceptor: its free is called for `free(NULL)` too, of which hooks are not told otherwise.
 * `next` and `block` are NULL then; the callback has nothing to pass on.
 */
#define MEMHOOK_SEES_NULL 16

/**
 * Flag of an interceptor: it is asked too where a call is refused, of which only observers are told otherwise: an
 * overflow in calloc, reallocarray or pvalloc, an alignment that posix_memalign does not take. `call` says what was
 * asked for, and `requested` is SIZE_MAX for what overflows. Whatever it passes on fails, and so does the call: a
 * block that it returns is not used.
 */
#define MEMHOOK_SEES_REFUSED 32

/**
 * Flag of a hook: its callbacks leave errno as they find it, but for what the rest of the chain does to it, and for a
 * call that an interceptor fails by NULL. Where every hook in force says so, errno is not always saved and restored
 * around their callbacks, and malloc and free cost a few instructions less.
 */
#define MEMHOOK_KEEPS_ERRNO 64

/**
 * Kind of a hook: interceptor.
 */
#define MEMHOOK_KIND_INTERCEPTOR 1

/**
 * Kind of a hook: observer.
 */
#define MEMHOOK_KIND_OBSERVER 2

/**
 * Major version: changes when programs must be compiled again.
 */
#define MEMHOOK_VERSION_MAJOR 0

/**
 * Minor version: changes when something was added.
 */
#define MEMHOOK_VERSION_MINOR 1

/**
 * Patch version.
 */
#define MEMHOOK_VERSION_PATCH 0

/**
 * A fault: bytes behind the end of a block were changed.
 */
#define MEMHOOK_CHECK_OVERFLOW 1

/**
 * A fault: bytes before the beginning of a block were changed.
 */
#define MEMHOOK_CHECK_UNDERFLOW 2

/**
 * A fault: a block was written to after it was freed.
 */
#define MEMHOOK_CHECK_WRITE_AFTER_FREE 3

/**
 * A fault: a block is freed again.
 */
#define MEMHOOK_CHECK_DOUBLE_FREE 4

/**
 * A fault: a freed block is reallocated or measured.
 */
#define MEMHOOK_CHECK_USE_OF_FREED 5

/**
 * A fault: a pointer into a block, or right before or behind one, is freed.
 */
#define MEMHOOK_CHECK_INTERIOR 6

/**
 * A fault: a pointer to where there is no memory is freed.
 */
#define MEMHOOK_CHECK_WILD 7

/**
 * A fault: a pointer to memory that is none of the allocator's is freed.
 */
#define MEMHOOK_CHECK_FOREIGN 8

/**
 * A fault: free_sized or free_aligned_sized was told another size than the block has.
 */
#define MEMHOOK_CHECK_WRONG_SIZE 9

/**
 * What to do about a fault: write a message to standard error.
 */
#define MEMHOOK_CHECK_MESSAGE 1

/**
 * What to do about a fault: end the process with abort(3), after the message and the handler.
 */
#define MEMHOOK_CHECK_ABORT 2

/**
 * The message has one line only.
 */
#define MEMHOOK_CHECK_SHORT 4

/**
 * What to do about a fault: nothing, not even what is done where no other flag and no handler is given.
 */
#define MEMHOOK_CHECK_QUIET 8

/**
 * All blocks are looked at before each allocation call.
 */
#define MEMHOOK_CHECK_PEDANTIC 16

/**
 * Freed blocks are used again at once.
 */
#define MEMHOOK_CHECK_NO_QUARANTINE 32

/**
 * New blocks are filled with `new_byte`, those of calloc excepted.
 */
#define MEMHOOK_CHECK_FILL_NEW 64

/**
 * Freed blocks are filled with `freed_byte` instead of 0x95.
 */
#define MEMHOOK_CHECK_FILL_FREED 128

/**
 * Nothing is checked: blocks are filled as the two flags above say, and that is all.
 */
#define MEMHOOK_CHECK_FILL_ONLY 256

/**
 * Flag of a trace: the binary form of docs/TRACE-FORMAT.md. Otherwise the text that glibc's mtrace writes.
 */
#define MEMHOOK_TRACE_BINARY 256

/**
 * Flag of a trace: percent signs in the path mean themselves.
 */
#define MEMHOOK_TRACE_LITERAL 512

/**
 * Flag of a trace: callers of callers are found by the unwind tables that compilers write, which nearly all code
 * has. Otherwise by frame pointers, which only code has that was compiled with -fno-omit-frame-pointer.
 */
#define MEMHOOK_TRACE_UNWIND 1024

/**
 * Flag of a usage session: a report is written when the process ends by exit or by a return from main.
 */
#define MEMHOOK_USAGE_AT_EXIT (1 << 8)

/**
 * Flag of a usage session: a profiling timer enters into the data file how deep the stack is between
 * allocation calls. It takes the signal SIGPROF, and interrupts system calls that are not restarted.
 */
#define MEMHOOK_USAGE_TIMER (1 << 9)

/**
 * Flag of a usage session: the process is aborted, with a message, by the call that exceeds the limit of
 * the peak.
 */
#define MEMHOOK_USAGE_ABORT (1 << 10)

/**
 * Flag of a usage session: `memhook_mmap()`, `memhook_mremap()` and `memhook_munmap()` are counted, to which
 * `libmemhook-mmap.so` leads a process's calls of mmap, mmap64, mremap and munmap. Total, peak and histogram contain
 * them then.
 */
#define MEMHOOK_USAGE_MAPS (1 << 11)

/**
 * Limit of the bytes that are in use at the same moment.
 */
#define MEMHOOK_USAGE_PEAK 1

/**
 * Limit of the bytes that are asked for in total.
 */
#define MEMHOOK_USAGE_TOTAL 2

/**
 * Limit of the calls that ask for memory: all but free.
 */
#define MEMHOOK_USAGE_CALLS 4

/**
 * Limit of the bytes in use at the end.
 */
#define MEMHOOK_USAGE_LIVE_BYTES 8

/**
 * Limit of the blocks in use at the end.
 */
#define MEMHOOK_USAGE_LIVE_BLOCKS 16

/**
 * How many numbers a histogram has: one for each 16 bytes below 64 KiB, and the last for all larger
 * blocks.
 */
#define MEMHOOK_USAGE_BUCKETS 4097

/**
 * The rest of the chain, below the interceptor that it is given to. Opaque; valid during the
 * callback it is given to, in the thread that it is given to.
 */
typedef struct memhook_next memhook_next;

/**
 * What the program asked for. Valid during the callback it is given to, and no longer.
 */
typedef struct memhook_call {
  /**
   * The size of this struct as the library knows it, in bytes.
   */
  size_t struct_size;
  /**
   * Which entry point was called: a `MEMHOOK_ENTRY_` number.
   */
  uint32_t entry;
  /**
   * In which circumstances: `MEMHOOK_DURING_` bits.
   */
  uint32_t circumstances;
  /**
   * Bytes asked for; for calloc and reallocarray the product, `SIZE_MAX` where that
   * overflows; for free_sized and free_aligned_sized the size that was given; 0 for free.
   */
  size_t requested;
  /**
   * The alignment asked for, as it was given; 0 where the entry point takes none.
   */
  size_t alignment;
  /**
   * Number of elements, for calloc and reallocarray; 0 elsewhere.
   */
  size_t count;
  /**
   * Bytes of each element, for calloc and reallocarray; 0 elsewhere.
   */
  size_t each;
  /**
   * The block that was given to free, realloc, reallocarray or malloc_usable_size; NULL
   * elsewhere.
   */
  void *block;
  /**
   * The return address of the call.
   */
  const void *caller;
} memhook_call;

/**
 * Answers an allocation: malloc, and calloc, whose memory is zeroed afterwards where need be.
 *
 * `requested` is the number of bytes. Returns a block, or NULL to fail the call, which then
 * has `ENOMEM`. Calls `memhook_next_malloc()` to pass the call on.
 *
 * The block is none that lives already: one block for all requests of 0 bytes, say, has one owner only, and its second
 * free would go to the backend. An interceptor with `MEMHOOK_KEEPS_POINTERS`, which sees every free, may return such a
 * block, and takes it back itself. The same holds for `memhook_realloc_fn` and `memhook_memalign_fn`.
 */
typedef void *(*memhook_malloc_fn)(struct memhook_next *next,
                                   size_t requested,
                                   const struct memhook_call *call,
                                   void *user);

/**
 * Answers realloc and reallocarray.
 *
 * `block` is NULL where the program gave NULL: the call then makes a new block. `requested`
 * may be 0. Returns the block, or NULL: where `requested` is not 0 that is a failure and the
 * old block lives on. Calls `memhook_next_realloc()` to pass the call on.
 */
typedef void *(*memhook_realloc_fn)(struct memhook_next *next,
                                    void *block,
                                    size_t requested,
                                    const struct memhook_call *call,
                                    void *user);

/**
 * Answers an aligned allocation: memalign, aligned_alloc, posix_memalign, valloc, pvalloc.
 *
 * Returns a block, or NULL to fail the call. Calls `memhook_next_memalign()` to pass it on.
 */
typedef void *(*memhook_memalign_fn)(struct memhook_next *next,
                                     size_t alignment,
                                     size_t requested,
                                     const struct memhook_call *call,
                                     void *user);

/**
 * Takes a block back: free, free_sized, free_aligned_sized. `block` is never NULL, except with
 * `MEMHOOK_SEES_NULL`.
 *
 * Calls `memhook_next_free()` to pass the call on.
 */
typedef void (*memhook_free_fn)(struct memhook_next *next,
                                void *block,
                                const struct memhook_call *call,
                                void *user);

/**
 * Measures a block: the bytes from `block` on that the program may use. `block` is never NULL.
 *
 * Calls `memhook_next_usable_size()` to pass the call on.
 */
typedef size_t (*memhook_usable_size_fn)(struct memhook_next *next,
                                         void *block,
                                         const struct memhook_call *call,
                                         void *user);

/**
 * Is told once that a hook is gone: no thread is in its callbacks and none will enter them.
 *
 * Hooks are suppressed in the calling thread meanwhile. That is the thread that waits for the
 * hook's removal, if one does; otherwise any thread, at the end of any of its allocation calls.
 */
typedef void (*memhook_release_fn)(void *user);

/**
 * An interceptor: callbacks that stand in the way of allocation calls, may change sizes and
 * pointers, answer calls themselves or fail them. Fill in `struct_size`, the callbacks, and
 * what else is wanted; 0 or NULL elsewhere. A NULL callback passes its calls on untouched.
 *
 * A block goes back the way it came: an interceptor that was asked for a block (by malloc,
 * realloc of NULL, or memalign, where it has the callback) is given its free, its realloc and
 * its malloc_usable_size, also after it was unregistered, and is given no others. An
 * interceptor with no such callback, or with `MEMHOOK_KEEPS_POINTERS`, is given all. Where one
 * answers a call itself, without `next`, those below it count as asked; a block reaches them only
 * through the one that answered.
 */
typedef struct memhook_interceptor {
  /**
   * `sizeof(memhook_interceptor)`.
   */
  size_t struct_size;
  /**
   * A name for listings and messages, of which 31 bytes are kept; or NULL.
   */
  const char *name;
  /**
   * Higher numbers stand nearer the program; among equals, who came later does. Not INT32_MIN,
   * which is below all: glibc's old variables stand there (`memhook/glibc.h`).
   */
  int32_t priority;
  /**
   * `MEMHOOK_KEEPS_POINTERS`, `MEMHOOK_THIS_THREAD`, `MEMHOOK_OF_NOBODY`, `MEMHOOK_WANTS_FRAMES`,
   * `MEMHOOK_SEES_NULL`, `MEMHOOK_SEES_REFUSED`, `MEMHOOK_KEEPS_ERRNO`, or 0.
   */
  uint32_t flags;
  /**
   * The shared object that holds the code: `MEMHOOK_OBJECT`, for
   * `memhook_unregister_object()`; or NULL.
   */
  const void *object;
  /**
   * Given to every callback.
   */
  void *user;
  /**
   * For malloc and calloc; or NULL.
   */
  memhook_malloc_fn malloc;
  /**
   * For realloc and reallocarray; or NULL.
   */
  memhook_realloc_fn realloc;
  /**
   * For memalign, aligned_alloc, posix_memalign, valloc and pvalloc; or NULL.
   */
  memhook_memalign_fn memalign;
  /**
   * For free, free_sized and free_aligned_sized; or NULL.
   */
  memhook_free_fn free;
  /**
   * For malloc_usable_size; or NULL.
   */
  memhook_usable_size_fn usable_size;
  /**
   * Called once, when the last use of the hook has ended; or NULL.
   */
  memhook_release_fn release;
} memhook_interceptor;

/**
 * Names a hook. Never 0, never used twice in one process.
 */
typedef uint64_t memhook_id;

/**
 * Is told of a new block after it was made: every entry point that makes blocks, realloc and
 * reallocarray of NULL among them. `block` is NULL where the call fails.
 */
typedef void (*memhook_after_alloc_fn)(const struct memhook_call *call,
                                       void *block,
                                       void *user);

/**
 * Is told of `call->block` before it is given back, or before it is reallocated. Not told of
 * `free(NULL)`.
 */
typedef void (*memhook_before_fn)(const struct memhook_call *call, void *user);

/**
 * Is told how a realloc ended that `realloc_begin` announced: `block` is the new block, equal
 * to `call->block` where that was resized in place, or NULL where realloc to 0 bytes freed it.
 */
typedef void (*memhook_realloc_commit_fn)(const struct memhook_call *call,
                                          void *block,
                                          void *user);

/**
 * An observer: callbacks that are told of allocation calls and change nothing. They see the
 * program's side: what it asked for and the pointers that it gets. Fill in `struct_size`, the
 * callbacks, and what else is wanted; 0 or NULL elsewhere.
 */
typedef struct memhook_observer {
  /**
   * `sizeof(memhook_observer)`.
   */
  size_t struct_size;
  /**
   * A name for listings and messages, of which 31 bytes are kept; or NULL.
   */
  const char *name;
  /**
   * Higher numbers are told first; among equals, who came later is.
   */
  int32_t priority;
  /**
   * `MEMHOOK_THIS_THREAD`, `MEMHOOK_WANTS_FRAMES`, `MEMHOOK_KEEPS_ERRNO`, or 0.
   */
  uint32_t flags;
  /**
   * The shared object that holds the code: `MEMHOOK_OBJECT`, for
   * `memhook_unregister_object()`; or NULL.
   */
  const void *object;
  /**
   * Given to every callback.
   */
  void *user;
  /**
   * A block was made, or could not be; or NULL.
   */
  memhook_after_alloc_fn after_alloc;
  /**
   * A block is about to be given back; or NULL.
   */
  memhook_before_fn before_free;
  /**
   * A block is about to be reallocated: from here on its address is no longer certain; or
   * NULL.
   */
  memhook_before_fn realloc_begin;
  /**
   * The realloc was done; or NULL.
   */
  memhook_realloc_commit_fn realloc_commit;
  /**
   * The realloc failed: the old block lives on; or NULL.
   */
  memhook_before_fn realloc_abort;
  /**
   * Called once, when the last use of the hook has ended; or NULL.
   */
  memhook_release_fn release;
} memhook_observer;

/**
 * Names a chain that is being built. Never used twice in one process; 0 names the chain in
 * force where a function says so.
 */
typedef uint64_t memhook_chain;

/**
 * One hook in a listing.
 */
typedef struct memhook_hook_info {
  /**
   * The hook.
   */
  memhook_id id;
  /**
   * `MEMHOOK_KIND_INTERCEPTOR` or `MEMHOOK_KIND_OBSERVER`.
   */
  uint32_t kind;
  /**
   * Its flags.
   */
  uint32_t flags;
  /**
   * Its priority.
   */
  int32_t priority;
  /**
   * 0; for later use.
   */
  uint32_t reserved;
  /**
   * Its `user` pointer.
   */
  void *user;
  /**
   * Its name, ended by NUL; empty where it has none.
   */
  char name[32];
} memhook_hook_info;

/**
 * Names memory that a hook has in each thread. Never 0.
 */
typedef uint32_t memhook_local;

/**
 * Is shown one thread's memory by `memhook_local_each()`. Returns 0 to be shown the next.
 */
typedef int (*memhook_local_fn)(void *memory, uint64_t thread, void *argument);

/**
 * For documentation: what `void *` is here.
 */
typedef void *Block;

/**
 * The entry points as one program or shared object calls them; `MEMHOOK_SELF_TEST()` fills
 * it in. A NULL member is not tested.
 */
typedef struct memhook_entry_points {
  /**
   * `sizeof(memhook_entry_points)`.
   */
  size_t struct_size;
  /**
   * By `MEMHOOK_ENTRY_` number, cast to a plain function pointer.
   */
  void (*functions[13])(void);
} memhook_entry_points;

/**
 * What was found. Valid during the call of the handler.
 */
typedef struct memhook_check_report {
  /**
   * The size of this struct as the library knows it, in bytes.
   */
  size_t struct_size;
  /**
   * What kind of fault: a `MEMHOOK_CHECK_` number.
   */
  uint32_t kind;
  /**
   * The entry point whose call found it; `MEMHOOK_ENTRY_COUNT` where a look at blocks did.
   */
  uint32_t entry;
  /**
   * The caller of that; NULL where a look at blocks found it.
   */
  const void *caller;
  /**
   * The thread that found it: see `memhook_thread()`.
   */
  uint64_t thread;
  /**
   * The pointer that was freed, reallocated or measured, where that is the fault; or NULL.
   */
  const void *given;
  /**
   * The block that it is about; NULL for a wild or foreign pointer.
   */
  const void *block;
  /**
   * What was asked for when the block was made; 0 where nothing is known of it any more.
   */
  size_t requested;
  /**
   * From the beginning of the block to the first changed byte, or to `given`.
   */
  ptrdiff_t offset;
  /**
   * From the first changed byte to behind the last; for `MEMHOOK_CHECK_WRONG_SIZE` the size that was said.
   */
  size_t span;
  /**
   * Who asked for the block: the caller, and the callers of that if they were asked for.
   */
  const void *const *made_by;
  /**
   * How many there are.
   */
  size_t made_by_count;
  /**
   * The thread that did.
   */
  uint64_t made_in;
  /**
   * Who freed the block, in the same way, where it was freed.
   */
  const void *const *freed_by;
  /**
   * How many there are.
   */
  size_t freed_by_count;
  /**
   * The thread that did.
   */
  uint64_t freed_in;
  /**
   * The message: lines of text, not ended by NUL.
   */
  const char *text;
  /**
   * How many bytes it has.
   */
  size_t text_len;
} memhook_check_report;

/**
 * Is told of a fault. It may be called in any thread, from several at once, and inside a callback, hence what it
 * allocates goes to the backend. It may end the process, or leave by longjmp as a callback may.
 */
typedef void (*memhook_check_fn)(const struct memhook_check_report *report, void *user);

/**
 * How to check. Fill in `struct_size` and what is wanted, 0 or NULL elsewhere.
 */
typedef struct memhook_check_options {
  /**
   * `sizeof(memhook_check_options)`.
   */
  size_t struct_size;
  /**
   * `MEMHOOK_CHECK_` bits. Without `MESSAGE`, `ABORT` and `QUIET`, and without a handler, a fault is answered
   * by a message and the end of the process.
   */
  uint32_t flags;
  /**
   * How many callers are noted of each call, at most 64; 0 and 1: its own. More are found by frame pointers, in
   * programs that were compiled with them.
   */
  uint32_t frames;
  /**
   * About how many bytes of freed blocks each thread keeps; 0: 1 MiB.
   */
  size_t quarantine;
  /**
   * See `MEMHOOK_CHECK_FILL_NEW`.
   */
  uint8_t new_byte;
  /**
   * See `MEMHOOK_CHECK_FILL_FREED`.
   */
  uint8_t freed_byte;
  /**
   * 0.
   */
  uint8_t reserved[6];
  /**
   * Is told of each fault; or NULL.
   */
  memhook_check_fn handler;
  /**
   * Given to the handler.
   */
  void *user;
} memhook_check_options;

/**
 * Which allocation calls are to fail. All members that are not 0 must agree to *select* a call;
 * selected calls are numbered from 1; of these, each of `nth`, `every`, `per_million` and `after_bytes`
 * makes some fail. Fill in `struct_size` and what is wanted, 0 or NULL elsewhere.
 *
 * A call fails as it does when memory has run out: NULL and ENOMEM (posix_memalign returns
 * ENOMEM); the block of a realloc lives on. Observers are told. Interceptors are not asked.
 */
typedef struct memhook_fail_rule {
  /**
   * `sizeof(memhook_fail_rule)`.
   */
  size_t struct_size;
  /**
   * Fails: the selected call with this number.
   */
  uint64_t nth;
  /**
   * Fails: every selected call whose number this divides.
   */
  uint64_t every;
  /**
   * Fails: each selected call with this probability, in millionths.
   */
  uint32_t per_million;
  /**
   * `MEMHOOK_THIS_THREAD`, to select calls of the calling thread only, or 0.
   */
  uint32_t flags;
  /**
   * Where the random numbers of `per_million` begin. The same seed fails the calls with the same
   * numbers.
   */
  uint64_t seed;
  /**
   * Fails: all selected calls from the one on with which more than so many bytes were asked for in
   * total.
   */
  uint64_t after_bytes;
  /**
   * Selects: calls that ask for more than so many bytes.
   */
  size_t above;
  /**
   * Selects: calls through these entry points, one bit `1 << MEMHOOK_ENTRY_…` each.
   */
  uint32_t entries;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Selects: callers from this address on (see `caller` of a call).
   */
  const void *caller_from;
  /**
   * Selects: callers below this address.
   */
  const void *caller_to;
  /**
   * Selects: callers in the executable and the shared objects, of those loaded now, whose path
   * contains these characters.
   */
  const char *object;
  /**
   * How many characters.
   */
  size_t object_len;
} memhook_fail_rule;

/**
 * What has become of a rule.
 */
typedef struct memhook_fail_counts {
  /**
   * `sizeof(memhook_fail_counts)`.
   */
  size_t struct_size;
  /**
   * How many calls were selected.
   */
  uint64_t selected;
  /**
   * How many of them failed.
   */
  uint64_t failed;
  /**
   * How many bytes they asked for in total, failed ones too.
   */
  uint64_t bytes;
} memhook_fail_counts;

/**
 * What is to be traced, and where to. Fill in `struct_size` and `path`, and what else is wanted; 0
 * elsewhere.
 */
typedef struct memhook_trace_options {
  /**
   * `sizeof(memhook_trace_options)`.
   */
  size_t struct_size;
  /**
   * The file; a relative name is one in the folder that is current at the start. `%p` stands for the process id,
   * `%e` for the name of the executable, `%n` for the first number, from 0, with which there is no such file yet,
   * `%%` for a percent sign. `/dev/stdout` and `/dev/stderr` are the descriptors 1 and 2. At most 4,095 bytes.
   */
  const char *path;
  /**
   * `MEMHOOK_TRACE_BINARY`, `MEMHOOK_TRACE_LITERAL`, `MEMHOOK_TRACE_UNWIND`; `MEMHOOK_THIS_THREAD` for the calling thread's calls
   * only; or 0.
   */
  uint32_t flags;
  /**
   * How many callers of callers are recorded with each call, of the binary form; at most 63. On x86-64
   * only.
   */
  uint32_t frames;
  /**
   * The file does not become longer than so many bytes; 0: as long as it may.
   */
  uint64_t most_bytes;
} memhook_trace_options;

/**
 * What has become of a trace.
 */
typedef struct memhook_trace_counts {
  /**
   * `sizeof(memhook_trace_counts)`.
   */
  size_t struct_size;
  /**
   * How long the file is.
   */
  uint64_t bytes;
  /**
   * How many records are missing in it, for want of space or since there may not be more.
   */
  uint64_t missing;
} memhook_trace_counts;

/**
 * A budget: what usage may be at most. Fill in `struct_size`, `which`, and the members that it names.
 */
typedef struct memhook_usage_limits {
  /**
   * `sizeof(memhook_usage_limits)`.
   */
  size_t struct_size;
  /**
   * Which of the following are limits: `MEMHOOK_USAGE_PEAK` and its like.
   */
  uint32_t which;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * See `MEMHOOK_USAGE_PEAK`.
   */
  uint64_t peak;
  /**
   * See `MEMHOOK_USAGE_TOTAL`.
   */
  uint64_t total;
  /**
   * See `MEMHOOK_USAGE_CALLS`.
   */
  uint64_t calls;
  /**
   * See `MEMHOOK_USAGE_LIVE_BYTES`.
   */
  uint64_t live_bytes;
  /**
   * See `MEMHOOK_USAGE_LIVE_BLOCKS`.
   */
  uint64_t live_blocks;
} memhook_usage_limits;

/**
 * How usage is counted. Fill in `struct_size` and what is wanted, 0 or NULL elsewhere.
 */
typedef struct memhook_usage_options {
  /**
   * `sizeof(memhook_usage_options)`.
   */
  size_t struct_size;
  /**
   * `MEMHOOK_THIS_THREAD`, to count what the calling thread allocates only, `MEMHOOK_USAGE_AT_EXIT`,
   * `MEMHOOK_USAGE_TIMER`, `MEMHOOK_USAGE_ABORT`, `MEMHOOK_USAGE_MAPS`, or 0.
   */
  uint32_t flags;
  /**
   * A signal that has a report written whenever it arrives; 0: none. The signal must not have a handler.
   */
  int signal;
  /**
   * The file that reports are added to; NULL: standard error. In it `%p` stands for the process id, `%e`
   * for the name of the executable, `%n` for the first number that gives a new file, `%%` for a percent
   * sign.
   */
  const char *report;
  /**
   * A file for memusagestat, emptied first, named likewise; NULL: none. Every call is entered, which
   * takes its time: 24 bytes for each.
   */
  const char *data;
  /**
   * How many entries are collected before they are written; 0: 32,768, which is the most.
   */
  uint32_t data_buffer;
  /**
   * The exit status of a process that exits with 0 and has exceeded a limit; 0: 88.
   */
  int exit_status;
  /**
   * By how many bytes each thread may make the peak wrong, once there is more than one; 0: 65,536. The
   * smaller, the more often threads write to memory that they share.
   */
  size_t batch;
  /**
   * What usage may be at most when the process ends; NULL: anything.
   */
  const struct memhook_usage_limits *limits;
} memhook_usage_options;

/**
 * What was counted of one kind of call.
 */
typedef struct memhook_usage_calls {
  /**
   * Calls, failed ones too.
   */
  uint64_t calls;
  /**
   * Bytes that were asked for, of calls that succeeded; for realloc: that it added; for free: that
   * were freed.
   */
  uint64_t bytes;
  /**
   * Calls that failed.
   */
  uint64_t failed;
} memhook_usage_calls;

/**
 * What was counted, exactly if no other thread is in an allocation call.
 */
typedef struct memhook_usage {
  /**
   * `sizeof(memhook_usage)`.
   */
  size_t struct_size;
  /**
   * Bytes that were asked for in total: "heap total" of the report.
   */
  uint64_t total;
  /**
   * The most bytes in use at the same moment: "heap peak".
   */
  uint64_t peak;
  /**
   * By how many bytes the peak may be off: 0 while one thread only has allocated; after that, so many
   * threads times `batch`.
   */
  uint64_t peak_error;
  /**
   * The most that a thread's stack grew between two of its allocation calls, in bytes: "stack peak". Of a thread that
   * goes over to another stack (sigaltstack(2), coroutines) it says how far apart the two are, as libmemusage's does.
   */
  uint64_t stack_peak;
  /**
   * malloc.
   */
  struct memhook_usage_calls malloc;
  /**
   * realloc and reallocarray.
   */
  struct memhook_usage_calls realloc;
  /**
   * calloc.
   */
  struct memhook_usage_calls calloc;
  /**
   * memalign, aligned_alloc, posix_memalign, valloc and pvalloc.
   */
  struct memhook_usage_calls aligned;
  /**
   * free, of NULL too, free_sized and free_aligned_sized; and the bytes that a realloc to nothing freed.
   */
  struct memhook_usage_calls free;
  /**
   * Calls of realloc that left the block where it was.
   */
  uint64_t realloc_nomove;
  /**
   * Calls of realloc that made the block smaller.
   */
  uint64_t realloc_dec;
  /**
   * Calls of realloc that freed the block.
   */
  uint64_t realloc_free;
  /**
   * Bytes in use. While several threads go on, twice `peak_error` more or less.
   */
  uint64_t live_bytes;
  /**
   * Blocks in use.
   */
  uint64_t live_blocks;
  /**
   * Mappings of files that cannot be written to. This and the next are 0 without `MEMHOOK_USAGE_MAPS`.
   */
  struct memhook_usage_calls mmap_read;
  /**
   * Mappings of files that can be written to.
   */
  struct memhook_usage_calls mmap_write;
  /**
   * Mappings of no file.
   */
  struct memhook_usage_calls mmap_anonymous;
  /**
   * mremap; bytes are those that it added.
   */
  struct memhook_usage_calls mremap;
  /**
   * munmap.
   */
  struct memhook_usage_calls munmap;
  /**
   * Calls of mremap that left the mapping where it was.
   */
  uint64_t mremap_nomove;
  /**
   * Calls of mremap that made it smaller.
   */
  uint64_t mremap_dec;
  /**
   * Bytes in use by mappings, in whole pages: what calls added less what they took away. Where a mapping was put
   * over another, or pages were unmapped that no counted call had mapped, that is not what is mapped.
   */
  uint64_t mapped_bytes;
  /**
   * How many threads have counted, at the same time at most.
   */
  uint64_t threads;
  /**
   * 1: the allocator below has a mallinfo2, and the next five are what it says, 0 otherwise. They are of
   * the whole process, and contain the 16 bytes that are in front of each block that is counted.
   */
  uint32_t has_allocator;
  /**
   * 0.
   */
  uint32_t reserved;
  /**
   * Bytes that the allocator has taken from the system.
   */
  uint64_t allocator_system;
  /**
   * Of these, bytes in use.
   */
  uint64_t allocator_in_use;
  /**
   * Of these, bytes that are free and were not given back.
   */
  uint64_t allocator_free;
  /**
   * Of these, bytes of blocks with a mapping of their own.
   */
  uint64_t allocator_mapped;
  /**
   * How many such blocks.
   */
  uint64_t allocator_mapped_blocks;
  /**
   * Bytes of the process that are in memory.
   */
  uint64_t resident;
  /**
   * In: NULL, or `MEMHOOK_USAGE_BUCKETS` numbers, which receive the calls that gave a block by the bytes
   * that they asked for. Out: unchanged.
   */
  uint64_t *histogram;
} memhook_usage;

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

/**
 * Registers an interceptor: callbacks that stand in the way of allocation calls.
 *
 * An allocation call that is already under way finishes on the chain it started with; the
 * next one runs through the interceptor.
 *
 * # Parameters
 *
 * - `table`: the callbacks, copied before return. Not NULL; `table->struct_size` is its size.
 * - `out`: receives the id to give to `memhook_unregister()`. Not NULL.
 *
 * # Returns
 *
 * 0, or an error number; `errno` itself is never touched. On error the chain and `*out` are
 * as they were.
 *
 * - `EINVAL`: `table` or `out` is NULL, `struct_size` is no size that this library knows, a
 *   flag is unknown or contradicts the callbacks, the priority is INT32_MIN, or there is no callback.
 * - `ENOMEM`: there was no memory for the new chain.
 * - `ENOSPC`: 4,095 sets of interceptors own blocks already.
 *
 * # Threads
 *
 * Any thread, any time, inside a callback too. Never waits. What the caller wrote before this
 * call is visible to every run of the callbacks (edge `publish`). Not in a signal handler that
 * can interrupt another function of this header in the same thread.
 *
 * # Reentrancy
 *
 * Inside a callback: the call that the callback belongs to does not see the new interceptor.
 *
 * # Lifetime
 *
 * `table->user` must stay valid until `memhook_unregister()` has returned 0 for this id, or
 * until `table->release` was called.
 *
 * # Safety
 *
 * The callbacks may be called from any thread, from several at once, and must return normally
 * on the stack that they were called on. One that is left by longjmp or by an exception is
 * noticed at the thread's next allocation call from the same depth of the stack or above, and
 * counts as running until then; one that is left by pthread_exit, at the end of the thread. (In
 * C++ an exception cannot pass a direct call of malloc, which is declared not to throw.) `out` is
 * NULL or writable.
 */
MEMHOOK_MUST_USE
int memhook_register(const struct memhook_interceptor *table,
                     memhook_id *out);

/**
 * Registers an observer: callbacks that are told of every allocation call.
 *
 * An allocation call that is already under way may finish without it; the next one sees the
 * observer.
 *
 * # Parameters
 *
 * - `table`: the callbacks, copied before return. Not NULL; `table->struct_size` is its size.
 * - `out`: receives the id to give to `memhook_unregister()`. Not NULL.
 *
 * # Returns
 *
 * 0, or an error number; `errno` itself is never touched. On error the chain and `*out` are
 * as they were.
 *
 * - `EINVAL`: `table` or `out` is NULL, `struct_size` is no size that this library knows, a
 *   flag is unknown, or there is no callback.
 * - `ENOMEM`: there was no memory for the new chain.
 *
 * # Threads
 *
 * As `memhook_register()`.
 *
 * # Reentrancy
 *
 * As `memhook_register()`.
 *
 * # Lifetime
 *
 * As `memhook_register()`.
 *
 * # Safety
 *
 * As `memhook_register()`.
 */
MEMHOOK_MUST_USE
int memhook_observe(const struct memhook_observer *table,
                    memhook_id *out);

/**
 * Takes a hook out of the chain, and out of every chain object, and waits until no thread is
 * in its callbacks.
 *
 * A call that is under way and has not come to the hook yet passes it by: an observer may have
 * been told that a realloc begins and not be told how it ends.
 *
 * # Returns
 *
 * - 0: the hook is gone. No thread is in its callbacks and none will enter them; its `release`
 *   was called and has returned. `user` may be freed, and the code unloaded.
 * - `EINPROGRESS`: it gets no new work, but is still in use: the call came from inside a
 *   callback, where waiting could mean waiting for oneself; or it is an interceptor that still
 *   owns blocks (`memhook_live_blocks()`). Its `release` is called once, when the last use has
 *   ended.
 * - `ESRCH`: no hook has this id, or it is gone already.
 * - `EALREADY`: its removal is under way already.
 * - `EBUSY`: another thread is just registering or replacing it: it is still in force.
 * - `ENOMEM`: there was no memory for the chain without it: it is still in force.
 * - `ENOSPC`: 4,095 sets of interceptors own blocks already: it is still in force.
 *
 * # Threads
 *
 * Any thread, any time. Waits for callbacks that are running, hence not while holding a lock
 * that they take. A callback that never returns makes this call wait and no other; see
 * `memhook_unregister_timed()`.
 *
 * # Reentrancy
 *
 * Inside a callback: never waits, answers `EINPROGRESS`.
 */
MEMHOOK_MUST_USE
int memhook_unregister(memhook_id id);

/**
 * As `memhook_unregister()`, waiting for `timeout_ns` nanoseconds at most.
 *
 * # Returns
 *
 * As `memhook_unregister()`, and:
 *
 * - `ETIMEDOUT`: a callback is still running. The hook is out of the chain; its `release` is
 *   called once, when the last use has ended.
 *
 * # Threads
 *
 * As `memhook_unregister()`.
 *
 * # Reentrancy
 *
 * As `memhook_unregister()`.
 */
MEMHOOK_MUST_USE
int memhook_unregister_timed(memhook_id id,
                             uint64_t timeout_ns);

/**
 * Unregisters every hook whose table named `object`. Called when a shared object that used
 * `MEMHOOK_TIE_TO_OBJECT` is unloaded.
 *
 * A block that one of its interceptors still owns cannot be taken back once the code is gone.
 * Such blocks are left alone from then on: freeing them does nothing, resizing them fails. A
 * message on standard error says so. At the end of the process, where nothing is unloaded, it
 * neither waits nor speaks.
 *
 * # Returns
 *
 * - 0: all its hooks are gone, as for `memhook_unregister()`.
 * - `EINPROGRESS`: one is still in use.
 * - `ENOMEM`, `ENOSPC`: as for `memhook_unregister()`: one is still in force. Where the object is being unloaded, this
 *   function tries again until it is not.
 *
 * # Threads
 *
 * As `memhook_unregister()`.
 *
 * # Reentrancy
 *
 * As `memhook_unregister()`.
 */
int memhook_unregister_object(const void *object);

/**
 * Says that a shared object was loaded which will call `memhook_unregister_object()` when its
 * destructors run; called by the constructor that `MEMHOOK_TIE_TO_OBJECT` makes. With it, the end of
 * the process is told from the unloading of the object.
 *
 * # Threads
 *
 * In a constructor only: it calls the C library's atexit.
 *
 * # Reentrancy
 *
 * Not inside a callback.
 */
void memhook_object_loaded(void);

/**
 * Puts other callbacks in an interceptor's place in one step: the id stays, and so does the
 * place in the order among hooks of the same priority. Every call runs through the former
 * callbacks or through the new ones. Blocks that the former ones made go back through them.
 * Chain objects that name the hook lose it; add it again where it is wanted.
 *
 * # Returns
 *
 * As `memhook_unregister()`, about the former callbacks, and:
 *
 * - `EINVAL`: as for `memhook_register()`, or the hook is an observer.
 * - `ENOSPC`: as for `memhook_register()`.
 * - `ESRCH`: also where the hook is in a chain object only and not in force.
 *
 * On every error except `EINPROGRESS` nothing has changed.
 *
 * # Threads
 *
 * As `memhook_unregister()`.
 *
 * # Reentrancy
 *
 * As `memhook_unregister()`.
 *
 * # Lifetime
 *
 * As `memhook_register()`. The former `release` is called when the former callbacks are gone.
 *
 * # Safety
 *
 * As `memhook_register()`.
 */
MEMHOOK_MUST_USE
int memhook_replace(memhook_id id,
                    const struct memhook_interceptor *table);

/**
 * As `memhook_replace()`, for an observer.
 *
 * # Returns
 *
 * As `memhook_replace()`.
 *
 * # Threads
 *
 * As `memhook_unregister()`.
 *
 * # Reentrancy
 *
 * As `memhook_unregister()`.
 *
 * # Safety
 *
 * As `memhook_register()`.
 */
MEMHOOK_MUST_USE
int memhook_replace_observer(memhook_id id,
                             const struct memhook_observer *table);

/**
 * Waits until every callback that is running now, in any thread, has returned.
 *
 * # Returns
 *
 * 0, or:
 *
 * - `EDEADLK`: called inside a callback, which would wait for itself.
 * - `ENOMEM`: there was no memory for what the library must know of this thread.
 *
 * # Threads
 *
 * As `memhook_unregister()`.
 *
 * # Reentrancy
 *
 * Inside a callback: answers `EDEADLK` at once.
 */
MEMHOOK_MUST_USE int memhook_synchronize(void);

/**
 * How many blocks an interceptor made that are still alive: those of the callbacks that were
 * replaced included, and also after it was unregistered. 0 for an observer, for an interceptor
 * with `MEMHOOK_KEEPS_POINTERS`, and when the last block is gone.
 *
 * # Parameters
 *
 * - `out`: receives the number; exact while no other thread allocates. Not NULL.
 *
 * # Returns
 *
 * 0, or an error number with `*out` unchanged:
 *
 * - `EINVAL`: `out` is NULL.
 * - `ESRCH`: no hook ever had this id.
 * - `ENOMEM`: there was no memory for what the library must know of this thread.
 *
 * # Threads
 *
 * Any thread, any time. Never waits.
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 *
 * # Safety
 *
 * `out` is NULL or writable.
 */
MEMHOOK_MUST_USE
int memhook_live_blocks(memhook_id id,
                        size_t *out);

/**
 * Lists the hooks in force, or those of a chain object, outermost first.
 *
 * # Parameters
 *
 * - `chain`: a chain object, or 0 for the chain in force.
 * - `infos`: an array of `capacity` elements; may be NULL where `capacity` is 0.
 * - `info_size`: `sizeof(memhook_hook_info)`.
 * - `capacity`: how many elements there is room for; the rest is not stored.
 * - `count`: receives how many hooks there are, more than `capacity` perhaps. Not NULL.
 *
 * # Returns
 *
 * 0, or an error number with nothing stored:
 *
 * - `EINVAL`: `count` is NULL, `infos` is NULL though `capacity` is not 0, `info_size` is no size
 *   that this library knows, or `chain` is unknown or was consumed.
 * - `EBUSY`: another thread is using the chain object.
 * - `ENOMEM`: there was no memory for what the library must know of this thread.
 *
 * # Threads
 *
 * Any thread, any time. Never waits.
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 *
 * # Safety
 *
 * `infos` has room for `capacity` elements; `count` is NULL or writable.
 */
MEMHOOK_MUST_USE
int memhook_chain_list(memhook_chain chain,
                       struct memhook_hook_info *infos,
                       size_t info_size,
                       size_t capacity,
                       size_t *count);

/**
 * Creates a chain object without hooks.
 *
 * # Parameters
 *
 * - `out`: receives it. Not NULL. It lasts until `memhook_chain_swap()` has consumed it or
 *   `memhook_chain_destroy()` has ended it. A fork child does not have one that another thread was just using.
 *
 * # Returns
 *
 * 0, or an error number with `*out` unchanged:
 *
 * - `EINVAL`: `out` is NULL.
 * - `ENOMEM`: there was no memory for it.
 *
 * # Threads
 *
 * Any thread, any time. Never waits.
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 *
 * # Safety
 *
 * `out` is NULL or writable.
 */
MEMHOOK_MUST_USE
int memhook_chain_create(memhook_chain *out);

/**
 * Creates a chain object with the hooks that are in force, which stay in force.
 *
 * # Returns
 *
 * As `memhook_chain_create()`.
 *
 * # Threads
 *
 * Any thread, any time. Never waits.
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 *
 * # Safety
 *
 * `out` is NULL or writable.
 */
MEMHOOK_MUST_USE int memhook_chain_copy(memhook_chain *out);

/**
 * Adds to a chain object a hook that is in force or in another chain object.
 *
 * # Returns
 *
 * 0, or an error number with nothing changed:
 *
 * - `EINVAL`: there is no such chain object, or it was consumed.
 * - `EBUSY`: another thread is using the chain object.
 * - `ESRCH`: no hook has this id, or it was unregistered.
 * - `EEXIST`: the hook is in it already.
 * - `ENOMEM`: there was no memory for it.
 *
 * # Threads
 *
 * Any thread, any time. Never waits.
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 */
MEMHOOK_MUST_USE int memhook_chain_add(memhook_chain chain, memhook_id id);

/**
 * Registers an interceptor in a chain object, not in force yet.
 *
 * # Returns
 *
 * As `memhook_register()`; `EINVAL` also where there is no such chain object or it was consumed,
 * and `EBUSY`: another thread is using it. `ENOSPC` comes from `memhook_chain_swap()`.
 *
 * # Threads
 *
 * As `memhook_register()`.
 *
 * # Reentrancy
 *
 * As `memhook_register()`.
 *
 * # Safety
 *
 * As `memhook_register()`.
 */
MEMHOOK_MUST_USE
int memhook_chain_register(memhook_chain chain,
                           const struct memhook_interceptor *table,
                           memhook_id *out);

/**
 * Registers an observer in a chain object, not in force yet.
 *
 * # Returns
 *
 * As `memhook_observe()`; `EINVAL` also where there is no such chain object or it was consumed,
 * and `EBUSY`: another thread is using it.
 *
 * # Threads
 *
 * As `memhook_register()`.
 *
 * # Reentrancy
 *
 * As `memhook_register()`.
 *
 * # Safety
 *
 * As `memhook_register()`.
 */
MEMHOOK_MUST_USE
int memhook_chain_observe(memhook_chain chain,
                          const struct memhook_observer *table,
                          memhook_id *out);

/**
 * Takes a hook out of a chain object. One that no chain names any more is unregistered.
 *
 * # Returns
 *
 * - 0: it is out of it, and gone if no chain named it any more, as for `memhook_unregister()`.
 * - `EINPROGRESS`: it is out of it and in no other, and still in use, as for `memhook_unregister()`.
 * - `EALREADY`: it is out of it; it was being unregistered already.
 * - `EINVAL`: there is no such chain object, or it was consumed.
 * - `EBUSY`: another thread is using the chain object.
 * - `ESRCH`: no hook has this id, or the hook is not in the chain object.
 *
 * # Threads
 *
 * As `memhook_unregister()`.
 *
 * # Reentrancy
 *
 * As `memhook_unregister()`.
 */
MEMHOOK_MUST_USE
int memhook_chain_remove(memhook_chain chain,
                         memhook_id id);

/**
 * Puts a chain object in force in place of all hooks that are, in one step, and ends the chain
 * object. No allocation call sees a mixture of the two. Hooks of it that were unregistered
 * meanwhile are left out.
 *
 * # Parameters
 *
 * - `chain`: the chain object; consumed on success.
 * - `former`: receives a new chain object with the hooks that were in force, to be put back, or
 *   ended with `memhook_chain_destroy()`. NULL: those that no chain names any more are
 *   unregistered.
 *
 * # Returns
 *
 * - 0: done, and no thread is in a callback of the former chain that is not in the new one.
 * - `EINPROGRESS`: done, but such callbacks may still run: the call came from inside a callback,
 *   or, with `former` NULL, an interceptor still owns blocks.
 * - `EINVAL`: there is no such chain object, or it was consumed. Nothing has changed.
 * - `EBUSY`: another thread is using the chain object, or just registering or replacing one of its hooks. Nothing
 *   has changed.
 * - `ENOMEM`: there was no memory for it. Nothing has changed.
 * - `ENOSPC`: 4,095 sets of interceptors own blocks already. Nothing has changed.
 *
 * # Threads
 *
 * As `memhook_unregister()`.
 *
 * # Reentrancy
 *
 * As `memhook_unregister()`.
 *
 * # Safety
 *
 * `former` is NULL or writable.
 */
MEMHOOK_MUST_USE
int memhook_chain_swap(memhook_chain chain,
                       memhook_chain *former);

/**
 * Ends a chain object. Hooks that no chain names any more are unregistered.
 *
 * # Returns
 *
 * - 0: done, and those hooks are gone, as for `memhook_unregister()`.
 * - `EINPROGRESS`: done, but one of them is still in use, as for `memhook_unregister()`.
 * - `EINVAL`: there is no such chain object, or it was consumed.
 * - `EBUSY`: another thread is using the chain object.
 *
 * # Threads
 *
 * As `memhook_unregister()`.
 *
 * # Reentrancy
 *
 * As `memhook_unregister()`.
 */
MEMHOOK_MUST_USE int memhook_chain_destroy(memhook_chain chain);

/**
 * Suspends all hooks for the calling thread: its calls go to the backend until
 * `memhook_resume()`. Nests. An owned block that is freed meanwhile still goes to its owner.
 *
 * # Returns
 *
 * 0, or:
 *
 * - `EAGAIN`: suspended 32,767 times already.
 * - `ENOMEM`: there was no memory for what the library must know of this thread.
 *
 * # Threads
 *
 * Any thread, any time; concerns the calling thread only. Never waits. In a signal handler,
 * suspend and resume in pairs.
 *
 * # Reentrancy
 *
 * Allowed inside a callback; lasts beyond it.
 */
int memhook_suspend(void);

/**
 * Takes one `memhook_suspend()` of the calling thread back.
 *
 * # Returns
 *
 * 0, or:
 *
 * - `EINVAL`: hooks are not suspended in this thread.
 *
 * # Threads
 *
 * As `memhook_suspend()`.
 *
 * # Reentrancy
 *
 * As `memhook_suspend()`.
 */
int memhook_resume(void);

/**
 * Whether hooks are suspended in the calling thread, or a callback is running in it: 1 or 0.
 *
 * # Threads
 *
 * As `memhook_suspend()`.
 *
 * # Reentrancy
 *
 * Inside a callback: 1.
 */
MEMHOOK_MUST_USE
int memhook_is_suspended(void);

/**
 * Gives every thread memory of its own for a hook: counters and buffers that no other thread writes.
 *
 * The memory of a thread outlives it, with its contents, and belongs to a later thread then, which may
 * be told by `memhook_thread()`. So sums over all threads stay true, and memory does not grow with the
 * number of threads that there ever were.
 *
 * # Parameters
 *
 * - `bytes`: how much for each thread. Aligned to 128 bytes, at first zero.
 * - `out`: receives the key. Not NULL.
 *
 * # Returns
 *
 * 0, or:
 *
 * - `EINVAL`: `bytes` is 0 or above 1 GiB, or `out` is NULL.
 * - `ENOSPC`: all 64 keys are given out. A key is never given back: take one for a tool, once, not
 *   for each start of it.
 *
 * # Threads
 *
 * Any thread, any time. Never waits.
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 *
 * # Safety
 *
 * `out` is NULL or writable.
 */
MEMHOOK_MUST_USE
int memhook_local_create(size_t bytes,
                         memhook_local *out);

/**
 * The calling thread's memory of a key.
 *
 * # Returns
 *
 * The memory, the same whenever the thread asks; NULL for an unknown key, or where there is no memory.
 *
 * # Threads
 *
 * Any thread, any time. Never waits. A few instructions.
 *
 * # Reentrancy
 *
 * Allowed inside a callback, which is what it is for.
 */
void *memhook_local_get(memhook_local key);

/**
 * The calling thread's memory of a key, if it has any yet.
 *
 * # Returns
 *
 * As `memhook_local_get()`, but NULL where the thread has not called that before for the key.
 *
 * # Threads
 *
 * As `memhook_local_get()`; signal handlers included, at any moment.
 *
 * # Reentrancy
 *
 * As `memhook_local_get()`.
 */
void *memhook_local_known(memhook_local key);

/**
 * Shows the memory that threads have of a key to `visit`, one after the other: of threads that live, and
 * of those that have ended. Threads that begin meanwhile may be missed.
 *
 * # Parameters
 *
 * - `visit`: is given the memory, the number of its latest thread (see `memhook_thread()`) and
 *   `argument`; anything but 0 from it ends the round. Not NULL.
 *
 * # Returns
 *
 * 0; what `visit` returned last; or:
 *
 * - `EINVAL`: the key is unknown, or `visit` is NULL.
 *
 * # Threads
 *
 * Any thread, any time. Never waits. The threads go on: what they write and `visit` reads should be atomic.
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 *
 * # Safety
 *
 * `visit` may be called with `argument`.
 */
int memhook_local_each(memhook_local key,
                       memhook_local_fn visit,
                       void *argument);

/**
 * The number of the calling thread: never 0, and never used for another thread of the process. A fork
 * child's thread keeps it.
 *
 * # Returns
 *
 * The number; 0 where there is no memory for what the library must know of this thread. Inside a callback
 * never 0.
 *
 * # Threads
 *
 * Any thread, any time. Never waits. A few instructions.
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 */
MEMHOOK_MUST_USE
uint64_t memhook_thread(void);

/**
 * Asks the rest of the chain, and at its end the backend, for a block.
 *
 * # Returns
 *
 * The block, or NULL with errno set.
 *
 * # Threads
 *
 * In the callback that `next` was given to, and in its thread, any number of times. Never waits.
 *
 * # Reentrancy
 *
 * Only inside a callback.
 *
 * # Safety
 *
 * `next` was given to the callback.
 */
Block memhook_next_malloc(struct memhook_next *next,
                          size_t requested);

/**
 * Asks the rest of the chain for a resized block, as realloc.
 *
 * # Parameters
 *
 * - `block`: a block of the rest of the chain, or NULL.
 *
 * # Returns
 *
 * The block, or NULL with errno set.
 *
 * # Threads
 *
 * As `memhook_next_malloc()`.
 *
 * # Reentrancy
 *
 * Only inside a callback.
 *
 * # Safety
 *
 * `next` was given to the callback; `block` came from a next of the same interceptor.
 */
Block memhook_next_realloc(struct memhook_next *next, Block block, size_t requested);

/**
 * Asks the rest of the chain for an aligned block.
 *
 * An interceptor below that changes pointers is reached by its own memalign callback; who
 * mixes `next` functions of different kinds wants interceptors below to have both.
 *
 * # Returns
 *
 * The block, or NULL with errno set.
 *
 * # Threads
 *
 * As `memhook_next_malloc()`.
 *
 * # Reentrancy
 *
 * Only inside a callback.
 *
 * # Safety
 *
 * `next` was given to the callback.
 */
Block memhook_next_memalign(struct memhook_next *next,
                            size_t alignment,
                            size_t requested);

/**
 * Gives a block back to the rest of the chain. NULL does nothing.
 *
 * # Threads
 *
 * As `memhook_next_malloc()`.
 *
 * # Reentrancy
 *
 * Only inside a callback.
 *
 * # Safety
 *
 * As `memhook_next_realloc()`.
 */
void memhook_next_free(struct memhook_next *next, Block block);

/**
 * Measures a block of the rest of the chain, in bytes. 0 for NULL.
 *
 * # Threads
 *
 * As `memhook_next_malloc()`.
 *
 * # Reentrancy
 *
 * Only inside a callback.
 *
 * # Safety
 *
 * As `memhook_next_realloc()`.
 */
size_t memhook_next_usable_size(struct memhook_next *next, Block block);

/**
 * Whether nobody is left between the callback and the backend: 1 or 0. Where it is 1, the `next` functions
 * are the same as `memhook_backend_malloc()` and so on, so that an interceptor may keep a block that it
 * was asked to free, and give it back, or out again, in another call.
 *
 * # Threads
 *
 * As `memhook_next_malloc()`.
 *
 * # Reentrancy
 *
 * Only inside a callback.
 *
 * # Safety
 *
 * `next` was given to the callback.
 */
MEMHOOK_MUST_USE
int memhook_next_is_backend(struct memhook_next *next);

/**
 * The usable size, in bytes, of the block that a call is about (`call->block`), for an
 * observer's before_free and realloc_begin. 0 where the call has no block.
 *
 * # Threads
 *
 * In the callback that `call` was given to, and in its thread. Never waits.
 *
 * # Reentrancy
 *
 * Only inside a callback.
 *
 * # Safety
 *
 * `call` was given to the callback.
 */
size_t memhook_usable_size(const struct memhook_call *call);

/**
 * From where a call came: its caller, the caller of that, and so on.
 *
 * The first address is `call->caller`. The others are found by frame pointers, in functions that were compiled with
 * them (`-fno-omit-frame-pointer`): behind one that was not, addresses may be missing, and one may be wrong. Never reads
 * outside the thread's stack. On a signal's alternate stack or a coroutine's the caller is all. (Where the program made
 * the thread's stack itself, what is directly below that, with no guard between, passes for a part of it.)
 *
 * # Parameters
 *
 * - `addresses`: receives the return addresses, innermost first.
 * - `capacity`: how many there is room for.
 *
 * # Returns
 *
 * How many there are; 1 without `MEMHOOK_WANTS_FRAMES`; 0 where `capacity` is 0.
 *
 * # Threads
 *
 * In the callback that `call` was given to, and in its thread, before anything is allocated there. Never waits. The first
 * time in each thread asks the kernel for the bounds of its stack.
 *
 * # Reentrancy
 *
 * Only inside a callback.
 *
 * # Safety
 *
 * `call` was given to the callback of a hook with `MEMHOOK_WANTS_FRAMES`; `addresses` has room for `capacity`.
 */
size_t memhook_frames(const struct memhook_call *call,
                      const void **addresses,
                      size_t capacity);

/**
 * The allocator below, past all hooks: as malloc(3).
 *
 * # Threads
 *
 * As malloc(3).
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 */
Block memhook_backend_malloc(size_t requested);

/**
 * The allocator below, past all hooks: as calloc(3).
 *
 * # Threads
 *
 * As calloc(3).
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 */
Block memhook_backend_calloc(size_t count, size_t each);

/**
 * The allocator below, past all hooks: as realloc(3).
 *
 * # Threads
 *
 * As realloc(3).
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 *
 * # Safety
 *
 * `block` is NULL or a block of the backend.
 */
Block memhook_backend_realloc(Block block, size_t requested);

/**
 * The allocator below, past all hooks: as memalign(3).
 *
 * # Threads
 *
 * As memalign(3).
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 */
Block memhook_backend_memalign(size_t alignment, size_t requested);

/**
 * The allocator below, past all hooks: as free(3).
 *
 * # Threads
 *
 * As free(3).
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 *
 * # Safety
 *
 * `block` is NULL or a block of the backend: one that a `memhook_backend_` function returned, or
 * that no interceptor owns.
 */
void memhook_backend_free(Block block);

/**
 * The allocator below, past all hooks: as malloc_usable_size(3).
 *
 * # Threads
 *
 * As malloc_usable_size(3).
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 *
 * # Safety
 *
 * As `memhook_backend_free()`.
 */
size_t memhook_backend_usable_size(Block block);

/**
 * Memory of the library's own, which no allocator knows: for callbacks that need some whatever
 * locks are held. Aligned to 16 bytes, contents undefined.
 *
 * # Returns
 *
 * The memory, or NULL where there is none; errno is untouched.
 *
 * # Threads
 *
 * Any thread, any time, signal handlers included. Lock-free.
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 */
Block memhook_scratch_malloc(size_t bytes);

/**
 * Gives memory of `memhook_scratch_malloc()` back. NULL does nothing.
 *
 * # Threads
 *
 * As `memhook_scratch_malloc()`.
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 *
 * # Safety
 *
 * `memory` is NULL or came from `memhook_scratch_malloc()` and is not used any more. Anything
 * else ends the process with a message.
 */
void memhook_scratch_free(Block memory);

/**
 * The version of the library that is running, as "major.minor.patch".
 *
 * # Threads
 *
 * Any thread, any time.
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 */
MEMHOOK_MUST_USE const char *memhook_version(void);

/**
 * The name of an entry point, by `MEMHOOK_ENTRY_` number; "?" for any other number.
 *
 * # Threads
 *
 * Any thread, any time.
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 */
MEMHOOK_MUST_USE const char *memhook_entry_name(uint32_t entry);

/**
 * Tries whether the given functions arrive at this library: calls each once, with one byte or
 * NULL. `MEMHOOK_SELF_TEST()` gives the functions as the calling program or object sees them.
 *
 * # Parameters
 *
 * - `functions`: what to call. Not NULL; `functions->struct_size` is its size.
 * - `missed`: receives the entry points that do not arrive, bit `1 << number`; or NULL.
 * - `text`: receives a sentence for a person, ended by NUL; or NULL.
 * - `text_size`: its size in bytes.
 *
 * # Returns
 *
 * - 0: all arrive.
 * - `ENOLINK`: some do not; `missed` and `text` say which and where they lead instead.
 * - `ENOENT`: there was nothing to test.
 * - `EINVAL`: `functions` is NULL or its size is none that this library knows.
 * - `ENOMEM`: there was no memory for the test.
 *
 * # Threads
 *
 * Any thread. Other threads' calls take a longer way meanwhile. A few bytes are leaked for each
 * function that does not arrive, unless the `free` that is tested with it leads to the same object.
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 *
 * # Safety
 *
 * Each function is of the type that its number says; `missed` and `text` are NULL or writable.
 */
MEMHOOK_MUST_USE
int memhook_self_test(const struct memhook_entry_points *functions,
                      uint32_t *missed,
                      char *text,
                      size_t text_size);

/**
 * As `memhook_self_test()`, for the shared object that holds an address, wherever it was loaded
 * from: tries the functions that it is bound to.
 *
 * # Parameters
 *
 * - `address`: any address in the object, of a function of it, say.
 *
 * # Returns
 *
 * As `memhook_self_test()`; `EINVAL`: no object holds the address; `ENOENT`: the object calls no
 * entry point through the dynamic linker: it allocates nothing itself, or it is linked
 * statically with an allocator.
 *
 * # Threads
 *
 * As `memhook_self_test()`.
 *
 * # Reentrancy
 *
 * As `memhook_self_test()`.
 *
 * # Safety
 *
 * `missed` and `text` are NULL or writable.
 */
MEMHOOK_MUST_USE
int memhook_self_test_object(const void *address,
                             uint32_t *missed,
                             char *text,
                             size_t text_size);

/**
 * Begins to check blocks that are made from now on; older ones are left alone.
 *
 * # Parameters
 *
 * - `options`: how, copied before return; `options->struct_size` is its size. NULL: a message and abort.
 *
 * # Returns
 *
 * 0, or an error number; `errno` itself is never touched. On error nothing has changed.
 *
 * - `EINVAL`: `struct_size` is no size that this library knows, a flag is unknown, `frames` is above 64,
 *   `reserved` is not 0, or blocks are only to be filled and with nothing.
 * - `EALREADY`: blocks are being checked already, perhaps since the environment asked for it.
 * - `ENOMEM`: there was no memory for it.
 * - `ENOSPC`: as for `memhook_register()`, or all keys of `memhook_local_create()` are given out.
 *
 * # Threads
 *
 * Any thread, any time, except while the dynamic linker's lock is held.
 *
 * # Reentrancy
 *
 * Inside a callback: the call that the callback belongs to is not checked.
 *
 * # Lifetime
 *
 * `options->user` must stay valid until `memhook_check_stop()` has returned 0 and no thread is in a call of
 * `memhook_check_all()`, `memhook_check_block()` or `mprobe()` any more that began before; or for ever.
 *
 * # Safety
 *
 * `options` is NULL or points to options of the size that it says; the handler is one.
 */
MEMHOOK_MUST_USE
int memhook_check_start(const struct memhook_check_options *options);

/**
 * Ends what `memhook_check_start()`, the environment, or `mcheck()` began. Blocks that live on are looked at when
 * they are freed, and faults are answered as the last start asked for, though no handler is told any more once this
 * has returned 0; freed blocks that a thread keeps are given back when it frees another.
 *
 * # Returns
 *
 * 0, or an error number; `errno` itself is never touched.
 *
 * - `ESRCH`: nothing is being checked.
 * - `EINPROGRESS`: blocks live on, or the call came from inside a callback. It has ended otherwise.
 * - `ENOMEM`, `ENOSPC`, `EBUSY`: as for `memhook_unregister()`. It goes on, though pointers to no block may not be
 *   noticed any more.
 *
 * # Threads
 *
 * Any thread, any time. Waits as `memhook_unregister()`.
 *
 * # Reentrancy
 *
 * Inside a callback: does not wait.
 */
int memhook_check_stop(void);

/**
 * Looks at every block that the tool made, live or in quarantine, and answers each fault as it was asked for at the
 * start.
 *
 * # Returns
 *
 * How many faults there are; 0 also where nothing is being checked.
 *
 * # Threads
 *
 * Any thread, any time. Never waits; the other threads go on. A fault in a block that is just being made or
 * freed may be missed.
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 */
size_t memhook_check_all(void);

/**
 * Looks at one block, and answers a fault as it was asked for at the start.
 *
 * # Parameters
 *
 * - `block`: any pointer.
 *
 * # Returns
 *
 * - 0: it is a live block and nothing is wrong with it.
 * - `EFAULT`: something is wrong with it, or it is freed.
 * - `ENOENT`: no block that the tool made begins there and is in its keeping, or nothing is being checked.
 *
 * # Threads
 *
 * As `memhook_check_all()`.
 *
 * # Reentrancy
 *
 * As `memhook_check_all()`.
 */
int memhook_check_block(const void *block);

/**
 * Makes allocations fail.
 *
 * # Parameters
 *
 * - `rule`: which, copied before return. Not NULL; `rule->struct_size` is its size.
 * - `out`: receives the id to give to `memhook_fail_stop()`. Not NULL.
 *
 * # Returns
 *
 * 0, or an error number; `errno` itself is never touched. On error nothing has changed.
 *
 * - `EINVAL`: `rule` or `out` is NULL, `struct_size` is no size that this library knows, a
 *   flag or an entry point is unknown, `per_million` is above 1,000,000, `reserved` is not 0, an object is named by no
 *   characters, or no call could fail by this rule.
 * - `ENOENT`: no object that is loaded has this in its path.
 * - `ENOMEM`: there was no memory for the new chain.
 *
 * # Threads
 *
 * Any thread, any time, except while the dynamic linker's lock is held and `object` is given.
 *
 * # Reentrancy
 *
 * Inside a callback: the call that the callback belongs to does not fail by this rule.
 *
 * # Safety
 *
 * `rule` is NULL or points to a rule of the size that it says; `out` is NULL or writable.
 */
MEMHOOK_MUST_USE
int memhook_fail_start(const struct memhook_fail_rule *rule,
                       memhook_id *out);

/**
 * Makes the `nth` allocation call of the calling thread from now on fail, and no other: for a loop
 * that walks through every failure point of a piece of code.
 *
 * ```c
 * for (uint64_t n = 1; ; n++) {
 *     memhook_id id;
 *     memhook_fail_counts counts = { .struct_size = sizeof counts };
 *     memhook_fail_nth(n, &id);
 *     work();
 *     memhook_fail_stop(id, &counts);
 *     if (counts.failed == 0)
 *         break;
 * }
 * ```
 *
 * # Returns
 *
 * As `memhook_fail_start()`; `EINVAL` also where `nth` is 0.
 *
 * # Threads
 *
 * Any thread, any time.
 *
 * # Reentrancy
 *
 * As `memhook_fail_start()`.
 *
 * # Safety
 *
 * `out` is NULL or writable.
 */
MEMHOOK_MUST_USE
int memhook_fail_nth(uint64_t nth,
                     memhook_id *out);

/**
 * Ends what `memhook_fail_start()` or `memhook_fail_nth()` began.
 *
 * # Parameters
 *
 * - `id`: what they gave.
 * - `counts`: receives what has become of the rule; `counts->struct_size` is its size. Or NULL.
 *
 * # Returns
 *
 * 0, or an error number; `errno` itself is never touched.
 *
 * - `EINVAL`: `counts->struct_size` is no size that this library knows. Nothing has changed.
 * - `ESRCH`: there is no such rule.
 * - `EINPROGRESS`: called inside a callback: another thread may be failing a call by this rule
 *   for the last time. It has ended otherwise.
 * - `ENOMEM`, `EBUSY`: as for `memhook_unregister()`. The rule is in force still.
 *
 * # Threads
 *
 * Any thread, any time. Waits until no thread is failing a call by this rule.
 *
 * # Reentrancy
 *
 * Inside a callback: does not wait.
 *
 * # Safety
 *
 * `counts` is NULL or points to counts of the size that they say.
 */
int memhook_fail_stop(memhook_id id,
                      struct memhook_fail_counts *counts);

/**
 * Writes every allocation call to a file, from now on.
 *
 * The file is emptied if it exists, unless another process is tracing to it, or this one was before it
 * called exec: then, and in a fork child, the process id is added to the name. It is mapped, and must not be
 * made shorter meanwhile. What can only be written to (a pipe, a terminal, a file system that cannot
 * reserve blocks) is written to, which is slower. The trace goes on until it is stopped or the process ends,
 * however it ends.
 *
 * # Parameters
 *
 * - `options`: what is wanted, copied before return. Not NULL; `options->struct_size` is its size.
 * - `out`: receives the id to give to `memhook_trace_stop()`. Not NULL.
 *
 * # Returns
 *
 * 0, or an error number; `errno` itself is never touched. On error nothing is traced.
 *
 * - `EINVAL`: `options` or `out` is NULL, `struct_size` is no size that this library knows, a flag is
 *   unknown, `frames` is above 63 or given for the text form, or the path is NULL, empty, or has a percent
 *   sign that stands for nothing.
 * - `EBUSY`: there are eight traces already.
 * - `ENOSPC`: all keys of `memhook_local_create()` are given out.
 * - `ENAMETOOLONG`: the path has more than 4,095 bytes.
 * - `ENOTSUP`: the kernel is older than Linux 4.14.
 * - `ENOMEM`: there was no memory for it.
 * - what open(2) or fallocate(2) say of the file: `EACCES`, `ENOSPC`, `EFBIG`, ….
 *
 * # Threads
 *
 * Any thread, any time. Waits for the file system.
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 *
 * # Safety
 *
 * `options` is NULL or points to options of the size that they say, whose path is NULL or a string; `out`
 * is NULL or writable.
 */
MEMHOOK_MUST_USE
int memhook_trace_start(const struct memhook_trace_options *options,
                        memhook_id *out);

/**
 * Ends a trace and closes its file.
 *
 * # Parameters
 *
 * - `id`: what `memhook_trace_start()` gave.
 * - `counts`: receives what has become of the trace; `counts->struct_size` is its size. Or NULL.
 *
 * # Returns
 *
 * 0, or an error number; `errno` itself is never touched.
 *
 * - `EINVAL`: `counts->struct_size` is no size that this library knows. Nothing has changed.
 * - `ESRCH`: there is no such trace.
 * - `EINPROGRESS`: called inside a callback. Nothing more is traced; the file is finished when no thread
 *   writes to it any more, and the counts are those of now.
 * - `ENOMEM`, `EBUSY`: as `memhook_unregister()`. The trace goes on.
 *
 * # Threads
 *
 * Any thread, any time. Waits until no thread is writing to the file.
 *
 * # Reentrancy
 *
 * Inside a callback: does not wait.
 *
 * # Safety
 *
 * `counts` is NULL or points to counts of the size that they say.
 */
int memhook_trace_stop(memhook_id id,
                       struct memhook_trace_counts *counts);

/**
 * Begins to count memory usage. Blocks that exist already are not counted, and neither is what becomes of
 * them. Up to 16 sessions count at the same time, each for itself.
 *
 * # Parameters
 *
 * - `options`: how; copied before return, texts too. NULL: as if all members were 0.
 * - `out`: receives the id for the other functions. Not NULL.
 *
 * # Returns
 *
 * 0, or an error number; `errno` itself is never touched. On error nothing has changed.
 *
 * - `EINVAL`: `out` is NULL, a `struct_size` is no size that this library knows, a flag, a limit or the
 *   signal is unknown, a `reserved` is not 0, the exit status is not from 0 to 255, the batch is 2^48 bytes or
 *   more, `MEMHOOK_USAGE_TIMER` is given without a data file or `MEMHOOK_USAGE_ABORT` without a limit of the peak.
 * - `EBUSY`: the signal has a handler.
 * - `ENOSPC`: 16 sessions count already, or as for `memhook_register()` or `memhook_local_create()`.
 * - `ENOMEM`: there was no memory for it.
 * - What open(2) says of a file.
 *
 * # Threads
 *
 * Any thread, any time, except while the dynamic linker's lock is held.
 *
 * # Reentrancy
 *
 * Inside a callback: the call that the callback belongs to is not counted.
 *
 * # Safety
 *
 * `options` is NULL or points to options of the size that they say, with strings and limits that are
 * valid; `out` is NULL or writable.
 */
MEMHOOK_MUST_USE
int memhook_usage_start(const struct memhook_usage_options *options,
                        memhook_id *out);

/**
 * Reads what a session has counted up to now. Other threads go on.
 *
 * # Parameters
 *
 * - `id`: what `memhook_usage_start()` gave.
 * - `usage`: receives it; `usage->struct_size` and `usage->histogram` are to be filled in. Not NULL.
 *
 * # Returns
 *
 * 0, or an error number; `errno` itself is never touched. On error nothing has changed.
 *
 * - `EINVAL`: `usage` is NULL, or `usage->struct_size` is no size that this library knows.
 * - `ESRCH`: there is no such session.
 * - `ENOMEM`: there was no memory for it.
 *
 * # Threads
 *
 * Any thread, any time, except in a signal handler: it takes locks of the allocator's, to ask what that
 * has.
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 *
 * # Safety
 *
 * `usage` is NULL or points to a struct of the size that it says; `usage->histogram` is NULL or has room.
 */
MEMHOOK_MUST_USE
int memhook_usage_read(memhook_id id,
                       struct memhook_usage *usage);

/**
 * Forgets what a session has counted up to now. What is in use stays in use; the peaks are from now on
 * those of what comes.
 *
 * # Returns
 *
 * 0, or an error number with nothing changed:
 *
 * - `ESRCH`: there is no such session.
 * - `ENOMEM`: there was no memory for it.
 *
 * # Threads
 *
 * Any thread, any time. Where another thread than the only one that has allocated calls it, the peak is
 * from then on found as if there were several (see `peak_error`).
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 */
MEMHOOK_MUST_USE
int memhook_usage_reset(memhook_id id);

/**
 * Writes a report of what a session has counted up to now: libmemusage's, and behind it what that one
 * does not know; with colours if `fd` is a terminal.
 *
 * # Returns
 *
 * 0, or an error number:
 *
 * - `ESRCH`: there is no such session.
 * - `ENOMEM`: there was no memory for it.
 * - What write(2) says: the report is not whole. SIGPIPE and SIGXFSZ are not raised.
 *
 * # Threads
 *
 * As `memhook_usage_read()`.
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 */
int memhook_usage_report(memhook_id id,
                         int fd);

/**
 * Compares what a session has counted up to now with a budget.
 *
 * # Parameters
 *
 * - `limits`: the budget. Not NULL; `limits->struct_size` is its size.
 * - `text`: receives a sentence for a person, ended by NUL; or NULL.
 * - `text_size`: its size in bytes.
 *
 * # Returns
 *
 * 0: nothing exceeds its limit. Else:
 *
 * - `ERANGE`: something does; `text` says what.
 * - `EINVAL`: `limits` is NULL, its size is none that this library knows, or it names an unknown limit.
 * - `ESRCH`: there is no such session.
 * - `ENOMEM`: there was no memory for it.
 *
 * # Threads
 *
 * As `memhook_usage_read()`.
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 *
 * # Safety
 *
 * `limits` is NULL or points to limits of the size that they say; `text` is NULL or has room.
 */
MEMHOOK_MUST_USE
int memhook_usage_expect(memhook_id id,
                         const struct memhook_usage_limits *limits,
                         char *text,
                         size_t text_size);

/**
 * Ends a session. Its data file is completed; nothing is reported. What it counted blocks of goes on as
 * it is: 16 bytes stay in front of each until it is freed.
 *
 * # Parameters
 *
 * - `id`: what `memhook_usage_start()` gave.
 * - `usage`: receives what was counted, as `memhook_usage_read()`; or NULL.
 *
 * # Returns
 *
 * 0, or an error number; `errno` itself is never touched.
 *
 * - `EINVAL`: `usage->struct_size` is no size that this library knows. Nothing has changed.
 * - `ESRCH`: there is no such session.
 * - `ENOMEM`, `ENOSPC`, `EBUSY`: as for `memhook_unregister()`: it goes on. `ENOMEM` also where it has ended,
 *   but there was no memory for what was counted: `*usage` is unchanged.
 *
 * # Threads
 *
 * Any thread, any time, except in a signal handler. Waits until no thread is in a call that is counted.
 *
 * # Reentrancy
 *
 * Inside a callback: does not wait. What is kept for the session is given back with its last block.
 *
 * # Safety
 *
 * As `memhook_usage_read()`.
 */
int memhook_usage_stop(memhook_id id,
                       struct memhook_usage *usage);

/**
 * mmap(2), and mmap64. Sessions of `memhook_usage_start()` with `MEMHOOK_USAGE_MAPS` count it.
 *
 * `libmemhook-mmap.so`, preloaded behind `libmemhook.so`, leads a process's calls of mmap, mmap64, mremap and munmap
 * here; a program that keeps pools of its own may call it itself.
 *
 * # Returns
 *
 * The address, or `MAP_FAILED` with `errno` set, as mmap(2).
 *
 * # Threads
 *
 * Any thread, any time, in signal handlers too. Never waits.
 *
 * # Reentrancy
 *
 * Inside a callback, and while hooks are suspended: is not counted.
 *
 * # Safety
 *
 * As mmap(2).
 */
void *memhook_mmap(void *at,
                   size_t bytes,
                   int protection,
                   int flags,
                   int fd,
                   int64_t offset);

/**
 * mremap(2); `to` is looked at if `flags` say so. As `memhook_mmap()`.
 *
 * # Returns
 *
 * The address, or `MAP_FAILED` with `errno` set, as mremap(2).
 *
 * # Threads
 *
 * As `memhook_mmap()`.
 *
 * # Reentrancy
 *
 * As `memhook_mmap()`.
 *
 * # Safety
 *
 * As mremap(2).
 */
void *memhook_mremap(void *at, size_t before, size_t after, int flags, void *to);

/**
 * munmap(2). As `memhook_mmap()`.
 *
 * # Returns
 *
 * 0, or -1 with `errno` set, as munmap(2).
 *
 * # Threads
 *
 * As `memhook_mmap()`.
 *
 * # Reentrancy
 *
 * As `memhook_mmap()`.
 *
 * # Safety
 *
 * As munmap(2).
 */
int memhook_munmap(void *at, size_t bytes);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* MEMHOOK_H */

#ifndef MEMHOOK_TAIL_H_
#define MEMHOOK_TAIL_H_

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Writes to standard error as printf does, without stdio, locks or allocation; keeps errno.
 *
 * Knows %s %c %d %i %u %o %x %X %p %%, the lengths h, l, ll, z, j, t, the flags - and 0, a width
 * and, for %s, a precision, both also as *. No floating point.
 *
 * # Threads
 *
 * Any thread, any time, signal handlers included. A line of up to 512 bytes is one write(2).
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 */
void memhook_log(const char *format, ...) MEMHOOK_PRINTF_(1, 2);

/**
 * Defined by a program that wants to register hooks before its first allocation: the function
 * is called exactly once, at the first allocation call of the process or at its first call of
 * this library. Hooks are suppressed inside it and in force for the call that triggered it.
 * Other threads that allocate meanwhile are served by the backend. The C library may not be
 * initialised yet: registering hooks is safe, stdio may not be. Follows glibc's former
 * __malloc_initialize_hook. See MEMHOOK_INITIALIZE.
 */
extern void (*memhook_initialize_hook)(void);

#ifdef __cplusplus
}
#endif

/* Defines memhook_initialize_hook, at file scope, once in a program: MEMHOOK_INITIALIZE(function); */
#ifdef __cplusplus
#define MEMHOOK_INITIALIZE(function)                                                           \
    extern "C" { void (*memhook_initialize_hook)(void) = (function); }                         \
    struct memhook_initialize_needs_a_semicolon_
#else
#define MEMHOOK_INITIALIZE(function) void (*memhook_initialize_hook)(void) = (function)
#endif

#if defined(__GNUC__)
/* The executable or shared object that uses it, as the `object` of a table. */
#ifdef __cplusplus
#define MEMHOOK_OBJECT (static_cast<const void *>(&__dso_handle))
extern "C" {
#else
#define MEMHOOK_OBJECT ((const void *)&__dso_handle)
#endif
extern void *__dso_handle __attribute__((visibility("hidden")));
#ifdef __cplusplus
}
#endif

/* At file scope, once in a shared object that may be unloaded: when it is, all hooks whose table
 * has MEMHOOK_OBJECT as `object` are unregistered, and unloading waits until no thread is in
 * their callbacks. */
#define MEMHOOK_TIE_TO_OBJECT                                                                  \
    __attribute__((constructor, used)) static void memhook_tie_object_(void)                   \
    {                                                                                          \
        memhook_object_loaded();                                                               \
    }                                                                                          \
    __attribute__((destructor, used)) static void memhook_untie_object_(void)                  \
    {                                                                                          \
        (void)memhook_unregister_object(MEMHOOK_OBJECT);                                       \
    }                                                                                          \
    struct memhook_tie_to_object_needs_a_semicolon_
#endif

/* Tests the allocation calls of the file that it is compiled in; see memhook_self_test(). Include
 * <stdlib.h> and <malloc.h> before. Arguments: missed, text, text_size. */
#define MEMHOOK_SELF_TEST(missed, text, text_size)                                             \
    memhook_self_test(memhook_entry_points_of_(malloc, free, calloc, realloc,                  \
                                               malloc_usable_size, memalign),                  \
                      missed, text, text_size)

#ifdef __cplusplus
#define MEMHOOK_AS_FUNCTION_(function) reinterpret_cast<void (*)(void)>(function)
#else
#define MEMHOOK_AS_FUNCTION_(function) ((void (*)(void))(function))
#endif

static inline const memhook_entry_points *
memhook_entry_points_of_(void *(*malloc_)(size_t), void (*free_)(void *),
                         void *(*calloc_)(size_t, size_t), void *(*realloc_)(void *, size_t),
                         size_t (*usable_size_)(void *), void *(*memalign_)(size_t, size_t))
{
    static memhook_entry_points points;
    points.struct_size = sizeof points;
    points.functions[MEMHOOK_ENTRY_MALLOC] = MEMHOOK_AS_FUNCTION_(malloc_);
    points.functions[MEMHOOK_ENTRY_FREE] = MEMHOOK_AS_FUNCTION_(free_);
    points.functions[MEMHOOK_ENTRY_CALLOC] = MEMHOOK_AS_FUNCTION_(calloc_);
    points.functions[MEMHOOK_ENTRY_REALLOC] = MEMHOOK_AS_FUNCTION_(realloc_);
    points.functions[MEMHOOK_ENTRY_USABLE_SIZE] = MEMHOOK_AS_FUNCTION_(usable_size_);
    points.functions[MEMHOOK_ENTRY_MEMALIGN] = MEMHOOK_AS_FUNCTION_(memalign_);
    return &points;
}
#undef MEMHOOK_AS_FUNCTION_

#endif /* MEMHOOK_TAIL_H_ */
