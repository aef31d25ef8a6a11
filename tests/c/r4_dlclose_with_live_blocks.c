/* A shared object is unloaded while its interceptor owns blocks: said, and the blocks are left alone. */
#include "check.h"
#include <dlfcn.h>

int main(int count, char **arguments)
{
    CHECK(count == 2);
    int released = 0;
    void *plugin = dlopen(arguments[1], RTLD_NOW);
    CHECK(plugin);
    void (*intercept)(int *);
    *(void **)&intercept = dlsym(plugin, "plugin_intercept");
    intercept(&released);
    void *p = malloc(100), *q = malloc(100);
    memset(p, 7, 100);
    OK(dlclose(plugin));
    SAME(released, 1);
    SAME(hooks_in_force(), 0);
    free(q);
    p = hide(p);
    SAME(((char *)p)[99], 7);
    free(p);
    for (int i = 0; i < 1000; i++)
        free(malloc(100));
    puts("unloaded with two blocks");
}
