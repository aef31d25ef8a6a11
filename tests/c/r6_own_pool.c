/* An interceptor answers from memory of its own and never asks the rest of the chain; its blocks
 * outlive it, and are handed out again. */
#include "check.h"
#include <sys/mman.h>

enum { CELL = 256, CELLS = 4096 };
static char *pool;
static void *list;
static int used, released;

static void *take(memhook_next *next, size_t n, const memhook_call *c, void *user)
{
    (void)next, (void)c, (void)user;
    if (n > CELL)
        return NULL; /* the call fails */
    void *cell = list;
    if (cell)
        list = *(void **)cell;
    else if (used < CELLS)
        cell = pool + CELL * used++;
    return cell;
}

static void give(memhook_next *next, void *p, const memhook_call *c, void *user)
{
    (void)next, (void)c, (void)user;
    CHECK((char *)p >= pool && (char *)p < pool + CELL * CELLS);
    memset(p, 0x5a, CELL);
    *(void **)p = list;
    list = p;
}

static void *resize(memhook_next *next, void *p, size_t n, const memhook_call *c, void *user)
{
    if (!p)
        return take(next, n, c, user);
    CHECK((char *)p >= pool && (char *)p < pool + CELL * CELLS);
    return n > CELL ? NULL : p;
}

static size_t measure(memhook_next *next, void *p, const memhook_call *c, void *user)
{
    (void)next, (void)c, (void)user;
    CHECK((char *)p >= pool && (char *)p < pool + CELL * CELLS);
    return CELL;
}

static void release(void *user)
{
    (void)user;
    OK(munmap(pool, CELL * CELLS));
    released++;
}

int main(void)
{
    pool = mmap(NULL, CELL * CELLS, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    memhook_interceptor t = { .struct_size = sizeof t, .malloc = take, .free = give, .realloc = resize,
                              .usable_size = measure, .release = release };
    memhook_id id;
    void *blocks[1000], *before = malloc(100);
    OK(memhook_register(&t, &id));
    for (int round = 0; round < 3; round++) {
        for (int i = 0; i < 1000; i++) {
            blocks[i] = i % 2 ? malloc(200) : calloc(20, 10);
            CHECK((char *)blocks[i] >= pool && (char *)blocks[i] < pool + CELL * CELLS);
            SAME(malloc_usable_size(blocks[i]), CELL);
            for (int j = 0; i % 2 == 0 && j < 200; j++)
                SAME(((char *)blocks[i])[j], 0);
            memset(blocks[i], 0xff, CELL);
        }
        SAME(live(id), 1000);
        errno = 0;
        SAME((uintptr_t)malloc(1000), 0);
        SAME(errno, ENOMEM);
        SAME((uintptr_t)realloc(blocks[0], 1000), 0);
        SAME((uintptr_t)realloc(blocks[0], 100), (uintptr_t)blocks[0]);
        if (round < 2)
            for (int i = 0; i < 1000; i++)
                free(blocks[i]);
    }
    SAME(used, 1000);
    SAME(memhook_unregister(id), EINPROGRESS);
    void *after = malloc(1000);
    CHECK(after);
    for (int i = 0; i < 1000; i++) {
        SAME(released, 0);
        free(blocks[i]);
    }
    SAME(released, 1);
    free(after);
    free(before);
    puts("the pool took its own back");
}
