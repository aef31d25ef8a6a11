/* One thread is parked in a callback. Another replaces the hook, or swaps the chain, with and without keeping the
 * former: it returns after the callback, and new calls meet the new hooks meanwhile. */
#include "check.h"

static sem_t in, go;
static memhook_id id;
static memhook_chain chain, former;
static pid_t waiter;
static int done, ended, released, met_new;
static int (*change)(void);

static void park(const memhook_call *call)
{
    if (call->requested != 4711)
        return;
    sem_post(&in);
    await(&go);
    __atomic_store_n(&ended, 1, __ATOMIC_SEQ_CST);
}

static void after(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    park(call);
}

static void *keep(memhook_next *next, size_t n, const memhook_call *call, void *user)
{
    (void)user;
    park(call);
    return memhook_next_malloc(next, n);
}

static void after_new(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    if (call->requested == 4711)
        __atomic_fetch_add(&met_new, 1, __ATOMIC_SEQ_CST);
}

static void *keep_new(memhook_next *next, size_t n, const memhook_call *call, void *user)
{
    after_new(call, NULL, user);
    return memhook_next_malloc(next, n);
}

static void release(void *user)
{
    (void)user;
    CHECK(__atomic_load_n(&ended, __ATOMIC_SEQ_CST));
    __atomic_fetch_add(&released, 1, __ATOMIC_SEQ_CST);
}

static memhook_observer old_observer = { .struct_size = sizeof old_observer, .after_alloc = after, .release = release };
static memhook_observer new_observer = { .struct_size = sizeof new_observer, .after_alloc = after_new };
static memhook_interceptor old_interceptor = { .struct_size = sizeof old_interceptor, .malloc = keep,
                                               .release = release, .flags = MEMHOOK_KEEPS_POINTERS };
static memhook_interceptor new_interceptor = { .struct_size = sizeof new_interceptor, .malloc = keep_new,
                                               .flags = MEMHOOK_KEEPS_POINTERS };

static int replace_observer(void)
{
    return memhook_replace_observer(id, &new_observer);
}

static int replace_interceptor(void)
{
    return memhook_replace(id, &new_interceptor);
}

static int swap_keeping(void)
{
    return memhook_chain_swap(chain, &former);
}

static int swap_away(void)
{
    return memhook_chain_swap(chain, NULL);
}

static void *runs(void *unused)
{
    free(malloc(4711));
    return unused;
}

static void *changes(void *unused)
{
    __atomic_store_n(&waiter, tid(), __ATOMIC_SEQ_CST);
    OK(change());
    CHECK(__atomic_load_n(&ended, __ATOMIC_SEQ_CST));
    __atomic_store_n(&done, 1, __ATOMIC_SEQ_CST);
    return unused;
}

int main(void)
{
    int (*const all[])(void) = { replace_observer, replace_interceptor, swap_keeping, swap_away };
    for (int round = 0; round < 8; round++) {
        pthread_t runner, changer;
        memhook_id fresh = 0;
        int interceptor = round == 1 || round >= 6;
        change = all[round < 4 ? round : 2 + round % 2];
        done = ended = released = met_new = 0, waiter = 0, former = 0;
        if (interceptor)
            OK(memhook_register(&old_interceptor, &id));
        else
            OK(memhook_observe(&old_observer, &id));
        if (round >= 2) {
            OK(memhook_chain_create(&chain));
            if (round % 4 < 2)
                OK(memhook_chain_register(chain, &new_interceptor, &fresh));
            else
                OK(memhook_chain_observe(chain, &new_observer, &fresh));
        }
        OK(pthread_create(&runner, NULL, runs, NULL));
        await(&in);
        OK(pthread_create(&changer, NULL, changes, NULL));
        /* The new hooks are in force while the change is waited for. */
        int met = 0;
        while (!met) {
            if (fresh ? in_force(fresh) : __atomic_load_n(&waiter, __ATOMIC_SEQ_CST) && sleeps(waiter)) {
                free(malloc(4711));
                met = __atomic_load_n(&met_new, __ATOMIC_SEQ_CST);
                CHECK(met);
            }
            sched_yield();
        }
        while (!__atomic_load_n(&done, __ATOMIC_SEQ_CST) && !sleeps(waiter))
            sched_yield();
        CHECK(!__atomic_load_n(&done, __ATOMIC_SEQ_CST));
        SAME(released, 0);
        sem_post(&go);
        OK(pthread_join(changer, NULL));
        OK(pthread_join(runner, NULL));
        SAME(released, change != swap_keeping);
        if (former)
            OK(memhook_chain_destroy(former));
        SAME(released, 1);
        OK(memhook_unregister(fresh ? fresh : id));
        SAME(hooks_in_force(), 0);
    }
    puts("replaced and swapped after the callback");
}
