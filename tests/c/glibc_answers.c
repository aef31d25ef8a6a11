/* A plugin whose callbacks count and answer by the C library's own malloc: by its name, by dlsym() behind the library, or, loaded
 * with RTLD_DEEPBIND, by plain malloc. With -DHEADER they put a header in front instead. `stop` takes them out; then
 * the plugin is unloaded. */
#define _GNU_SOURCE
#ifdef OLD
#include "glibc_old.h"
#endif
#include <dlfcn.h>
#include <malloc.h>
#include <stdlib.h>
#include <string.h>

extern void *__libc_malloc(size_t);
extern void __libc_free(void *);
void start(int how);
int stop(int *frees);

enum { BY_NAME, BY_NEXT, BY_CALL };
#ifdef HEADER
enum { BEFORE = 32 };
#else
enum { BEFORE = 0 };
#endif

static int count, freed;
static void *(*below_malloc)(size_t);
static void (*below_free)(void *);

static void *my_malloc(size_t bytes, const void *caller)
{
    (void)caller;
    count++;
    char *block = below_malloc(bytes + BEFORE);
    memset(block, 0, BEFORE);
    return block + BEFORE;
}

static void my_free(void *block, const void *caller)
{
    (void)caller;
    freed++;
    below_free((char *)block - BEFORE);
}

void start(int how)
{
    below_malloc = how == BY_NAME ? __libc_malloc : malloc, below_free = how == BY_NAME ? __libc_free : free;
    if (how == BY_NEXT) {
        *(void **)&below_malloc = dlsym(RTLD_NEXT, "malloc");
        *(void **)&below_free = dlsym(RTLD_NEXT, "free");
    }
    __malloc_hook = my_malloc, __free_hook = my_free;
}

int stop(int *frees)
{
    __malloc_hook = NULL, __free_hook = NULL;
    *frees = freed;
    return count;
}
