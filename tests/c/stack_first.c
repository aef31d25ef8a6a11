/* How much stack the first allocation call takes, with MEMHOOK set: stack_first LIBRARY WORDS. The library comes by
 * dlopen, without the variable, and is not started by that: otherwise the dynamic linker makes the first call. */
#include "stack_use.h"
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

static void *(*its_malloc)(size_t);
static void (*its_free)(void *);
static void *volatile block;

static void first(void)
{
    block = its_malloc(10);
}

int main(int count, char **arguments)
{
    void *library = count == 3 ? dlopen(arguments[1], RTLD_NOW) : NULL;
    if (library == NULL)
        return 1;
    its_malloc = (void *(*)(size_t))(uintptr_t)dlsym(library, "malloc");
    its_free = (void (*)(void *))(uintptr_t)dlsym(library, "free");
    setenv("MEMHOOK", arguments[2], 1);
    size_t used = stack_use(first);
    its_free(block);
    printf("%zu\n", used);
    return 0;
}
