/* A shared object with hooks that it never unregisters itself. */
#include "check.h"

MEMHOOK_TIE_TO_OBJECT;

sem_t *in, *go;
int *calls, *released;

static void after(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    if (call->requested == 4711) {
        ++*calls;
        if (in) {
            sem_post(in);
            await(go);
        }
    }
}

static void release(void *user)
{
    (void)user;
    ++*released;
}

static void *own(memhook_next *next, size_t n, const memhook_call *c, void *user)
{
    (void)c, (void)user;
    return memhook_next_malloc(next, n);
}

void plugin_observe(int *count, int *gone, sem_t *i, sem_t *g)
{
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = after, .release = release,
                           .object = MEMHOOK_OBJECT, .name = "plugin" };
    memhook_id id;
    calls = count;
    released = gone;
    in = i;
    go = g;
    OK(memhook_observe(&o, &id));
}

void plugin_intercept(int *gone)
{
    memhook_interceptor t = { .struct_size = sizeof t, .malloc = own, .release = release,
                              .object = MEMHOOK_OBJECT, .name = "plugin" };
    memhook_id id;
    released = gone;
    OK(memhook_register(&t, &id));
}
