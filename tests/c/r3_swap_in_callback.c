/* A callback puts another chain in force and ends the former one: the call that it belongs to
 * finishes on the whole of the former chain. */
#include "check.h"

static int first, second, released, armed;

static void count(const memhook_call *call, void *block, void *user)
{
    (void)block;
    if (call->requested == 4711)
        ++*(int *)user;
}

static void release(void *user)
{
    (void)user;
    released++;
}

static memhook_chain next_chain;

static void swap(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    if (call->requested == 4711 && armed) {
        armed = 0;
        SAME(memhook_chain_swap(next_chain, NULL), EINPROGRESS);
    }
}

int main(void)
{
    memhook_id id;
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = count, .user = &second, .release = release };
    OK(memhook_chain_create(&next_chain));
    OK(memhook_chain_observe(next_chain, &o, &id));
    o.user = &first;
    for (int i = -2; i <= 2; i++) {
        o.priority = i;
        o.after_alloc = i ? count : swap;
        OK(memhook_observe(&o, &id));
    }
    armed = 1;
    free(malloc(4711));
    SAME(first, 4);
    SAME(second, 0);
    SAME(released, 5);
    free(malloc(4711));
    SAME(first, 4);
    SAME(second, 1);
    puts("whole chains only");
}
