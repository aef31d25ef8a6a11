/* A hook's callbacks are replaced, under load and inside a callback: every call runs through the
 * former ones or through the new ones, never through neither. */
#include "check.h"

static __thread int met;
static int stop, replace_inside;
static memhook_id observer, interceptor;
static memhook_observer observers[2];
static memhook_interceptor interceptors[2];

static void after(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    if (call->requested == 4711)
        met += 1;
}

static void *pass(memhook_next *next, size_t n, const memhook_call *call, void *user)
{
    (void)user;
    if (call->requested == 4711)
        met += 100;
    return memhook_next_malloc(next, n);
}

static void outer(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    if (call->requested == 4711 && __atomic_exchange_n(&replace_inside, 0, __ATOMIC_RELAXED))
        SAME(memhook_replace_observer(observer, &observers[1]), EINPROGRESS);
}

static void *outer_malloc(memhook_next *next, size_t n, const memhook_call *call, void *user)
{
    (void)user;
    if (call->requested == 4711 && __atomic_load_n(&replace_inside, __ATOMIC_RELAXED))
        SAME(memhook_replace(interceptor, &interceptors[1]), EINPROGRESS);
    return memhook_next_malloc(next, n);
}

static void once(void)
{
    met = 0;
    void *p = malloc(4711);
    SAME(met, 101);
    free(p);
}

static void *work(void *unused)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
        once();
    return unused;
}

int main(void)
{
    pthread_t threads[3];
    memhook_id id;
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = outer, .priority = 5 };
    memhook_interceptor t = { .struct_size = sizeof t, .malloc = outer_malloc, .priority = 5,
                              .flags = MEMHOOK_KEEPS_POINTERS };
    OK(memhook_observe(&o, &id));
    OK(memhook_register(&t, &id));
    for (int i = 0; i < 2; i++) {
        observers[i] = (memhook_observer){ .struct_size = sizeof o, .after_alloc = after };
        interceptors[i] = (memhook_interceptor){ .struct_size = sizeof t, .malloc = pass,
                                                 .flags = MEMHOOK_KEEPS_POINTERS };
    }
    OK(memhook_observe(&observers[0], &observer));
    OK(memhook_register(&interceptors[0], &interceptor));
    once();
    replace_inside = 1;
    once();
    once();
    for (int i = 0; i < 3; i++)
        OK(pthread_create(&threads[i], NULL, work, NULL));
    for (int i = 0; i < 2000; i++) {
        OK(memhook_replace_observer(observer, &observers[i % 2]));
        OK(memhook_replace(interceptor, &interceptors[i % 2]));
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 3; i++)
        OK(pthread_join(threads[i], NULL));
    puts("the former or the new, never neither");
}
