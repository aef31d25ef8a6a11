/* One thread registers hooks of an object, and another unregisters all that the object has: whichever comes first, no
 * hook is left in force that was released. */
#include "check.h"

enum { HOOKS = 20000 };

static char object;
static int stop, released[HOOKS];

static void after(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block;
    SAME(__atomic_load_n((int *)user, __ATOMIC_RELAXED), 0);
}

static void release(void *user)
{
    __atomic_fetch_add((int *)user, 1, __ATOMIC_RELAXED);
}

static void *unregisters(void *unused)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
        memhook_unregister_object(&object);
    return unused;
}

int main(void)
{
    pthread_t other;
    OK(pthread_create(&other, NULL, unregisters, NULL));
    for (int i = 0; i < HOOKS; i++) {
        memhook_id id;
        memhook_observer o = { .struct_size = sizeof o, .after_alloc = after, .release = release,
                               .user = &released[i], .object = &object };
        OK(memhook_observe(&o, &id));
        free(malloc(16));
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    OK(pthread_join(other, NULL));
    OK(memhook_unregister_object(&object));
    SAME(hooks_in_force(), 0);
    for (int i = 0; i < HOOKS; i++)
        SAME(released[i], 1);
    puts("none was left");
}
