/* One thread replaces an object's hook, time and again, while another unregisters all that the object has: afterwards
 * there is nothing left to be replaced. */
#include "check.h"

enum { ROUNDS = 30000 };

static char object;
static int over;
static memhook_id id;
static memhook_observer table;

static void after(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block, (void)user;
}

static void *replaces(void *unused)
{
    for (;;) {
        int last = __atomic_load_n(&over, __ATOMIC_ACQUIRE);
        int result = memhook_replace_observer(id, &table);
        if (result == ESRCH || result == EALREADY)
            return unused;
        OK(result);
        SAME(last, 0);
    }
}

int main(void)
{
    table = (memhook_observer){ .struct_size = sizeof table, .after_alloc = after, .object = &object };
    for (int i = 0; i < ROUNDS; i++) {
        pthread_t other;
        over = 0;
        OK(memhook_observe(&table, &id));
        OK(pthread_create(&other, NULL, replaces, NULL));
        for (int pause = i % 97 * 37; pause; pause--)
            (void)some((size_t)pause);
        int result = memhook_unregister_object(&object);
        CHECK(result == 0 || result == EINPROGRESS);
        __atomic_store_n(&over, 1, __ATOMIC_RELEASE);
        OK(pthread_join(other, NULL));
        SAME(hooks_in_force(), 0);
    }
    puts("nothing left to replace");
}
