/* The tool check above an interceptor that changes pointers and has callbacks for some functions only: blocks that others
 * make are not its own, also where the tool serves them as it serves malloc. */
#include "check.h"

enum { FRONT = 16 };

static int made, freed;

static void *make(memhook_next *next, size_t requested, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    char *block = memhook_next_malloc(next, requested + FRONT);
    made++;
    return block == NULL ? NULL : block + FRONT;
}

static void *resize(memhook_next *next, void *block, size_t requested, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    char *whole = block == NULL ? NULL : (char *)block - FRONT;
    char *new = memhook_next_realloc(next, whole, requested + FRONT);
    made += block == NULL;
    return new == NULL ? NULL : new + FRONT;
}

static void take(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    freed++;
    memhook_next_free(next, (char *)block - FRONT);
}

static void round_of(int owned)
{
    void *block = NULL;
    made = freed = 0;
    free(malloc(100));
    free(calloc(10, 10));
    SAME(made, 2);
    free(realloc(NULL, 100));
    free(reallocarray(NULL, 10, 10));
    free(memalign(16, 100));
    free(memalign(8, 100));
    free(aligned_alloc(16, 96));
    OK(posix_memalign(&block, 16, 100));
    free(block);
    free(valloc(100));
    SAME(made, owned);
    SAME(freed, owned);
}

int main(void)
{
    static const memhook_check_options check = {.struct_size = sizeof check};
    memhook_interceptor below = {.struct_size = sizeof below, .priority = -1000, .malloc = make, .free = take};
    memhook_id id;
    OK(memhook_check_start(&check));
    OK(memhook_register(&below, &id));
    round_of(2);
    OK(memhook_unregister(id));
    below.realloc = resize;
    OK(memhook_register(&below, &id));
    round_of(4);
    OK(memhook_unregister(id));
    puts("to each its own");
    return 0;
}
