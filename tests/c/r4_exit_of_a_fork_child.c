/* The process forks while another thread looks at the loaded objects. The child, in which nobody gives the C library's
 * lock back, ends with a shared object's hooks in force. */
#define _GNU_SOURCE
#include "check.h"
#include <dlfcn.h>
#include <link.h>
#include <sys/wait.h>

static sem_t in;
static int calls, released;

static int stops(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)info, (void)size, (void)unused;
    sem_post(&in);
    while (pause() != 0) {
    }
    return 0;
}

static void *looks(void *unused)
{
    dl_iterate_phdr(stops, NULL);
    return unused;
}

int main(int count, char **arguments)
{
    CHECK(count == 2);
    pthread_t looker;
    void *plugin = dlopen(arguments[1], RTLD_NOW);
    CHECK(plugin);
    void (*observe)(int *, int *, sem_t *, sem_t *);
    *(void **)&observe = dlsym(plugin, "plugin_observe");
    observe(&calls, &released, NULL, NULL);
    OK(pthread_create(&looker, NULL, looks, NULL));
    await(&in);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        alarm(20);
        exit(0);
    }
    int status = -1;
    SAME(waitpid(pid, &status, 0), pid);
    SAME(status, 0);
    puts("the child ended");
    fflush(stdout);
    _exit(0);
}
