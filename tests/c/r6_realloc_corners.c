/* realloc of NULL, to 0 bytes, and one that fails: the block stays its owner's. */
#include "check.h"

static int fails;

static void *failing(memhook_next *next, void *p, size_t n, const memhook_call *c, void *user)
{
    return fails ? NULL : account_realloc(next, p, n, c, user);
}

/* To 0 bytes: gives the block back, as glibc does. */
static void *freeing(memhook_next *next, void *p, size_t n, const memhook_call *c, void *user)
{
    if (p && n == 0) {
        account_free(next, p, c, user);
        return NULL;
    }
    return account_realloc(next, p, n, c, user);
}

int main(void)
{
    struct account a = { .tag = 0xa };
    memhook_interceptor t = account_table(&a, "a", 0);
    memhook_id id;
    t.realloc = failing;
    OK(memhook_register(&t, &id));

    char *p = realloc(NULL, 100);
    SAME(live(id), 1);
    memset(p, 9, 100);
    fails = 1;
    errno = 0;
    SAME((uintptr_t)realloc(p, 200), 0);
    SAME(errno, ENOMEM);
    fails = 0;
    SAME((uintptr_t)realloc(p, SIZE_MAX / 2 - 100), 0); /* the backend refuses */
    SAME((uintptr_t)realloc(p, SIZE_MAX - 5), 0);       /* the interceptor refuses */
    SAME((uintptr_t)reallocarray(p, SIZE_MAX / 2, 3), 0);
    SAME(live(id), 1);
    p = hide(p);
    for (int i = 0; i < 100; i++)
        SAME(p[i], 9);
    p = realloc(p, 0); /* the accounting hook keeps its head: a block of 0 bytes */
    CHECK(p);
    SAME(live(id), 1);
    SAME(a.bytes, 0);
    free(p);
    SAME(live(id), 0);

    t.realloc = freeing;
    OK(memhook_replace(id, &t));
    a.released = 0;
    p = malloc(100);
    SAME((uintptr_t)realloc(p, 0), 0);
    SAME(a.live, 0);
    SAME(live(id), 0);
    OK(memhook_unregister(id));
    SAME(a.released, 1);

    p = malloc(100); /* the backend alone */
    SAME((uintptr_t)realloc(p, 0), 0);
    p = realloc(NULL, 0);
    CHECK(p);
    free(p);
    puts("corners kept");
}
