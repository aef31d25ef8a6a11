/* One thread is parked in a callback, another unregisters the hook: it returns after the callback. */
#include "check.h"

static sem_t in, go;
static memhook_id id;
static pid_t waiter;
static int done, ended, released;

static void park(void)
{
    sem_post(&in);
    await(&go);
    __atomic_store_n(&ended, 1, __ATOMIC_SEQ_CST);
}

static void after(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    if (call->requested == 4711)
        park();
}

static void *keep(memhook_next *next, size_t n, const memhook_call *call, void *user)
{
    after(call, NULL, user);
    return memhook_next_malloc(next, n);
}

static void release(void *user)
{
    (void)user;
    CHECK(__atomic_load_n(&ended, __ATOMIC_SEQ_CST));
    __atomic_fetch_add(&released, 1, __ATOMIC_SEQ_CST);
}

static void *runs(void *unused)
{
    free(malloc(4711));
    return unused;
}

static void *removes(void *unused)
{
    __atomic_store_n(&waiter, tid(), __ATOMIC_SEQ_CST);
    OK(memhook_unregister(id));
    CHECK(__atomic_load_n(&ended, __ATOMIC_SEQ_CST));
    SAME(released, 1);
    __atomic_store_n(&done, 1, __ATOMIC_SEQ_CST);
    return unused;
}

int main(void)
{
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = after, .release = release };
    memhook_interceptor t = { .struct_size = sizeof t, .malloc = keep, .release = release,
                              .flags = MEMHOOK_KEEPS_POINTERS };
    for (int round = 0; round < 2; round++) {
        pthread_t runner, remover;
        done = ended = released = 0;
        if (round == 0)
            OK(memhook_observe(&o, &id));
        else
            OK(memhook_register(&t, &id));
        OK(pthread_create(&runner, NULL, runs, NULL));
        await(&in);
        waiter = 0;
        OK(pthread_create(&remover, NULL, removes, NULL));
        while (in_force(id))
            sched_yield();
        /* It is out of the chain; its unregister either returns now or goes to sleep. */
        while (!__atomic_load_n(&done, __ATOMIC_SEQ_CST) && !sleeps(waiter))
            sched_yield();
        CHECK(!__atomic_load_n(&done, __ATOMIC_SEQ_CST));
        /* New calls do not meet the hook meanwhile: this would park. */
        free(malloc(4711));
        sem_post(&go);
        OK(pthread_join(remover, NULL));
        OK(pthread_join(runner, NULL));
        SAME(memhook_unregister(id), ESRCH);
    }
    puts("let go, ended, released, unregistered");
}
