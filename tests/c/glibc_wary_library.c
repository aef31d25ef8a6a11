/* A shared library that takes a function in the variables for a foreign allocator, and then does nothing: mutrace
 * does so. It looks before anything has been allocated; when glibc loaded such a library, it had. */
#include <malloc.h>
#include <stdlib.h>

static int calls, refused;
static void *(*saved)(size_t, const void *);

static void *count(size_t size, const void *caller)
{
    (void)caller;
    __malloc_hook = saved;
    void *block = malloc(size);
    __atomic_fetch_add(&calls, 1, __ATOMIC_RELAXED);
    __malloc_hook = count;
    return block;
}

__attribute__((constructor)) static void begin(void)
{
    refused = __malloc_hook || __realloc_hook || __memalign_hook || __free_hook;
    if (refused)
        return;
    saved = __malloc_hook;
    __malloc_hook = count;
}

int hook_library_calls(void)
{
    return refused ? 0 : __atomic_load_n(&calls, __ATOMIC_RELAXED);
}
