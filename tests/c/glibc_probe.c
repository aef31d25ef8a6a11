/* Which entry point arrives at which variable, with which arguments and which caller. Says the same under
 * libc_malloc_debug.so.0 (built with -DOLD) and with the library, whichever way. */
#define _GNU_SOURCE
#ifdef OLD
#include "glibc_old.h"
#endif
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *(*old_malloc)(size_t, const void *);
static void *(*old_realloc)(void *, size_t, const void *);
static void *(*old_memalign)(size_t, size_t, const void *);
static void (*old_free)(void *, const void *);

static char said[1 << 17];
static size_t length;
static void *block_now, *block_before;
static int refusing; /* the callbacks answer with NULL */
extern const char __start_probe_calls[], __stop_probe_calls[]; /* the section of `calls` */

static const char *name(void *block)
{
    return !block ? "NULL" : block == block_now ? "it" : block == block_before ? "the one before" : "?";
}

static const char *from(const void *caller)
{
    return (const char *)caller > __start_probe_calls && (const char *)caller <= __stop_probe_calls ? "here" : "elsewhere";
}

#define SAY(...) (length += (size_t)snprintf(said + length, sizeof said - length, __VA_ARGS__))

static void put_in(void);

static void take_out(void)
{
    __malloc_hook = old_malloc;
    __realloc_hook = old_realloc;
    __memalign_hook = old_memalign;
    __free_hook = old_free;
}

static void *my_malloc(size_t size, const void *caller)
{
    take_out();
    void *block = refusing ? NULL : malloc(size);
    SAY("  malloc hook(%zu, %s)\n", size, from(caller));
    put_in();
    return block;
}

static void *my_realloc(void *block, size_t size, const void *caller)
{
    take_out();
    SAY("  realloc hook(%s, %zu, %s)\n", name(block), size, from(caller));
    block = refusing ? NULL : realloc(block, size);
    put_in();
    return block;
}

static void *my_memalign(size_t alignment, size_t size, const void *caller)
{
    take_out();
    SAY("  memalign hook(%zu, %zu, %s)\n", alignment, size, from(caller));
    void *block = refusing ? NULL : memalign(alignment, size);
    put_in();
    return block;
}

static void my_free(void *block, const void *caller)
{
    take_out();
    SAY("  free hook(%s, %s)\n", name(block), from(caller));
    free(block);
    put_in();
}

static void put_in(void)
{
    __malloc_hook = my_malloc;
    __realloc_hook = my_realloc;
    __memalign_hook = my_memalign;
    __free_hook = my_free;
}

static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_calloc)(size_t, size_t) = calloc;
static void *(*volatile do_realloc)(void *, size_t) = realloc;
static void *(*volatile do_reallocarray)(void *, size_t, size_t) = reallocarray;
static void *(*volatile do_memalign)(size_t, size_t) = memalign;
static void *(*volatile do_aligned_alloc)(size_t, size_t) = aligned_alloc;
static int (*volatile do_posix_memalign)(void **, size_t, size_t) = posix_memalign;
static void *(*volatile do_valloc)(size_t) = valloc;
static void *(*volatile do_pvalloc)(size_t) = pvalloc;
static size_t (*volatile do_usable_size)(void *) = malloc_usable_size;
static void (*volatile do_free)(void *) = free;

