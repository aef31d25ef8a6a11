/* The hooks of memhook that are measured, to be preloaded. BENCH_HOOKS says which: a letter for
 * each, `o` an observer, `i` an interceptor that passes on, `a` the accounting interceptor. */
#include "count.h"
#include <memhook.h>
#include <stdint.h>
#include <stdlib.h>

/* ---- An observer ------------------------------------------------------------------------- */

static void told_block(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block, (void)user;
    count();
}

static void told(const memhook_call *call, void *user)
{
    (void)call, (void)user;
    count();
}

static const memhook_observer observer = {
    .struct_size = sizeof observer,
    .name = "observer",
    .after_alloc = told_block,
    .before_free = told,
    .realloc_begin = told,
    .realloc_commit = told_block,
    .realloc_abort = told,
};

/* ---- An interceptor that passes everything on, and owns its blocks -------------------------- */

static void *pass_malloc(memhook_next *next, size_t bytes, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    count();
    return memhook_next_malloc(next, bytes);
}

static void *pass_realloc(memhook_next *next, void *block, size_t bytes, const memhook_call *call,
                          void *user)
{
    (void)call, (void)user;
    count();
    return memhook_next_realloc(next, block, bytes);
}

static void *pass_memalign(memhook_next *next, size_t alignment, size_t bytes,
                           const memhook_call *call, void *user)
{
    (void)call, (void)user;
    count();
    return memhook_next_memalign(next, alignment, bytes);
}

static void pass_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    count();
    memhook_next_free(next, block);
}

static size_t pass_usable_size(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    count();
    return memhook_next_usable_size(next, block);
}

static const memhook_interceptor passing = {
    .struct_size = sizeof passing,
    .name = "passing",
    .malloc = pass_malloc,
    .realloc = pass_realloc,
    .memalign = pass_memalign,
    .free = pass_free,
    .usable_size = pass_usable_size,
};

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
    for (; hooks != NULL && *hooks != '\0'; hooks++) {
        memhook_id id;
        int error = *hooks == 'o'   ? memhook_observe(&observer, &id)
                    : *hooks == 'i' ? memhook_register(&passing, &id)
                                    : memhook_register(&accounting, &id);
        if (error != 0)
            abort();
    }
}
