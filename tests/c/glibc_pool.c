/* A pool behind the variables, which never takes its callbacks out, as allocators in their own right do: at its first call, and
 * with -DEACH at every call, it allocates and frees through the C library, which comes back to the pool. A block that is
 * not the pool's is never given to it, and it gets its own back. With -DHEADER its blocks have their size in front. */
#ifdef OLD
#include "glibc_old.h"
#endif
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef HEADER
enum { BEFORE = 16 };
#else
enum { BEFORE = 0 };
#endif

static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_calloc)(size_t, size_t) = calloc;
static void *(*volatile do_realloc)(void *, size_t) = realloc;
static void (*volatile do_free)(void *) = free;

static char pool[1 << 20] __attribute__((aligned(16)));
static size_t used;
static int busy, foreign, inner, freed; /* `busy` stays so, or not (EACH) */

static int is_own(void *block)
{
    return (char *)block >= pool && (char *)block < pool + sizeof pool;
}

static void *take(size_t bytes)
{
    char *block = pool + used + BEFORE;
    if (BEFORE)
        memcpy(block - 8, &bytes, sizeof bytes);
    used += BEFORE + (bytes + 31) / 16 * 16;
    return block;
}

static void *pool_malloc(size_t bytes, const void *caller)
{
    (void)caller;
    if (!busy) {
        busy = 1;
        char *text = do_malloc(100);
        inner += is_own(text);
        text = do_realloc(text, 200);
        inner += is_own(text);
        do_free(text);
        text = do_calloc(1, 30);
        inner += is_own(text);
        do_free(text);
#ifdef EACH
        busy = 0;
#endif
    }
    return take(bytes);
}

static void pool_free(void *block, const void *caller)
{
    (void)caller;
    if (block)
        is_own(block) ? freed++ : foreign++;
}

static void *pool_realloc(void *block, size_t bytes, const void *caller)
{
    (void)caller;
    void *new = take(bytes);
    if (block) {
        foreign += !is_own(block);
        memcpy(new, block, bytes);
    }
    return new;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0); /* its buffer would be one more block */
    __malloc_hook = pool_malloc, __free_hook = pool_free, __realloc_hook = pool_realloc;
    void *kept = do_malloc(10);
    for (int i = 0; i < 99; i++)
        do_free(do_realloc(do_malloc(10), 20));
    __malloc_hook = NULL, __free_hook = NULL, __realloc_hook = NULL;
    printf("foreign %d, inner %d, freed %d, ", foreign, inner, freed);
#ifndef OLD
    do_free(kept); /* in glibc that ended the program */
#endif
    printf("kept is the pool's: %s\n", is_own(kept) ? "yes" : "no");
    return 0;
}
