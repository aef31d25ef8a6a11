/* An interceptor that passes everything on, to be preloaded into any program. It owns the blocks
 * that it was asked for. Silent; counts. */
#include "p_count.h"

static void *on_malloc(memhook_next *next, size_t requested, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    count();
    return memhook_next_malloc(next, requested);
}

static void *on_realloc(memhook_next *next, void *block, size_t requested,
                        const memhook_call *call, void *user)
{
    (void)call, (void)user;
    count();
    return memhook_next_realloc(next, block, requested);
}

static void *on_memalign(memhook_next *next, size_t alignment, size_t requested,
                         const memhook_call *call, void *user)
{
    (void)call, (void)user;
    count();
    return memhook_next_memalign(next, alignment, requested);
}

static void on_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    count();
    memhook_next_free(next, block);
}

static size_t on_usable_size(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    count();
    return memhook_next_usable_size(next, block);
}

static void start(void)
{
    static const memhook_interceptor table = {
        .struct_size = sizeof table,
        .name = "p_passing",
        .malloc = on_malloc,
        .realloc = on_realloc,
        .memalign = on_memalign,
        .free = on_free,
        .usable_size = on_usable_size,
    };
    memhook_id id;
    if (memhook_register(&table, &id))
        abort();
}

MEMHOOK_INITIALIZE(start);

__attribute__((destructor)) static void end(void)
{
    p_end("passing");
}
