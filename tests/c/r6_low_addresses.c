/* An interceptor whose blocks lie where NULL does, in the first 4 MiB of the address space. NULL is not taken for
 * one of them, nor for the backend's next to them; each goes back to it, by all ways. */
#include "check.h"
#include <sys/mman.h>

enum { CELL = 256, CELLS = 64 };
static char *pool;
static int used, given, released, nulls;

static int is_ours(const void *p)
{
    return (const char *)p >= pool && (const char *)p < pool + CELL * CELLS;
}

static void *take(memhook_next *next, size_t n, const memhook_call *c, void *user)
{
    (void)c, (void)user;
    return n == 100 && used < CELLS ? pool + CELL * used++ : memhook_next_malloc(next, n);
}

static void give(memhook_next *next, void *p, const memhook_call *c, void *user)
{
    (void)c, (void)user;
    nulls += p == NULL;
    if (is_ours(p))
        given++;
    else
        memhook_next_free(next, p);
}

static void *resize(memhook_next *next, void *p, size_t n, const memhook_call *c, void *user)
{
    if (!p)
        return take(next, n, c, user);
    if (!is_ours(p))
        return memhook_next_realloc(next, p, n);
    if (n <= CELL && n != 0)
        return p;
    void *moved = n ? memhook_next_malloc(next, n) : NULL;
    if (moved)
        memcpy(moved, p, CELL);
    given++;
    return moved;
}

static size_t measure(memhook_next *next, void *p, const memhook_call *c, void *user)
{
    (void)c, (void)user;
    nulls += p == NULL;
    return is_ours(p) ? CELL : memhook_next_usable_size(next, p);
}

static void release(void *user)
{
    (void)user;
    released++;
}

static int after_null, before_null;

static void told_after(const memhook_call *c, void *block, void *user)
{
    (void)user, (void)c;
    after_null += block == NULL;
}

static void told_before(const memhook_call *c, void *user)
{
    (void)user;
    before_null += c->block == NULL;
}

/* What is done to NULL while low blocks live. */
static void nothing(void)
{
    errno = 1234;
    free(NULL);
    SAME(errno, 1234);
    SAME(malloc_usable_size(NULL), 0);
    CHECK(malloc(SIZE_MAX) == NULL);
    SAME(malloc_usable_size(NULL), 0);
    free(NULL);
    char *made = realloc(NULL, 50);
    CHECK(made && !is_ours(made));
    made = realloc(made, 60);
    free(made);
    made = realloc(NULL, 100);
    CHECK(is_ours(made));
    SAME(malloc_usable_size(made), CELL);
    free(made);
}

static void all_ways(memhook_id id, size_t others)
{
    int before = given, first = used;
    void *block = malloc(100), *zeroed = calloc(10, 10), *moved, *freed, *high = malloc(200);
    CHECK(is_ours(block) && is_ours(zeroed) && !is_ours(high));
    for (int i = 0; i < 100; i++)
        SAME(((char *)zeroed)[i], 0);
    SAME(live(id), others + 3);
    nothing();
    SAME(given - before, 1);
    SAME(live(id), others + 3);
    moved = malloc(100), freed = malloc(100);
    strcpy(moved, "moved");
    CHECK(realloc(moved, 200) == moved);
    moved = realloc(moved, 5000);
    CHECK(!is_ours(moved) && strcmp(moved, "moved") == 0);
    CHECK(realloc(freed, 0) == NULL);
    SAME(given - before, 3);
    free(moved), free(block), free(zeroed), free(high);
    SAME(given - before, 5);
    SAME(used - first, 5);
    SAME(live(id), others);
    SAME(nulls, 0);
}

int main(void)
{
    /* As low as this kernel and user may. */
    for (uintptr_t at = 0x10000; !pool && at < 0x3f0000; at += 0x10000) {
        void *got = mmap((void *)at, CELL * CELLS, PROT_READ | PROT_WRITE,
                         MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
        if (got != MAP_FAILED && (uintptr_t)got == at)
            pool = got;
        else if (got != MAP_FAILED)
            munmap(got, CELL * CELLS);
    }
    if (!pool) {
        puts("no memory there");
        return 0;
    }
    memset(pool, 0xff, CELL * CELLS);
    memhook_interceptor t = { .struct_size = sizeof t, .malloc = take, .free = give, .realloc = resize,
                              .usable_size = measure, .release = release };
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = told_after, .before_free = told_before,
                           .realloc_begin = told_before };
    memhook_id id, observer;
    void *older = malloc(100);
    OK(memhook_register(&t, &id));
    void *lasting = malloc(100), *again = malloc(100), *owned_high = malloc(101);
    CHECK(is_ours(lasting) && is_ours(again));
    /* The only hook, then beside an observer, then suspended. */
    for (int i = 0; i < 3; i++)
        all_ways(id, 3);
    OK(memhook_observe(&o, &observer));
    for (int i = 0; i < 3; i++)
        all_ways(id, 3);
    OK(memhook_unregister(observer));
    SAME(after_null, 3);
    SAME(before_null, 0);
    OK(memhook_suspend());
    free(NULL);
    SAME(malloc_usable_size(NULL), 0);
    SAME(malloc_usable_size(lasting), CELL);
    int before = given;
    free(again);
    SAME(given, before + 1);
    OK(memhook_resume());
    free(older);
    SAME(given, before + 1);
    /* With no interceptor in force any more. */
    SAME(memhook_unregister(id), EINPROGRESS);
    SAME(live(id), 2);
    free(NULL);
    SAME(malloc_usable_size(NULL), 0);
    void *plain = realloc(NULL, 100);
    CHECK(plain && !is_ours(plain));
    free(plain);
    SAME(given, before + 1);
    SAME(malloc_usable_size(lasting), CELL);
    free(owned_high);
    SAME(released, 0);
    free(lasting);
    SAME(given, before + 2);
    SAME(released, 1);
    free(NULL);
    SAME(nulls, 0);
    puts("low blocks went home");
}
