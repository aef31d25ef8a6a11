/* A thread is stuck in a callback of one hook. Two others of the same chain are unregistered: the
 * one that the stuck call has told already, and the one whose turn would come. */
#include "check.h"

static sem_t in, go;
static int removed, late, released;

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
    if (__atomic_load_n(&removed, __ATOMIC_SEQ_CST))
        late++;
}

static void release(void *user)
{
    (void)user;
    released++;
}

static void *sticks(void *unused)
{
    free(malloc(4711));
    return unused;
}

int main(void)
{
    pthread_t thread;
    memhook_id a, told, to_be_told;
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = after, .release = release, .priority = 5 };
    OK(memhook_observe(&o, &told));
    o.priority = -5;
    OK(memhook_observe(&o, &to_be_told));
    memhook_observer s = { .struct_size = sizeof s, .after_alloc = stuck };
    OK(memhook_observe(&s, &a));
    OK(pthread_create(&thread, NULL, sticks, NULL));
    await(&in);
    OK(memhook_unregister(told));
    OK(memhook_unregister(to_be_told));
    __atomic_store_n(&removed, 1, __ATOMIC_SEQ_CST);
    SAME(released, 2);
    sem_post(&go);
    OK(pthread_join(thread, NULL));
    SAME(late, 0);
    OK(memhook_unregister(a));
    puts("unregistered while another was stuck");
}
