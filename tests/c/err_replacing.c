/* EBUSY: another thread has decided to replace the hook and has not finished. That thread is made to stand still after
 * one instruction more in each child, until one finds it in between. */
#define _GNU_SOURCE
#include "err_check.h"
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

static memhook_id id;
static memhook_chain object;
static const char *what;
static long steps, stop_at;
static sem_t standing, go_on;
static volatile int ended;

static void on_step(int number)
{
    (void)number;
    if (++steps == stop_at) {
        sem_post(&standing);
        while (sem_wait(&go_on) != 0) {
        }
    }
}

static int is(const char *name)
{
    return strcmp(what, name) == 0;
}

static void *replace(void *result)
{
    memhook_interceptor table = owning_interceptor();
    memhook_observer watch = counting_observer();
    int observer = is("observer") || is("trace");
    *(int *)result = 4711;
    __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" : : : "memory", "cc");
    *(int *)result = observer ? memhook_replace_observer(id, &watch) : memhook_replace(id, &table);
    __asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" : : : "memory", "cc");
    ended = 1;
    sem_post(&standing);
    return NULL;
}

static void start(void)
{
    memhook_interceptor table = owning_interceptor();
    memhook_observer watch = counting_observer();
    memhook_fail_rule rule = {.struct_size = sizeof rule, .every = 1, .above = 1 << 20};
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", memfd_create("trace", 0));
    memhook_trace_options to = {.struct_size = sizeof to, .path = path};
    if (is("interceptor"))
        MUST(memhook_register(&table, &id));
    else if (is("observer"))
        MUST(memhook_observe(&watch, &id));
    else if (is("trace"))
        MUST(memhook_trace_start(&to, &id));
    else if (is("usage"))
        MUST(memhook_usage_start(NULL, &id));
    else if (is("check")) {
        memhook_hook_info info;
        size_t count;
        MUST(memhook_check_start(NULL));
        MUST(memhook_chain_list(0, &info, sizeof info, 1, &count));
        /* The outer one makes the blocks; the other sees the frees of those that are nobody's. */
        EXPECT(count == 2);
        id = info.id;
    } else
        MUST(memhook_fail_start(&rule, &id));
    MUST(memhook_chain_copy(&object));
}

/* The one call that is tried first: where it is not busy, it has done what it is for. */
static int first(void)
{
    return is("trace")   ? memhook_trace_stop(id, NULL)
           : is("usage") ? memhook_usage_stop(id, NULL)
           : is("fail")  ? memhook_fail_stop(id, NULL)
           : is("check") ? memhook_check_stop()
                         : memhook_unregister_timed(id, 0);
}

/* In a child. 0: it was found in between, and what was to be seen there was printed. 1: not there. 2: the call had ended. */
static int try_at(long at)
{
    memhook_interceptor table = owning_interceptor();
    memhook_observer watch = counting_observer();
    pthread_t thread;
    int result;

    alarm(20);
    stop_at = at;
    start();
    MUST(pthread_create(&thread, NULL, replace, &result));
    while (sem_wait(&standing) != 0) {
    }
    if (ended)
        return 2;
    if (first() != EBUSY)
        return 1;
    printf("%s:\n", what);
    if (is("trace") || is("usage") || is("fail") || is("check"))
        RESULT("stop", first());
    REFUSED("unregister", memhook_unregister(id));
    REFUSED("unregister_timed", memhook_unregister_timed(id, 1000));
    REFUSED("swap", memhook_chain_swap(object, NULL));
    if (is("observer") || is("trace"))
        REFUSED("replace_observer", memhook_replace_observer(id, &watch));
    else
        REFUSED("replace", memhook_replace(id, &table));
    sem_post(&go_on);
    MUST(pthread_join(thread, NULL));
    EXPECT(result == 0 || result == EINPROGRESS);
    EXPECT(seen_by_one_pair() == 1);
    /* What was put in a tool's place is a hook like any other. */
    RESULT("unregister then", memhook_unregister(id));
    EXPECT(seen_by_one_pair() == 0);
    MUST(memhook_chain_destroy(object));
    goes_on();
    return 0;
}

static int find_between(const char *name)
{
    what = name;
    for (long at = 50;; at += 50) {
        pid_t child = fork();
        int status;
        if (child == 0)
            _exit(try_at(at));
        if (child < 0 || waitpid(child, &status, 0) != child)
            return 1;
        if (status == 0)
            return 0;
        /* One that stands where others wait for it is ended by its alarm. */
        if (WIFEXITED(status) && WEXITSTATUS(status) != 1) {
            printf("%s: never in between\n", name);
            return 1;
        }
    }
}

int main(void)
{
    struct sigaction action = {.sa_handler = on_step};
    setvbuf(stdout, NULL, _IONBF, 0);
    sem_init(&standing, 0, 0);
    sem_init(&go_on, 0, 0);
    sigaction(SIGTRAP, &action, NULL);
    return find_between("interceptor") || find_between("observer") || find_between("trace") ||
           find_between("usage") || find_between("fail") || find_between("check");
}
