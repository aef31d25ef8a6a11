/* Two chains of three observers and two interceptors are swapped under load: every call meets
 * all hooks of one chain and none of the other. */
#include "check.h"

static __thread unsigned met;
static int stop;
static long calls[2];

static void after(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block;
    met |= 1u << (intptr_t)user;
}

static void *pass(memhook_next *next, size_t n, const memhook_call *call, void *user)
{
    (void)call;
    met |= 1u << (intptr_t)user;
    return memhook_next_malloc(next, n);
}

static void *work(void *unused)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        met = 0;
        void *p = malloc(200);
        CHECK(met == 0x1f || met == 0x1f00);
        __atomic_fetch_add(&calls[met == 0x1f00], 1, __ATOMIC_RELAXED);
        free(p);
    }
    return unused;
}

static memhook_chain make(int first)
{
    memhook_chain chain;
    memhook_id id;
    OK(memhook_chain_create(&chain));
    for (int i = 0; i < 5; i++) {
        void *user = (void *)(intptr_t)(first + i);
        memhook_observer o = { .struct_size = sizeof o, .after_alloc = after, .user = user };
        memhook_interceptor t = { .struct_size = sizeof t, .malloc = pass, .user = user };
        if (i < 3)
            OK(memhook_chain_observe(chain, &o, &id));
        else
            OK(memhook_chain_register(chain, &t, &id));
    }
    return chain;
}

int main(void)
{
    pthread_t threads[4];
    memhook_chain other = make(0), former;
    OK(memhook_chain_swap(other, NULL));
    other = make(8);
    for (int i = 0; i < 4; i++)
        OK(pthread_create(&threads[i], NULL, work, NULL));
    for (int swaps = 0; swaps < 2000 || !calls[0] || !calls[1]; swaps++) {
        OK(memhook_chain_swap(other, &former));
        other = former;
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 4; i++)
        OK(pthread_join(threads[i], NULL));
    puts("no mixture");
}
