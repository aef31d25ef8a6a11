/* Memory of a hook in each thread: counted there, summed over all, also over threads that have ended. */
#include "check.h"
#include <stdatomic.h>

enum { WAVES = 50, THREADS = 4, BLOCKS = 1000 };

static memhook_local key;

struct counts {
    _Atomic uint64_t blocks;
    uint64_t thread;
    uint64_t threads;
};

static void count(const memhook_call *call, void *block, void *user)
{
    struct counts *mine = memhook_local_get(key);
    (void)call, (void)block, (void)user;
    if (mine == NULL)
        return;
    if (mine->thread != memhook_thread()) {
        mine->thread = memhook_thread();
        mine->threads++;
    }
    atomic_store_explicit(&mine->blocks, atomic_load_explicit(&mine->blocks, memory_order_relaxed) + 1,
                          memory_order_relaxed);
}

static void *work(void *unused)
{
    for (int i = 0; i < BLOCKS; i++) {
        void *volatile block = malloc(16);
        free(block);
    }
    return unused;
}

struct sums {
    uint64_t blocks, threads, places;
};

static int add(void *memory, uint64_t thread, void *argument)
{
    struct counts *counts = memory;
    struct sums *sums = argument;
    CHECK((uintptr_t)memory % 128 == 0 && thread != 0);
    sums->blocks += atomic_load(&counts->blocks);
    sums->threads += counts->threads;
    sums->places++;
    return 0;
}

static int stop(void *memory, uint64_t thread, void *argument)
{
    (void)memory, (void)thread;
    return ++*(int *)argument == 1 ? 77 : 0;
}

int main(void)
{
    static const memhook_observer observer = { .struct_size = sizeof observer, .after_alloc = count };
    memhook_id id;
    memhook_local other;
    int times = 0;
    struct sums sums = { 0, 0, 0 };

    CHECK(memhook_local_create(0, &key) == EINVAL && memhook_local_create(8, NULL) == EINVAL);
    CHECK(memhook_local_create(((size_t)1 << 30) + 1, &key) == EINVAL && key == 0);
    CHECK(memhook_local_get(0) == NULL && memhook_local_get(1) == NULL && memhook_local_get(65) == NULL);
    CHECK(memhook_local_each(1, add, &sums) == EINVAL);
    CHECK(memhook_local_create(sizeof(struct counts), &key) == 0 && key != 0);
    CHECK(memhook_local_each(key, NULL, NULL) == EINVAL);
    CHECK(memhook_thread() != 0 && memhook_thread() == memhook_thread());

    CHECK(memhook_observe(&observer, &id) == 0);
    for (int wave = 0; wave < WAVES; wave++) {
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++)
            CHECK(pthread_create(&threads[i], NULL, work, NULL) == 0);
        for (int i = 0; i < THREADS; i++)
            CHECK(pthread_join(threads[i], NULL) == 0);
    }
    CHECK(memhook_unregister(id) == 0);
    CHECK(memhook_local_each(key, add, &sums) == 0);
    printf("%s\n", sums.blocks >= (uint64_t)WAVES * THREADS * BLOCKS ? "every block counted" : "blocks missed");
    printf("%s\n", sums.threads >= WAVES * THREADS ? "every thread told apart" : "threads taken for others");
    printf("%s\n", sums.places < WAVES * THREADS / 2 ? "memory of ended threads used again" : "memory grows");
    CHECK(memhook_local_each(key, stop, &times) == 77 && times == 1);

    for (int keys = 1; keys < 64; keys++)
        CHECK(memhook_local_create(8, &other) == 0 && memhook_local_get(other) != memhook_local_get(key));
    CHECK(memhook_local_create(8, &other) == ENOSPC);
    return 0;
}
