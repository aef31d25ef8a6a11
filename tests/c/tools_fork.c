/* Tools that were started before are started in a fork child while the dynamic linker's lock is, there, a thread's that
 * did not come along. */
#define _GNU_SOURCE
#include "check.h"
#include <link.h>
#include <sys/wait.h>

static pthread_barrier_t inside, forked;

static int wait_inside(struct dl_phdr_info *info, size_t bytes, void *argument)
{
    (void)info, (void)bytes, (void)argument;
    pthread_barrier_wait(&inside);
    pthread_barrier_wait(&forked);
    return 1;
}

static void *iterate(void *argument)
{
    dl_iterate_phdr(wait_inside, NULL);
    return argument;
}

static void start_and_stop(void)
{
    memhook_fail_rule rule = { .struct_size = sizeof rule, .every = 1, .above = 1 << 20 };
    memhook_id usage, fail;
    OK(memhook_usage_start(NULL, &usage));
    OK(memhook_check_start(NULL));
    OK(memhook_fail_start(&rule, &fail));
    void *volatile block = malloc(100);
    free(block);
    OK(memhook_fail_stop(fail, NULL));
    OK(memhook_check_stop());
    OK(memhook_usage_stop(usage, NULL));
}

int main(void)
{
    pthread_t thread;
    int status;
    start_and_stop();
    OK(pthread_barrier_init(&inside, NULL, 2));
    OK(pthread_barrier_init(&forked, NULL, 2));
    OK(pthread_create(&thread, NULL, iterate, NULL));
    pthread_barrier_wait(&inside);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        alarm(20);
        start_and_stop();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    pthread_barrier_wait(&forked);
    OK(pthread_join(thread, NULL));
    CHECK(status == 0);
    puts("started in the child");
    return 0;
}
