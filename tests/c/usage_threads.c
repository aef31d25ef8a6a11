/* Usage with threads: totals are exact, whoever frees whose block; the peak within its bound. */
#include "check.h"
#include <stdatomic.h>

enum { THREADS = 8, ROUNDS = 8, BLOCKS = 2000 };

static void *blocks[THREADS][BLOCKS];
static pthread_barrier_t step;

static size_t size_of(int thread, int round, int i)
{
    return (size_t)(1 + (thread * 7919 + round * 104729 + i * 31) % 3000);
}

/* Makes its own blocks, resizes those of one neighbour, frees those of the other. */
static void *work(void *number)
{
    int me = (int)(intptr_t)number;
    for (int round = 0; round < ROUNDS; round++) {
        for (int i = 0; i < BLOCKS; i++)
            blocks[me][i] = i % 4 ? malloc(size_of(me, round, i)) : calloc(size_of(me, round, i), 1);
        pthread_barrier_wait(&step);
        int other = (me + 1) % THREADS;
        for (int i = 0; i < BLOCKS; i += 5)
            blocks[other][i] = realloc(blocks[other][i], 3500);
        pthread_barrier_wait(&step);
        pthread_barrier_wait(&step);
        other = (me + 3) % THREADS;
        for (int i = 0; i < BLOCKS; i++)
            free(blocks[other][i]);
        pthread_barrier_wait(&step);
    }
    return NULL;
}

static memhook_usage read_of(memhook_id id)
{
    memhook_usage usage = {.struct_size = sizeof usage};
    OK(memhook_usage_read(id, &usage));
    return usage;
}

static pthread_t threads[THREADS];

