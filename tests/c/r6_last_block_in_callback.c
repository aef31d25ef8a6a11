/* The last block of an interceptor that was unregistered is freed inside a callback. */
#include "check.h"

static struct account a = { .tag = 0xa };
static void *last;

static void after(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    if (call->requested == 4711) {
        free(last);
        SAME(a.live, 0);
        SAME(a.released, 0);
    }
}

int main(void)
{
    memhook_interceptor t = account_table(&a, "a", 0);
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = after };
    memhook_id id, observer;
    OK(memhook_register(&t, &id));
    last = malloc(10);
    SAME(memhook_unregister(id), EINPROGRESS);
    OK(memhook_observe(&o, &observer));
    void *p = malloc(4711);
    SAME(a.released, 1);
    free(p);
    puts("released after the callback");
}
