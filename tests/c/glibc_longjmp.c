/* A callback is left by longjmp, and the stack where it was is used for other things before the thread is back at the
 * depth where that is noticed. */
#ifdef OLD
#include "glibc_old.h"
#endif
#include <malloc.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { REFUSED = 100000 };

static int seen;
static jmp_buf refused;
static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;
static void *(*volatile do_memset)(void *, int, size_t) = memset;

static void *hook(size_t size, const void *caller)
{
    (void)caller;
    seen++;
    if (size == REFUSED)
        longjmp(refused, 1);
    __malloc_hook = NULL;
    void *block = malloc(size);
    __malloc_hook = hook;
    return block;
}

__attribute__((noinline)) static void use_the_stack(int byte)
{
    char there[1 << 14];
    do_memset(there, byte, sizeof there);
}

__attribute__((noinline)) static void allocate_below(void)
{
    char there[1 << 12];
    do_memset(there, 0x11, sizeof there);
    for (int i = 0; i < 5; i++)
        do_free(do_malloc(10));
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0); /* its buffer would be one more block */
    __malloc_hook = hook;
    for (volatile int i = 0; i < 40; i++) {
        if (setjmp(refused) == 0)
            do_malloc(REFUSED);
        use_the_stack(i);
        do_free(do_malloc(10)); /* where it may be noticed only by now */
        if (setjmp(refused) == 0)
            do_malloc(REFUSED);
        use_the_stack(8);
        allocate_below();
        do_free(do_malloc(10));
    }
    seen = 0;
    for (int i = 0; i < 5; i++)
        do_free(do_malloc(10));
    printf("seen %d\n", seen);
    return 0;
}
