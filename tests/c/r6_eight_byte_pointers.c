/* An interceptor whose pointers are aligned to 8 bytes only, and its neighbours in memory. */
#include "check.h"

static int live_now, released;

static void *i_malloc(memhook_next *next, size_t n, const memhook_call *c, void *user)
{
    (void)c, (void)user;
    uint64_t *base = memhook_next_malloc(next, n + 8);
    if (!base)
        return NULL;
    *base = 0x8888;
    __atomic_fetch_add(&live_now, 1, __ATOMIC_RELAXED);
    return base + 1;
}

static void i_free(memhook_next *next, void *p, const memhook_call *c, void *user)
{
    (void)c, (void)user;
    uint64_t *base = (uint64_t *)p - 1;
    SAME(*base, 0x8888);
    *base = 0;
    __atomic_fetch_sub(&live_now, 1, __ATOMIC_RELAXED);
    memhook_next_free(next, base);
}

static void *i_realloc(memhook_next *next, void *p, size_t n, const memhook_call *c, void *user)
{
    (void)c, (void)user;
    if (!p)
        return i_malloc(next, n, c, user);
    SAME(((uint64_t *)p)[-1], 0x8888);
    uint64_t *base = memhook_next_realloc(next, (uint64_t *)p - 1, n + 8);
    return base ? base + 1 : NULL;
}

static size_t i_usable(memhook_next *next, void *p, const memhook_call *c, void *user)
{
    (void)c, (void)user;
    return memhook_next_usable_size(next, (uint64_t *)p - 1) - 8;
}

static void release(void *user)
{
    (void)user;
    released++;
}

int main(void)
{
    enum { N = 2000 };
    static void *ours[N], *backend[N];
    memhook_id id;
    memhook_interceptor t = { .struct_size = sizeof t, .malloc = i_malloc, .free = i_free,
                              .realloc = i_realloc, .usable_size = i_usable, .release = release };
    OK(memhook_register(&t, &id));
    for (int i = 0; i < N; i++) {
        ours[i] = malloc((size_t)i % 40);
        SAME((uintptr_t)ours[i] % 16, 8);
        backend[i] = memalign(8, (size_t)i % 40); /* no memalign callback: the backend's */
    }
    SAME(live_now, N);
    SAME(live(id), N);
    for (int i = 0; i < N; i += 2) {
        ours[i] = realloc(ours[i], 500);
        CHECK(malloc_usable_size(ours[i]) >= 500);
        backend[i] = realloc(backend[i], 500);
    }
    SAME(memhook_unregister(id), EINPROGRESS);
    for (int i = 0; i < N; i++) {
        SAME(released, 0);
        free(backend[i]);
        free(ours[i]);
    }
    SAME(live_now, 0);
    SAME(released, 1);
    puts("8-byte pointers went home");
}
