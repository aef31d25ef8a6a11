/* Two libraries that each put a header in front of blocks, one upon the other, with blocks from the time
 * of each; in the end both go, the blocks later. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void broken(const char *what)
{
    fputs(what, stderr);
    abort();
}

#define LIBRARY(x, HEADER, MAGIC)                                                    \
    static void *(*x##_old)(size_t, const void *);                                   \
    static void (*x##_old_free)(void *, const void *);                               \
    static long x##_live;                                                            \
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
        unsigned *block = malloc(size + HEADER);                                     \
        x##_install();                                                               \
        *block = MAGIC;                                                              \
        x##_live++;                                                                  \
        return (char *)block + HEADER;                                               \
    }                                                                                \
    static void x##_free(void *block, const void *caller)                            \
    {                                                                                \
        (void)caller;                                                                \
        unsigned *inner = (unsigned *)((char *)block - HEADER);                      \
        if (*inner != MAGIC)                                                         \
            broken(#x ": not wrapped\n");                                            \
        *inner = 0;                                                                  \
        x##_live--;                                                                  \
        __malloc_hook = x##_old, __free_hook = x##_old_free;                         \
        free(inner);                                                                 \
        x##_install();                                                               \
    }
LIBRARY(a, 16, 0xaaaaaaaa)
LIBRARY(b, 32, 0xbbbbbbbb)

/* Counts only. */
static void *(*c_old)(size_t, const void *);
static int c_seen;
static void *c_malloc(size_t size, const void *caller)
{
    (void)caller;
    __malloc_hook = c_old;
    void *block = malloc(size);
    __malloc_hook = c_malloc;
    c_seen++;
    return block;
}

static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;

int main(void)
{
    enum { N = 20 };
    setvbuf(stdout, NULL, _IONBF, 0); /* its buffer would be one more block */
    void *plain[N], *with_a[N], *with_b[N], *with_c[N];
    for (int i = 0; i < N; i++)
        plain[i] = do_malloc(50);
    a_install();
    for (int i = 0; i < N; i++)
        with_a[i] = do_malloc(50);
    b_install();
    for (int i = 0; i < N; i++)
        with_b[i] = do_malloc(50);
    c_old = __malloc_hook;
    __malloc_hook = c_malloc;
    for (int i = 0; i < N; i++)
        memset(with_c[i] = do_malloc(50), 1, 50);
    printf("a %ld, b %ld, c %d\n", a_live, b_live, c_seen);
    for (int i = 0; i < N / 2; i++)
        do_free(plain[i]), do_free(with_a[i]), do_free(with_b[i]), do_free(with_c[i]);
    printf("a %ld, b %ld\n", a_live, b_live);
    __malloc_hook = NULL;
    __free_hook = NULL;
    for (int i = N / 2; i < N; i++)
        do_free(plain[i]), do_free(with_a[i]), do_free(with_b[i]), do_free(with_c[i]);
    void *after = do_malloc(10);
    do_free(after);
    printf("a %ld, b %ld, %s\n", a_live, b_live, __malloc_hook || __free_hook ? "back" : "gone");
    return 0;
}
