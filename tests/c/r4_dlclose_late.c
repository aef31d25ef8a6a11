/* The library comes by dlopen, with a plugin that has hooks, and serves the calls of another plugin. The first is
 * unloaded while a thread is in its callback. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdio.h>
#include <sys/syscall.h>
#include <unistd.h>

#define CHECK(condition) ((condition) ? (void)0 : (fprintf(stderr, "not so: %s\n", #condition), _exit(1)))

static sem_t in, go;
static int calls, released, done;
static pid_t closer;
static void *plugin, *user;
static void (*allocates)(size_t);
static size_t (*hooks)(void);
static int (*sleeps)(pid_t);

static void *runs(void *unused)
{
    allocates(4711);
    return unused;
}

static void *closes(void *unused)
{
    __atomic_store_n(&closer, (pid_t)syscall(SYS_gettid), __ATOMIC_SEQ_CST);
    CHECK(dlclose(plugin) == 0);
    __atomic_store_n(&done, 1, __ATOMIC_SEQ_CST);
    return unused;
}

int main(int count, char **arguments)
{
    pthread_t runner, closing;
    CHECK(count == 3);
    plugin = dlopen(arguments[1], RTLD_NOW);
    user = dlopen(arguments[2], RTLD_NOW | RTLD_DEEPBIND);
    CHECK(plugin && user);
    void (*observe)(int *, int *, sem_t *, sem_t *);
    *(void **)&observe = dlsym(plugin, "plugin_observe");
    *(void **)&allocates = dlsym(user, "late_allocates");
    *(void **)&hooks = dlsym(user, "late_hooks");
    *(void **)&sleeps = dlsym(user, "late_sleeps");
    observe(&calls, &released, &in, &go);
    CHECK(pthread_create(&runner, NULL, runs, NULL) == 0);
    while (sem_wait(&in) != 0) {
    }
    CHECK(pthread_create(&closing, NULL, closes, NULL) == 0);
    while (hooks())
        sched_yield();
    while (!__atomic_load_n(&done, __ATOMIC_SEQ_CST) && !sleeps(closer))
        sched_yield();
    CHECK(!__atomic_load_n(&done, __ATOMIC_SEQ_CST));
    sem_post(&go);
    CHECK(pthread_join(closing, NULL) == 0);
    CHECK(pthread_join(runner, NULL) == 0);
    CHECK(released == 1);
    puts("unloaded after the callback");
}
