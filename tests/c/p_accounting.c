/* The classic accounting interceptor, to be preloaded into any program: it puts a header in front
 * of every block and hence changes every pointer. Silent; counts. A block that comes back without
 * its header ends the process. */
#include "p_count.h"

#define MAGIC 0x9d3f00d5u

/* Stands right in front of the block. */
struct header {
    size_t requested;
    uint32_t offset; /* from what the rest of the chain returned to the block */
    uint32_t magic;
};

static atomic_long bytes;

static void *dress(char *base, size_t requested, size_t offset)
{
    if (!base)
        return NULL;
    struct header *header = (struct header *)(base + offset) - 1;
    header->requested = requested;
    header->offset = (uint32_t)offset;
    header->magic = MAGIC;
    atomic_fetch_add_explicit(&bytes, (long)requested, memory_order_relaxed);
    return base + offset;
}

static struct header *header_of(void *block)
{
    struct header *header = (struct header *)block - 1;
    if (header->magic != MAGIC)
        abort();
    return header;
}

static void *undress(void *block)
{
    struct header *header = header_of(block);
    atomic_fetch_sub_explicit(&bytes, (long)header->requested, memory_order_relaxed);
    header->magic = 0;
    return (char *)block - header->offset;
}

static void *on_malloc(memhook_next *next, size_t requested, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    count();
    size_t all;
    if (__builtin_add_overflow(requested, sizeof(struct header), &all))
        return NULL;
    return dress(memhook_next_malloc(next, all), requested, sizeof(struct header));
}

static void *on_realloc(memhook_next *next, void *block, size_t requested,
                        const memhook_call *call, void *user)
{
    if (!block)
        return on_malloc(next, requested, call, user);
    count();
    struct header old = *header_of(block);
    if (requested == 0) {
        memhook_next_free(next, undress(block));
        return NULL;
    }
    size_t all;
    if (__builtin_add_overflow(requested, sizeof(struct header), &all))
        return NULL;
    if (old.offset == sizeof(struct header)) {
        char *base = memhook_next_realloc(next, (char *)block - old.offset, all);
        if (base)
            atomic_fetch_sub_explicit(&bytes, (long)old.requested, memory_order_relaxed);
        return dress(base, requested, sizeof(struct header));
    }
    void *new = dress(memhook_next_malloc(next, all), requested, sizeof(struct header));
    if (new) {
        memcpy(new, block, old.requested < requested ? old.requested : requested);
        memhook_next_free(next, undress(block));
    }
    return new;
}

static void *on_memalign(memhook_next *next, size_t alignment, size_t requested,
                         const memhook_call *call, void *user)
{
    (void)call, (void)user;
    count();
    size_t offset = alignment > sizeof(struct header) ? alignment : sizeof(struct header);
    size_t all;
    if (offset > UINT32_MAX || __builtin_add_overflow(requested, offset, &all))
        return NULL;
    return dress(memhook_next_memalign(next, alignment, all), requested, offset);
}

static void on_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    count();
    memhook_next_free(next, undress(block));
}

static size_t on_usable_size(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)next, (void)call, (void)user;
    count();
    return header_of(block)->requested;
}

static void start(void)
{
    static const memhook_interceptor table = {
        .struct_size = sizeof table,
        .name = "p_accounting",
        .malloc = on_malloc,
        .realloc = on_realloc,
        .memalign = on_memalign,
        .free = on_free,
        .usable_size = on_usable_size,
    };
    memhook_id id;
    if (memhook_register(&table, &id))
        abort();
}

MEMHOOK_INITIALIZE(start);

__attribute__((destructor)) static void end(void)
{
    p_end("accounting");
}