#define BLOCK(call)                                                     \
    do {                                                                \
        errno = 0;                                                      \
        SAY("%s\n", #call);                                             \
        void *block = call;                                             \
        SAY("  = %s, errno %d\n", block ? "block" : "NULL", errno);     \
        block_now = p = block;                                          \
    } while (0)
#define RESULT(call)                                                    \
    do {                                                                \
        errno = 0;                                                      \
        SAY("%s\n", #call);                                             \
        int result = call;                                              \
        SAY("  = %d, errno %d\n", result, errno);                       \
    } while (0)
/* What errno is then, glibc leaves to the callback. */
#define ANSWER(call)                                                    \
    do {                                                                \
        SAY("%s\n", #call);                                             \
        SAY("  = %s\n", call ? "block" : "NULL");                       \
    } while (0)
#define DO(call)                                                        \
    do {                                                                \
        errno = 0;                                                      \
        SAY("%s\n", #call);                                             \
        call;                                                           \
        SAY("  errno %d\n", errno);                                     \
    } while (0)

__attribute__((noinline, section("probe_calls"))) static void calls(void)
{
    void *p = NULL, *kept;
    void *before = do_malloc(40);
    block_before = before;
    SAY("at the start: free hook %s\n", __free_hook ? "set" : "NULL");
    old_malloc = __malloc_hook, old_realloc = __realloc_hook;
    old_memalign = __memalign_hook, old_free = __free_hook;
    put_in();
    BLOCK(do_malloc(10));
    DO(do_free(p));
    BLOCK(do_malloc(0));
    DO(do_free(p));
    DO(do_free(NULL));
    BLOCK(do_calloc(3, 5));
    for (int i = 0; i < 15; i++)
        if (((char *)p)[i])
            SAY("not zero\n");
    BLOCK(do_realloc(p, 100));
    BLOCK(do_realloc(p, 100000));
    SAY("realloc to nothing\n");
    p = do_realloc(p, 0);
    SAY("  = %s\n", p ? "block" : "NULL");
    BLOCK(do_realloc(NULL, 20));
    BLOCK(do_reallocarray(p, 3, 20));
    DO(do_free(p));
    BLOCK(do_reallocarray(NULL, SIZE_MAX / 2, 4));
    BLOCK(do_calloc(SIZE_MAX / 2, 4));
    BLOCK(do_memalign(256, 10));
    if ((uintptr_t)p % 256)
        SAY("not aligned\n");
    DO(do_free(p));
    static const size_t odd[] = {0, 1, 2, 3, 8, 16, 24, 100, 4097, 6000, SIZE_MAX / 4 + 3, SIZE_MAX / 2 + 1};
    for (size_t i = 0; i < sizeof odd / sizeof *odd; i++) {
        SAY("alignment %zu\n", odd[i]);
        BLOCK(do_memalign(odd[i], 10));
        DO(do_free(p));
        p = NULL;
        RESULT(do_posix_memalign(&p, odd[i], 10));
        block_now = p;
        DO(do_free(p));
    }
    BLOCK(do_aligned_alloc(64, 128));
    DO(do_free(p));
    BLOCK(do_valloc(10));
    DO(do_free(p));
    BLOCK(do_pvalloc(10));
    DO(do_free(p));
    RESULT(do_posix_memalign(&p, 64, 10));
    block_now = p;
    DO(do_free(p));
    BLOCK(do_memalign(64, 0));
    DO(do_free(p));
    BLOCK(do_memalign(64, SIZE_MAX - 10));
    BLOCK(do_aligned_alloc(64, 100));
    DO(do_free(p));
    BLOCK(do_aligned_alloc(64, 0));
    DO(do_free(p));
    BLOCK(do_valloc(0));
    DO(do_free(p));
    BLOCK(do_valloc(SIZE_MAX - 10));
    BLOCK(do_pvalloc(0));
    DO(do_free(p));
    p = NULL;
    RESULT(do_posix_memalign(&p, 64, SIZE_MAX - 100));
    BLOCK(do_malloc(SIZE_MAX / 2));
    BLOCK(do_malloc(SIZE_MAX));
    BLOCK(do_calloc(0, 5));
    DO(do_free(p));
    BLOCK(do_calloc(5, 0));
    DO(do_free(p));
    BLOCK(do_calloc(SIZE_MAX, 1));
    BLOCK(do_calloc(1, SIZE_MAX / 2));
    BLOCK(do_realloc(NULL, 0));
    BLOCK(do_reallocarray(p, 0, 7));
    SAY("  = %s\n", p ? "block" : "NULL");
    DO(do_free(p));
    BLOCK(do_reallocarray(NULL, 7, 0));
    DO(do_free(p));
    BLOCK(do_malloc(10));
    kept = p;
    BLOCK(do_realloc(kept, SIZE_MAX - 10));
    BLOCK(do_reallocarray(kept, SIZE_MAX, SIZE_MAX));
    block_now = p = kept;
    BLOCK(do_realloc(p, 200));
    DO(do_free(p));
    /* Callbacks that answer with nothing. */
    refusing = 1;
    ANSWER(do_malloc(10));
    ANSWER(do_calloc(2, 10));
    ANSWER(do_realloc(NULL, 10));
    ANSWER(do_memalign(64, 10));
    ANSWER(do_aligned_alloc(64, 10));
    ANSWER(do_valloc(10));
    p = kept = &refusing;
    SAY("posix_memalign: %s\n", do_posix_memalign(&p, 64, 10) == ENOMEM ? "ENOMEM" : "?");
    SAY("  left alone: %d\n", p == kept);
    refusing = 0;
    BLOCK(strdup("text"));
    RESULT(do_usable_size(p) >= 5);
    DO(do_free(p));
    /* A block from before the hooks: a hook that changes no pointer sees it. */
    DO(do_free(before));
    __free_hook = NULL;
    BLOCK(do_malloc(10));
    DO(do_free(p));
    __malloc_hook = NULL;
    BLOCK(do_malloc(10));
    BLOCK(do_realloc(p, 20));
    __realloc_hook = NULL;
    __memalign_hook = NULL;
    __malloc_hook = NULL;
    __free_hook = NULL;
    DO(do_free(p));
    BLOCK(do_malloc(10));
    DO(do_free(p));
}

int main(void)
{
    calls();
    return write(1, said, length) != (ssize_t)length;
}
