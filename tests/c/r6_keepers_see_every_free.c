/* An interceptor that keeps pointers, and one that makes no blocks, are given every free, realloc
 * and measurement: of blocks older than themselves, of others' blocks, in order of priority. */
#include "check.h"

static char said[16];
static void *given[16];

static void note(void *user, void *p)
{
    size_t n = strlen(said);
    CHECK(n < 15);
    given[n] = p;
    said[n] = *(char *)user;
    said[n + 1] = 0;
}

static void *k_malloc(memhook_next *next, size_t n, const memhook_call *c, void *user)
{
    (void)c, (void)user;
    return memhook_next_malloc(next, n);
}

static void *k_realloc(memhook_next *next, void *p, size_t n, const memhook_call *c, void *user)
{
    (void)c;
    note(user, p);
    return memhook_next_realloc(next, p, n);
}

static void k_free(memhook_next *next, void *p, const memhook_call *c, void *user)
{
    (void)c;
    note(user, p);
    memhook_next_free(next, p);
}

static size_t k_usable(memhook_next *next, void *p, const memhook_call *c, void *user)
{
    (void)c;
    note(user, p);
    return memhook_next_usable_size(next, p);
}

static void heard(const char *who, void *outer, void *inner)
{
    if (strcmp(said, who) != 0) {
        memhook_log("heard \"%s\", not \"%s\"\n", said, who);
        _exit(1);
    }
    if (said[0])
        SAME((uintptr_t)given[0], (uintptr_t)outer);
    if (said[0] && said[1])
        SAME((uintptr_t)given[1], (uintptr_t)inner);
    said[0] = 0;
}

int main(void)
{
    struct account a = { .tag = 0xa };
    memhook_interceptor ta = account_table(&a, "a", 0);
    memhook_id ia, ik, io;
    void *old = malloc(100), *old_too = malloc(100);
    OK(memhook_register(&ta, &ia));
    void *owned = malloc(100), *owned_too = malloc(100);
    /* Outside the accounting hook: */
    memhook_interceptor keeper = { .struct_size = sizeof keeper, .priority = 5, .user = "k",
                                   .flags = MEMHOOK_KEEPS_POINTERS, .malloc = k_malloc,
                                   .realloc = k_realloc, .free = k_free, .usable_size = k_usable };
    /* Inside it, and without a callback that makes blocks: */
    memhook_interceptor watcher = { .struct_size = sizeof watcher, .priority = -5, .user = "w",
                                    .free = k_free, .usable_size = k_usable };
    OK(memhook_register(&keeper, &ik));
    OK(memhook_register(&watcher, &io));
    void *mine = malloc(100);
    SAME(live(ik), 0);
    SAME(live(io), 0);

    CHECK(malloc_usable_size(old) >= 100);
    heard("kw", old, old);
    CHECK(malloc_usable_size(owned) >= 100);
    heard("kw", owned, (char *)owned - 16);
    free(old);
    heard("kw", old, old);
    free(owned);
    heard("kw", owned, (char *)owned - 16);
    free(mine);
    heard("kw", mine, (char *)mine - 16);
    void *p = owned_too;
    owned_too = realloc(p, 110);
    heard("k", p, NULL);
    SAME(memhook_unregister(ia), EINPROGRESS);
    free(owned_too);
    heard("kw", owned_too, (char *)owned_too - 16);
    SAME(a.released, 1);
    OK(memhook_unregister(ik));
    free(old_too);
    heard("w", old_too, NULL);
    OK(memhook_unregister(io));
    puts("every free was seen");
}
