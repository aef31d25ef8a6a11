// Everything at once: threads allocate, hand over, resize and free blocks whose contents are
// checked, while others register, unregister, replace and swap hooks that change pointers and
// hooks that observe, and the process forks now and then.
//
// stress SECONDS [SEED]. Prints what was done; exit status 0 when every block came back as it was,
// every release ran exactly once, and no interceptor was given a block that it did not make.
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <memhook.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ALLOCATORS = 4, WRITERS = 3, SLOTS = 512 };

static atomic_bool stop;
static bool in_child;
// Threads begin together: the C library keeps memory of a thread that it creates, which an
// interceptor would own for ever.
static pthread_barrier_t begin;
static atomic_ulong operations, handed_over, registrations, replacements, swaps, forks, removed_later;

#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            memhook_log("stress: line %d: %s is false (errno %d)\n", __LINE__, #condition, errno); \
            abort();                                                                           \
        }                                                                                      \
    } while (0)

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

// One registered interceptor: what it puts in front of each of its blocks.
struct owner {
    size_t header;
    uint64_t key;
    atomic_long live;
    atomic_int released;
    atomic_int refs;
};

static atomic_long owners_made, owners_released;

struct header {
    uint64_t key;
    size_t size;
};

static void *put_header(struct owner *owner, char *raw, size_t size)
{
    if (raw == NULL)
        return NULL;
    char *block = raw + owner->header;
    struct header *header = (struct header *)block - 1;
    header->key = owner->key;
    header->size = size;
    atomic_fetch_add_explicit(&owner->live, 1, memory_order_relaxed);
    return block;
}

static char *take_header(struct owner *owner, void *block)
{
    struct header *header = (struct header *)block - 1;
    CHECK(header->key == owner->key);
    CHECK(atomic_load(&owner->released) == 0);
    header->key = 0;
    atomic_fetch_sub_explicit(&owner->live, 1, memory_order_relaxed);
    return (char *)block - owner->header;
}

static void *owner_malloc(memhook_next *next, size_t size, const memhook_call *call, void *user)
{
    (void)call;
    struct owner *owner = user;
    return put_header(owner, memhook_next_malloc(next, size + owner->header), size);
}

static void *owner_memalign(memhook_next *next, size_t alignment, size_t size, const memhook_call *call, void *user)
{
    (void)call;
    struct owner *owner = user;
    size_t front = (owner->header + alignment - 1) / alignment * alignment;
    // Only alignments up to the header's are asked for here.
    CHECK(front == owner->header);
    return put_header(owner, memhook_next_memalign(next, alignment, size + front), size);
}

static void *owner_realloc(memhook_next *next, void *block, size_t size, const memhook_call *call, void *user)
{
    (void)call;
    struct owner *owner = user;
    if (block == NULL)
        return put_header(owner, memhook_next_malloc(next, size + owner->header), size);
    size_t before = ((struct header *)block - 1)->size;
    char *raw = take_header(owner, block);
    char *moved = memhook_next_realloc(next, raw, size + owner->header);
    if (moved == NULL)
        return put_header(owner, raw, before), NULL;
    return put_header(owner, moved, size);
}

static void owner_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call;
    memhook_next_free(next, take_header(user, block));
}

static size_t owner_usable_size(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)next;
    struct owner *owner = user;
    CHECK(((struct header *)block - 1)->key == owner->key);
    return ((struct header *)block - 1)->size;
}

static void owner_release(void *user)
{
    struct owner *owner = user;
    CHECK(atomic_fetch_add(&owner->released, 1) == 0);
    // In a fork child a thread that is gone may have been in the middle of a call.
    CHECK(in_child || atomic_load(&owner->live) == 0);
    atomic_fetch_add(&owners_released, 1);
    memhook_scratch_free(owner);
}

static memhook_interceptor make_owner(uint64_t *random)
{
    struct owner *owner = memhook_scratch_malloc(sizeof *owner);
    CHECK(owner != NULL);
    memset(owner, 0, sizeof *owner);
    owner->header = 16u << next_random(random) % 3;
    owner->key = next_random(random) | 1;
    atomic_fetch_add(&owners_made, 1);
    memhook_interceptor table = {
        .struct_size = sizeof table,
        .name = "owner",
        .priority = (int)(next_random(random) % 3),
        .user = owner,
        .malloc = owner_malloc,
        .realloc = owner_realloc,
        .memalign = owner_memalign,
        .free = owner_free,
        .usable_size = owner_usable_size,
        .release = owner_release,
    };
    return table;
}

