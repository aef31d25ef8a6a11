/* Two empty hooks by gperftools' MallocHook, to be preloaded with libtcmalloc. */
#include "count.h"
#include <gperftools/malloc_hook_c.h>
#include <stdlib.h>

static void made(const void *block, size_t bytes)
{
    (void)block, (void)bytes;
    count();
}

static void gone(const void *block)
{
    (void)block;
    count();
}

__attribute__((constructor)) static void install(void)
{
    if (!MallocHook_AddNewHook(made) || !MallocHook_AddDeleteHook(gone))
        abort();
}
