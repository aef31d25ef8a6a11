/* Blocks that were made before any hook, inside a callback, and while suspended: the interceptor
 * that is registered now is not given them. */
#include "check.h"

static void *inside[4];

static void after(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    if (call->requested == 4711) {
        inside[0] = malloc(100);
        inside[1] = calloc(10, 10);
        inside[2] = memalign(64, 100);
        inside[3] = realloc(NULL, 100);
    }
}

int main(void)
{
    void *before[4] = { malloc(100), calloc(10, 10), memalign(64, 100), realloc(NULL, 100) };
    struct account a = { .tag = 7 };
    memhook_interceptor t = account_table(&a, "account", 0);
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = after };
    memhook_id id, observer;
    OK(memhook_register(&t, &id));
    OK(memhook_observe(&o, &observer));
    free(malloc(4711));
    SAME(a.live, 0);
    for (int i = 0; i < 4; i++) {
        CHECK(inside[i]);
        CHECK(malloc_usable_size(before[i]) >= 100);
        CHECK(malloc_usable_size(inside[i]) >= 100);
        before[i] = realloc(before[i], 5000);
        inside[i] = realloc(inside[i], 5000);
        SAME(a.live, 0);
        free(before[i]);
        free(inside[i]);
    }
    OK(memhook_suspend());
    void *p = malloc(100), *q = malloc(100);
    OK(memhook_resume());
    p = realloc(p, 1000);
    free(p);
    free(q);
    SAME(a.live, 0);
    SAME(live(id), 0);
    OK(memhook_unregister(id));
    SAME(a.released, 1);
    puts("twelve blocks of nobody");
}