// An observer: begun and ended reallocs must match in each thread.
struct watcher {
    atomic_long begun, ended;
    atomic_int released;
};

static atomic_long watchers_made, watchers_released;

static void watch_alloc(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block;
    CHECK(atomic_load(&((struct watcher *)user)->released) == 0);
}

static void watch_free(const memhook_call *call, void *user)
{
    CHECK(call->block != NULL);
    CHECK(atomic_load(&((struct watcher *)user)->released) == 0);
}

static void watch_begin(const memhook_call *call, void *user)
{
    (void)call;
    atomic_fetch_add(&((struct watcher *)user)->begun, 1);
}

static void watch_commit(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block;
    atomic_fetch_add(&((struct watcher *)user)->ended, 1);
}

static void watch_abort(const memhook_call *call, void *user)
{
    (void)call;
    atomic_fetch_add(&((struct watcher *)user)->ended, 1);
}

static void watch_release(void *user)
{
    struct watcher *watcher = user;
    CHECK(atomic_fetch_add(&watcher->released, 1) == 0);
    atomic_fetch_add(&watchers_released, 1);
    memhook_scratch_free(watcher);
}

static memhook_observer make_watcher(uint64_t *random)
{
    struct watcher *watcher = memhook_scratch_malloc(sizeof *watcher);
    CHECK(watcher != NULL);
    memset(watcher, 0, sizeof *watcher);
    atomic_fetch_add(&watchers_made, 1);
    memhook_observer table = {
        .struct_size = sizeof table,
        .name = "watcher",
        .priority = (int)(next_random(random) % 3),
        .user = watcher,
        .after_alloc = watch_alloc,
        .before_free = watch_free,
        .realloc_begin = watch_begin,
        .realloc_commit = watch_commit,
        .realloc_abort = watch_abort,
        .release = watch_release,
    };
    return table;
}

// A block in a shared slot: whoever takes it out checks it.
struct block {
    size_t size;
    uint64_t seed;
    unsigned char bytes[];
};

static _Atomic(struct block *) slots[SLOTS];

static void fill(struct block *block, size_t size, uint64_t seed)
{
    block->size = size;
    block->seed = seed;
    for (size_t i = 0; i < size; i++)
        block->bytes[i] = (unsigned char)(seed + i * 31);
}

static void verify(struct block *block, size_t size)
{
    for (size_t i = 0; i < size; i++)
        CHECK(block->bytes[i] == (unsigned char)(block->seed + i * 31));
}

static void *allocate(void *argument)
{
    pthread_barrier_wait(&begin);
    uint64_t random = (uintptr_t)argument * 0x9e3779b97f4a7c15u + 1;
    unsigned long done = 0, moved = 0;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        size_t size = next_random(&random) % (next_random(&random) % 64 == 0 ? 100000 : 300);
        struct block *block = NULL;
        switch (next_random(&random) % 4) {
        case 0:
            block = malloc(sizeof *block + size);
            break;
        case 1:
            block = calloc(1, sizeof *block + size);
            for (size_t i = 0; i < sizeof *block + size; i++)
                CHECK(((unsigned char *)block)[i] == 0);
            break;
        case 2:
            block = realloc(NULL, sizeof *block + size);
            break;
        case 3:
            block = memalign(16, sizeof *block + size);
            CHECK(((uintptr_t)block & 15) == 0);
            break;
        }
        CHECK(block != NULL);
        CHECK(malloc_usable_size(block) >= sizeof *block + size);
        fill(block, size, next_random(&random));
        if (next_random(&random) % 4 == 0) {
            size_t larger = next_random(&random) % 600;
            struct block *resized = realloc(block, sizeof *block + larger);
            CHECK(resized != NULL);
            verify(resized, size < larger ? size : larger);
            block = resized;
            fill(block, larger, next_random(&random));
        }
        struct block *other = atomic_exchange(&slots[next_random(&random) % SLOTS], block);
        if (other != NULL) {
            verify(other, other->size);
            free(other);
            moved++;
        }
        done++;
    }
    atomic_fetch_add(&operations, done);
    atomic_fetch_add(&handed_over, moved);
    return NULL;
}

static void expect_removed(int result)
{
    // A swap by another thread may have taken the hook out first.
    CHECK(result == 0 || result == EINPROGRESS || result == ESRCH || result == EALREADY);
    if (result == EINPROGRESS)
        atomic_fetch_add(&removed_later, 1);
}

