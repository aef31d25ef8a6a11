/* The idiom of __malloc_hook's manual page, on the copies of the variables that are left in
 * libc_malloc_debug.so.0: the hooks take themselves out, call on, and put themselves back. For one
 * thread only, as it always was. `passing` does nothing else; with ACCOUNTING, a header of 8 bytes
 * in front of each block says how large it is. With SOURCE it is compiled with memhook/glibc.h. */
#include "count.h"
#include <stddef.h>
#include <stdlib.h>

#ifdef SOURCE
/* Compiled with memhook/glibc.h. */
#define malloc_hook __malloc_hook
#define free_hook __free_hook
#else
extern void *(*volatile malloc_hook)(size_t, const void *);
extern void (*volatile free_hook)(void *, const void *);
__asm__(".symver malloc_hook, __malloc_hook@GLIBC_2.2.5");
__asm__(".symver free_hook, __free_hook@GLIBC_2.2.5");
#endif

#ifdef ACCOUNTING
enum { HEADER = 8 };
#else
enum { HEADER = 0 };
#endif

static size_t live_bytes;

static void *on_malloc(size_t bytes, const void *caller);
static void on_free(void *block, const void *caller);

static void put(int in)
{
    malloc_hook = in ? on_malloc : NULL;
    free_hook = in ? on_free : NULL;
}

static void *on_malloc(size_t bytes, const void *caller)
{
    (void)caller;
    count();
    put(0);
    char *whole = malloc(bytes + HEADER);
    put(1);
    if (whole == NULL || HEADER == 0)
        return whole;
    *(size_t *)whole = bytes;
    live_bytes += bytes;
    return whole + HEADER;
}

static void on_free(void *block, const void *caller)
{
    (void)caller;
    count();
    put(0);
    if (block != NULL && HEADER != 0) {
        block = (char *)block - HEADER;
        live_bytes -= *(size_t *)block;
    }
    free(block);
    put(1);
}

/* For the time of the workload, so that each block that they see is their own. */
void bench_start(void);
void bench_start(void)
{
    put(1);
}

void bench_stop(void);
void bench_stop(void)
{
    put(0);
}
