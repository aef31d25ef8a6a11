/* Callbacks that allocate besides: any number of blocks before and behind the program's block, given back at once, or one whose
 * address the answer has. They change no pointer: every malloc and every free is seen while they are in, none after. */
#ifdef OLD
#include "glibc_old.h"
#endif
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

enum { MOST = 40, BLOCKS = 100 };
extern void *__libc_malloc(size_t);
extern void __libc_free(void *);

static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;
static void *(*old_malloc)(size_t, const void *);
static void (*old_free)(void *, const void *);
static int scratch, mallocs, frees, inside;

static void use_scratch(void)
{
    void *blocks[MOST];
    for (int i = 0; i < scratch; i++)
        blocks[i] = do_malloc(20);
    for (int i = 0; i < scratch; i++)
        do_free(blocks[i]);
}

#ifdef GUARD
/* Stays in, and knows by a variable of its own that it is called by itself. */
static void *my_malloc(size_t bytes, const void *caller)
{
    (void)caller;
    if (!inside) {
        inside = 1;
        mallocs++;
        use_scratch();
        inside = 0;
    }
    return __libc_malloc(bytes);
}

static void my_free(void *block, const void *caller)
{
    (void)caller;
    frees += !inside;
    __libc_free(block);
}
#else
static void *my_malloc(size_t, const void *);
static void my_free(void *, const void *);

static void take_out(void)
{
    __malloc_hook = old_malloc, __free_hook = old_free;
}

static void put_in(void)
{
    __malloc_hook = my_malloc, __free_hook = my_free;
}

static void *my_malloc(size_t bytes, const void *caller)
{
    (void)caller;
    take_out();
    use_scratch();
    void *block = do_malloc(bytes);
    use_scratch();
    mallocs++;
    put_in();
    return block;
}

static void my_free(void *block, const void *caller)
{
    (void)caller;
    take_out();
    use_scratch();
    do_free(block);
    frees++;
    put_in();
}
#endif

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    (void)inside;
    old_malloc = __malloc_hook, old_free = __free_hook;
    for (scratch = 0; scratch < MOST; scratch += 13) {
        void *blocks[BLOCKS], *before = do_malloc(500);
        mallocs = frees = 0;
        __malloc_hook = my_malloc, __free_hook = my_free;
        for (int i = 0; i < BLOCKS; i++)
            blocks[i] = do_malloc(i % 2 ? 20 : 1000);
        for (int i = 1; i < BLOCKS; i++)
            do_free(blocks[i]);
        do_free(before);
        __malloc_hook = old_malloc, __free_hook = old_free;
        int seen = frees;
        do_free(blocks[0]);
        printf("mallocs %d, frees %d, after %d\n", mallocs, seen, frees - seen);
    }
    return 0;
}
