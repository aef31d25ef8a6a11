/* Blocks made through none, one and two accounting hooks, in every order of their removal. */
#include "check.h"

enum { SETS = 4, EACH = 6 };

static void make(void *blocks[EACH])
{
    blocks[0] = malloc(100);
    blocks[1] = calloc(10, 10);
    blocks[2] = memalign(256, 100);
    blocks[3] = realloc(NULL, 100);
    CHECK(posix_memalign(&blocks[4], 4096, 100) == 0);
    blocks[5] = reallocarray(NULL, 10, 10);
    for (int i = 0; i < EACH; i++)
        memset(blocks[i], 0x40 + i, 100);
}

static void check(void *blocks[EACH])
{
    for (int i = 0; i < EACH; i++) {
        for (int j = 0; j < 100; j++)
            SAME(((char *)blocks[i])[j], 0x40 + i);
        size_t usable = malloc_usable_size(blocks[i]);
        CHECK(usable >= 100);
        memset((char *)blocks[i] + 100, 0, usable - 100);
    }
}

int main(void)
{
    for (int order = 0; order < 4; order++) {
        void *blocks[SETS][EACH];
        struct account a = { .tag = 0xa }, b = { .tag = 0xb };
        memhook_interceptor ta = account_table(&a, "a", order & 2 ? -1 : 1);
        memhook_interceptor tb = account_table(&b, "b", 0);
        memhook_id ia, ib;
        make(blocks[0]);
        OK(memhook_register(&ta, &ia));
        make(blocks[1]);
        OK(memhook_register(&tb, &ib));
        make(blocks[2]);
        SAME(a.live, 2 * EACH);
        SAME(b.live, EACH);
        SAME(live(ia), 2 * EACH);
        SAME(live(ib), EACH);
        SAME(memhook_unregister(order & 1 ? ia : ib), EINPROGRESS);
        make(blocks[3]);
        SAME(a.live, order & 1 ? 2 * EACH : 3 * EACH);
        SAME(b.live, order & 1 ? 2 * EACH : EACH);
        for (int set = 0; set < SETS; set++) {
            check(blocks[set]);
            for (int i = 0; i < EACH; i++) {
                blocks[set][i] = realloc(blocks[set][i], 9000);
                blocks[set][i] = realloc(blocks[set][i], 150);
            }
            check(blocks[set]);
        }
        SAME(memhook_unregister(order & 1 ? ib : ia), EINPROGRESS);
        SAME(hooks_in_force(), 0);
        SAME(a.released + b.released, 0);
        for (int set = 0; set < SETS; set++) {
            check(blocks[set]);
            for (int i = 0; i < EACH; i++)
                free(blocks[set][i]);
        }
        SAME(a.live, 0);
        SAME(b.live, 0);
        SAME(a.released, 1);
        SAME(b.released, 1);
        SAME(live(ia), 0);
    }
    puts("every block went back the way it came");
}
