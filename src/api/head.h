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
