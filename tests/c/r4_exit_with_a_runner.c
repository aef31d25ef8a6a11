/* The process ends while a thread is in a callback of a shared object that a constructor has loaded, and a block of its
 * interceptor lives: that is no unloading, and nobody waits. */
#include "check.h"
#include <dlfcn.h>

extern void *r4_early;

static sem_t in, go;
static int calls, released;

static void *runs(void *unused)
{
    free(malloc(4711));
    return unused;
}

int main(void)
{
    pthread_t runner;
    CHECK(r4_early);
    void (*observe)(int *, int *, sem_t *, sem_t *);
    *(void **)&observe = dlsym(r4_early, "plugin_observe");
    void (*intercept)(int *);
    *(void **)&intercept = dlsym(r4_early, "plugin_intercept");
    intercept(&released);
    CHECK(malloc(10));
    observe(&calls, &released, &in, &go);
    OK(pthread_create(&runner, NULL, runs, NULL));
    await(&in);
    puts("nobody waited");
}
