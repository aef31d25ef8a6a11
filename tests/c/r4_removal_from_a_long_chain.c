/* One of many interceptors is unregistered while a call is under way that has not come to them yet. Calls pass
 * none of so many by: the removal waits for it. */
#include "check.h"

enum { MANY = 70 };
static sem_t in, go;
static int calls[MANY], released[MANY], done;
static memhook_id ids[MANY];
static pid_t remover;
static void *kept;

static void before(const memhook_call *call, void *user)
{
    (void)user;
    if (call->block == kept) {
        sem_post(&in);
        await(&go);
    }
}

static void frees(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    intptr_t i = (intptr_t)user;
    if (call->block == kept) {
        SAME(released[i], 0);
        calls[i]++;
    }
    memhook_next_free(next, block);
}

static void release(void *user)
{
    released[(intptr_t)user]++;
}

static void *runs(void *unused)
{
    free(kept);
    return unused;
}

static void *removes(void *unused)
{
    __atomic_store_n(&remover, tid(), __ATOMIC_SEQ_CST);
    OK(memhook_unregister(ids[3]));
    __atomic_store_n(&done, 1, __ATOMIC_SEQ_CST);
    return unused;
}

int main(void)
{
    pthread_t runner, removing;
    memhook_id id;
    kept = malloc(10);
    for (intptr_t i = 0; i < MANY; i++) {
        memhook_interceptor t = { .struct_size = sizeof t, .free = frees, .release = release, .user = (void *)i };
        OK(memhook_register(&t, &ids[i]));
    }
    memhook_observer o = { .struct_size = sizeof o, .before_free = before };
    OK(memhook_observe(&o, &id));
    OK(pthread_create(&runner, NULL, runs, NULL));
    await(&in);
    OK(pthread_create(&removing, NULL, removes, NULL));
    while (hooks_in_force() == MANY + 1)
        sched_yield();
    while (!__atomic_load_n(&done, __ATOMIC_SEQ_CST) && !sleeps(remover))
        sched_yield();
    SAME(done, 0);
    SAME(released[3], 0);
    sem_post(&go);
    OK(pthread_join(removing, NULL));
    OK(pthread_join(runner, NULL));
    for (int i = 0; i < MANY; i++) {
        SAME(calls[i], 1);
        SAME(released[i], i == 3);
    }
    puts("released after the call");
}
