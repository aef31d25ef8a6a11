/* Eight threads register and unregister at once while two allocate: no registration is lost. */
#include "check.h"

enum { THREADS = 8, EACH = 24 };
static pthread_barrier_t start, registered;
static memhook_id ids[THREADS][EACH];
static long told[THREADS][EACH];
static int stop;

static void after(const memhook_call *call, void *block, void *user)
{
    (void)block;
    if (call->requested == 4711)
        __atomic_fetch_add((long *)user, 1, __ATOMIC_RELAXED);
}

static void *pass(memhook_next *next, size_t n, const memhook_call *call, void *user)
{
    after(call, NULL, user);
    return memhook_next_malloc(next, n);
}

static void *allocate(void *unused)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
        free(malloc(100));
    return unused;
}

static void *work(void *number)
{
    int me = (int)(intptr_t)number;
    pthread_barrier_wait(&start);
    for (int i = 0; i < EACH; i++) {
        memhook_observer o = { .struct_size = sizeof o, .priority = i % 3, .after_alloc = after,
                               .user = &told[me][i] };
        memhook_interceptor t = { .struct_size = sizeof t, .priority = i % 5, .malloc = pass,
                                  .flags = MEMHOOK_KEEPS_POINTERS, .user = &told[me][i] };
        if (i % 2)
            OK(memhook_observe(&o, &ids[me][i]));
        else
            OK(memhook_register(&t, &ids[me][i]));
    }
    pthread_barrier_wait(&registered);
    pthread_barrier_wait(&registered);
    /* Another thread's hooks. */
    for (int i = 0; i < EACH; i++)
        OK(memhook_unregister(ids[(me + 1) % THREADS][i]));
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS], allocating[2];
    pthread_barrier_init(&start, NULL, THREADS);
    pthread_barrier_init(&registered, NULL, THREADS + 1);
    for (int i = 0; i < 2; i++)
        OK(pthread_create(&allocating[i], NULL, allocate, NULL));
    for (int i = 0; i < THREADS; i++)
        OK(pthread_create(&threads[i], NULL, work, (void *)(intptr_t)i));
    pthread_barrier_wait(&registered);

    SAME(hooks_in_force(), THREADS * EACH);
    for (int t = 0; t < THREADS; t++)
        for (int i = 0; i < EACH; i++)
            CHECK(in_force(ids[t][i]));
    static memhook_hook_info infos[THREADS * EACH];
    size_t count;
    OK(memhook_chain_list(0, infos, sizeof infos[0], THREADS * EACH, &count));
    for (size_t i = 1; i < count; i++)
        CHECK(infos[i - 1].priority >= infos[i].priority);
    free(malloc(4711));
    for (int t = 0; t < THREADS; t++)
        for (int i = 0; i < EACH; i++)
            SAME(told[t][i], 1);

    pthread_barrier_wait(&registered);
    for (int i = 0; i < THREADS; i++)
        OK(pthread_join(threads[i], NULL));
    SAME(hooks_in_force(), 0);
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++)
        OK(pthread_join(allocating[i], NULL));
    printf("%d hooks came and went\n", THREADS * EACH);
}
