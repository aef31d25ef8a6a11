/* Blocks are aligned as the backend aligns them, through observers and the accounting hook. */
#include "check.h"

static void after(const memhook_call *c, void *p, void *user)
{
    (void)c, (void)p, (void)user;
}

static void all(void)
{
    for (size_t n = 0; n < 300; n += 7) {
        void *p[3] = { malloc(n), calloc(n, 1), realloc(NULL, n) };
        for (int i = 0; i < 3; i++) {
            SAME((uintptr_t)p[i] % 16, 0);
            p[i] = realloc(p[i], 3 * n + 1000);
            SAME((uintptr_t)p[i] % 16, 0);
            free(p[i]);
        }
    }
    for (size_t a = sizeof(void *); a <= (size_t)1 << 21; a *= 2) {
        void *p = NULL;
        OK(posix_memalign(&p, a, 100));
        SAME((uintptr_t)p % a, 0);
        memset(p, 1, 100);
        free(p);
        p = memalign(a, 33);
        SAME((uintptr_t)p % a, 0);
        free(p);
        p = aligned_alloc(a, 2 * a);
        SAME((uintptr_t)p % a, 0);
        memset(p, 1, 2 * a);
        free(p);
    }
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
    puts("aligned");
}
