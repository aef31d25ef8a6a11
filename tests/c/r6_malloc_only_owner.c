/* An accounting hook with malloc, realloc and free but no memalign: aligned blocks are not its. */
#include "check.h"

int main(void)
{
    struct account a = { .tag = 0xa };
    memhook_interceptor t = account_table(&a, "a", 0);
    memhook_id id;
    t.memalign = NULL;
    OK(memhook_register(&t, &id));
    void *p[7] = { memalign(64, 100), aligned_alloc(64, 128), valloc(100), pvalloc(100) };
    CHECK(posix_memalign(&p[4], 64, 100) == 0);
    SAME(live(id), 0);
    p[5] = calloc(10, 10);
    p[6] = reallocarray(NULL, 10, 10);
    SAME(live(id), 2);
    for (int i = 0; i < 7; i++) {
        CHECK(malloc_usable_size(p[i]) >= 100);
        p[i] = realloc(p[i], 9000);
        CHECK(p[i]);
    }
    SAME(live(id), 2);
    SAME(a.live, 2);
    for (int i = 0; i < 7; i++)
        free(p[i]);
    SAME(a.live, 0);
    OK(memhook_unregister(id));
    SAME(a.released, 1);
    puts("aligned blocks were nobody's");
}
