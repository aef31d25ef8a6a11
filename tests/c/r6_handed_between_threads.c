/* Blocks pass from thread to thread while two accounting hooks come and go, in changing order. */
#include "check.h"

enum { SLOTS = 512, THREADS = 4, ROUNDS = 60 };
static void *slots[SLOTS];
static int stop;

static void check_and_free(void *p)
{
    if (!p)
        return;
    size_t n = *(size_t *)p;
    SAME(((unsigned char *)p)[n - 1], (unsigned char)(n * 7));
    CHECK(malloc_usable_size(p) >= n);
    if (n % 3 == 0) {
        p = realloc(p, n + 3000);
        SAME(*(size_t *)p, n);
        SAME(((unsigned char *)p)[n - 1], (unsigned char)(n * 7));
    }
    free(p);
}

static void *work(void *seed)
{
    unsigned long random = (unsigned long)(intptr_t)seed * 7919 + 1;
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        size_t n = 16 + (random >> 33) % 700;
        void *p;
        switch ((random >> 50) % 5) {
        case 0: p = memalign((size_t)16 << (random >> 60), n); break;
        case 1: p = calloc(1, n); break;
        case 2: p = realloc(NULL, n); break;
        case 3: p = realloc(malloc(8), n); break;
        default: p = malloc(n);
        }
        CHECK(p);
        *(size_t *)p = n;
        ((unsigned char *)p)[n - 1] = (unsigned char)(n * 7);
        check_and_free(__atomic_exchange_n(&slots[(random >> 20) % SLOTS], p, __ATOMIC_ACQ_REL));
    }
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    static struct account accounts[ROUNDS][2];
    memhook_id ids[ROUNDS][2];
    for (int i = 0; i < THREADS; i++)
        OK(pthread_create(&threads[i], NULL, work, (void *)(intptr_t)i));
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < 2; i++) {
            accounts[round][i].tag = (uint32_t)(1000 + round * 2 + i);
            memhook_interceptor t = account_table(&accounts[round][i], "account", round % 3 - i);
            OK(memhook_register(&t, &ids[round][i]));
        }
        for (int i = 0; i < 30 || __atomic_load_n(&accounts[round][0].live, __ATOMIC_RELAXED) < 20; i++)
            sched_yield();
        int first = round & 1;
        int result = memhook_unregister(ids[round][first]);
        CHECK(result == 0 || result == EINPROGRESS);
        result = memhook_unregister(ids[round][1 - first]);
        CHECK(result == 0 || result == EINPROGRESS);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < THREADS; i++)
        OK(pthread_join(threads[i], NULL));
    for (int i = 0; i < SLOTS; i++)
        check_and_free(slots[i]);
    for (int round = 0; round < ROUNDS; round++)
        for (int i = 0; i < 2; i++) {
            SAME(accounts[round][i].live, 0);
            SAME(accounts[round][i].released, 1);
        }
    printf("%d hooks came, owned blocks, and went\n", 2 * ROUNDS);
}
