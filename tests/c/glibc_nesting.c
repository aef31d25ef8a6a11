/* Two libraries that each hook and each save what stood there; a callback that forgets to take itself
 * out; and one that takes itself out for good. */
#ifdef OLD
#include "glibc_old.h"
#endif
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

static int a_seen, b_seen, a_frees, b_frees, rude_seen, once_seen;
static void *(*a_old)(size_t, const void *), *(*b_old)(size_t, const void *);
static void (*a_old_free)(void *, const void *), (*b_old_free)(void *, const void *);

#define LIBRARY(x)                                                                   \
    static void *x##_malloc(size_t size, const void *caller);                        \
    static void x##_free(void *block, const void *caller);                           \
    static void x##_install(void)                                                    \
    {                                                                                \
        x##_old = __malloc_hook, x##_old_free = __free_hook;                         \
        __malloc_hook = x##_malloc, __free_hook = x##_free;                          \
    }                                                                                \
    static void *x##_malloc(size_t size, const void *caller)                         \
    {                                                                                \
        (void)caller;                                                                \
        __malloc_hook = x##_old, __free_hook = x##_old_free;                         \
        void *block = malloc(size);                                                  \
        x##_seen++;                                                                  \
        x##_install();                                                               \
        return block;                                                                \
    }                                                                                \
    static void x##_free(void *block, const void *caller)                            \
    {                                                                                \
        (void)caller;                                                                \
        __malloc_hook = x##_old, __free_hook = x##_old_free;                         \
        free(block);                                                                 \
        x##_frees++;                                                                 \
        x##_install();                                                               \
    }
LIBRARY(a)
LIBRARY(b)

/* Forgets to take itself out. (Under libc_malloc_debug it would recurse for ever.) */
__attribute__((unused)) static void *rude_malloc(size_t size, const void *caller)
{
    (void)caller;
    rude_seen++;
    return malloc(size);
}

static void *once_malloc(size_t size, const void *caller)
{
    (void)caller;
    once_seen++;
    __malloc_hook = NULL;
    return malloc(size);
}

static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;

int main(void)
{
    do_free(do_malloc(1));
    a_install();
    b_install();
    void *blocks[10];
    for (int i = 0; i < 10; i++)
        blocks[i] = do_malloc(100);
    for (int i = 0; i < 10; i++)
        do_free(blocks[i]);
    int a = a_seen, b = b_seen, af = a_frees, bf = b_frees;
    __free_hook = NULL;
#ifndef POLITE
    __malloc_hook = rude_malloc;
    do_free(do_malloc(10));
#endif
    int rude = rude_seen;
    __malloc_hook = once_malloc;
    do_free(do_malloc(10));
    do_free(do_malloc(10));
    int once = once_seen, gone = __malloc_hook == NULL;
    printf("a %d and %d, b %d and %d, rude %d, once %d, gone %d\n", a, af, b, bf, rude, once, gone);
    return 0;
}
