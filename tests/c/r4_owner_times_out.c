/* The unregister of an interceptor gives up while a thread is in its callback: it is released
 * with the block that this thread made, though nobody registers or unregisters anything after it. */
#include "check.h"

static struct account a = { .tag = 0xa };
static sem_t in, go;

static void *parks(memhook_next *next, size_t n, const memhook_call *call, void *user)
{
    if (n == 4711) {
        sem_post(&in);
        await(&go);
    }
    return account_malloc(next, n, call, user);
}

static void *runs(void *unused)
{
    void *p = malloc(4711);
    SAME(a.live, 1);
    SAME(a.released, 0);
    free(p);
    SAME(a.live, 0);
    SAME(a.released, 1);
    return unused;
}

static void *warm_up(void *unused)
{
    return unused;
}

int main(void)
{
    pthread_t thread;
    memhook_id id;
    memhook_interceptor t = account_table(&a, "a", 0);
    t.malloc = parks;
    OK(pthread_create(&thread, NULL, warm_up, NULL)); /* what glibc keeps */
    OK(pthread_join(thread, NULL));
    OK(memhook_register(&t, &id));
    OK(pthread_create(&thread, NULL, runs, NULL));
    await(&in);
    SAME(memhook_unregister_timed(id, 0), ETIMEDOUT);
    sem_post(&go);
    OK(pthread_join(thread, NULL));
    puts("released with its block");
}
