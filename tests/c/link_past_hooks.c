/* With an allocator below that calls entry points: what memhook_backend_ functions give is nobody's, inside a callback and
 * outside, and in a thread that has not called anything before. */
#include "check.h"

static memhook_id id;
static int seen;

static void *pass(memhook_next *next, size_t requested, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    char *block = memhook_next_malloc(next, requested + 16);
    memhook_backend_free(memhook_backend_malloc(10));
    seen++;
    return block == NULL ? NULL : block + 16;
}

static void *pass_aligned(memhook_next *next, size_t alignment, size_t requested, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    char *block = memhook_next_memalign(next, alignment, requested + alignment);
    seen++;
    return block == NULL ? NULL : block + alignment;
}

static void take_back(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    seen++;
    memhook_next_free(next, (char *)block - 16);
}

static void past_hooks(void)
{
    errno = 7;
    char *blocks[] = {memhook_backend_malloc(100), memhook_backend_calloc(10, 10), memhook_backend_memalign(16, 100),
                      memhook_backend_realloc(memhook_backend_malloc(10), 100)};
    for (int i = 0; i < 4; i++) {
        CHECK(blocks[i] != NULL);
        CHECK(memhook_backend_usable_size(blocks[i]) >= 100);
        memset(blocks[i], i, 100);
        memhook_backend_free(blocks[i]);
    }
    SAME(errno, 7);
    SAME(memhook_is_suspended(), 0);
}

static void *thread(void *unused)
{
    past_hooks();
    return unused;
}

int main(void)
{
    static const memhook_interceptor table = {
        .struct_size = sizeof table, .malloc = pass, .memalign = pass_aligned, .free = take_back};
    static memhook_check_options check = {.struct_size = sizeof check};
    pthread_t other;
    OK(memhook_register(&table, &id));
    OK(memhook_check_start(&check)); /* Asks the allocator below what it is. */
    OK(memhook_check_stop());
    int before = seen;
    past_hooks();
    OK(memhook_suspend());
    free(memhook_backend_malloc(5));
    OK(memhook_resume());
    SAME(seen, before);
    free(malloc(10));
    SAME(seen, before + 2);
    OK(pthread_create(&other, NULL, thread, NULL));
    OK(pthread_join(other, NULL));
    puts("past all hooks");
    return 0;
}
