/* The tool check below an interceptor that asks for more than the program did, by a header or behind the end: what
 * free_sized says is the program's size, and no fault. One that is wrong is still found where nobody stands between. */
#include "check.h"

extern void free_sized(void *, size_t);
extern void free_aligned_sized(void *, size_t, size_t);

static int wrong_sizes;

static void handler(const memhook_check_report *report, void *user)
{
    (void)user;
    SAME(report->kind, MEMHOOK_CHECK_WRONG_SIZE);
    wrong_sizes++;
}

static void *more(memhook_next *next, size_t requested, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    return memhook_next_malloc(next, requested + 16);
}

static void *more_aligned(memhook_next *next, size_t alignment, size_t requested, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    return memhook_next_memalign(next, alignment, requested + 16);
}

static void *more_again(memhook_next *next, void *block, size_t requested, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    return memhook_next_realloc(next, block, requested + 16);
}

/* Frees blocks of every kind as large as they are, or 1 byte less. */
static void round_of(size_t less)
{
    free_sized(malloc(100), 100 - less);
    free_sized(calloc(10, 10), 100 - less);
    free_sized(realloc(malloc(5), 100), 100 - less);
    free_sized(realloc(malloc(100), 101), 101 - less);
    free_sized(malloc(100000), 100000 - less);
    free_sized(realloc(malloc(100000), 300000), 300000 - less);
    free_aligned_sized(aligned_alloc(64, 128), 64, 128 - less);
}

int main(void)
{
    static const memhook_check_options check = {.struct_size = sizeof check, .handler = handler};
    static const memhook_interceptor behind = {
        .struct_size = sizeof behind,
        .priority = INT32_MAX,
        .malloc = more,
        .memalign = more_aligned,
        .realloc = more_again,
    };
    static const memhook_usage_options usage = {.struct_size = sizeof usage};
    memhook_id id;
    OK(memhook_check_start(&check));

    OK(memhook_register(&behind, &id));
    round_of(0), round_of(1);
    OK(memhook_unregister(id));
    SAME(wrong_sizes, 0);

    OK(memhook_usage_start(&usage, &id));
    round_of(0), round_of(1);
    OK(memhook_usage_stop(id, NULL));
    SAME(wrong_sizes, 0);

    round_of(0);
    SAME(wrong_sizes, 0);
    round_of(1);
    SAME(wrong_sizes, 7);
    puts("told where nobody stands between");
    return 0;
}
