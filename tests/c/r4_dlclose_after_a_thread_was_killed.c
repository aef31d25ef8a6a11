/* A thread ends in a plugin's callback without any call of its own, after the removal has given up waiting for it:
 * nobody is left to complete the removal but who unloads the plugin. */
#include "check.h"
#include <dlfcn.h>
#include <signal.h>

static sem_t in, go;
static int calls, released;

static void *runs(void *unused)
{
    free(malloc(4711));
    return unused;
}

static void ends_thread(int number)
{
    (void)number;
    syscall(SYS_exit, 0);
}

int main(int count, char **arguments)
{
    CHECK(count == 2);
    pthread_t runner;
    memhook_hook_info info;
    size_t hooks;
    signal(SIGUSR1, ends_thread);
    void *plugin = dlopen(arguments[1], RTLD_NOW);
    CHECK(plugin);
    void (*observe)(int *, int *, sem_t *, sem_t *);
    *(void **)&observe = dlsym(plugin, "plugin_observe");
    observe(&calls, &released, &in, &go);
    OK(memhook_chain_list(0, &info, sizeof info, 1, &hooks));
    OK(pthread_create(&runner, NULL, runs, NULL));
    await(&in);
    SAME(memhook_unregister_timed(info.id, 0), ETIMEDOUT);
    OK(pthread_kill(runner, SIGUSR1));
    OK(pthread_join(runner, NULL));
    SAME(released, 0);
    OK(dlclose(plugin));
    SAME(released, 1);
    puts("unloaded after the thread");
}
