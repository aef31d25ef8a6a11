/* What an observer is told of every entry point, word for word. */
#include "check.h"

void free_sized(void *, size_t);
void free_aligned_sized(void *, size_t, size_t);

static int on;
static const void *last_old, *last_new;

static void line(const char *what, const memhook_call *c, int has_block, void *block, void *user)
{
    if (!on)
        return;
    SAME((uintptr_t)user, 4711);
    SAME(c->struct_size, sizeof *c);
    SAME(c->circumstances, 0);
    CHECK(c->caller);
    if (c->requested == SIZE_MAX)
        printf("  %s %s SIZE_MAX", what, memhook_entry_name(c->entry));
    else if (c->requested > SIZE_MAX / 4)
        printf("  %s %s huge", what, memhook_entry_name(c->entry));
    else
        printf("  %s %s %zu", what, memhook_entry_name(c->entry), c->requested);
    printf(" align %zu count %zu", c->alignment, c->count > 1000000 ? 1000000 : c->count);
    last_old = c->block;
    printf(c->block ? " old" : "");
    if (has_block)
        printf(block ? " -> block" : " -> NULL");
    last_new = has_block ? block : NULL;
    if (c->block && strcmp(what, "commit") != 0)
        CHECK(memhook_usable_size(c) >= 8 && memhook_usable_size(c) < 20000);
    if (!c->block)
        SAME(memhook_usable_size(c), 0);
    printf("\n");
}

static void after(const memhook_call *c, void *block, void *user)
{
    line("after", c, 1, block, user);
}

static void before(const memhook_call *c, void *user)
{
    line("before", c, 0, NULL, user);
}

static void begin(const memhook_call *c, void *user)
{
    line("begin", c, 0, NULL, user);
}

static void commit(const memhook_call *c, void *block, void *user)
{
    line("commit", c, 1, block, user);
}

static void abandon(const memhook_call *c, void *user)
{
    line("abort", c, 0, NULL, user);
}

#define TELL(call) TELL_AS(#call, call)

#define TELL_AS(text, call)                                                                    \
    do {                                                                                       \
        puts(text);                                                                            \
        last_old = last_new = NULL;                                                            \
        on = 1;                                                                                \
        call;                                                                                  \
        on = 0;                                                                                \
    } while (0)

#define NEW(call)                                                                              \
    do {                                                                                       \
        TELL_AS(#call, p = call);                                                                        \
        SAME((uintptr_t)p, (uintptr_t)last_new);                                               \
        SAME((uintptr_t)last_old, 0);                                                          \
    } while (0)

#define FREE(call)                                                                             \
    do {                                                                                       \
        TELL_AS(#call, call);                                                                            \
        SAME((uintptr_t)p, (uintptr_t)last_old);                                               \
    } while (0)

#define RESIZE(call)                                                                           \
    do {                                                                                       \
        void *old = p;                                                                         \
        TELL_AS(#call, p = call);                                                                        \
        SAME((uintptr_t)p, (uintptr_t)last_new);                                               \
        SAME((uintptr_t)old, (uintptr_t)last_old);                                             \
    } while (0)

static void *pass(memhook_next *next, size_t n, const memhook_call *c, void *user)
{
    (void)c, (void)user;
    return memhook_next_malloc(next, n);
}

int main(int count, char **arguments)
{
    static const size_t HUGE_SIZE = SIZE_MAX / 2 + 1;
    void *p, *q;
    memhook_id id;
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = after, .before_free = before,
                           .realloc_begin = begin, .realloc_commit = commit,
                           .realloc_abort = abandon, .user = (void *)4711 };
    memhook_interceptor t = { .struct_size = sizeof t, .malloc = pass };
    setvbuf(stdout, NULL, _IOFBF, 65536);
    OK(memhook_observe(&o, &id));
    if (count > 1 && strcmp(arguments[1], "full") == 0)
        OK(memhook_register(&t, &id));

    NEW(malloc(100));
    FREE(free(p));
    NEW(malloc(0));
    FREE(free_sized(p, 0));
    NEW(malloc(HUGE_SIZE));
    TELL(free(NULL));
    TELL(free_sized(NULL, 5));
    TELL(free_aligned_sized(NULL, 16, 5));
    NEW(calloc(7, 11));
    FREE(free(p));
    NEW(calloc(HUGE_SIZE, 3));
    NEW(calloc(1, HUGE_SIZE));
    NEW(realloc(NULL, 50));
    RESIZE(realloc(p, 60));
    RESIZE(realloc(p, 7000));
    q = p;
    TELL(p = realloc(p, HUGE_SIZE));
    SAME((uintptr_t)p, 0);
    SAME((uintptr_t)last_old, (uintptr_t)q);
    p = q;
    RESIZE(realloc(p, 0));
    NEW(realloc(NULL, 0));
    FREE(free(p));
    NEW(realloc(NULL, HUGE_SIZE));
    NEW(reallocarray(NULL, 5, 6));
    RESIZE(reallocarray(p, 50, 60));
    FREE(free(p));
    NEW(reallocarray(NULL, HUGE_SIZE, 6));
    NEW(memalign(64, 100));
    FREE(free_aligned_sized(p, 64, 100));
    NEW(memalign(64, HUGE_SIZE));
    NEW(aligned_alloc(32, 96));
    FREE(free(p));
    TELL(OK(posix_memalign(&p, 128, 200)));
    SAME((uintptr_t)p, (uintptr_t)last_new);
    FREE(free(p));
    TELL(SAME(posix_memalign(&p, 3, 200), EINVAL));
    TELL(SAME(posix_memalign(&p, 4, 200), EINVAL));
    TELL(SAME(posix_memalign(&p, 64, HUGE_SIZE), ENOMEM));
    NEW(valloc(300));
    FREE(free(p));
    NEW(pvalloc(400));
    TELL(CHECK(malloc_usable_size(p) >= 4096));
    TELL(SAME(malloc_usable_size(NULL), 0));
    FREE(free(p));
    TELL(memhook_backend_free(memhook_backend_malloc(10)));
}
