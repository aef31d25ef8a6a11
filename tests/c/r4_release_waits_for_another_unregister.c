/* A thread is inside two interceptors, and two others unregister one each. The release callback of
 * one waits until the unregister of the other has returned. */
#include "check.h"

static sem_t in, go, b_gone;
static memhook_id ids[2];
static pid_t waiters[2];

static void *pass(memhook_next *next, size_t n, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    return memhook_next_malloc(next, n);
}

static void *park(memhook_next *next, size_t n, const memhook_call *call, void *user)
{
    if (n == 4711) {
        sem_post(&in);
        await(&go);
    }
    return pass(next, n, call, user);
}

static void release(void *user)
{
    if (user == &ids[0])
        await(&b_gone);
}

static void *runs(void *unused)
{
    free(malloc(4711));
    return unused;
}

static void *removes(void *id)
{
    intptr_t me = (memhook_id *)id - ids;
    __atomic_store_n(&waiters[me], tid(), __ATOMIC_SEQ_CST);
    OK(memhook_unregister(ids[me]));
    if (me == 1)
        sem_post(&b_gone);
    return NULL;
}

int main(void)
{
    for (int round = 0; round < 20; round++) {
        pthread_t runner, removers[2];
        for (int i = 0; i < 2; i++) {
            memhook_id *id = &ids[(i + round) % 2];
            memhook_interceptor t = { .struct_size = sizeof t, .malloc = i ? pass : park,
                                      .flags = MEMHOOK_KEEPS_POINTERS, .release = release, .user = id };
            OK(memhook_register(&t, id));
        }
        OK(pthread_create(&runner, NULL, runs, NULL));
        await(&in);
        waiters[0] = waiters[1] = 0;
        for (int i = 0; i < 2; i++) {
            int which = (i + round / 2) % 2;
            OK(pthread_create(&removers[which], NULL, removes, &ids[which]));
            while (in_force(ids[which]))
                sched_yield();
            while (!sleeps(waiters[which]))
                sched_yield();
        }
        sem_post(&go);
        for (int i = 0; i < 2; i++)
            OK(pthread_join(removers[i], NULL));
        OK(pthread_join(runner, NULL));
    }
    puts("twenty releases waited");
}
