/* A callback of the program unloads a shared object whose hook is in the same chain, nearer the
 * backend, so that its turn would come next. */
#include "check.h"
#include <dlfcn.h>

static int calls, released;
static void *plugin;

static void unload(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    if (call->requested == 4711 && plugin) {
        OK(dlclose(plugin));
        plugin = NULL;
    }
}

int main(int count, char **arguments)
{
    CHECK(count == 2);
    memhook_id id;
    plugin = dlopen(arguments[1], RTLD_NOW);
    CHECK(plugin);
    void (*observe)(int *, int *, sem_t *, sem_t *);
    *(void **)&observe = dlsym(plugin, "plugin_observe");
    observe(&calls, &released, NULL, NULL);
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = unload, .priority = 5 };
    OK(memhook_observe(&o, &id));
    free(malloc(4711));
    SAME(hooks_in_force(), 1);
    free(malloc(4711));
    CHECK(calls <= 1);
    SAME(released, 1);
    puts("unloaded in a callback");
}
