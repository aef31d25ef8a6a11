/* An observer of every event, to be preloaded into any program. Silent; counts. */
#include "p_count.h"

static void after_alloc(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block, (void)user;
    count();
}

static void before(const memhook_call *call, void *user)
{
    (void)user;
    /* A usable size that is not there would be a crash here. */
    if (memhook_usable_size(call) == 0)
        abort();
    count();
}

static void realloc_commit(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block, (void)user;
    count();
}

static void realloc_abort(const memhook_call *call, void *user)
{
    (void)call, (void)user;
    count();
}

static void start(void)
{
    static const memhook_observer table = {
        .struct_size = sizeof table,
        .name = "p_observer",
        .after_alloc = after_alloc,
        .before_free = before,
        .realloc_begin = before,
        .realloc_commit = realloc_commit,
        .realloc_abort = realloc_abort,
    };
    memhook_id id;
    if (memhook_observe(&table, &id))
        abort();
}

MEMHOOK_INITIALIZE(start);

__attribute__((destructor)) static void end(void)
{
    p_end("observer");
}
