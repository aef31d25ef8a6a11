/* Loads a plugin that has a copy of the library in it, uses it, in a thread too, and unloads it: then threads end, a child
 * is forked, and the process ends. Arguments: the plugin, and "namespace" to load it into one of its own. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <sys/wait.h>
#include <unistd.h>

static int (*go)(void);
static pthread_barrier_t used, unloaded;

static void *use(void *result)
{
    *(int *)result = go();
    pthread_barrier_wait(&used);
    pthread_barrier_wait(&unloaded);
    return result;
}

int main(int argc, char **argv)
{
    int own = -1, other = -1, status = -1;
    void *plugin = argc > 2 ? dlmopen(LM_ID_NEWLM, argv[1], RTLD_NOW) : dlopen(argv[1], RTLD_NOW);
    if (plugin == NULL) {
        printf("%s\n", dlerror());
        return 1;
    }
    go = (int (*)(void))dlsym(plugin, "plugin_go");
    pthread_barrier_init(&used, NULL, 2);
    pthread_barrier_init(&unloaded, NULL, 2);
    pthread_t thread;
    if (pthread_create(&thread, NULL, use, &other) != 0)
        return 1;
    pthread_barrier_wait(&used);
    own = go();
    int closed = dlclose(plugin);
    pthread_barrier_wait(&unloaded);
    pthread_join(thread, NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(7);
    waitpid(child, &status, 0);
    printf("%d, %d, unloaded: %d, child: %d\n", own, other, closed, WIFEXITED(status) ? WEXITSTATUS(status) : -1);
    return 0;
}
