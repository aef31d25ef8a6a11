/* A callback unregisters its own hook: told EINPROGRESS, and released once after the call. */
#include "check.h"

static memhook_id id;
static int released, inside, calls;

static void leave(void)
{
    int before = released;
    calls++;
    inside = 1;
    SAME(memhook_unregister(id), EINPROGRESS);
    SAME(memhook_unregister(id), EALREADY);
    SAME(memhook_unregister_timed(id, 1), EALREADY);
    SAME(memhook_synchronize(), EDEADLK);
    SAME(released, before);
    inside = 0;
}

static void after(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    if (call->requested == 4711)
        leave();
}

static void before(const memhook_call *call, void *user)
{
    (void)call, (void)user;
    leave();
}

static void i_free(memhook_next *next, void *p, const memhook_call *call, void *user)
{
    before(call, user);
    memhook_next_free(next, p);
}

static void release(void *user)
{
    (void)user;
    SAME(inside, 0);
    released++;
    free(malloc(10)); /* goes to the backend */
}

int main(void)
{
    memhook_observer in_alloc = { .struct_size = sizeof in_alloc, .after_alloc = after, .release = release };
    memhook_observer in_free = { .struct_size = sizeof in_free, .before_free = before, .release = release };
    memhook_interceptor freeing = { .struct_size = sizeof freeing, .free = i_free, .release = release };

    OK(memhook_observe(&in_alloc, &id));
    void *p = malloc(4711);
    SAME(released, 1);
    SAME(memhook_unregister(id), ESRCH);

    OK(memhook_observe(&in_free, &id));
    free(p);
    SAME(released, 2);

    p = malloc(10);
    OK(memhook_register(&freeing, &id));
    free(p);
    SAME(released, 3);

    free(malloc(4711));
    SAME(calls, 3);
    puts("three hooks left from inside");
}
