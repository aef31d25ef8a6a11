/* An interceptor for blocks of nobody sees those that no interceptor owns, and no others; an owner's blocks beside it go the
 * owner's way; with an owner that answers from below, it is asked before the backend. */
#include "check.h"
#include <malloc.h>
#include <stdlib.h>

static void *older, *swallowed;
static int strays, owned, measured, resized, ends;

static void stray_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)user;
    strays++;
    ends += memhook_next_is_backend(next);
    CHECK(call->block == block);
    if (block != swallowed)
        memhook_next_free(next, block);
}

static void *stray_realloc(memhook_next *next, void *block, size_t bytes, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    resized++;
    return memhook_next_realloc(next, block, bytes);
}

static size_t stray_usable_size(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    measured++;
    return memhook_next_usable_size(next, block);
}

static void *own_malloc(memhook_next *next, size_t bytes, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    CHECK(memhook_next_is_backend(next));
    char *whole = memhook_next_malloc(next, bytes + 16);
    return whole ? whole + 16 : NULL;
}

static void own_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    owned++;
    memhook_next_free(next, (char *)block - 16);
}

static void *own_realloc(memhook_next *next, void *block, size_t bytes, const memhook_call *call, void *user)
{
    if (block == NULL)
        return own_malloc(next, bytes, call, user);
    char *whole = memhook_next_realloc(next, (char *)block - 16, bytes + 16);
    return whole ? whole + 16 : NULL;
}

static size_t own_usable_size(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    return memhook_next_usable_size(next, (char *)block - 16) - 16;
}

static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_realloc)(void *, size_t) = realloc;
static size_t (*volatile do_usable_size)(void *) = malloc_usable_size;
static void (*volatile do_free)(void *) = free;

int main(void)
{
    static const memhook_interceptor stray = {
        .struct_size = sizeof stray,
        .flags = MEMHOOK_OF_NOBODY,
        .realloc = stray_realloc,
        .free = stray_free,
        .usable_size = stray_usable_size,
    };
    static const memhook_interceptor owner = {
        .struct_size = sizeof owner,
        .malloc = own_malloc,
        .realloc = own_realloc,
        .free = own_free,
        .usable_size = own_usable_size,
    };
    memhook_id first, second;
    older = do_malloc(24);
    swallowed = do_malloc(24);
    CHECK(memhook_register(&stray, &first) == 0);

    /* Alone: every block is nobody's, and none is made by it. */
    void *block = do_malloc(10);
    CHECK(do_usable_size(block) >= 10 && measured == 1);
    block = do_realloc(block, 1000);
    CHECK(resized == 1);
    do_free(block);
    CHECK(strays == 1 && ends == 1);
    do_free(do_realloc(NULL, 10)); /* A new block is not shown to it. */
    CHECK(resized == 1 && strays == 2);

    /* Beside an owner: only what the owner has not made. */
    CHECK(memhook_register(&owner, &second) == 0);
    block = do_malloc(10);
    CHECK(do_usable_size(block) >= 10 && measured == 1);
    block = do_realloc(block, 1000);
    do_free(block);
    CHECK(owned == 1 && strays == 2 && resized == 1);
    do_free(older);
    CHECK(owned == 1 && strays == 3);
    do_free(swallowed);
    do_free(swallowed); /* It may be given anything, as long as it does not pass it on. */
    CHECK(strays == 5);
    size_t live = 1;
    CHECK(memhook_live_blocks(first, &live) == 0 && live == 0);
    CHECK(memhook_unregister(second) == 0 && memhook_unregister(first) == 0);

    /* It makes nothing. */
    memhook_interceptor wrong = stray;
    wrong.malloc = own_malloc;
    CHECK(memhook_register(&wrong, &first) == EINVAL);
    puts("of nobody: those alone");
    return 0;
}
