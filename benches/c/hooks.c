/* The hooks of memhook that are measured, to be preloaded. BENCH_HOOKS says which: a letter for
 * each, `o` an observer, `i` an interceptor that passes on, `a` the accounting interceptor; in capitals, one that
 * promises to keep errno, as all of them do. */
#include "count.h"
#include <ctype.h>
#include <memhook.h>
#include <stdint.h>
#include <stdlib.h>

/* ---- Observers: four alike ---------------------------------------------------------------- */

#define OBSERVER(N)                                                                                \
    static void told_block_##N(const memhook_call *call, void *block, void *user)                  \
    {                                                                                              \
        (void)call, (void)block, (void)user;                                                       \
        count_as(N);                                                                               \
    }                                                                                              \
    static void told_##N(const memhook_call *call, void *user)                                     \
    {                                                                                              \
        (void)call, (void)user;                                                                    \
        count_as(N);                                                                               \
    }                                                                                              \
    static const memhook_observer observer_##N = {                                                 \
        .struct_size = sizeof observer_##N,                                                        \
        .name = "observer",                                                                        \
        .after_alloc = told_block_##N,                                                             \
        .before_free = told_##N,                                                                   \
        .realloc_begin = told_##N,                                                                 \
        .realloc_commit = told_block_##N,                                                          \
        .realloc_abort = told_##N,                                                                 \
    };

OBSERVER(0)
OBSERVER(1)
OBSERVER(2)
OBSERVER(3)

static const memhook_observer *const observers[COUNTERS] = {&observer_0, &observer_1, &observer_2,
                                                            &observer_3};

/* ---- Interceptors that pass everything on, and own their blocks: four alike ------------------ */

#define PASSING(N)                                                                                 \
    static void *pass_malloc_##N(memhook_next *next, size_t bytes, const memhook_call *call,       \
                                 void *user)                                                       \
    {                                                                                              \
        (void)call, (void)user;                                                                    \
        count_as(N);                                                                               \
        return memhook_next_malloc(next, bytes);                                                   \
    }                                                                                              \
    static void *pass_realloc_##N(memhook_next *next, void *block, size_t bytes,                   \
                                  const memhook_call *call, void *user)                            \
    {                                                                                              \
        (void)call, (void)user;                                                                    \
        count_as(N);                                                                               \
        return memhook_next_realloc(next, block, bytes);                                           \
    }                                                                                              \
    static void *pass_memalign_##N(memhook_next *next, size_t alignment, size_t bytes,             \
                                   const memhook_call *call, void *user)                           \
    {                                                                                              \
        (void)call, (void)user;                                                                    \
        count_as(N);                                                                               \
        return memhook_next_memalign(next, alignment, bytes);                                      \
    }                                                                                              \
    static void pass_free_##N(memhook_next *next, void *block, const memhook_call *call,           \
                              void *user)                                                          \
    {                                                                                              \
        (void)call, (void)user;                                                                    \
        count_as(N);                                                                               \
        memhook_next_free(next, block);                                                            \
    }                                                                                              \
    static size_t pass_usable_size_##N(memhook_next *next, void *block, const memhook_call *call,  \
                                       void *user)                                                 \
    {                                                                                              \
        (void)call, (void)user;                                                                    \
        count_as(N);                                                                               \
        return memhook_next_usable_size(next, block);                                              \
    }                                                                                              \
    static const memhook_interceptor passing_##N = {                                               \
        .struct_size = sizeof passing_##N,                                                         \
        .name = "passing",                                                                         \
        .malloc = pass_malloc_##N,                                                                 \
        .realloc = pass_realloc_##N,                                                               \
        .memalign = pass_memalign_##N,                                                             \
        .free = pass_free_##N,                                                                     \
        .usable_size = pass_usable_size_##N,                                                       \
    };

PASSING(0)
PASSING(1)
PASSING(2)
PASSING(3)

