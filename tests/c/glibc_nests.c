/* A pool with a lock, whose callbacks stay in and call one another through malloc() and free(), in four threads: no callback
 * gets a block that is not the pool's. */
#ifdef OLD
#include "glibc_old.h"
#endif
#include <malloc.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { THREADS = 4, ROUNDS = 50000, SIZES = 64, LIVE = 64 };
#define TAKEN 0x7a6b
#define FREE 0xf3ee

struct header {
    size_t bytes, state;
};

static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_realloc)(void *, size_t) = realloc;
static void *(*volatile do_memalign)(size_t, size_t) = memalign;
static void (*volatile do_free)(void *) = free;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *pool;
static size_t used;
static struct header *spare[SIZES];
static int bad;

static size_t units(size_t bytes)
{
    return bytes ? (bytes + 15) / 16 : 1;
}

static void *pool_malloc(size_t bytes, const void *caller)
{
    size_t size = units(bytes);
    (void)caller;
    pthread_mutex_lock(&lock);
    struct header *header = size < SIZES ? spare[size] : NULL;
    if (header) {
        memcpy(&spare[size], header + 1, sizeof spare[size]);
    } else {
        header = (struct header *)(void *)(pool + used);
        used += sizeof *header + size * 16;
    }
    pthread_mutex_unlock(&lock);
    *header = (struct header){bytes, TAKEN};
    return header + 1;
}

static int is_wrong(struct header *header)
{
    int wrong = (char *)header < pool || (char *)header >= pool + used || header->state != TAKEN;
    __atomic_fetch_add(&bad, wrong, __ATOMIC_RELAXED);
    return wrong;
}

static void pool_free(void *block, const void *caller)
{
    struct header *header = (struct header *)block - 1;
    (void)caller;
    if (!block || is_wrong(header))
        return;
    size_t size = units(header->bytes);
    header->state = FREE;
    if (size >= SIZES)
        return;
    pthread_mutex_lock(&lock);
    memcpy(header + 1, &spare[size], sizeof spare[size]);
    spare[size] = header;
    pthread_mutex_unlock(&lock);
}

static void *pool_realloc(void *block, size_t bytes, const void *caller)
{
    struct header *header = (struct header *)block - 1;
    (void)caller;
    if (!block)
        return do_malloc(bytes);
    if (is_wrong(header))
        return NULL;
    void *new = do_malloc(bytes);
    memcpy(new, block, bytes < header->bytes ? bytes : header->bytes);
    do_free(block);
    return new;
}

static void *pool_memalign(size_t alignment, size_t bytes, const void *caller)
{
    (void)alignment, (void)caller;
    return do_malloc(bytes);
}

static void *work(void *argument)
{
    char *live[LIVE] = {NULL};
    unsigned random = (unsigned)(uintptr_t)argument;
    for (int i = 0; i < ROUNDS; i++) {
        random = random * 1103515245u + 12345u;
        unsigned at = random >> 26;
        size_t bytes = (random >> 8) % 500 + 1;
        if (random & 64) {
            live[at] = do_realloc(live[at], bytes);
        } else {
            do_free(live[at]);
            live[at] = random & 128 ? do_malloc(bytes) : do_memalign(16, bytes);
        }
        memset(live[at], (int)at, bytes);
    }
    for (int i = 0; i < LIVE; i++)
        do_free(live[i]);
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    setvbuf(stdout, NULL, _IONBF, 0);
    pool = mmap(NULL, 1ul << 32, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    if (pool == MAP_FAILED)
        return 2;
    __malloc_hook = pool_malloc, __free_hook = pool_free;
    __realloc_hook = pool_realloc, __memalign_hook = pool_memalign;
    for (long i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)(i + 1)))
            return 2;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    __malloc_hook = NULL, __free_hook = NULL, __realloc_hook = NULL, __memalign_hook = NULL;
    printf("bad %d\n", bad);
    return 0;
}
