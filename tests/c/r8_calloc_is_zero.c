/* calloc's memory is zero though one interceptor fills memory with junk, moves the block, or
 * hands out used memory again; small, large, and larger than the backend keeps. */
#include "check.h"

static int fills, shifts, recycles;
static void *recycled;
static size_t recycled_size;

static void *i_malloc(memhook_next *next, size_t n, const memhook_call *c, void *user)
{
    (void)c, (void)user;
    if (recycles && recycled && recycled_size >= n) {
        void *p = recycled;
        recycled = NULL;
        return p;
    }
    char *p = memhook_next_malloc(next, n + 64);
    if (p && fills)
        memset(p, 0xee, n + 64);
    if (p && fills == 2)
        memset(p + n / 2, 0xdd, 1); /* one byte in an untouched page */
    return p && shifts ? p + 32 : p;
}

static void i_free(memhook_next *next, void *p, const memhook_call *c, void *user)
{
    (void)c, (void)user;
    if (recycles && !recycled) {
        recycled = p;
        recycled_size = memhook_next_usable_size(next, p);
        memset(p, 0xcc, recycled_size);
        return;
    }
    memhook_next_free(next, shifts ? (char *)p - 32 : p);
}

static void *i_twice(memhook_next *next, size_t n, const memhook_call *c, void *user)
{
    (void)c, (void)user;
    char *first = memhook_next_malloc(next, n);
    memset(first, 0xbb, n);
    char *second = memhook_next_malloc(next, n);
    memset(second, 0xaa, n / 2);
    memhook_next_free(next, second);
    return first;
}

static void *i_sparse(memhook_next *next, size_t n, const memhook_call *c, void *user)
{
    (void)c, (void)user;
    char *p = memhook_next_malloc(next, n);
    for (size_t i = 0; p && i < n; i += 40000)
        p[i] = 1;
    if (p && n)
        p[n - 1] = 1;
    return p;
}

static void is_zero(size_t n)
{
    char *p = calloc(n, 1);
    CHECK(p);
    for (size_t i = 0; i < n; i++)
        if (p[i])
            SAME(p[i], 0);
    memset(p, 0x77, n);
    free(p);
}

static void all_sizes(void)
{
    static const size_t sizes[] = { 1, 24, 100, 1032, 5000, 65536, 131071, 131072, 131073,
                                    140000, 1000000, 5000001, 40000000 };
    for (int round = 0; round < 2; round++)
        for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++)
            is_zero(sizes[i]);
}

int main(void)
{
    memhook_interceptor t = { .struct_size = sizeof t, .malloc = i_malloc, .free = i_free };
    memhook_id id;
    all_sizes();
    for (int kind = 0; kind < 6; kind++) {
        fills = kind == 1 || kind == 3 ? 1 : 0;
        shifts = kind == 2 || kind == 3;
        recycles = kind == 4 || kind == 5;
        OK(memhook_register(&t, &id));
        all_sizes();
        if (recycled) {
            void *left = recycled;
            recycles = 0;
            recycled = NULL;
            memhook_backend_free(left);
        }
        OK(memhook_unregister(id));
    }
    recycles = shifts = fills = 0;
    t.malloc = i_twice;
    OK(memhook_register(&t, &id));
    all_sizes();
    OK(memhook_unregister(id));
    t.malloc = i_sparse;
    OK(memhook_register(&t, &id));
    all_sizes();
    OK(memhook_unregister(id));
    puts("zero");
}
