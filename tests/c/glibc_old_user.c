/* Uses a shared object with the old variables, and has none itself: by dlopen, where a path is given. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;

int main(int argc, char **argv)
{
    void (*begin)(void);
    int (*end)(void);
    setvbuf(stdout, NULL, _IONBF, 0);
    void *plugin = argc > 1 ? dlopen(argv[1], RTLD_NOW) : RTLD_DEFAULT;
    *(void **)&begin = dlsym(plugin, "plugin_begin");
    *(void **)&end = dlsym(plugin, "plugin_end");
    if (!begin || !end)
        return 1;
    begin();
    for (int i = 0; i < 100; i++)
        do_free(do_malloc(10));
    int seen = end();
    for (int i = 0; i < 100; i++)
        do_free(do_malloc(10));
    printf("seen %d, and after the end %d\n", seen, end() - seen);
    return 0;
}
