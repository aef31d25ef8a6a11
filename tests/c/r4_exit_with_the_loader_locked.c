/* A thread stays in dl_iterate_phdr, which holds a lock of the dynamic linker's. Nothing of the library needs it by then,
 * nor does the end of a fork child and of the process, where an object with hooks is told from one that is unloaded. */
#define _GNU_SOURCE
#include "check.h"
#include <link.h>
#include <sys/wait.h>

MEMHOOK_TIE_TO_OBJECT;

static sem_t in;

static int stays(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)info, (void)size, (void)unused;
    sem_post(&in);
    for (;;)
        pause();
    return 0;
}

static void *iterates(void *unused)
{
    dl_iterate_phdr(stays, NULL);
    return unused;
}

static void told(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block, (void)user;
}

int main(void)
{
    static const memhook_observer observer = {.struct_size = sizeof observer, .object = MEMHOOK_OBJECT, .after_alloc = told};
    memhook_id id;
    pthread_t other;
    uint32_t missed;
    char text[200];
    int status;

    OK(sem_init(&in, 0, 0));
    OK(pthread_create(&other, NULL, iterates, NULL));
    await(&in);
    OK(memhook_self_test_object((void *)puts, &missed, text, sizeof text));
    SAME(memhook_self_test_object(&status, &missed, text, sizeof text), EINVAL);
    OK(memhook_observe(&observer, &id));
    OK(memhook_unregister_object(MEMHOOK_OBJECT));
    OK(memhook_observe(&observer, &id));
    pid_t child = fork();
    if (child == 0)
        exit(3);
    SAME(waitpid(child, &status, 0), child);
    SAME(WEXITSTATUS(status), 3);
    puts("nobody waited");
    return 0;
}
