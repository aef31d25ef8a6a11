/* Runs a piece of docs/MIGRATING.md: GLIBC, LIMIT, GPERFTOOLS or JEMALLOC. */
#include <memhook.h>
#include <stdio.h>
#include <stdlib.h>

static int notes, forgotten;
static size_t bytes;
static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_realloc)(void *, size_t) = realloc;
static void (*volatile do_free)(void *) = free;

static void count(const void *block, size_t size)
{
    notes += block != NULL;
    bytes += size;
}

#if defined(GLIBC)

void note(const void *block, size_t size, const void *caller);
void note(const void *block, size_t size, const void *caller)
{
    if (caller)
        count(block, size);
}

static void run(void)
{
    int before_notes = notes;
    size_t before_bytes = bytes;
    for (size_t size = 10; size <= 30; size += 10)
        do_free(do_malloc(size));
    notes -= before_notes;
    bytes -= before_bytes;
}

#elif defined(LIMIT)

int limit_sizes(memhook_id *id);

static void run(void)
{
    memhook_id id;
    if (limit_sizes(&id) != 0)
        abort();
    void *small = do_malloc(10), *large = do_malloc(2000000);
    count(small, 10);
    count(large, 2000000);
    do_free(small);
    if (memhook_unregister(id) != 0)
        abort();
}

#else
#ifdef GPERFTOOLS
#define STATE
#define STATE_AND
#define GIVEN
#else
static char state;
#define STATE void *given
#define STATE_AND void *given,
#define GIVEN &state
#endif
void note(STATE_AND const void *block, size_t size);
void forget(STATE_AND const void *block);
int start(STATE);
int stop(void);

void note(STATE_AND const void *block, size_t size)
{
#ifndef GPERFTOOLS
    if (given != &state)
        abort();
#endif
    count(block, size);
}

void forget(STATE_AND const void *block)
{
#ifndef GPERFTOOLS
    if (given != &state)
        abort();
#endif
    forgotten += block != NULL;
}

static void run(void)
{
    if (start(GIVEN) != 0)
        abort();
    void *block = do_realloc(do_malloc(10), 1000);
    void *lives_on = do_realloc(block, (size_t)-1 / 4) ? NULL : block;
    do_free(lives_on);
    if (stop() != 0)
        abort();
    do_free(do_malloc(10));
}
#endif

int main(void)
{
    run();
    printf("noted %d of %zu bytes, forgot %d\n", notes, bytes, forgotten);
    return 0;
}
