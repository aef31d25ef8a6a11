/* Threads race for the first allocation call. Linked so that the C library's own calls, those of
 * pthread_create among them, do not come to the library. */
#define _GNU_SOURCE
#include <memhook.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 8 };

static int runs, early, late;
static pthread_barrier_t start, middle;
static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;

static void after_alloc(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    __atomic_add_fetch(call->requested == 100 ? &early : &late, 1, __ATOMIC_RELAXED);
}

static void initialize(void)
{
    memhook_observer table = {.struct_size = sizeof table, .after_alloc = after_alloc};
    memhook_id id;

    __atomic_add_fetch(&runs, 1, __ATOMIC_RELAXED);
    if (memhook_observe(&table, &id) != 0)
        abort();
}

MEMHOOK_INITIALIZE(initialize);

static void *allocate(void *nothing)
{
    pthread_barrier_wait(&start);
    char *block = do_malloc(100);
    memset(block, 1, 100);
    pthread_barrier_wait(&middle);
    char *other = do_malloc(200);
    do_free(block);
    memset(other, 2, 200);
    do_free(other);
    return nothing;
}

int main(void)
{
    pthread_t threads[THREADS];

    pthread_barrier_init(&start, NULL, THREADS);
    pthread_barrier_init(&middle, NULL, THREADS);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, allocate, NULL) != 0)
            abort();
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    printf("runs: %d, %s of the first calls seen, all later ones: %s\n", runs,
           early >= 1 && early <= THREADS ? "some" : "none or too many",
           late == THREADS ? "yes" : "no");
    return 0;
}
