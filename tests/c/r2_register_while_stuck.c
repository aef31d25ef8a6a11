/* One thread is stuck in a callback: others register, build and list chains, and allocate. */
#include "check.h"

static sem_t in, go;
static long seen;

static void stuck(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    if (call->requested == 1001) {
        sem_post(&in);
        await(&go);
    }
}

static void after(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    seen += call->requested == 4711;
}

static void *pass(memhook_next *next, size_t n, const memhook_call *call, void *user)
{
    after(call, NULL, user);
    return memhook_next_malloc(next, n);
}

static void *sticks(void *unused)
{
    free(malloc(1001));
    return unused;
}

int main(void)
{
    pthread_t thread;
    memhook_id id, ids[100];
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = stuck };
    memhook_chain chain;
    OK(memhook_observe(&o, &id));
    OK(pthread_create(&thread, NULL, sticks, NULL));
    await(&in);
    o.after_alloc = after;
    memhook_interceptor t = { .struct_size = sizeof t, .malloc = pass };
    for (int i = 0; i < 100; i += 2) {
        OK(memhook_observe(&o, &ids[i]));
        OK(memhook_register(&t, &ids[i + 1]));
    }
    SAME(hooks_in_force(), 101);
    free(malloc(4711));
    SAME(seen, 100);
    OK(memhook_chain_create(&chain));
    OK(memhook_chain_add(chain, id));
    OK(memhook_chain_remove(chain, id));
    OK(memhook_chain_destroy(chain));
    OK(memhook_chain_copy(&chain));
    sem_post(&go);
    OK(pthread_join(thread, NULL));
    OK(memhook_chain_destroy(chain));
    for (int i = 0; i < 100; i++)
        OK(memhook_unregister(ids[i]));
    OK(memhook_unregister(id));
    puts("nobody waited for the stuck thread");
}
