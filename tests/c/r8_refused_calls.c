/* Calls that are refused are shown to interceptors that ask for it, and to no others; they stay refused. */
#include "check.h"

static int seen, others;
static memhook_call last;
static void *given;

static void note(const memhook_call *call, void *user)
{
    ++*(int *)user;
    last = *call;
}

static void *on_malloc(memhook_next *next, size_t requested, const memhook_call *call, void *user)
{
    note(call, user);
    errno = 77;
    given = memhook_next_malloc(next, requested);
    return given;
}

static void *on_realloc(memhook_next *next, void *block, size_t requested, const memhook_call *call, void *user)
{
    note(call, user);
    SAME((uintptr_t)block, (uintptr_t)call->block);
    errno = 77;
    given = memhook_next_realloc(next, block, requested);
    return given;
}

static void *on_memalign(memhook_next *next, size_t alignment, size_t requested, const memhook_call *call,
                         void *user)
{
    note(call, user);
    SAME(alignment, call->entry == MEMHOOK_ENTRY_PVALLOC ? 4096 : call->alignment);
    errno = 77;
    given = memhook_next_memalign(next, alignment, requested);
    return given;
}

/* Answers everything by itself. */
static void *of_its_own(memhook_next *next, size_t requested, const memhook_call *call, void *user)
{
    static char own[16];
    (void)next, (void)requested;
    note(call, user);
    return own;
}

static void on_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    memhook_next_free(next, block);
}

static memhook_id add(uint32_t flags, int *count)
{
    memhook_interceptor table = {.struct_size = sizeof table,
                                 .flags = flags,
                                 .user = count,
                                 .malloc = on_malloc,
                                 .realloc = on_realloc,
                                 .memalign = on_memalign,
                                 .free = on_free};
    memhook_id id;
    OK(memhook_register(&table, &id));
    return id;
}

#define REFUSED(call, error, times, which, bytes)                                                  \
    do {                                                                                           \
        seen = others = 0;                                                                         \
        errno = 0;                                                                                 \
        given = &seen;                                                                             \
        CHECK(!(call));                                                                            \
        SAME(errno, error);                                                                        \
        SAME(seen, times);                                                                         \
        SAME(others, 0);                                                                           \
        if (times != 0) {                                                                          \
            CHECK(given == NULL);                                                                  \
            SAME(last.entry, which);                                                               \
            SAME(last.requested, bytes);                                                           \
        }                                                                                          \
    } while (0)

static void all(int times, void *block, int of_block)
{
    static const size_t huge = SIZE_MAX / 2 + 1;
    void *out = &seen;
    REFUSED(calloc(huge, 2), ENOMEM, times, MEMHOOK_ENTRY_CALLOC, SIZE_MAX);
    REFUSED(reallocarray(NULL, huge, 2), ENOMEM, times, MEMHOOK_ENTRY_REALLOCARRAY, SIZE_MAX);
    SAME((uintptr_t)last.block * (times != 0), 0);
    REFUSED(reallocarray(block, 2, huge), ENOMEM, of_block, MEMHOOK_ENTRY_REALLOCARRAY, SIZE_MAX);
    block = hide(block);
    if (of_block != 0)
        SAME((uintptr_t)last.block, (uintptr_t)block);
    REFUSED(pvalloc(SIZE_MAX - 5), ENOMEM, times, MEMHOOK_ENTRY_PVALLOC, SIZE_MAX - 5);
    REFUSED(posix_memalign(&out, 24, 10) != EINVAL, 0, times, MEMHOOK_ENTRY_POSIX_MEMALIGN, 10);
    if (times != 0)
        SAME(last.alignment, 24);
    REFUSED(posix_memalign(&out, 0, 10) != EINVAL, 0, times, MEMHOOK_ENTRY_POSIX_MEMALIGN, 10);
    SAME((uintptr_t)out, (uintptr_t)&seen);
}

int main(void)
{
    memhook_id ids[4];
    void *before = malloc(10);
    all(0, before, 0);
    ids[0] = add(0, &others);
    ids[1] = add(MEMHOOK_SEES_REFUSED, &seen);
    void *block = malloc(10);
    all(1, before, 0); /* its owner is not asked, as there is none */
    all(1, block, 1);
    ids[2] = add(MEMHOOK_SEES_REFUSED | MEMHOOK_KEEPS_POINTERS, &seen);
    ids[3] = add(MEMHOOK_SEES_REFUSED, &seen);
    all(3, before, 1);
    all(3, block, 2);
    OK(memhook_suspend());
    all(0, block, 0);
    OK(memhook_resume());
    for (int i = 0; i < 4; i++) {
        int result = memhook_unregister_timed(ids[i], 0);
        CHECK(result == 0 || result == ETIMEDOUT || result == EINPROGRESS);
    }
    all(0, before, 0);
    all(0, block, 1); /* its owner stays with it */
    free(block);
    free(before);

    /* Who answers calls itself does not answer these. */
    memhook_interceptor table = {.struct_size = sizeof table,
                                 .flags = MEMHOOK_SEES_REFUSED,
                                 .user = &seen,
                                 .malloc = of_its_own,
                                 .free = on_free};
    OK(memhook_register(&table, &ids[0]));
    volatile size_t huge = SIZE_MAX / 2 + 1;
    seen = 0;
    void *none = calloc(huge, 2);
    SAME((uintptr_t)none, 0);
    SAME(seen, 1);
    OK(memhook_unregister(ids[0]));
    puts("refused, seen by who wants to");
    return 0;
}
