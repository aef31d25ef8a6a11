/* A tool to be preloaded: registers from its constructor or, with -DINITIALIZE, from the
 * initialize hook. Says at the end what it has seen. */
#include <memhook.h>
#include <stdlib.h>

static int allocated, freed, runs;
static memhook_id id;

static void after_alloc(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    allocated += call->requested == 4242;
}

static void before_free(const memhook_call *call, void *user)
{
    (void)user;
    freed += memhook_usable_size(call) >= 4242 && memhook_usable_size(call) < 5200;
}

static void begin(void)
{
    memhook_observer table = {.struct_size = sizeof table,
                              .name = "tool",
                              .after_alloc = after_alloc,
                              .before_free = before_free};
    runs++;
    if (memhook_observe(&table, &id) != 0)
        memhook_log("tool: cannot register\n");
}

#ifdef INITIALIZE
MEMHOOK_INITIALIZE(begin);
#else
__attribute__((constructor)) static void construct(void)
{
    begin();
}
#endif

__attribute__((destructor)) static void end(void)
{
    memhook_log("tool: begun %d times, %d allocated, %d freed\n", runs, allocated, freed);
}
