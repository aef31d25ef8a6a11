/* While one thread is parked in a callback, another's calls reach the hooks. */
#include "check.h"

static sem_t in, go;
static long seen;

static void after(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    if (call->requested == 1001) {
        sem_post(&in);
        await(&go);
    }
    if (call->requested == 4711)
        seen++;
}

static void *parks(void *unused)
{
    free(malloc(1001));
    return unused;
}

int main(void)
{
    pthread_t thread;
    memhook_id id;
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = after };
    OK(memhook_observe(&o, &id));
    OK(pthread_create(&thread, NULL, parks, NULL));
    await(&in);
    for (int i = 0; i < 1000; i++)
        free(malloc(4711));
    SAME(seen, 1000);
    sem_post(&go);
    OK(pthread_join(thread, NULL));
    OK(memhook_unregister(id));
    puts("1000 calls seen beside a parked thread");
}
