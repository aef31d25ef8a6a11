/* A callback is stuck: the timed unregister gives up, and release comes when the callback ends. */
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

static void release(void *user)
{
    (void)user;
    __atomic_fetch_add(&released, 1, __ATOMIC_SEQ_CST);
}

static void *sticks(void *unused)
{
    free(malloc(4711));
    SAME(__atomic_load_n(&released, __ATOMIC_SEQ_CST), 1);
    return unused;
}

int main(void)
{
    static const uint64_t timeouts[] = { 0, 1, 30 * 1000 * 1000 };
    for (int i = 0; i < 3; i++) {
        pthread_t thread;
        memhook_id id;
        memhook_observer o = { .struct_size = sizeof o, .after_alloc = stuck, .release = release };
        released = 0;
        OK(memhook_observe(&o, &id));
        OK(pthread_create(&thread, NULL, sticks, NULL));
        await(&in);
        SAME(memhook_unregister_timed(id, timeouts[i]), ETIMEDOUT);
        SAME(released, 0);
        SAME(memhook_unregister(id), EALREADY);
        CHECK(!in_force(id));
        free(malloc(4711)); /* does not meet it */
        sem_post(&go);
        OK(pthread_join(thread, NULL));
        SAME(released, 1);
        SAME(memhook_unregister(id), ESRCH);
        OK(memhook_observe(&o, &id));
        OK(memhook_unregister_timed(id, UINT64_MAX));
        SAME(released, 2);
    }
    puts("gave up, released later");
}
