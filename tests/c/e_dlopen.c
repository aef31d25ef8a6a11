/* dlopen and dlclose of a shared object with hooks, while other threads allocate. */
#include "e_check.h"
#include <dlfcn.h>

static int done;

static void *allocates(void *argument)
{
    for (size_t n = (size_t)argument; !__atomic_load_n(&done, __ATOMIC_RELAXED); n += 7)
        e_allocate(n);
    return NULL;
}

int main(int argc, char **argv)
{
    CHECK(argc == 2);
    pthread_t threads[3];
    for (size_t i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, allocates, (void *)i) == 0);
    for (int n = 0; n < 300; n++) {
        void *plugin = dlopen(argv[1], RTLD_NOW);
        if (!plugin) {
            puts(dlerror());
            return 1;
        }
        unsigned long (*calls)(void);
        *(void **)&calls = dlsym(plugin, "e_plugin_calls");
        CHECK(calls);
        size_t count;
        CHECK(memhook_chain_list(0, NULL, sizeof(memhook_hook_info), 0, &count) == 0 && count == 1);
        unsigned long before = calls();
        e_allocate((size_t)n);
        CHECK(calls() > before);
        CHECK(dlclose(plugin) == 0);
        CHECK(!dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD)); /* it is really gone */
        CHECK(memhook_chain_list(0, NULL, sizeof(memhook_hook_info), 0, &count) == 0 && count == 0);
    }
    __atomic_store_n(&done, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    puts("300 times loaded and unloaded");
    return 0;
}
