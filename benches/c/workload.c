/* One workload on the allocator that the process has.
 *
 *     workload NAME ms=20 threads=1     for so long, after a quarter of it to warm up
 *     workload NAME ops=1000            so many operations: for counting instructions
 *
 * Prints: operations, nanoseconds (of all threads together), allocation calls made meanwhile, and
 * callbacks that were called meanwhile, as far as an object in the process counts them. Says "check"
 * behind that where the allocator knows blocks to the byte, as MALLOC_CHECK_ makes it.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <mcheck.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { LIVE = 100000, RING = 1024, MOST_THREADS = 64 };

/* The compiler must not see that a block is of no use. */
static inline void *used(void *block)
{
    __asm__ volatile("" : "+r"(block) : : "memory");
    return block;
}

static uint64_t now(void)
{
    struct timespec at;
    clock_gettime(CLOCK_MONOTONIC, &at);
    return (uint64_t)at.tv_sec * 1000000000u + (uint64_t)at.tv_nsec;
}

/* The calling thread's callbacks so far. */
static unsigned long (*callbacks)(void);

static unsigned long callbacks_here(void)
{
    return callbacks ? callbacks() : 0;
}

struct random {
    uint64_t state;
};

static uint64_t draw(struct random *random)
{
    random->state ^= random->state << 13;
    random->state ^= random->state >> 7;
    random->state ^= random->state << 17;
    return random->state;
}

/* What one thread works on. */
struct thread {
    int number;
    struct random random;
    void **live;
    uint64_t operations, nanoseconds, calls, callbacks;
};

/* ---- The workloads: each does `count` operations and returns its allocation calls. --------- */

static uint64_t pair(struct thread *self, uint64_t count)
{
    (void)self;
    for (uint64_t i = 0; i < count; i++)
        free(used(malloc(64)));
    return 2 * count;
}

/* Small sizes are the common ones: 1 to 8, ..., 1 to 1024 bytes are equally likely. */
static size_t some_size(struct random *random)
{
    uint64_t drawn = draw(random);
    return 1 + (drawn >> 32 & ((8u << (drawn & 7)) - 1));
}

static uint64_t mix(struct thread *self, uint64_t count)
{
    if (self->live == NULL) {
        self->live = malloc(LIVE * sizeof *self->live);
        for (int i = 0; i < LIVE; i++)
            self->live[i] = malloc(some_size(&self->random));
    }
    for (uint64_t i = 0; i < count; i++) {
        void **place = &self->live[draw(&self->random) % LIVE];
        free(*place);
        *place = malloc(some_size(&self->random));
    }
    return 2 * count;
}

static uint64_t large_calloc(struct thread *self, uint64_t count)
{
    (void)self;
    for (uint64_t i = 0; i < count; i++)
        free(used(calloc(1, 1 << 20)));
    return 2 * count;
}

/* One operation is one realloc: from 16 bytes to 64 KiB in 12 steps. */
static uint64_t grow(struct thread *self, uint64_t count)
{
    (void)self;
    uint64_t calls = 0;
    for (uint64_t i = 0; i < count;) {
        void *block = malloc(16);
        for (size_t bytes = 32; bytes <= 65536 && i < count; bytes *= 2, i++, calls++)
            block = used(realloc(block, bytes));
        free(block);
        calls += 2;
    }
    return calls;
}

static _Atomic(void *) ring[RING];

/* Thread 0 makes blocks, thread 1 takes them; one operation is one block's way through. */
static uint64_t hand_over(struct thread *self, uint64_t count)
{
    static _Thread_local uint64_t at;
    for (uint64_t i = 0; i < count; i++, at++) {
        _Atomic(void *) *place = &ring[at % RING];
        if (self->number == 0) {
            void *block = used(malloc(64));
            while (atomic_load_explicit(place, memory_order_relaxed) != NULL)
                sched_yield();
            atomic_store_explicit(place, block, memory_order_release);
        } else {
            void *block;
            while ((block = atomic_load_explicit(place, memory_order_acquire)) == NULL)
                sched_yield();
            atomic_store_explicit(place, NULL, memory_order_release);
            free(block);
        }
    }
    return count;
}

