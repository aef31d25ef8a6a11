/* Callbacks free, resize and measure blocks that interceptors own: they
 * go to their owners, though hooks are suppressed. */
#include "check.h"

static struct account a = { .tag = 0xa }, b = { .tag = 0xb };
static void *victims[3];
static int worked;

static void work(void)
{
    if (!victims[0])
        return;
    void *one = victims[0], *two = victims[1], *three = victims[2];
    memset(victims, 0, sizeof victims);
    CHECK(malloc_usable_size(one) >= 100);
    free(one);
    two = realloc(two, 5000);
    SAME(((char *)two)[99], 2);
    CHECK(malloc_usable_size(two) >= 5000);
    free(two);
    void *before = three;
    CHECK(!realloc(three, SIZE_MAX / 2));
    free(before);
    worked++;
}

static void after(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block, (void)user;
    work();
}

static void before(const memhook_call *call, void *user)
{
    (void)call, (void)user;
    work();
}

static void *w_malloc(memhook_next *next, size_t n, const memhook_call *c, void *user)
{
    work();
    void *p = account_malloc(next, n, c, user);
    return p;
}

static void w_free(memhook_next *next, void *p, const memhook_call *c, void *user)
{
    work();
    account_free(next, p, c, user);
}

int main(void)
{
    memhook_interceptor ta = account_table(&a, "a", 1), tb = account_table(&b, "b", 0);
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = after, .before_free = before,
                           .realloc_begin = before, .realloc_commit = after };
    memhook_id ia, ib, io;
    ta.malloc = w_malloc;
    ta.free = w_free;
    OK(memhook_register(&ta, &ia));
    OK(memhook_register(&tb, &ib));
    for (int round = 0; round < 4; round++) {
        void *p = malloc(10), *made[3];
        for (int i = 0; i < 3; i++) {
            made[i] = malloc(100);
            memset(made[i], i + 1, 100);
        }
        SAME(live(ia), 4);
        if (round == 2)
            OK(memhook_observe(&o, &io));
        memcpy(victims, made, sizeof made);
        if (round == 0)
            free(malloc(10)); /* in the interceptor's malloc */
        else if (round == 1)
            free(p), p = NULL; /* in its free */
        else if (round == 2)
            p = realloc(p, 500); /* in the observer's begin */
        else
            free(p), p = NULL; /* in before_free */
        SAME(worked, round + 1);
        SAME(a.live, p ? 1 : 0);
        SAME(b.live, p ? 1 : 0);
        SAME(live(ia), p ? 1 : 0);
        free(p);
    }
    OK(memhook_unregister(ia));
    OK(memhook_unregister(ib));
    SAME(a.released, 1);
    SAME(b.released, 1);
    puts("callbacks gave back what others own");
}
