/* A shared object is unloaded while a thread is in its callback. */
#include "check.h"
#include <dlfcn.h>

/* Where the constructor of another object has loaded it before: its handle, which that has no use for. */
extern void *r4_early __attribute__((weak));

static sem_t in, go;
static int calls, released, done;
static pid_t closer;
static void *plugin;

static void *runs(void *unused)
{
    free(malloc(4711));
    return unused;
}

static void *closes(void *unused)
{
    __atomic_store_n(&closer, tid(), __ATOMIC_SEQ_CST);
    OK(dlclose(plugin));
    __atomic_store_n(&done, 1, __ATOMIC_SEQ_CST);
    return unused;
}

int main(int count, char **arguments)
{
    CHECK(count == 2);
    pthread_t runner, closing;
    plugin = dlopen(arguments[1], RTLD_NOW);
    CHECK(plugin);
    if (&r4_early)
        OK(dlclose(r4_early));
    void (*observe)(int *, int *, sem_t *, sem_t *);
    *(void **)&observe = dlsym(plugin, "plugin_observe");
    observe(&calls, &released, &in, &go);
    OK(pthread_create(&runner, NULL, runs, NULL));
    await(&in);
    OK(pthread_create(&closing, NULL, closes, NULL));
    while (hooks_in_force())
        sched_yield();
    while (!__atomic_load_n(&done, __ATOMIC_SEQ_CST) && !sleeps(closer))
        sched_yield();
    CHECK(!__atomic_load_n(&done, __ATOMIC_SEQ_CST));
    SAME(released, 0);
    sem_post(&go);
    OK(pthread_join(closing, NULL));
    OK(pthread_join(runner, NULL));
    SAME(released, 1);
    CHECK(!dlopen(arguments[1], RTLD_NOW | RTLD_NOLOAD));
    puts("unloaded after the callback");
}
