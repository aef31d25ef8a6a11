/* A plugin that is bound past the library makes blocks, and the program frees them, mixed with
 * its own. */
#include "check.h"
#include <dlfcn.h>

int main(int count, char **arguments)
{
    CHECK(count == 2);
    static struct account a = { .tag = 0xa };
    memhook_interceptor t = account_table(&a, "a", 0);
    memhook_id id;
    void *plugin = dlopen(arguments[1], RTLD_NOW | RTLD_DEEPBIND);
    CHECK(plugin);
    void *(*make)(size_t);
    char *(*copy)(const char *);
    *(void **)&make = dlsym(plugin, "plugin_malloc");
    *(void **)&copy = dlsym(plugin, "plugin_strdup");
    OK(memhook_register(&t, &id));
    int before = a.live;
    for (int i = 0; i < 1000; i++) {
        /* The plugin calls the C library's malloc; the C library's strdup calls the program's. */
        void *ours = malloc(50), *theirs = make(50), *text = copy("text");
        SAME(a.live, before + 2);
        CHECK(malloc_usable_size(theirs) >= 50);
        theirs = realloc(theirs, 300);
        SAME(a.live, before + 2);
        if (i % 2) {
            free(theirs);
            free(ours);
            free(text);
        } else {
            free(text);
            free(ours);
            free(theirs);
        }
        SAME(a.live, before);
    }
    OK(dlclose(plugin));
    puts("the plugin's blocks went to the backend");
}
