/* A shared library that hooks for whoever loads it: by __malloc_initialize_hook and nothing else. */
#include <malloc.h>
#include <stdlib.h>

static int calls;
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

static void begin(void)
{
    saved = __malloc_hook;
    __malloc_hook = count;
}
void (*volatile __malloc_initialize_hook)(void) = begin;

int hook_library_calls(void)
{
    return __atomic_load_n(&calls, __ATOMIC_RELAXED) + !__malloc_hook;
}
