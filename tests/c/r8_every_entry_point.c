/* Every entry point reaches the callback of an interceptor that its kind has, and says its name. */
#include "check.h"

void free_sized(void *, size_t);
void free_aligned_sized(void *, size_t, size_t);

static char *said;
static uint32_t entry;

static void note(const char *callback, const memhook_call *c)
{
    CHECK(!said);
    said = (char *)callback;
    entry = c->entry;
}

static void *i_malloc(memhook_next *next, size_t n, const memhook_call *c, void *user)
{
    (void)user;
    note("malloc", c);
    return memhook_next_malloc(next, n);
}

static void *i_realloc(memhook_next *next, void *p, size_t n, const memhook_call *c, void *user)
{
    (void)user;
    note("realloc", c);
    return memhook_next_realloc(next, p, n);
}

static void *i_memalign(memhook_next *next, size_t a, size_t n, const memhook_call *c, void *user)
{
    (void)user;
    note("memalign", c);
    SAME(a % sizeof(void *), 0);
    return memhook_next_memalign(next, a, n);
}

static void i_free(memhook_next *next, void *p, const memhook_call *c, void *user)
{
    (void)user;
    note("free", c);
    memhook_next_free(next, p);
}

static size_t i_usable(memhook_next *next, void *p, const memhook_call *c, void *user)
{
    (void)user;
    note("usable_size", c);
    return memhook_next_usable_size(next, p);
}

static void heard(const char *callback, uint32_t number)
{
    CHECK(said && !strcmp(said, callback));
    SAME(entry, number);
    said = NULL;
}

int main(void)
{
    for (uint32_t flags = 0; flags <= MEMHOOK_KEEPS_POINTERS; flags++) {
        memhook_interceptor t = { .struct_size = sizeof t, .malloc = i_malloc, .realloc = i_realloc,
                                  .memalign = i_memalign, .free = i_free, .usable_size = i_usable,
                                  .flags = flags };
        memhook_id id;
        void *p;
        OK(memhook_register(&t, &id));
        p = malloc(10), heard("malloc", MEMHOOK_ENTRY_MALLOC);
        p = realloc(p, 20), heard("realloc", MEMHOOK_ENTRY_REALLOC);
        p = reallocarray(p, 20, 20), heard("realloc", MEMHOOK_ENTRY_REALLOCARRAY);
        (void)malloc_usable_size(p), heard("usable_size", MEMHOOK_ENTRY_USABLE_SIZE);
        free(p), heard("free", MEMHOOK_ENTRY_FREE);
        p = calloc(10, 10), heard("malloc", MEMHOOK_ENTRY_CALLOC);
        free_sized(p, 100), heard("free", MEMHOOK_ENTRY_FREE_SIZED);
        p = realloc(NULL, 10), heard("realloc", MEMHOOK_ENTRY_REALLOC);
        free(p), heard("free", MEMHOOK_ENTRY_FREE);
        p = reallocarray(NULL, 10, 10), heard("realloc", MEMHOOK_ENTRY_REALLOCARRAY);
        free(p), heard("free", MEMHOOK_ENTRY_FREE);
        p = memalign(64, 10), heard("memalign", MEMHOOK_ENTRY_MEMALIGN);
        free_aligned_sized(p, 64, 10), heard("free", MEMHOOK_ENTRY_FREE_ALIGNED_SIZED);
        p = aligned_alloc(64, 64), heard("memalign", MEMHOOK_ENTRY_ALIGNED_ALLOC);
        free(p), heard("free", MEMHOOK_ENTRY_FREE);
        OK(posix_memalign(&p, 64, 10)), heard("memalign", MEMHOOK_ENTRY_POSIX_MEMALIGN);
        free(p), heard("free", MEMHOOK_ENTRY_FREE);
        p = valloc(10), heard("memalign", MEMHOOK_ENTRY_VALLOC);
        SAME((uintptr_t)p % 4096, 0);
        free(p), heard("free", MEMHOOK_ENTRY_FREE);
        p = pvalloc(10), heard("memalign", MEMHOOK_ENTRY_PVALLOC);
        SAME((uintptr_t)p % 4096, 0);
        CHECK(malloc_usable_size(p) >= 4096), heard("usable_size", MEMHOOK_ENTRY_USABLE_SIZE);
        free(p), heard("free", MEMHOOK_ENTRY_FREE);
        free(NULL);
        free_sized(NULL, 10);
        free_aligned_sized(NULL, 64, 10);
        SAME(malloc_usable_size(NULL), 0);
        CHECK(!said);
        OK(memhook_unregister(id));
    }
    puts("13 entry points");
}
