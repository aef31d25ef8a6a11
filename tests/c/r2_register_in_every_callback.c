/* Every kind of callback registers a hook, releases included. */
#include "check.h"

static int registered, seen, armed;
static memhook_id ids[32];

static void after(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    seen += call->requested == 4711;
}

static void one_more(void)
{
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = after };
    if (armed) {
        armed = 0;
        OK(memhook_observe(&o, &ids[registered]));
        registered++;
    }
}

static void *i_malloc(memhook_next *next, size_t n, const memhook_call *c, void *u)
{
    (void)c, (void)u;
    one_more();
    return memhook_next_malloc(next, n);
}

static void *i_realloc(memhook_next *next, void *p, size_t n, const memhook_call *c, void *u)
{
    (void)c, (void)u;
    one_more();
    return memhook_next_realloc(next, p, n);
}

static void *i_memalign(memhook_next *next, size_t a, size_t n, const memhook_call *c, void *u)
{
    (void)c, (void)u;
    one_more();
    return memhook_next_memalign(next, a, n);
}

static void i_free(memhook_next *next, void *p, const memhook_call *c, void *u)
{
    (void)c, (void)u;
    one_more();
    memhook_next_free(next, p);
}

static size_t i_usable(memhook_next *next, void *p, const memhook_call *c, void *u)
{
    (void)c, (void)u;
    one_more();
    return memhook_next_usable_size(next, p);
}

static void o_after(const memhook_call *c, void *p, void *u)
{
    (void)c, (void)p, (void)u;
    one_more();
}

static void o_before(const memhook_call *c, void *u)
{
    (void)c, (void)u;
    one_more();
}

static void release(void *u)
{
    (void)u;
    armed = 1;
    one_more();
}

#define STEP(code)                                                                             \
    do {                                                                                       \
        int before = registered;                                                               \
        armed = 1;                                                                             \
        code;                                                                                  \
        SAME(registered, before + 1);                                                          \
    } while (0)

int main(void)
{
    memhook_interceptor t = { .struct_size = sizeof t, .malloc = i_malloc, .realloc = i_realloc,
                              .memalign = i_memalign, .free = i_free, .usable_size = i_usable,
                              .release = release };
    memhook_id id;
    void *p, *volatile q;
    OK(memhook_register(&t, &id));
    STEP(p = malloc(10));
    STEP(p = realloc(p, 20));
    STEP(q = memalign(64, 20));
    STEP(CHECK(malloc_usable_size(p) >= 20));
    STEP(free(p));
    free(q);
    STEP(OK(memhook_unregister(id)));

    memhook_observer after_alloc = { .struct_size = sizeof after_alloc, .after_alloc = o_after };
    memhook_observer before_free = { .struct_size = sizeof before_free, .before_free = o_before };
    memhook_observer begin = { .struct_size = sizeof begin, .realloc_begin = o_before };
    memhook_observer commit = { .struct_size = sizeof commit, .realloc_commit = o_after };
    memhook_observer abandon = { .struct_size = sizeof abandon, .realloc_abort = o_before };
    OK(memhook_observe(&after_alloc, &id));
    STEP(p = malloc(10));
    OK(memhook_unregister(id));
    OK(memhook_observe(&begin, &id));
    STEP(p = realloc(p, 1000));
    OK(memhook_unregister(id));
    OK(memhook_observe(&commit, &id));
    STEP(p = realloc(p, 2000));
    OK(memhook_unregister(id));
    OK(memhook_observe(&abandon, &id));
    STEP(q = realloc(p, SIZE_MAX / 2 + 1));
    SAME((uintptr_t)q, 0);
    OK(memhook_unregister(id));
    OK(memhook_observe(&before_free, &id));
    STEP(free(p));
    OK(memhook_unregister(id));

    SAME(hooks_in_force(), registered);
    free(malloc(4711));
    SAME(seen, registered);
    printf("%d hooks registered in callbacks\n", registered);
}
