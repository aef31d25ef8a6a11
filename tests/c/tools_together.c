/* All tools at once, started and stopped in every order while threads allocate, hand over and check what
 * stands in their blocks. */
#include "check.h"
#include <stdatomic.h>

enum { THREADS = 4, TOOLS = 4, PLACES = 64 };

static _Atomic(unsigned char *) places[PLACES];
static atomic_int stop;
static atomic_uint rounds;
static memhook_id usage_id, trace_id, fail_id;
static const char *file;

/* A block whose first bytes say how long it is, and the rest what it is filled with. */
static unsigned char *make(size_t size, unsigned char fill)
{
    unsigned char *block = size % 3 == 0 ? calloc(1, size) : size % 3 == 1 ? malloc(size) : aligned_alloc(64, size);
    if (block == NULL)
        return NULL;
    CHECK(size % 3 != 2 || (uintptr_t)block % 64 == 0);
    CHECK(malloc_usable_size(block) >= size);
    for (size_t i = 0; size % 3 == 0 && i < size; i++)
        CHECK(block[i] == 0);
    memcpy(block, &size, sizeof size);
    memset(block + sizeof size, fill, size - sizeof size);
    return block;
}

static void end(unsigned char *block)
{
    size_t size;
    memcpy(&size, block, sizeof size);
    for (size_t i = sizeof size + 1; i < size; i++)
        CHECK(block[i] == block[sizeof size]);
    free(block);
}

static void *work(void *argument)
{
    unsigned n = (unsigned)(uintptr_t)argument * 2654435761u;
    while (!atomic_load(&stop)) {
        atomic_fetch_add(&rounds, 1);
        n = n * 1664525u + 1013904223u;
        unsigned char *mine = make(16 + (n >> 8) % 300, (unsigned char)(n >> 20));
        if (mine != NULL && n % 5 == 0) {
            size_t size = 400;
            unsigned char *more = realloc(mine, size);
            if (more != NULL) {
                memcpy(more, &size, sizeof size);
                memset(more + sizeof size, 7, size - sizeof size);
                mine = more;
            }
        }
        unsigned char *theirs = atomic_exchange(&places[(n >> 16) % PLACES], mine);
        if (theirs != NULL)
            end(theirs);
    }
    return NULL;
}

/* Between any two changes the threads allocate. */
static void let_them_work(void)
{
    unsigned from = atomic_load(&rounds);
    while (atomic_load(&rounds) - from < 300)
        sched_yield();
}

static void begin_tool(int tool)
{
    static const memhook_usage_options usage = { .struct_size = sizeof usage };
    static const memhook_check_options check = { .struct_size = sizeof check };
    memhook_trace_options trace = { .struct_size = sizeof trace, .path = file, .flags = MEMHOOK_TRACE_BINARY };
    static const memhook_fail_rule rule = { .struct_size = sizeof rule, .every = 50 };
    switch (tool) {
    case 0:
        OK(memhook_usage_start(&usage, &usage_id));
        break;
    case 1:
        OK(memhook_trace_start(&trace, &trace_id));
        break;
    case 2:
        OK(memhook_check_start(&check));
        break;
    default:
        OK(memhook_fail_start(&rule, &fail_id));
    }
}

static void end_tool(int tool)
{
    memhook_usage usage = { .struct_size = sizeof usage };
    memhook_fail_counts counts = { .struct_size = sizeof counts };
    memhook_trace_counts traced = { .struct_size = sizeof traced };
    int error;
    switch (tool) {
    case 0:
        error = memhook_usage_stop(usage_id, &usage);
        CHECK(error == 0 || error == EINPROGRESS);
        CHECK(usage.malloc.calls + usage.calloc.calls + usage.aligned.calls >= 300);
        break;
    case 1:
        OK(memhook_trace_stop(trace_id, &traced));
        CHECK(traced.bytes > 300 && traced.missing == 0);
        break;
    case 2:
        OK(memhook_check_all());
        error = memhook_check_stop();
        CHECK(error == 0 || error == EINPROGRESS);
        break;
    default:
        OK(memhook_fail_stop(fail_id, &counts));
        CHECK(counts.selected >= 300 && counts.failed == counts.selected / 50);
    }
}

/* The `number`th of the 24 orders of four. */
static void order(int number, int out[TOOLS])
{
    int left[TOOLS] = { 0, 1, 2, 3 };
    for (int i = 0, of = 6; i < TOOLS; i++) {
        int at = i < 3 ? number / of : 0;
        number = i < 3 ? number % of : number;
        of = i == 0 ? 2 : 1;
        out[i] = left[at];
        memmove(left + at, left + at + 1, sizeof(int) * (size_t)(TOOLS - 1 - at));
    }
}

/* Freed blocks are kept, whichever of the two was started first. */
static void check_beside_fail(int check_first)
{
    static const memhook_check_options check = { .struct_size = sizeof check, .flags = MEMHOOK_CHECK_QUIET };
    static const memhook_fail_rule rule = { .struct_size = sizeof rule, .every = 2, .above = 1 << 20 };
    memhook_fail_counts counts = { .struct_size = sizeof counts };
    memhook_id id;
    if (check_first)
        OK(memhook_check_start(&check));
    OK(memhook_fail_start(&rule, &id));
    if (!check_first)
        OK(memhook_check_start(&check));
    void *volatile block = malloc(24);
    uintptr_t freed = (uintptr_t)block;
    free(block);
    CHECK(memhook_check_block((void *)freed) == EFAULT);
    block = malloc((1 << 20) + 1);
    CHECK(block != NULL && malloc((1 << 20) + 1) == NULL);
    free(block);
    OK(memhook_fail_stop(id, &counts));
    CHECK(counts.selected == 2 && counts.failed == 1);
    OK(memhook_check_stop());
}

int main(int count, char **arguments)
{
    pthread_t threads[THREADS];
    CHECK(count == 2);
    file = arguments[1];
    check_beside_fail(1);
    check_beside_fail(0);
    for (uintptr_t i = 0; i < THREADS; i++)
        OK(pthread_create(&threads[i], NULL, work, (void *)(i + 1)));
    for (int number = 0; number < 24; number++) {
        int in[TOOLS], out[TOOLS];
        order(number, in);
        order((number * 7 + 5) % 24, out);
        for (int i = 0; i < TOOLS; i++)
            begin_tool(in[i]), let_them_work();
        for (int i = 0; i < TOOLS; i++)
            end_tool(out[i]), let_them_work();
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < THREADS; i++)
        OK(pthread_join(threads[i], NULL));
    for (int i = 0; i < PLACES; i++)
        if (places[i] != NULL)
            end(places[i]);
    puts("every order");
    return 0;
}
