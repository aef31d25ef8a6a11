/* A shared object whose constructor loads another one. */
#include <dlfcn.h>
#include <stdlib.h>

void *r4_early;

__attribute__((constructor)) static void begin(void)
{
    r4_early = dlopen(getenv("PLUGIN"), RTLD_NOW);
}
