/* What grows with what: changes of hooks beside many allocating threads and in long chains, what a call costs
 * in a long chain, memory for each thread and for each block. Prints tables. Linked with the library. */
#define _GNU_SOURCE
#include <malloc.h>
#include <memhook.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;
static atomic_int stop, started;

static uint64_t now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void check(int error, const char *what)
{
    if (error) {
        memhook_log("%s: error %d\n", what, error);
        exit(1);
    }
}

static void after_alloc(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block, (void)user;
}

static void *pass_malloc(memhook_next *next, size_t size, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    return memhook_next_malloc(next, size);
}

static void pass_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    memhook_next_free(next, block);
}

static memhook_observer observer(void)
{
    return (memhook_observer){.struct_size = sizeof(memhook_observer), .after_alloc = after_alloc};
}

static memhook_interceptor interceptor(void)
{
    return (memhook_interceptor){.struct_size = sizeof(memhook_interceptor), .malloc = pass_malloc,
                                 .free = pass_free};
}

static void *allocate(void *nothing)
{
    atomic_fetch_add(&started, 1);
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        void *blocks[16];
        for (int i = 0; i < 16; i++)
            blocks[i] = do_malloc(64);
        for (int i = 0; i < 16; i++)
            do_free(blocks[i]);
    }
    return nothing;
}

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;
    return x < y ? -1 : x > y;
}

static void say_times(const char *what, uint64_t *times, int n)
{
    qsort(times, (size_t)n, sizeof *times, ascending);
    printf("  %-26s %10.1f %10.1f %10.1f\n", what, times[n / 2] / 1e3, times[(int)(n * 0.99)] / 1e3,
           times[n - 1] / 1e3);
}

/* So long that other threads run, and are in the hooks when these go. */
static void let_them_enter(void)
{
    usleep(2000);
}

enum { TIMES = 300 };
static uint64_t put_in[TIMES], taken_out[TIMES];

static void measure_changes(int n)
{
    for (int i = 0; i < n; i++) {
        memhook_observer table = observer();
        memhook_id id;
        uint64_t before = now();
        check(memhook_observe(&table, &id), "observe");
        put_in[i] = now() - before;
        let_them_enter();
        uint64_t between = now();
        check(memhook_unregister(id), "unregister");
        taken_out[i] = now() - between;
    }
    say_times("observe", put_in, n);
    say_times("unregister (observer)", taken_out, n);
    for (int i = 0; i < n; i++) {
        memhook_interceptor table = interceptor();
        table.flags = MEMHOOK_KEEPS_POINTERS;
        memhook_id id;
        uint64_t before = now();
        check(memhook_register(&table, &id), "register");
        put_in[i] = now() - before;
        let_them_enter();
        uint64_t between = now();
        check(memhook_unregister(id), "unregister");
        taken_out[i] = now() - between;
    }
    say_times("register", put_in, n);
    say_times("unregister (interceptor)", taken_out, n);
    for (int i = 0; i < n; i++) {
        memhook_chain chain, former;
        check(memhook_chain_copy(&chain), "copy");
        let_them_enter();
        uint64_t before = now();
        check(memhook_chain_swap(chain, &former), "swap");
        put_in[i] = now() - before;
        check(memhook_chain_destroy(former), "destroy");
    }
    say_times("swap of the chain", put_in, n);
    for (int i = 0; i < n; i++) {
        let_them_enter();
        uint64_t before = now();
        check(memhook_synchronize(), "synchronize");
        put_in[i] = now() - before;
    }
    say_times("grace period", put_in, n);
}

static void beside_threads(int count)
{
    static pthread_t threads[512];
    pthread_attr_t small;
    pthread_attr_init(&small);
    pthread_attr_setstacksize(&small, 128 * 1024);
    /* One hook all the time, or the threads' calls would not come here. */
    memhook_observer table = observer();
    memhook_id id;
    check(memhook_observe(&table, &id), "observe");
    atomic_store(&stop, 0);
    atomic_store(&started, 0);
    for (int i = 0; i < count; i++)
        check(pthread_create(&threads[i], &small, allocate, NULL), "pthread_create");
    while (atomic_load(&started) != count)
        usleep(1000);
    printf("beside %d allocating threads (µs)    median        p99    maximum\n", count);
    measure_changes(count > 100 ? 50 : TIMES);
    atomic_store(&stop, 1);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    check(memhook_unregister(id), "unregister");
}

static void in_a_chain_of(int length)
{
    static memhook_id ids[1000];
    memhook_observer table = observer();
    for (int i = 0; i < length; i++)
        check(memhook_observe(&table, &ids[i]), "observe");
    printf("in a chain of %d observers (µs)       median        p99    maximum\n", length);
    measure_changes(TIMES / 3);
    enum { PAIRS = 20000 };
    uint64_t before = now();
    for (int i = 0; i < PAIRS; i++)
        do_free(do_malloc(64));
    printf("  a pair of calls: %.1f ns\n", (double)(now() - before) / PAIRS);
    for (int i = 0; i < length; i++)
        check(memhook_unregister(ids[i]), "unregister");
}

static long resident(void)
{
    static char text[256];
    FILE *file = fopen("/proc/self/statm", "r");
    long size = 0, pages = 0;
    setvbuf(file, NULL, _IONBF, 0);
    if (!fgets(text, sizeof text, file) || sscanf(text, "%ld %ld", &size, &pages) != 2)
        exit(1);
    fclose(file);
    return pages * 4096;
}

static atomic_int waiting, go;

static void *allocate_and_wait(void *nothing)
{
    do_free(do_malloc(64));
    atomic_fetch_add(&waiting, 1);
    while (!atomic_load(&go))
        usleep(1000);
    return nothing;
}

/* What `count` threads that have allocated add to the process. */
static double with_threads(int count)
{
    static pthread_t threads[512];
    atomic_store(&waiting, 0);
    atomic_store(&go, 0);
    long before = resident();
    for (int i = 0; i < count; i++)
        check(pthread_create(&threads[i], NULL, allocate_and_wait, NULL), "pthread_create");
    while (atomic_load(&waiting) != count)
        usleep(1000);
    double each = (double)(resident() - before) / count;
    atomic_store(&go, 1);
    for (int i = 0; i < count; i++)
        pthread_join(threads[i], NULL);
    return each;
}

static double with_blocks(int count, size_t size)
{
    static void *blocks[200000];
    long before = resident();
    for (int i = 0; i < count; i++)
        memset(blocks[i] = do_malloc(size), 1, size);
    double each = (double)(resident() - before) / count;
    for (int i = 0; i < count; i++)
        do_free(blocks[i]);
    malloc_trim(0);
    return each;
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    static const int threads[] = {1, 8, 64, 512}, chains[] = {1, 10, 100, 1000};
    for (int i = 0; i < 4; i++)
        beside_threads(threads[i]);
    for (int i = 0; i < 4; i++)
        in_a_chain_of(chains[i]);
    double plain_threads = with_threads(200), plain_small = with_blocks(100000, 16);
    double plain_large = with_blocks(100000, 1000);
    memhook_interceptor table = interceptor();
    memhook_id id;
    check(memhook_register(&table, &id), "register");
    printf("memory (bytes)                without hooks   an interceptor that may own\n");
    printf("  each thread              %12.0f %12.0f\n", plain_threads, with_threads(200));
    printf("  each block of 16 bytes   %12.1f %12.1f\n", plain_small, with_blocks(100000, 16));
    printf("  each block of 1000 bytes %12.1f %12.1f\n", plain_large, with_blocks(100000, 1000));
    return 0;
}
