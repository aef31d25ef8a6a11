/* The initialize hook: once, at the first allocation call. Built in several ways:
 *
 * - as it is: the first call is a malloc in main;
 * - -DIN_CONSTRUCTOR: in a constructor;
 * - -DIN_LIBRARY: the first call is one of this library, and allocates nothing;
 * - -DBY_CALLOC, -DBY_FREE: another entry point;
 * - -DC_LIBRARY_FIRST: the C library itself allocates before all (fully static programs). */
#include <errno.h>
#include <memhook.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { FIRST = 12345 };

static int runs, suspended_inside, seen_inside, seen, before_free;
static size_t first_requested;
static uint32_t first_entry;
static memhook_id hook;
static void *given;
static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_calloc)(size_t, size_t) = calloc;
static void (*volatile do_free)(void *) = free;

static void after_alloc(const memhook_call *call, void *block, void *user)
{
    if (seen++ == 0) {
        first_entry = call->entry;
        first_requested = call->requested;
    }
    if (user != &seen || (call->requested == FIRST && block == NULL))
        abort();
}

static void on_free(const memhook_call *call, void *user)
{
    (void)call, (void)user;
    before_free++;
}

static void initialize(void)
{
    memhook_observer table = {.struct_size = sizeof table,
                              .user = &seen,
                              .after_alloc = after_alloc,
                              .before_free = on_free};
    runs++;
    if (memhook_observe(&table, &hook) != 0)
        abort();
    suspended_inside = memhook_is_suspended();
    do_free(do_malloc(100));
    seen_inside = seen;
}

MEMHOOK_INITIALIZE(initialize);

static int call_first(void)
{
    errno = 4711;
#if defined IN_LIBRARY
    memhook_observer table = {.struct_size = sizeof table, .after_alloc = after_alloc};
    memhook_id other;
    table.user = &seen;
    if (memhook_observe(&table, &other) != 0)
        abort();
    if (runs != 1 || seen != 0 || other <= hook || memhook_unregister(other) != 0)
        abort();
    given = do_malloc(FIRST);
#elif defined BY_CALLOC
    given = do_calloc(FIRST, 1);
#elif defined BY_FREE
    do_free(NULL);
    if (runs != 1 || seen != 0)
        abort();
    given = do_malloc(FIRST);
#else
    given = do_malloc(FIRST);
#endif
    return errno;
}

static int kept_errno;

#ifdef IN_CONSTRUCTOR
__attribute__((constructor)) static void construct(void)
{
    kept_errno = call_first();
}
#endif

int main(void)
{
    int runs_before = runs;
#ifndef IN_CONSTRUCTOR
    kept_errno = call_first();
#endif
    int runs_after = runs, seen_after = seen, freed_before = before_free;
    memset(given, 1, FIRST);
    do_free(given);
    do_free(do_malloc(5));
    printf("runs before main: %d\n", runs_before);
    printf("runs: %d, at last %d\n", runs_after, runs);
    printf("suspended inside: %d, seen there: %d\n", suspended_inside, seen_inside);
#ifdef C_LIBRARY_FIRST
    printf("seen first: %s\n", seen_after > 1 && first_requested != FIRST ? "another" : "ours");
#else
    printf("seen first: %s of %zu, number %d\n", memhook_entry_name(first_entry),
           first_requested, seen_after);
#endif
    printf("seen afterwards: %d allocated, %d freed\n", seen - seen_after,
           before_free - freed_before);
    printf("suspended: %d, errno: %d\n", memhook_is_suspended(), kept_errno);
    return 0;
}
