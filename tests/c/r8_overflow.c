/* Products that overflow and sizes that cannot be: NULL and ENOMEM, with no hook, with an
 * observer, and with an accounting hook. */
#include "check.h"

static void after(const memhook_call *c, void *p, void *user)
{
    (void)c, (void)p, (void)user;
    errno = 77;
}

#define FAILS(call, error)                                                                     \
    do {                                                                                       \
        errno = 0;                                                                             \
        CHECK(!(call));                                                                        \
        SAME(errno, error);                                                                    \
    } while (0)

static void all(void)
{
    static const size_t huge = SIZE_MAX / 2 + 1;
    void *p = malloc(100), *out = p;
    memset(p, 3, 100);
    FAILS(malloc(huge), ENOMEM);
    FAILS(malloc(SIZE_MAX), ENOMEM);
    FAILS(calloc(huge, 2), ENOMEM);
    FAILS(calloc(3, huge), ENOMEM);
    FAILS(calloc(SIZE_MAX, SIZE_MAX), ENOMEM);
    FAILS(calloc(1, SIZE_MAX), ENOMEM);
    FAILS(realloc(NULL, SIZE_MAX), ENOMEM);
    FAILS(realloc(p, SIZE_MAX), ENOMEM);
    FAILS(realloc(p, huge), ENOMEM);
    FAILS(reallocarray(NULL, huge, 2), ENOMEM);
    FAILS(reallocarray(p, huge, 2), ENOMEM);
    FAILS(reallocarray(p, SIZE_MAX, SIZE_MAX), ENOMEM);
    FAILS(memalign(64, SIZE_MAX), ENOMEM);
    FAILS(aligned_alloc(64, SIZE_MAX - 63), ENOMEM);
    FAILS(valloc(SIZE_MAX), ENOMEM);
    FAILS(pvalloc(SIZE_MAX), ENOMEM);
    SAME(posix_memalign(&out, 64, SIZE_MAX), ENOMEM);
    SAME(posix_memalign(&out, 0, 10), EINVAL);
    SAME(posix_memalign(&out, 4, 10), EINVAL);
    SAME(posix_memalign(&out, 24, 10), EINVAL);
    SAME(posix_memalign(&out, SIZE_MAX / 2 + 2, 10), EINVAL);
    SAME((uintptr_t)out, (uintptr_t)p);
    p = hide(p);
    for (int i = 0; i < 100; i++)
        SAME(((char *)p)[i], 3);
    free(p);
}

int main(void)
{
    struct account a = { .tag = 0xa };
    memhook_interceptor t = account_table(&a, "a", 0);
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = after };
    memhook_id id;
    all();
    OK(memhook_observe(&o, &id));
    all();
    OK(memhook_register(&t, &id));
    all();
    SAME(a.live, 0);
    puts("NULL and ENOMEM");
}
