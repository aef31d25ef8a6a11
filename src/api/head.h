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
 * Threads: "any time" includes before main, inside callbacks, in exit handlers and in children
 * of fork. */

#if defined(__GNUC__)
#define MEMHOOK_MUST_USE __attribute__((warn_unused_result))
#define MEMHOOK_PRINTF_(text, rest) __attribute__((format(printf, text, rest)))
#else
#define MEMHOOK_MUST_USE
#define MEMHOOK_PRINTF_(text, rest)
#endif
