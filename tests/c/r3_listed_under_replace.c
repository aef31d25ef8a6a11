/* A hook that is being replaced is listed by its id, before and after. */
#include "check.h"

static int stop;
static memhook_id id;

static void after(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block, (void)user;
}

static void *lists(void *unused)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        memhook_hook_info info;
        size_t count;
        OK(memhook_chain_list(0, &info, sizeof info, 1, &count));
        SAME(count, 1);
        SAME(info.id, id);
    }
    return unused;
}

int main(void)
{
    pthread_t other;
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = after };
    OK(memhook_observe(&o, &id));
    OK(pthread_create(&other, NULL, lists, NULL));
    for (int i = 0; i < 20000; i++)
        OK(memhook_replace_observer(id, &o));
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    OK(pthread_join(other, NULL));
    puts("one id");
}
