/* The caller is the return address of the call, exactly: the same call site asks a function of
 * the program for its return address first, and an entry point then. */
#include "check.h"

void free_sized(void *, size_t);
void free_aligned_sized(void *, size_t, size_t);

typedef uintptr_t (*any_fn)(uintptr_t, uintptr_t, uintptr_t);

static const void *wanted;
static int seen, watching;

static void is_it(const memhook_call *call)
{
    if (watching) {
        SAME((uintptr_t)call->caller, (uintptr_t)wanted);
        seen++;
    }
}

static void after(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    is_it(call);
}

static void before(const memhook_call *call, void *user)
{
    (void)user;
    is_it(call);
}

static size_t i_usable(memhook_next *next, void *p, const memhook_call *call, void *user)
{
    (void)user;
    is_it(call);
    return memhook_next_usable_size(next, p);
}

static void *i_malloc(memhook_next *next, size_t n, const memhook_call *call, void *user)
{
    (void)user;
    is_it(call);
    return memhook_next_malloc(next, n);
}

__attribute__((noinline)) static uintptr_t own_return_address(uintptr_t a, uintptr_t b, uintptr_t c)
{
    (void)a, (void)b, (void)c;
    return (uintptr_t)__builtin_return_address(0);
}

__attribute__((noinline)) static uintptr_t site(any_fn function, uintptr_t a, uintptr_t b, uintptr_t c)
{
    uintptr_t result = function(a, b, c);
    __asm__ volatile("" : "+r"(result));
    return result;
}

#define CALL(function, events, a, b, c)                                                        \
    (seen = 0, watching = 1,                                                                   \
     result = site((any_fn)(void (*)(void))(function), (uintptr_t)(a), (uintptr_t)(b), c),     \
     watching = 0, check_same(__FILE__, __LINE__, #function, (unsigned)seen, events))

int main(int count, char **arguments)
{
    (void)arguments;
    memhook_id id;
    uintptr_t result;
    void *out;
    int full = count > 1;
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = after, .before_free = before,
                           .realloc_begin = before, .realloc_commit = after, .realloc_abort = before };
    memhook_interceptor t = { .struct_size = sizeof t, .malloc = i_malloc, .usable_size = i_usable };
    OK(memhook_observe(&o, &id));
    if (full)
        OK(memhook_register(&t, &id));
    wanted = (void *)site(own_return_address, 0, 0, 0);

#undef malloc
#undef calloc
#undef realloc
#undef reallocarray
#undef memalign
#undef aligned_alloc
#undef valloc
#undef pvalloc
#undef posix_memalign
#undef malloc_usable_size
#undef free
    unsigned i = (unsigned)full;
    CALL(malloc, 1u + i, 10, 0, 0);
    CALL(malloc_usable_size, i, result, 0, 0), CHECK(result >= 10);
    CALL(malloc, 1u + i, 10, 0, 0);
    CALL(realloc, 2, result, 5000, 0);
    CALL(reallocarray, 2, result, 50, 60);
    CALL(free, 1, result, 0, 0);
    CALL(realloc, 1, 0, 10, 0);
    CALL(free, 1, result, 0, 0);
    CALL(reallocarray, 1, 0, 10, 20);
    CALL(free_sized, 1, result, 200, 0);
    CALL(calloc, 1u + i, 10, 10, 0);
    CALL(free, 1, result, 0, 0);
    CALL(memalign, 1, 64, 10, 0);
    CALL(free_aligned_sized, 1, result, 64, 10);
    CALL(aligned_alloc, 1, 64, 64, 0);
    CALL(free, 1, result, 0, 0);
    CALL(valloc, 1, 10, 0, 0);
    CALL(free, 1, result, 0, 0);
    CALL(pvalloc, 1, 10, 0, 0);
    CALL(free, 1, result, 0, 0);
    CALL(posix_memalign, 1, &out, 64, 10), SAME((int)result, 0);
    CALL(free, 1, out, 0, 0);
    puts("all callers exact");
}
