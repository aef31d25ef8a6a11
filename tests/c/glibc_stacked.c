/* Two libraries that each put a header in front of blocks of every kind, the second upon the first before the first
 * has made a block of its own. The second goes and comes again; with -DLATE both go, the blocks after them. With
 * -DOWN_ONLY a callback takes its own variable back only, else all four. With -DPARTLY the second has no callbacks for
 * memalign and realloc: there the first one's are called. */
#ifdef OLD
#include "glibc_old.h"
#endif
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

enum { HEADER = 64 };

#ifdef OWN_ONLY
#define BACK(x, kind) __##kind##_hook = x##_old_##kind
#define AGAIN(x, kind) __##kind##_hook = x##_##kind
#else
#define BACK(x, kind) x##_remove()
#define AGAIN(x, kind) x##_put_in()
#endif

#define LIBRARY(x, MAGIC)                                                               \
    static void *(*x##_old_malloc)(size_t, const void *);                               \
    static void *(*x##_old_realloc)(void *, size_t, const void *);                      \
    static void *(*x##_old_memalign)(size_t, size_t, const void *);                     \
    static void (*x##_old_free)(void *, const void *);                                  \
    static void *x##_malloc(size_t, const void *);                                      \
    static void *x##_realloc(void *, size_t, const void *);                             \
    static void *x##_memalign(size_t, size_t, const void *);                            \
    static void x##_free(void *, const void *);                                         \
    static long x##_live;                                                               \
    static void x##_put_in(void)                                                        \
    {                                                                                   \
        __malloc_hook = x##_malloc, __realloc_hook = x##_realloc;                       \
        __memalign_hook = x##_memalign, __free_hook = x##_free;                         \
    }                                                                                   \
    static void x##_install(void)                                                       \
    {                                                                                   \
        x##_old_malloc = __malloc_hook, x##_old_realloc = __realloc_hook;               \
        x##_old_memalign = __memalign_hook, x##_old_free = __free_hook;                 \
        x##_put_in();                                                                   \
    }                                                                                   \
    static void x##_remove(void)                                                        \
    {                                                                                   \
        __malloc_hook = x##_old_malloc, __realloc_hook = x##_old_realloc;               \
        __memalign_hook = x##_old_memalign, __free_hook = x##_old_free;                 \
    }                                                                                   \
    static void *x##_wrap(unsigned *block)                                              \
    {                                                                                   \
        *block = MAGIC;                                                                 \
        x##_live++;                                                                     \
        return (char *)block + HEADER;                                                  \
    }                                                                                   \
    static void *x##_unwrap(void *block)                                                \
    {                                                                                   \
        unsigned *inner = (unsigned *)(void *)((char *)block - HEADER);                 \
        if (*inner != MAGIC) {                                                          \
            fputs(#x ": not wrapped\n", stderr);                                        \
            abort();                                                                    \
        }                                                                               \
        *inner = 0;                                                                     \
        x##_live--;                                                                     \
        return inner;                                                                   \
    }                                                                                   \
    static void *x##_malloc(size_t size, const void *caller)                            \
    {                                                                                   \
        (void)caller;                                                                   \
        BACK(x, malloc);                                                                \
        void *block = malloc(size + HEADER);                                            \
        AGAIN(x, malloc);                                                               \
        return x##_wrap(block);                                                         \
    }                                                                                   \
    static void *x##_realloc(void *block, size_t size, const void *caller)              \
    {                                                                                   \
        (void)caller;                                                                   \
        BACK(x, realloc);                                                               \
        block = realloc(block ? x##_unwrap(block) : NULL, size + HEADER);               \
        AGAIN(x, realloc);                                                              \
        return x##_wrap(block);                                                         \
    }                                                                                   \
    static void *x##_memalign(size_t alignment, size_t size, const void *caller)        \
    {                                                                                   \
        (void)caller;                                                                   \
        BACK(x, memalign);                                                              \
        void *block = memalign(alignment, size + HEADER);                               \
        AGAIN(x, memalign);                                                             \
        return x##_wrap(block);                                                         \
    }                                                                                   \
    static void x##_free(void *block, const void *caller)                               \
    {                                                                                   \
        (void)caller;                                                                   \
        BACK(x, free);                                                                  \
        free(x##_unwrap(block));                                                        \
        AGAIN(x, free);                                                                 \
    }
LIBRARY(a, 0xaaaaaaaa)
LIBRARY(b, 0xbbbbbbbb)

static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_realloc)(void *, size_t) = realloc;
static void *(*volatile do_memalign)(size_t, size_t) = memalign;
static void (*volatile do_free)(void *) = free;

int main(void)
{
    enum { KINDS = 4 };
    setvbuf(stdout, NULL, _IONBF, 0); /* its buffer would be one more block */
    do_free(do_malloc(1));
    a_install();
#ifdef PARTLY
    void *first = do_malloc(50);
    b_install();
    __realloc_hook = a_realloc, __memalign_hook = a_memalign;
    void *blocks[] = {do_malloc(50), do_realloc(NULL, 50), do_memalign(HEADER, 50), first};
    printf("a %ld, b %ld\n", a_live, b_live);
    for (int i = 0; i < 4; i++)
        do_free(blocks[i]);
    printf("a %ld, b %ld\n", a_live, b_live);
    return 0;
#endif
    b_install();
    void *both[KINDS] = {
        do_malloc(50), do_realloc(NULL, 50), do_memalign(HEADER, 50), do_realloc(do_malloc(10), 50000)};
    printf("a %ld, b %ld\n", a_live, b_live);
    b_remove();
    void *alone = do_malloc(50);
    printf("a %ld, b %ld\n", a_live, b_live);
#ifdef LATE
    a_remove();
#else
    do_free(alone);
    b_install();
#endif
    both[0] = do_realloc(both[0], 70000);
    for (int i = 0; i < KINDS; i++)
        do_free(both[i]);
#ifdef LATE
    do_free(alone);
#else
    b_remove();
    a_remove();
#endif
    printf("a %ld, b %ld, %s\n", a_live, b_live, __malloc_hook || __free_hook ? "in force" : "gone");
    return 0;
}
