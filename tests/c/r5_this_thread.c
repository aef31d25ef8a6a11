/* Hooks of one thread, side by side with a hook for all, and blocks that leave the thread. */
#include "check.h"

enum { THREADS = 4 };
static long own[THREADS], all, wrong;
static __thread int me = -1;
static pthread_barrier_t together;
static void *handed[THREADS];
static struct account accounts[THREADS];

static void mine(const memhook_call *call, void *block, void *user)
{
    (void)block;
    if (call->requested != 4711)
        return;
    if ((intptr_t)user != me)
        __atomic_fetch_add(&wrong, 1, __ATOMIC_RELAXED);
    else
        own[me]++;
}

static void any(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    if (call->requested == 4711)
        __atomic_fetch_add(&all, 1, __ATOMIC_RELAXED);
}

static void *work(void *number)
{
    me = (int)(intptr_t)number;
    memhook_id id, account;
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = mine, .user = number,
                           .flags = MEMHOOK_THIS_THREAD };
    accounts[me].tag = 100 + (uint32_t)me;
    memhook_interceptor t = account_table(&accounts[me], "own", 0);
    t.flags = MEMHOOK_THIS_THREAD;
    OK(memhook_observe(&o, &id));
    OK(memhook_register(&t, &account));
    pthread_barrier_wait(&together);
    for (int i = 0; i < 500; i++)
        free(malloc(4711));
    handed[me] = malloc(1000 + (size_t)me);
    pthread_barrier_wait(&together);
    SAME(accounts[me].live, 1);
    SAME(own[me], 500);
    pthread_barrier_wait(&together);
    free(handed[(me + 1) % THREADS]);
    pthread_barrier_wait(&together);
    SAME(accounts[me].live, 0);
    SAME(live(account), 0);
    OK(memhook_unregister(id));
    OK(memhook_unregister(account));
    SAME(accounts[me].released, 1);
    free(malloc(4711));
    SAME(own[me], 500);
    return NULL;
}

static void *leaves_its_hook(void *unused)
{
    memhook_id id;
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = mine, .user = (void *)99,
                           .flags = MEMHOOK_THIS_THREAD };
    OK(memhook_observe(&o, &id));
    return unused;
}

static void *allocates(void *unused)
{
    free(malloc(4711));
    return unused;
}

int main(void)
{
    pthread_t threads[THREADS];
    memhook_id id;
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = any };
    pthread_barrier_init(&together, NULL, THREADS);
    OK(memhook_observe(&o, &id));
    for (int i = 0; i < THREADS; i++)
        OK(pthread_create(&threads[i], NULL, work, (void *)(intptr_t)i));
    for (int i = 0; i < THREADS; i++)
        OK(pthread_join(threads[i], NULL));
    SAME(wrong, 0);
    SAME(all, THREADS * 501);
    /* A thread ends with its hook in force: no later thread inherits it. */
    for (int i = 0; i < 50; i++) {
        OK(pthread_create(&threads[0], NULL, i ? allocates : leaves_its_hook, NULL));
        OK(pthread_join(threads[0], NULL));
    }
    SAME(wrong, 0);
    puts("to each thread its own");
}
