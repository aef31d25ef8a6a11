/* Suspension counts, concerns its own thread only, may be begun in a callback, and does not keep
 * a block from its owner. */
#include "check.h"

static long seen;
static int suspend_in_callback;

static void after(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    SAME(memhook_is_suspended(), 1);
    if (call->requested == 4711)
        __atomic_fetch_add(&seen, 1, __ATOMIC_RELAXED);
    if (suspend_in_callback) {
        suspend_in_callback = 0;
        OK(memhook_suspend());
    }
}

static void before(const memhook_call *call, void *user)
{
    (void)call, (void)user;
    __atomic_fetch_add(&seen, 1000, __ATOMIC_RELAXED);
}

static void *other(void *unused)
{
    SAME(memhook_is_suspended(), 0);
    void *p = malloc(4711);
    SAME(seen, 1);
    free(p);
    SAME(seen, 1001);
    return unused;
}

int main(void)
{
    memhook_id id, account;
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = after };
    OK(memhook_observe(&o, &id));
    SAME(memhook_resume(), EINVAL);
    SAME(memhook_is_suspended(), 0);
    OK(memhook_suspend());
    OK(memhook_suspend());
    SAME(memhook_is_suspended(), 1);
    free(malloc(4711));
    OK(memhook_resume());
    free(malloc(4711));
    SAME(seen, 0);
    OK(memhook_resume());
    SAME(memhook_resume(), EINVAL);
    free(malloc(4711));
    SAME(seen, 1);

    OK(memhook_unregister(id));
    o.before_free = before;
    seen = 0;
    OK(memhook_suspend());
    OK(memhook_observe(&o, &id));
    pthread_t second;
    OK(pthread_create(&second, NULL, other, NULL));
    OK(pthread_join(second, NULL));
    OK(memhook_resume());

    seen = 0;
    suspend_in_callback = 1;
    void *p = malloc(4711);
    SAME(seen, 1);
    SAME(memhook_is_suspended(), 1);
    free(p);
    p = malloc(4711);
    SAME(seen, 1);
    OK(memhook_resume());
    free(p);
    SAME(seen, 1001);
    OK(memhook_unregister(id));

    struct account a = { .tag = 1 };
    memhook_interceptor t = account_table(&a, "account", 0);
    OK(memhook_register(&t, &account));
    p = malloc(100);
    OK(memhook_suspend());
    void *q = malloc(100);
    SAME(a.live, 1);
    p = realloc(p, 5000);
    CHECK(malloc_usable_size(p) >= 5000 && malloc_usable_size(p) < 5100);
    SAME(a.bytes, 5000);
    free(p);
    SAME(a.live, 0);
    OK(memhook_resume());
    free(q);
    OK(memhook_unregister(account));

    int depth = 0;
    while (memhook_suspend() == 0)
        depth++;
    SAME(depth, 32767);
    SAME(memhook_suspend(), EAGAIN);
    while (depth-- > 0)
        OK(memhook_resume());
    SAME(memhook_is_suspended(), 0);
    puts("suspended and resumed");
}
