/* A thread is stuck in a callback. A hook that was registered after that call began is
 * unregistered: no thread can be in it, so there is nothing to wait for. */
#include "check.h"

static sem_t in, go;
static int released;

static void stuck(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    if (call->requested == 4711) {
        sem_post(&in);
        await(&go);
    }
}

static void after(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block, (void)user;
}

static void release(void *user)
{
    (void)user;
    released = 1;
}

static void *sticks(void *unused)
{
    free(malloc(4711));
    return unused;
}

int main(void)
{
    pthread_t thread;
    memhook_id a, b;
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = stuck };
    OK(memhook_observe(&o, &a));
    OK(pthread_create(&thread, NULL, sticks, NULL));
    await(&in);
    o.after_alloc = after;
    o.release = release;
    OK(memhook_observe(&o, &b));
    OK(memhook_unregister(b));
    SAME(released, 1);
    sem_post(&go);
    OK(pthread_join(thread, NULL));
    OK(memhook_unregister(a));
    puts("unregistered while another was stuck");
}
