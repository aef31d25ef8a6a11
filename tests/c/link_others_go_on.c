/* While the initialize hook runs, other threads are served by the backend and never wait: here
 * the hook itself waits for them. */
#include <memhook.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4 };

static int runs, seen, served;
static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_realloc)(void *, size_t) = realloc;
static void (*volatile do_free)(void *) = free;

static void after_alloc(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block, (void)user;
    __atomic_add_fetch(&seen, 1, __ATOMIC_RELAXED);
}

static void *allocate(void *nothing)
{
    for (size_t i = 1; i <= 1000; i++) {
        char *block = do_malloc(i);
        memset(block, 1, i);
        block = do_realloc(block, 2 * i);
        memset(block, 2, 2 * i);
        do_free(block);
    }
    __atomic_add_fetch(&served, 1, __ATOMIC_RELAXED);
    return nothing;
}

static void initialize(void)
{
    memhook_observer table = {.struct_size = sizeof table, .after_alloc = after_alloc};
    memhook_id id;
    pthread_t threads[THREADS];

    runs++;
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, allocate, NULL) != 0)
            abort();
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    if (memhook_observe(&table, &id) != 0)
        abort();
}

MEMHOOK_INITIALIZE(initialize);

int main(void)
{
    do_free(do_malloc(10));
    printf("runs: %d, threads served: %d, calls seen: %d\n", runs, served, seen);
    return 0;
}
