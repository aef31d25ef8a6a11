/* Loads the plugin that it is given, in as many of the ways in which it answers as it is told, and frees half of the blocks while the plugin is there and
 * half after it was unloaded. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

enum { BLOCKS = 100 };
static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;

int main(int count, char **arguments)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    if (count != 3)
        return 2;
    const char *path = arguments[2];
    for (int how = 0; how < atoi(arguments[1]); how++) {
        void *plugin = dlopen(path, RTLD_NOW | (how == 2 ? RTLD_DEEPBIND : 0));
        if (!plugin) {
            fprintf(stderr, "%s\n", dlerror());
            return 2;
        }
        void (*start)(int);
        int (*stop)(int *), frees = 0;
        *(void **)&start = dlsym(plugin, "start");
        *(void **)&stop = dlsym(plugin, "stop");
        void *blocks[BLOCKS];
        start(how);
        for (int b = 0; b < BLOCKS; b++)
            blocks[b] = do_malloc((size_t)b * 100);
        for (int b = 0; b < BLOCKS; b += 2)
            do_free(blocks[b]);
        int mallocs = stop(&frees);
        dlclose(plugin);
        for (int b = 1; b < BLOCKS; b += 2)
            do_free(blocks[b]);
        printf("%d: %d and %d, %s\n", how, mallocs, frees, dlopen(path, RTLD_NOLOAD | RTLD_NOW) ? "still there" : "gone");
    }
    return 0;
}
