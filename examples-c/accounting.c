/* accounting: how many bytes does the program hold, exactly, at any moment?
 *
 * The classic hook: every block gets a header of 8 bytes in front with its size, so that free
 * knows what it gives back. Installed before the first allocation of the process; right with any
 * number of threads, without a lock.
 *
 *     cc accounting.c -o accounting -pthread -lmemhook && ./accounting
 */
#define _GNU_SOURCE
#include <malloc.h>
#include <memhook.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The hook ---------------------------------------------------------------------------- */

/* Stands right in front of each block. The block begins 1 << shift bytes into what the allocator
 * gave us: 8 bytes for malloc, the alignment for memalign, so that both stay aligned. */
struct header {
    uint64_t bytes : 58;
    uint64_t shift : 6;
};

/* Blocks of malloc are aligned to 8 bytes here, where the C library promises 16: a program that
 * keeps long double or SSE vectors in malloc'ed blocks wants a shift of 4, for 16 bytes more each. */
#ifndef MALLOC_SHIFT
#define MALLOC_SHIFT 3
#endif

/* Far more than any machine has, and small enough that the sums below do not overflow. */
static const size_t TOO_BIG = (size_t)1 << 57;

static atomic_llong live_bytes;

static struct header *header_of(void *block)
{
    return (struct header *)block - 1;
}

static size_t offset_of(void *block)
{
    return (size_t)1 << header_of(block)->shift;
}

static void *whole(void *block)
{
    return (char *)block - offset_of(block);
}

static void account(long long bytes)
{
    atomic_fetch_add_explicit(&live_bytes, bytes, memory_order_relaxed);
}

static void *dress(char *whole, unsigned shift, size_t bytes)
{
    if (whole == NULL)
        return NULL;
    void *block = whole + ((size_t)1 << shift);
    *header_of(block) = (struct header){.bytes = bytes, .shift = shift};
    return block;
}

/* malloc and calloc; the library zeroes calloc's block after us. */
static void *on_malloc(memhook_next *next, size_t bytes, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    if (bytes > TOO_BIG)
        return NULL; /* The program gets NULL and ENOMEM. */
    size_t offset = (size_t)1 << MALLOC_SHIFT;
    void *block = dress(memhook_next_malloc(next, bytes + offset), MALLOC_SHIFT, bytes);
    if (block != NULL)
        account((long long)bytes);
    return block;
}

/* memalign, aligned_alloc, posix_memalign, valloc, pvalloc. */
static void *on_memalign(memhook_next *next, size_t alignment, size_t bytes,
                         const memhook_call *call, void *user)
{
    (void)call, (void)user;
    unsigned shift = MALLOC_SHIFT;
    while (shift < 57 && (size_t)1 << shift < alignment)
        shift++;
    size_t offset = (size_t)1 << shift;
    if (bytes > TOO_BIG || offset > TOO_BIG)
        return memhook_next_memalign(next, alignment, bytes); /* Fails, and says why. */
    void *block = dress(memhook_next_memalign(next, offset, bytes + offset), shift, bytes);
    if (block != NULL)
        account((long long)bytes);
    return block;
}

/* Only blocks that were made above arrive here, whatever the program frees. */
static void on_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    account(-(long long)header_of(block)->bytes);
    memhook_next_free(next, whole(block));
}

/* realloc and reallocarray. */
static void *on_realloc(memhook_next *next, void *block, size_t bytes, const memhook_call *call,
                        void *user)
{
    if (block == NULL)
        return on_malloc(next, bytes, call, user);
    if (bytes == 0) {
        on_free(next, block, call, user);
        return NULL;
    }
    if (bytes > TOO_BIG)
        return NULL;
    struct header old = *header_of(block);
    void *moved = memhook_next_realloc(next, whole(block), bytes + offset_of(block));
    if (moved == NULL)
        return NULL; /* The old block lives on, and so does its header. */
    account((long long)bytes - (long long)old.bytes);
    return dress(moved, old.shift, bytes);
}

static size_t on_usable_size(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    return memhook_next_usable_size(next, whole(block)) - offset_of(block);
}

/* Runs at the first allocation of the process, which may be long before main. */
static void install(void)
{
    static const memhook_interceptor accounting = {
        .struct_size = sizeof accounting,
        .name = "accounting",
        .malloc = on_malloc,
        .realloc = on_realloc,
        .memalign = on_memalign,
        .free = on_free,
        .usable_size = on_usable_size,
    };
    memhook_id id;
    int error = memhook_register(&accounting, &id);
    if (error != 0) {
        memhook_log("accounting: not installed, error %d\n", error);
        abort();
    }
}

MEMHOOK_INITIALIZE(install);

/* ---- A program to try it on -------------------------------------------------------------- */

enum { THREADS = 4, BLOCKS = 10000 };

static pthread_barrier_t step; /* All threads and main meet here between two steps. */

static void *worker(void *unused)
{
    static _Thread_local char *blocks[BLOCKS];
    (void)unused;

    pthread_barrier_wait(&step);
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = i % 2 ? malloc(100) : calloc(10, 10);
    pthread_barrier_wait(&step);

    pthread_barrier_wait(&step);
    for (int i = 0; i < BLOCKS; i++)
        blocks[i] = realloc(blocks[i], 250);
    pthread_barrier_wait(&step);

    pthread_barrier_wait(&step);
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    pthread_barrier_wait(&step);

    return unused;
}

static long long before;

static void begin(void)
{
    before = atomic_load(&live_bytes);
}

static void print(const char *what)
{
    long long change = atomic_load(&live_bytes) - before;
    printf("%-44s %+10lld bytes\n", what, change);
}

int main(void)
{
    printf("One thread\n"); /* stdio's own buffer is made here, and not counted below. */

    begin();
    char *small = malloc(100);
    print("  malloc(100)");

    begin();
    small = realloc(small, 1000);
    print("  realloc to 1000");

    begin();
    char *volatile page = aligned_alloc(4096, 8192); /* volatile: what follows is to be looked up. */
    print("  aligned_alloc(4096, 8192)");
    printf("  ... is aligned to 4096: %s\n", (uintptr_t)page % 4096 == 0 ? "yes" : "no");
    printf("  ... has 8192 usable bytes: %s\n", malloc_usable_size(page) >= 8192 ? "yes" : "no");

    begin();
    char *copy = strdup("the C library's own allocations count too");
    print("  strdup of 41 characters");

    begin();
    char *bigger = realloc(small, PTRDIFF_MAX);
    if (bigger != NULL)
        small = bigger;
    print("  realloc to PTRDIFF_MAX, which fails");

    begin();
    free(small);
    free(page);
    free(copy);
    print("  all of them freed");

    pthread_t threads[THREADS];
    pthread_barrier_init(&step, NULL, THREADS + 1);
    for (int i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, worker, NULL);

    printf("%d threads with %d blocks each\n", THREADS, BLOCKS);
    static const char *const steps[] = {"  made with malloc and calloc", "  grown with realloc",
                                        "  freed"};
    for (int i = 0; i < 3; i++) {
        begin(); /* While all threads stand at the barrier. */
        pthread_barrier_wait(&step);
        pthread_barrier_wait(&step);
        print(steps[i]);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    return 0;
}
