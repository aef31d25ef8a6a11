/* A chain comes back as it was, and hooks that no chain names any more are released. */
#include "check.h"

static int released[4];

static void after(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block, (void)user;
}

static void release(void *user)
{
    ++*(int *)user;
}

int main(void)
{
    memhook_id ids[4];
    memhook_hook_info before[4], now[4];
    size_t count;
    for (int i = 0; i < 3; i++) {
        memhook_observer o = { .struct_size = sizeof o, .after_alloc = after, .priority = i % 2,
                               .user = &released[i], .release = release, .name = "three" };
        OK(memhook_observe(&o, &ids[i]));
    }
    OK(memhook_chain_list(0, before, sizeof before[0], 4, &count));
    SAME(count, 3);

    memhook_chain chain, former, again = 99;
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = after, .user = &released[3],
                           .release = release };
    OK(memhook_chain_create(&chain));
    OK(memhook_chain_observe(chain, &o, &ids[3]));
    OK(memhook_chain_add(chain, ids[1]));
    SAME(hooks_in_force(), 3);
    OK(memhook_chain_swap(chain, &former));
    SAME(hooks_in_force(), 2);
    CHECK(in_force(ids[1]) && in_force(ids[3]));
    SAME(memhook_chain_swap(chain, &again), EINVAL);
    SAME(again, 99);
    SAME(hooks_in_force(), 2);

    OK(memhook_chain_swap(former, NULL));
    OK(memhook_chain_list(0, now, sizeof now[0], 4, &count));
    SAME(count, 3);
    SAME(memcmp(before, now, 3 * sizeof now[0]), 0);
    SAME(released[3], 1);
    SAME(released[0] + released[1] + released[2], 0);

    OK(memhook_chain_create(&chain));
    OK(memhook_chain_swap(chain, &former));
    SAME(hooks_in_force(), 0);
    OK(memhook_unregister(ids[0]));
    SAME(released[0], 1);
    OK(memhook_chain_destroy(former));
    SAME(released[0] * 100 + released[1] * 10 + released[2], 111);
    puts("back as it was, released once each");
}