static const memhook_interceptor *const passing[COUNTERS] = {&passing_0, &passing_1, &passing_2,
                                                             &passing_3};

/* ---- Accounting: a header of 8 bytes in front of each block; exact with threads, each of which
 *      counts for itself. -------------------------------------------------------------------- */

struct header {
    uint64_t bytes : 58;
    uint64_t shift : 6;
};

enum { MALLOC_SHIFT = 3 };

static const size_t TOO_BIG = (size_t)1 << 57;

/* The sum of all threads' is what the program holds. */
static _Thread_local long long live_bytes __attribute__((tls_model("initial-exec")));

static struct header *header_of(void *block)
{
    return (struct header *)block - 1;
}

static size_t offset_of(void *block)
{
    return (size_t)1 << header_of(block)->shift;
}

static void *dress(char *whole, unsigned shift, size_t bytes)
{
    if (whole == NULL)
        return NULL;
    void *block = whole + ((size_t)1 << shift);
    *header_of(block) = (struct header){.bytes = bytes, .shift = shift};
    live_bytes += (long long)bytes;
    return block;
}

static void *account_malloc(memhook_next *next, size_t bytes, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    count();
    if (bytes > TOO_BIG)
        return NULL;
    return dress(memhook_next_malloc(next, bytes + sizeof(struct header)), MALLOC_SHIFT, bytes);
}

static void *account_memalign(memhook_next *next, size_t alignment, size_t bytes,
                              const memhook_call *call, void *user)
{
    (void)call, (void)user;
    count();
    unsigned shift = MALLOC_SHIFT;
    while (shift < 57 && (size_t)1 << shift < alignment)
        shift++;
    size_t offset = (size_t)1 << shift;
    if (bytes > TOO_BIG || offset > TOO_BIG)
        return NULL;
    return dress(memhook_next_memalign(next, offset, bytes + offset), shift, bytes);
}

static void account_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    count();
    live_bytes -= (long long)header_of(block)->bytes;
    memhook_next_free(next, (char *)block - offset_of(block));
}

static void *account_realloc(memhook_next *next, void *block, size_t bytes, const memhook_call *call,
                             void *user)
{
    if (block == NULL)
        return account_malloc(next, bytes, call, user);
    if (bytes == 0)
        return account_free(next, block, call, user), NULL;
    count();
    if (bytes > TOO_BIG)
        return NULL;
    struct header old = *header_of(block);
    size_t offset = offset_of(block);
    void *moved = memhook_next_realloc(next, (char *)block - offset, bytes + offset);
    if (moved == NULL)
        return NULL;
    live_bytes -= (long long)old.bytes;
    return dress(moved, old.shift, bytes);
}

static size_t account_usable_size(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    count();
    return memhook_next_usable_size(next, (char *)block - offset_of(block)) - offset_of(block);
}

static const memhook_interceptor accounting = {
    .struct_size = sizeof accounting,
    .name = "accounting",
    .malloc = account_malloc,
    .realloc = account_realloc,
    .memalign = account_memalign,
    .free = account_free,
    .usable_size = account_usable_size,
};

__attribute__((constructor)) static void install(void)
{
    const char *hooks = getenv("BENCH_HOOKS");
    int observed = 0, passed = 0;
    for (; hooks != NULL && *hooks != '\0'; hooks++) {
        memhook_id id;
        int error;
        uint32_t flags = isupper((unsigned char)*hooks) ? MEMHOOK_KEEPS_ERRNO : 0;
        if (tolower((unsigned char)*hooks) == 'o') {
            memhook_observer observer = *observers[observed++ % COUNTERS];
            observer.flags = flags;
            error = memhook_observe(&observer, &id);
        } else {
            memhook_interceptor interceptor =
                tolower((unsigned char)*hooks) == 'i' ? *passing[passed++ % COUNTERS] : accounting;
            interceptor.flags = flags;
            error = memhook_register(&interceptor, &id);
        }
        if (error != 0)
            abort();
    }
}
