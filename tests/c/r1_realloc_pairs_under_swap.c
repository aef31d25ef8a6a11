/* Two sets of observers are swapped under threads that reallocate: what one set announced, the
 * same set ends. Once with observers alone, once with a passing interceptor in each set. */
#include "check.h"

static __thread int announced;
static long pairs[3], aborts[3];
static int stop;

static void begin(const memhook_call *call, void *user)
{
    (void)call;
    SAME(announced, 0);
    announced = *(int *)user;
}

static void commit(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block;
    SAME(announced, *(int *)user);
    announced = 0;
    __atomic_fetch_add(&pairs[*(int *)user], 1, __ATOMIC_RELAXED);
}

static void abandon(const memhook_call *call, void *user)
{
    (void)call;
    SAME(announced, *(int *)user);
    announced = 0;
    __atomic_fetch_add(&aborts[*(int *)user], 1, __ATOMIC_RELAXED);
}

static void *pass(memhook_next *next, void *block, size_t n, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    return memhook_next_realloc(next, block, n);
}

static void *work(void *unused)
{
    size_t n = 1;
    void *p = malloc(n);
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        n = n % 5000 + 37;
        p = realloc(p, n);
        SAME(announced, 0);
        SAME((uintptr_t)realloc(p, SIZE_MAX / 2 + 5), 0);
        SAME(announced, 0);
    }
    free(p);
    return unused;
}

static memhook_chain set(int *number, int with_interceptor)
{
    memhook_chain chain;
    memhook_id id;
    memhook_observer table = { .struct_size = sizeof table, .user = number,
                               .realloc_begin = begin, .realloc_commit = commit,
                               .realloc_abort = abandon };
    memhook_interceptor passing = { .struct_size = sizeof passing, .realloc = pass,
                                    .flags = MEMHOOK_KEEPS_POINTERS };
    OK(memhook_chain_create(&chain));
    OK(memhook_chain_observe(chain, &table, &id));
    if (with_interceptor)
        OK(memhook_chain_register(chain, &passing, &id));
    return chain;
}

int main(void)
{
    static int one = 1, two = 2;
    for (int with = 0; with < 2; with++) {
        pthread_t threads[3];
        memhook_chain other = set(&one, with), former;
        OK(memhook_chain_swap(other, &former));
        OK(memhook_chain_destroy(former));
        other = set(&two, with);
        stop = 0;
        memset(pairs, 0, sizeof pairs);
        memset(aborts, 0, sizeof aborts);
        for (int i = 0; i < 3; i++)
            OK(pthread_create(&threads[i], NULL, work, NULL));
        for (int swaps = 0; swaps < 1000 || !pairs[1] || !pairs[2] || !aborts[1] || !aborts[2]; swaps++) {
            OK(memhook_chain_swap(other, &former));
            other = former;
        }
        __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
        for (int i = 0; i < 3; i++)
            OK(pthread_join(threads[i], NULL));
        OK(memhook_chain_destroy(other));
        memhook_chain empty;
        OK(memhook_chain_create(&empty));
        OK(memhook_chain_swap(empty, NULL));
        SAME(hooks_in_force(), 0);
    }
    puts("every begin was ended by its own set");
}
