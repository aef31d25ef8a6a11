/* One interceptor, alone, answers with addresses that an allocator seldom has: low ones, high ones, none, and
 * some that nothing can be known of. Each comes back to it, or the call fails and gives it back at once. */
#include "check.h"

enum { LOW = 1001, FIRST, HIGH, NONE, BEYOND, NEGATIVE };

static void *given, *taken;
static int frees;

static void *address(size_t n)
{
    switch (n) {
    case LOW:
        return (void *)0x3ffff8; /* the last in the first 4 MiB */
    case FIRST:
        return (void *)8;
    case HIGH:
        return (void *)0x7ffffffffff8;
    case BEYOND:
        return (void *)0x1000000000008;
    case NEGATIVE:
        return (void *)0xfffffffffffffff8;
    default:
        return NULL;
    }
}

static void *i_malloc(memhook_next *next, size_t n, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    errno = EDOM;
    return given = n > 1000 && n < 1010 ? address(n) : memhook_next_malloc(next, n);
}

static void i_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)user;
    /* One that is given back at once is no free of the program's. */
    SAME(call->block, call->entry == MEMHOOK_ENTRY_FREE ? block : NULL);
    errno = EDOM;
    frees++;
    taken = block;
    if ((uintptr_t)block >= 0x400000 && (uintptr_t)block < 0x7ffffffff000)
        memhook_next_free(next, block);
}

static void goes_round(memhook_id id, size_t n)
{
    frees = 0;
    errno = 7;
    void *block = malloc(n);
    SAME(block, given);
    SAME(errno, 7);
    SAME(live(id), 1);
    free(block);
    SAME(taken, block);
    SAME(frees, 1);
    SAME(errno, 7);
    SAME(live(id), 0);
}

/* No mark can say whose it is. */
static void is_refused(memhook_id id, size_t n)
{
    frees = 0;
    taken = NULL;
    errno = 7;
    SAME(malloc(n), NULL);
    SAME(errno, ENOMEM);
    SAME(taken, n == NONE ? NULL : given);
    SAME(frees, n != NONE);
    SAME(live(id), 0);
}

int main(void)
{
    memhook_id id;
    memhook_interceptor t = { .struct_size = sizeof t, .malloc = i_malloc, .free = i_free };
    void *older = malloc(10);
    OK(memhook_register(&t, &id));
    for (int i = 0; i < 3; i++) {
        goes_round(id, 100);
        goes_round(id, LOW);
        goes_round(id, FIRST);
        goes_round(id, HIGH);
        is_refused(id, NONE);
        is_refused(id, BEYOND);
        is_refused(id, NEGATIVE);
    }
    frees = 0;
    errno = 7;
    free(older);
    SAME(errno, 7);
    SAME(frees, 0);
    free(NULL);
    SAME(frees, 0);
    OK(memhook_unregister(id));
    puts("odd addresses went home");
}
