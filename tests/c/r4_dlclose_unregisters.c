/* A shared object is unloaded with its hook in force, three times over. */
#include "check.h"
#include <dlfcn.h>

int main(int count, char **arguments)
{
    CHECK(count == 2);
    for (int i = 0; i < 3; i++) {
        int calls = 0, released = 0;
        void *plugin = dlopen(arguments[1], RTLD_NOW);
        CHECK(plugin);
        void (*observe)(int *, int *, sem_t *, sem_t *);
        *(void **)&observe = dlsym(plugin, "plugin_observe");
        observe(&calls, &released, NULL, NULL);
        free(malloc(4711));
        SAME(calls, 1);
        SAME(hooks_in_force(), 1);
        OK(dlclose(plugin));
        CHECK(!dlopen(arguments[1], RTLD_NOW | RTLD_NOLOAD));
        SAME(released, 1);
        SAME(hooks_in_force(), 0);
        free(malloc(4711));
        SAME(calls, 1);
    }
    puts("unloaded and unregistered");
}
