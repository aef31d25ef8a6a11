/* Every callback spoils errno: successful calls and free leave it as it was. */
#include "check.h"

void free_sized(void *, size_t);
void free_aligned_sized(void *, size_t, size_t);

static void o_after(const memhook_call *c, void *p, void *user)
{
    (void)c, (void)p, (void)user;
    errno = 71;
}

static void o_before(const memhook_call *c, void *user)
{
    (void)c, (void)user;
    errno = 72;
}

static void *i_malloc(memhook_next *next, size_t n, const memhook_call *c, void *user)
{
    errno = 73;
    void *p = account_malloc(next, n, c, user);
    errno = 73;
    return p;
}

static void *i_realloc(memhook_next *next, void *q, size_t n, const memhook_call *c, void *user)
{
    void *p = account_realloc(next, q, n, c, user);
    errno = 74;
    return p;
}

static void *i_memalign(memhook_next *next, size_t a, size_t n, const memhook_call *c, void *user)
{
    void *p = account_memalign(next, a, n, c, user);
    errno = 75;
    return p;
}

static void i_free(memhook_next *next, void *p, const memhook_call *c, void *user)
{
    account_free(next, p, c, user);
    errno = 76;
}

static size_t i_usable(memhook_next *next, void *p, const memhook_call *c, void *user)
{
    size_t n = account_usable(next, p, c, user);
    errno = 77;
    return n;
}

static void released(void *user)
{
    (void)user;
    errno = 78;
}

#define KEEPS(call)                                                                            \
    do {                                                                                       \
        errno = 42;                                                                            \
        call;                                                                                  \
        SAME(errno, 42);                                                                       \
    } while (0)

static void all(void)
{
    void *p;
    KEEPS(p = malloc(10));
    KEEPS(p = realloc(p, 100));
    KEEPS(p = realloc(p, 100000));
    KEEPS(p = reallocarray(p, 10, 10));
    KEEPS(CHECK(malloc_usable_size(p) >= 100));
    KEEPS(free(p));
    KEEPS(p = calloc(10, 10));
    KEEPS(free_sized(p, 100));
    KEEPS(p = realloc(NULL, 10));
    KEEPS(free(p));
    KEEPS(p = memalign(64, 10));
    KEEPS(free_aligned_sized(p, 64, 10));
    KEEPS(p = aligned_alloc(64, 64));
    KEEPS(free(p));
    KEEPS(OK(posix_memalign(&p, 64, 10)));
    KEEPS(free(p));
    KEEPS(p = valloc(10));
    KEEPS(free(p));
    KEEPS(p = pvalloc(10));
    KEEPS(free(p));
    KEEPS(p = malloc(10000000)); /* its own mapping */
    KEEPS(free(p));
    KEEPS(free(NULL));
    KEEPS(SAME(posix_memalign(&p, 3, 10), EINVAL));
    errno = 42;
    SAME(posix_memalign(&p, 64, SIZE_MAX / 2), ENOMEM);
    SAME(errno, ENOMEM); /* as in glibc: that of its allocation */
    KEEPS(p = malloc(10));
    KEEPS(p = realloc(p, 0));
    free(p);
}

/* Hooks that keep errno, in whose callbacks a hook comes and goes. Its release, behind the callback, spoils errno. */
static int releases;

static void released_later(void *user)
{
    (void)user;
    releases++;
    errno = 79;
}

static void come_and_go(void)
{
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = o_after, .release = released_later };
    memhook_id id;
    OK(memhook_observe(&o, &id));
    SAME(memhook_unregister(id), EINPROGRESS);
}

static void k_after(const memhook_call *c, void *p, void *user)
{
    (void)c, (void)p, (void)user;
    come_and_go();
}

static void k_before(const memhook_call *c, void *user)
{
    (void)c, (void)user;
    come_and_go();
}

static void *k_malloc(memhook_next *next, size_t n, const memhook_call *c, void *user)
{
    come_and_go();
    return account_malloc(next, n, c, user);
}

static void k_free(memhook_next *next, void *p, const memhook_call *c, void *user)
{
    come_and_go();
    account_free(next, p, c, user);
}

static void kept_by_hooks(void)
{
    struct account a = { .tag = 0xb };
    memhook_interceptor t = account_table(&a, "b", 0);
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = k_after, .before_free = k_before,
                           .flags = MEMHOOK_KEEPS_ERRNO };
    memhook_id id;
    void *p;
    t.malloc = k_malloc, t.free = k_free, t.flags = MEMHOOK_KEEPS_ERRNO;
    OK(memhook_observe(&o, &id));
    for (int i = 1; i < 4; i++) {
        KEEPS(p = malloc(10));
        KEEPS(free(p));
        SAME(releases, 2 * i);
    }
    OK(memhook_unregister(id));
    OK(memhook_register(&t, &id));
    for (int i = 4; i < 7; i++) {
        KEEPS(p = malloc(10));
        KEEPS(free(p));
        SAME(releases, 2 * i);
    }
    OK(memhook_unregister(id));
}

int main(void)
{
    struct account a = { .tag = 0xa };
    memhook_interceptor t = account_table(&a, "a", 0);
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = o_after, .before_free = o_before,
                           .realloc_begin = o_before, .realloc_commit = o_after, .release = released };
    memhook_id id, observer;
    t.malloc = i_malloc, t.realloc = i_realloc, t.memalign = i_memalign, t.free = i_free;
    t.usable_size = i_usable, t.release = released;
    all();
    OK(memhook_observe(&o, &observer));
    all();
    KEEPS(OK(memhook_register(&t, &id)));
    all();
    void *p = malloc(10);
    KEEPS(SAME(memhook_unregister(id), EINPROGRESS));
    KEEPS(free(p)); /* the last: released inside */
    KEEPS(OK(memhook_unregister(observer)));
    KEEPS(SAME(memhook_unregister(observer), ESRCH));
    kept_by_hooks();
    puts("errno was left alone");
}
