/* Two threads are in the callbacks of two hooks, and each unregisters the other's. */
#include "check.h"

static pthread_barrier_t both;
static memhook_id ids[2];
static int released[2];

static void after(const memhook_call *call, void *block, void *user)
{
    intptr_t me = (intptr_t)user;
    (void)block;
    if (call->requested != 4711 + (size_t)me)
        return;
    pthread_barrier_wait(&both);
    SAME(memhook_unregister(ids[1 - me]), EINPROGRESS);
    pthread_barrier_wait(&both);
    SAME(__atomic_load_n(&released[0], __ATOMIC_SEQ_CST), 0);
    SAME(__atomic_load_n(&released[1], __ATOMIC_SEQ_CST), 0);
    pthread_barrier_wait(&both);
}

static void release(void *user)
{
    __atomic_fetch_add(&released[(intptr_t)user], 1, __ATOMIC_SEQ_CST);
}

static void *runs(void *me)
{
    free(malloc(4711 + (size_t)(intptr_t)me));
    return NULL;
}

int main(void)
{
    pthread_barrier_init(&both, NULL, 2);
    for (int round = 0; round < 200; round++) {
        pthread_t threads[2];
        released[0] = released[1] = 0;
        for (intptr_t i = 0; i < 2; i++) {
            memhook_observer o = { .struct_size = sizeof o, .after_alloc = after,
                                   .user = (void *)i, .release = release };
            OK(memhook_observe(&o, &ids[i]));
        }
        for (intptr_t i = 0; i < 2; i++)
            OK(pthread_create(&threads[i], NULL, runs, (void *)i));
        for (int i = 0; i < 2; i++)
            OK(pthread_join(threads[i], NULL));
        SAME(released[0], 1);
        SAME(released[1], 1);
        SAME(hooks_in_force(), 0);
    }
    puts("neither waited for the other");
}
