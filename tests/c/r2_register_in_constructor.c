/* A constructor registers, before main: the program's first own allocation is seen. */
#include "check.h"

static int seen;
static memhook_id id;

static void after(const memhook_call *call, void *block, void *user)
{
    (void)user;
    if (call->requested == 4711 && block)
        seen++;
}

__attribute__((constructor)) static void early(void)
{
    memhook_observer table = { .struct_size = sizeof table, .after_alloc = after };
    OK(memhook_observe(&table, &id));
    free(malloc(4711));
    SAME(seen, 1);
}

int main(void)
{
    free(malloc(4711));
    SAME(seen, 2);
    OK(memhook_unregister(id));
    free(malloc(4711));
    SAME(seen, 2);
    puts("seen before main and in it");
}