static const struct workload {
    const char *name;
    uint64_t (*run)(struct thread *self, uint64_t count);
    uint64_t chunk;  /* operations between two looks at the clock */
    uint64_t fixed;  /* operations in all, where threads depend on each other */
} workloads[] = {
    {"pair", pair, 1000, 0},     {"mix", mix, 500, 0},  {"calloc", large_calloc, 4, 0},
    {"realloc", grow, 120, 0},   {"pass", hand_over, 1000, 200000},
};

/* ---- Running one -------------------------------------------------------------------------- */

static const struct workload *chosen;
static uint64_t ms, ops;
static pthread_barrier_t start;

static void pin(int number)
{
    cpu_set_t all, one;
    if (sched_getaffinity(0, sizeof all, &all) != 0)
        return;
    /* From the last processor down: interrupts like the first. */
    int skip = number % CPU_COUNT(&all);
    for (int cpu = CPU_SETSIZE - 1; cpu >= 0; cpu--)
        if (CPU_ISSET(cpu, &all) && skip-- == 0) {
            CPU_ZERO(&one);
            CPU_SET(cpu, &one);
            sched_setaffinity(0, sizeof one, &one);
            return;
        }
}

static void *work(void *argument)
{
    struct thread *self = argument;
    pin(self->number);
    chosen->run(self, chosen->chunk); /* The thread's first allocations are not the workload. */
    pthread_barrier_wait(&start);
    uint64_t warm = now() + ms * 250000;
    while (chosen->fixed == 0 && ms != 0 && now() < warm)
        chosen->run(self, chosen->chunk);
    uint64_t fixed = ops != 0 ? ops : chosen->fixed;
    unsigned long before = callbacks_here();
    uint64_t begin = now(), end = begin + ms * 1000000;
    if (fixed != 0) {
        self->calls = chosen->run(self, fixed);
        self->operations = fixed;
    } else {
        do {
            self->calls += chosen->run(self, chosen->chunk);
            self->operations += chosen->chunk;
        } while (now() < end);
    }
    self->nanoseconds = now() - begin;
    self->callbacks = callbacks_here() - before;
    return NULL;
}

static uint64_t option(int argc, char **argv, const char *name, uint64_t otherwise)
{
    for (int i = 2; i < argc; i++)
        if (strncmp(argv[i], name, strlen(name)) == 0)
            return strtoull(argv[i] + strlen(name), NULL, 10);
    return otherwise;
}

/* For peers that the program itself must turn on and off. */
static void call(const char *name)
{
    void (*function)(void) = (void (*)(void))dlsym(RTLD_DEFAULT, name);
    if (function != NULL)
        function();
}

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof workloads / sizeof *workloads; i++)
        if (argc > 1 && strcmp(argv[1], workloads[i].name) == 0)
            chosen = &workloads[i];
    ms = option(argc, argv, "ms=", 0);
    ops = option(argc, argv, "ops=", 0);
    uint64_t threads = option(argc, argv, "threads=", 1);
    if (chosen == NULL || (ms == 0 && ops == 0) || threads < 1 || threads > MOST_THREADS)
        return fputs("usage: workload NAME {ms=N|ops=N} [threads=N]\n", stderr), 2;
    callbacks = (unsigned long (*)(void))dlsym(RTLD_DEFAULT, "bench_callbacks");
    call("bench_start");
    if (getenv("BENCH_MTRACE") != NULL)
        mtrace();

    static struct thread all[MOST_THREADS];
    static pthread_t ids[MOST_THREADS];
    pthread_barrier_init(&start, NULL, (unsigned)threads);
    for (uint64_t i = 0; i < threads; i++)
        all[i] = (struct thread){.number = (int)i, .random = {0x9e3779b97f4a7c15u + i}};
    for (uint64_t i = 1; i < threads; i++)
        pthread_create(&ids[i], NULL, work, &all[i]);
    work(&all[0]);
    struct thread sum = all[0];
    for (uint64_t i = 1; i < threads; i++) {
        pthread_join(ids[i], NULL);
        sum.operations += all[i].operations;
        sum.nanoseconds += all[i].nanoseconds;
        sum.calls += all[i].calls;
        sum.callbacks += all[i].callbacks;
    }
    call("bench_stop");
    void *exact = malloc(65);
    printf("%llu %llu %llu %llu %s\n", (unsigned long long)sum.operations,
           (unsigned long long)sum.nanoseconds, (unsigned long long)sum.calls,
           (unsigned long long)sum.callbacks, malloc_usable_size(exact) == 65 ? "check" : "");
    free(exact);
    return 0;
}
