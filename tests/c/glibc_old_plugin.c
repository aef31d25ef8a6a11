/* A shared object from before glibc 2.34 that counts allocations once it is told to. */
#include "glibc_old.h"
#include <stdlib.h>

static int seen;
static void *(*old)(size_t, const void *);

static void *count(size_t size, const void *caller)
{
    (void)caller;
    __malloc_hook = old;
    void *block = malloc(size);
    __atomic_fetch_add(&seen, 1, __ATOMIC_RELAXED);
    __malloc_hook = count;
    return block;
}

void plugin_begin(void)
{
    old = __malloc_hook;
    __malloc_hook = count;
}

int plugin_end(void)
{
    __malloc_hook = old;
    return seen;
}
