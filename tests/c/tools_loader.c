/* A thread that allocates, frees, and frees what it should not, while another has the dynamic linker's lock: the one
 * in which dlopen calls the constructor below. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef PLUGIN

__attribute__((noinline)) void *plugin_make(size_t bytes)
{
    void *volatile block = malloc(bytes);
    return block;
}

static void *work(void *unused)
{
    for (int i = 0; i < 1000; i++) {
        char *block = plugin_make(1000 + i % 7);
        block = realloc(block, 3000);
        free(block);
    }
    char *volatile block = plugin_make(24);
    block[24] = 1;
    free(block);
    free(strdup("from the C library"));
    return unused;
}

__attribute__((constructor)) static void begin(void)
{
    pthread_t thread;
    pthread_create(&thread, NULL, work, NULL);
    pthread_join(thread, NULL);
}

#else

int main(int argc, char **argv)
{
    (void)argc;
    puts(dlopen(argv[1], RTLD_NOW) ? "loaded" : dlerror());
    return 0;
}

#endif
