/* A pool that answers a call for no bytes with an address at which there is nothing. */
#ifdef OLD
#include "glibc_old.h"
#endif
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>

static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;
static char nothing[16] __attribute__((aligned(16)));
static uintptr_t address = 16;
static int nothings, others;

static void *my_malloc(size_t bytes, const void *caller)
{
    (void)caller;
    return bytes ? (void *)nothing : (void *)address;
}

static void my_free(void *block, const void *caller)
{
    (void)caller;
    if (block)
        (uintptr_t)block == address ? nothings++ : others++;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    __malloc_hook = my_malloc, __free_hook = my_free;
    for (int i = 0; i < 10; i++)
        do_free(do_malloc(0)), do_free(do_malloc(10));
    __malloc_hook = NULL, __free_hook = NULL;
    printf("nothings %d, others %d\n", nothings, others);
    return 0;
}
