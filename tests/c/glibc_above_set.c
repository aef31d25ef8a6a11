/* A library whose callbacks change no pointer stands above one that has a header in front of its blocks: as in glibc it
 * sees every free and realloc of theirs, also by callbacks that stay in and answer by __libc_free(). */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef OLD
#include "glibc_old.h"
#endif

extern void *__libc_malloc(size_t);
extern void *__libc_realloc(void *, size_t);
extern void __libc_free(void *);

enum { HEADER = 16, CALLS = 50 };
static int wrapped, unwrapped, resized, mallocs, reallocs, frees;
static void *(*lower_malloc)(size_t, const void *);
static void *(*lower_realloc)(void *, size_t, const void *);
static void (*lower_free)(void *, const void *);

static void *wrap(size_t size, const void *caller)
{
    (void)caller;
    wrapped++;
    return (char *)__libc_malloc(size + HEADER) + HEADER;
}

static void *rewrap(void *block, size_t size, const void *caller)
{
    (void)caller;
    resized++;
    return (char *)__libc_realloc((char *)block - HEADER, size + HEADER) + HEADER;
}

static void unwrap(void *block, const void *caller)
{
    (void)caller;
    unwrapped++;
    __libc_free((char *)block - HEADER);
}

static void in(void);

static void out(void)
{
    __malloc_hook = lower_malloc;
    __realloc_hook = lower_realloc;
    __free_hook = lower_free;
}

static void *above_malloc(size_t size, const void *caller)
{
    (void)caller;
    out();
    mallocs++;
    void *block = malloc(size);
    in();
    return block;
}

static void *above_realloc(void *block, size_t size, const void *caller)
{
    (void)caller;
    out();
    reallocs++;
    block = realloc(block, size);
    in();
    return block;
}

static void above_free(void *block, const void *caller)
{
    (void)caller;
    out();
    frees++;
    free(block);
    in();
}

static void in(void)
{
    lower_malloc = __malloc_hook;
    lower_realloc = __realloc_hook;
    lower_free = __free_hook;
    __malloc_hook = above_malloc;
    __realloc_hook = above_realloc;
    __free_hook = above_free;
}

#ifdef LATE
static void count_free(void *block, const void *caller)
{
    (void)caller;
    frees++;
    __libc_free(block);
}
#endif

int main(void)
{
    free(malloc(1));
    __malloc_hook = wrap;
    __realloc_hook = rewrap;
    __free_hook = unwrap;
    void *volatile left = malloc(10);
#ifdef LATE
    __malloc_hook = NULL;
    __realloc_hook = NULL;
    __free_hook = count_free;
    free(left);
    __free_hook = NULL;
#else
    in();
    free(left);
    for (int i = 0; i < CALLS; i++) {
        char *volatile block = malloc(20);
        memset(block, 7, 20);
        block = realloc(block, 2000);
        free(block);
    }
    __malloc_hook = NULL;
    __realloc_hook = NULL;
    __free_hook = NULL;
#endif
    printf("wrapped %d, resized %d, unwrapped %d\n", wrapped, resized, unwrapped);
    printf("above: %d, %d, %d\n", mallocs, reallocs, frees);
    return 0;
}