/* All threads wait at a barrier: what they have in use then is known. */
static void totals(size_t batch)
{
    memhook_usage_options options = {.struct_size = sizeof options, .batch = batch};
    memhook_id id;
    pthread_barrier_init(&step, NULL, THREADS + 1);
    for (intptr_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, (void *)i);
    /* Of what is made in the first round nobody knows what was made before this. */
    OK(memhook_usage_start(&options, &id));
    uint64_t made = 0, most = 0, grown = 0;
    for (int round = 0; round < ROUNDS; round++) {
        uint64_t now = 0;
        pthread_barrier_wait(&step);
        pthread_barrier_wait(&step);
        if (round == 0)
            OK(memhook_usage_reset(id)); /* what the first round made is in use, or not known */
        memhook_usage usage = read_of(id);
        for (int t = 0; t < THREADS; t++)
            for (int i = 0; i < BLOCKS; i++) {
                size_t bytes = size_of(t, round, i);
                now += i % 5 ? bytes : 3500;
                made += round == 0 ? 0 : bytes;
                grown += round == 0 || i % 5 ? 0 : 3500 - bytes;
            }
        most = now > most ? now : most;
        if (round > 0) {
            SAME(usage.live_bytes, now);
            SAME(usage.live_blocks, THREADS * BLOCKS);
            SAME(usage.malloc.bytes + usage.calloc.bytes, made);
            SAME(usage.calloc.calls, (uint64_t)round * THREADS * BLOCKS / 4);
        }
        pthread_barrier_wait(&step);
        pthread_barrier_wait(&step);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    memhook_usage usage = {.struct_size = sizeof usage};
    OK(memhook_usage_stop(id, &usage));
    SAME(usage.malloc.bytes + usage.calloc.bytes, made);
    SAME(usage.realloc.calls, (ROUNDS - 1) * THREADS * BLOCKS / 5);
    SAME(usage.realloc.bytes, grown);
    SAME(usage.live_bytes, 0);
    SAME(usage.live_blocks, 0);
    SAME(usage.peak_error, usage.threads * (batch ? batch : 65536));
    CHECK(usage.threads >= THREADS);
    uint64_t off = usage.peak > most ? usage.peak - most : most - usage.peak;
    CHECK(off <= usage.peak_error);
    printf("totals exact, peak within %s\n", batch ? "some bytes" : "its bound");
}

static void *second(void *bytes)
{
    void *block = malloc((size_t)bytes);
    memset(block, 1, 1);
    free(block);
    return NULL;
}

/* The thread that was alone does nothing more when the second comes: what it has in use counts. */
static void the_first_is_silent(void)
{
    pthread_t thread;
    memhook_id id;
    OK(memhook_usage_start(NULL, &id));
    void *block = malloc(10000000), *more = malloc(5000000);
    free(more);
    OK(memhook_usage_reset(id));
    SAME(read_of(id).peak, 10000000);
    pthread_create(&thread, NULL, second, (void *)(intptr_t)8000000);
    pthread_join(thread, NULL);
    memhook_usage usage = read_of(id);
    CHECK(usage.peak >= 18000000 && usage.peak - 18000000 <= usage.peak_error);
    SAME(usage.peak_error, usage.threads * 65536);

    /* And what it frees and makes afterwards. */
    free(block);
    pthread_create(&thread, NULL, second, (void *)(intptr_t)17000000);
    pthread_join(thread, NULL);
    CHECK(read_of(id).peak <= 18000000 + usage.peak_error);
    block = malloc(3000000);
    pthread_create(&thread, NULL, second, (void *)(intptr_t)17000000);
    pthread_join(thread, NULL);
    usage = read_of(id);
    CHECK(usage.peak + usage.peak_error >= 20000000 && usage.peak <= 20000000 + usage.peak_error);
    free(block);
    OK(memhook_usage_stop(id, NULL));
    puts("the first is silent");
}

static atomic_int running;

static void *churn(void *unused)
{
    while (atomic_load(&running)) {
        void *block = malloc(100);
        block = realloc(block, 5000);
        free(block);
    }
    return unused;
}

/* Readings, resets, starts and stops while threads allocate. */
static void read_while_running(void)
{
    enum { READERS = 100 };
    memhook_id id;
    OK(memhook_usage_start(NULL, &id));
    atomic_store(&running, 1);
    for (int i = 0; i < 3; i++)
        pthread_create(&threads[i], NULL, churn, NULL);
    uint64_t last = 0;
    for (int i = 0; i < READERS; i++) {
        memhook_usage usage = read_of(id);
        CHECK(usage.total >= last);
        CHECK(usage.live_bytes < 100000);
        last = usage.total;
        memhook_id other;
        OK(memhook_usage_start(NULL, &other));
        sched_yield();
        memhook_usage also = {.struct_size = sizeof also};
        OK(memhook_usage_reset(other));
        OK(memhook_usage_stop(other, &also));
        CHECK(also.live_bytes < 100000 && also.peak < 10000000);
    }
    atomic_store(&running, 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    memhook_usage usage = {.struct_size = sizeof usage};
    OK(memhook_usage_stop(id, &usage));
    SAME(usage.malloc.bytes / 100, usage.malloc.calls);
    SAME(usage.realloc.calls * 4900, usage.realloc.bytes);
    puts("read while running");
}

enum { PLACES = 64, HANDED = 1 << 16 };
static _Atomic(void *) places[PLACES];

/* Hands blocks on as long as there are places. */
static void *hand_on(void *unused)
{
    for (int i = 0; atomic_load(&running);) {
        void *none = NULL, *block = malloc(HANDED);
        while (atomic_load(&running) && !atomic_compare_exchange_weak(&places[i], &none, block))
            none = NULL;
        if (none == NULL && atomic_load(&running))
            i = (i + 1) % PLACES;
    }
    return unused;
}

static void *take_over(void *unused)
{
    for (int i = 0; atomic_load(&running);) {
        void *block = atomic_exchange(&places[i], NULL);
        free(block);
        i = block == NULL ? i : (i + 1) % PLACES;
    }
    return unused;
}

/* One thread makes what another frees: what both have in use is read at two moments, and is no sum. */
static void read_while_handing_on(void)
{
    enum { READINGS = 5000, MOST = (PLACES + 2) * HANDED };
    memhook_id id;
    OK(memhook_usage_start(NULL, &id));
    atomic_store(&running, 1);
    pthread_create(&threads[0], NULL, take_over, NULL);
    pthread_create(&threads[1], NULL, hand_on, NULL);
    for (int i = 0; i < READINGS; i++) {
        memhook_usage usage = read_of(id);
        CHECK(usage.peak <= MOST + usage.peak_error);
        CHECK(usage.live_bytes <= MOST + 2 * usage.peak_error);
    }
    atomic_store(&running, 0);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    OK(memhook_usage_stop(id, NULL));
    puts("read while handing on");
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 4096);
    puts("begin");
    totals(0);
    totals(1);
    the_first_is_silent();
    read_while_running();
    read_while_handing_on();
    return 0;
}