static void *change(void *argument)
{
    pthread_barrier_wait(&begin);
    uint64_t random = (uintptr_t)argument * 0xd1342543de82ef95u + 7;
    memhook_id mine[8] = { 0 };
    bool is_owner[8] = { 0 };
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        unsigned i = next_random(&random) % 8;
        if (mine[i] == 0) {
            is_owner[i] = next_random(&random) % 2;
            int result;
            if (is_owner[i]) {
                memhook_interceptor table = make_owner(&random);
                result = memhook_register(&table, &mine[i]);
                if (result != 0) {
                    CHECK(result == ENOSPC);
                    owner_release(table.user);
                }
            } else {
                memhook_observer table = make_watcher(&random);
                result = memhook_observe(&table, &mine[i]);
                CHECK(result == 0);
            }
            atomic_fetch_add(&registrations, 1);
        } else if (is_owner[i] && next_random(&random) % 4 == 0) {
            memhook_interceptor table = make_owner(&random);
            int result = memhook_replace(mine[i], &table);
            if (result != 0 && result != EINPROGRESS)
                owner_release(table.user);
            expect_removed(result == ENOSPC ? 0 : result);
            atomic_fetch_add(&replacements, 1);
        } else {
            expect_removed(memhook_unregister(mine[i]));
            mine[i] = 0;
        }
        if (argument == (void *)1 && next_random(&random) % 16 == 0) {
            // The hooks in force out and in again, in one step each.
            memhook_chain copy, former;
            CHECK(memhook_chain_copy(&copy) == 0);
            int result = memhook_chain_swap(copy, &former);
            if (result == 0) {
                result = memhook_chain_destroy(former);
                CHECK(result == 0 || result == EINPROGRESS);
                atomic_fetch_add(&swaps, 1);
            } else {
                CHECK(result == ENOSPC);
                result = memhook_chain_destroy(copy);
                CHECK(result == 0 || result == EINPROGRESS);
            }
        }
    }
    for (unsigned i = 0; i < 8; i++)
        if (mine[i] != 0)
            expect_removed(memhook_unregister(mine[i]));
    return NULL;
}

static void *fork_now_and_then(void *argument)
{
    pthread_barrier_wait(&begin);
    (void)argument;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            in_child = true;
            for (int i = 0; i < 100; i++) {
                struct block *block = atomic_exchange(&slots[i], NULL);
                if (block != NULL) {
                    verify(block, block->size);
                    free(block);
                }
                free(malloc(100));
            }
            memhook_observer table = { .struct_size = sizeof table, .after_alloc = NULL, .before_free = watch_free };
            struct watcher watcher = { 0 };
            table.user = &watcher;
            memhook_id id;
            if (memhook_observe(&table, &id) != 0 || memhook_unregister(id) != 0)
                _exit(2);
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        atomic_fetch_add(&forks, 1);
        usleep(20000);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 2;
    unsigned long seed = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;
    pthread_t threads[ALLOCATORS + WRITERS + 1];
    unsigned n = 0;
    CHECK(pthread_barrier_init(&begin, NULL, ALLOCATORS + WRITERS + 2) == 0);
    for (uintptr_t i = 0; i < ALLOCATORS; i++)
        CHECK(pthread_create(&threads[n++], NULL, allocate, (void *)(seed * 100 + i)) == 0);
    for (uintptr_t i = 0; i < WRITERS; i++)
        CHECK(pthread_create(&threads[n++], NULL, change, (void *)(i + 1)) == 0);
    CHECK(pthread_create(&threads[n++], NULL, fork_now_and_then, NULL) == 0);
    pthread_barrier_wait(&begin);
    struct timespec nap = { (time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9) };
    nanosleep(&nap, NULL);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < n; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    for (unsigned i = 0; i < SLOTS; i++) {
        struct block *block = atomic_exchange(&slots[i], NULL);
        if (block != NULL) {
            verify(block, block->size);
            free(block);
        }
    }
    size_t left = 0;
    CHECK(memhook_synchronize() == 0);
    CHECK(memhook_chain_list(0, NULL, sizeof(memhook_hook_info), 0, &left) == 0);
    printf("operations %lu, handed over %lu, registrations %lu, replacements %lu, swaps %lu, forks %lu, "
           "removed later %lu\n",
           operations, handed_over, registrations, replacements, swaps, forks, removed_later);
    printf("owners made %ld, released %ld; watchers made %ld, released %ld; hooks left %zu\n", owners_made,
           owners_released, watchers_made, watchers_released, left);
    return !(owners_made == owners_released && watchers_made == watchers_released && left == 0);
}
