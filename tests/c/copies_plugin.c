/* A shared object with a copy of the library: observes its own calls, and says how many it has seen; and what others
 * want of an object that they load: functions that allocate. */
#include <memhook.h>
#include <stdatomic.h>
#include <stdlib.h>

static atomic_long seen;

static void after(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block, (void)user;
    seen++;
}

/* 0, or the error number of what went wrong. */
int plugin_go(void)
{
    memhook_observer observer = { .struct_size = sizeof observer, .after_alloc = after };
    memhook_id id;
    int error = memhook_observe(&observer, &id);
    if (error != 0)
        return error;
    for (size_t i = 1; i < 10; i++) {
        void *volatile block = malloc(i);
        free(block);
    }
    return memhook_unregister(id);
}
