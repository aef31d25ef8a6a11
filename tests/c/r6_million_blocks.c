/* An interceptor that was unregistered owns a million blocks: the count goes down with each, and
 * the release comes with the last. */
#include "check.h"

enum { BLOCKS = 1000000, THREADS = 4 };
static void *blocks[BLOCKS];
static memhook_id id;
static struct account a = { .tag = 1 };

static void *make(void *first)
{
    for (size_t i = (size_t)(intptr_t)first; i < BLOCKS; i += THREADS)
        blocks[i] = malloc(i % 64);
    return NULL;
}

static void *end(void *first)
{
    /* Each frees what others made, and none the very first. */
    for (size_t i = ((size_t)(intptr_t)first + 1) % THREADS; i < BLOCKS; i += THREADS)
        if (i >= 10)
            free(blocks[i]);
    return NULL;
}

/* The C library keeps what it allocated for threads, and uses it again. */
static void *warm_up(void *barrier)
{
    pthread_barrier_wait(barrier);
    return NULL;
}

static void run(void *(*work)(void *), void *argument)
{
    pthread_t threads[THREADS];
    for (int i = 0; i < THREADS; i++)
        OK(pthread_create(&threads[i], NULL, work, argument ? argument : (void *)(intptr_t)i));
    for (int i = 0; i < THREADS; i++)
        OK(pthread_join(threads[i], NULL));
}

int main(void)
{
    memhook_interceptor t = account_table(&a, "account", 0);
    pthread_barrier_t barrier;
    pthread_barrier_init(&barrier, NULL, THREADS);
    run(warm_up, &barrier);
    OK(memhook_register(&t, &id));
    run(make, NULL);
    SAME(live(id), BLOCKS);
    SAME(a.live, BLOCKS);
    SAME(memhook_unregister(id), EINPROGRESS);
    void *after = malloc(10);
    SAME(live(id), BLOCKS);
    run(end, NULL);
    for (int i = 0; i < 10; i++) {
        SAME(live(id), 10 - i);
        SAME(a.released, 0);
        free(blocks[i]);
    }
    SAME(live(id), 0);
    SAME(a.released, 1);
    free(after);
    SAME(memhook_unregister(id), ESRCH);
    printf("released with the last of %d\n", BLOCKS);
}
