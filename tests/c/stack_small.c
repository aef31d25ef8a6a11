/* Tools in threads of the smallest stack, and on an alternate stack with a guard below.
 *
 *   stack_small thread FOLDER WHAT     starts and stops a tool in a thread of PTHREAD_STACK_MIN
 *   stack_small fork                   a fork child of such a thread allocates
 *   stack_small handler                so does one of a handler on an alternate stack */
#define _GNU_SOURCE
#include "check.h"
#include <limits.h>
#include <mcheck.h>
#include <signal.h>
#include <sys/auxv.h>
#include <sys/mman.h>
#include <sys/wait.h>

#undef malloc
static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;
static const char *what;
static char path[4096], other_path[4096];

static void allocate(void)
{
    do_free(do_malloc(10));
}

static int is(const char *name)
{
    return strcmp(what, name) == 0;
}

static void start(void)
{
    static memhook_trace_options trace = {.struct_size = sizeof trace, .path = path};
    static memhook_usage_options usage = {.struct_size = sizeof usage, .report = path, .data = other_path};
    static memhook_usage counted = {.struct_size = sizeof counted};
    static memhook_check_options check = {.struct_size = sizeof check, .frames = 64};
    static memhook_fail_rule rule = {
        .struct_size = sizeof rule, .nth = 1000, .object = "stack_small", .object_len = 11};
    static memhook_id id;
    if (is("mtrace")) {
        mtrace();
        allocate();
        muntrace();
    } else if (is("usage")) {
        OK(memhook_usage_start(&usage, &id));
        allocate();
        OK(memhook_usage_report(id, open("/dev/null", O_WRONLY)));
        OK(memhook_usage_stop(id, &counted));
    } else if (is("check")) {
        OK(memhook_check_start(&check));
        allocate();
        SAME(memhook_check_all(), 0);
        OK(memhook_check_stop());
    } else if (is("fail")) {
        OK(memhook_fail_start(&rule, &id));
        allocate();
        OK(memhook_fail_stop(id, NULL));
    } else {
        trace.flags = is("binary") ? MEMHOOK_TRACE_BINARY : is("unwind") ? MEMHOOK_TRACE_BINARY | MEMHOOK_TRACE_UNWIND : 0;
        trace.frames = is("unwind") ? 63 : 0;
        OK(memhook_trace_start(&trace, &id));
        allocate();
        OK(memhook_trace_stop(id, NULL));
    }
}

static void fork_and_allocate(void)
{
    int status;
    pid_t child = fork();
    if (child == 0) {
        allocate();
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    SAME(status, 0);
}

static void *run(void *unused)
{
    allocate();
    if (is("fork"))
        fork_and_allocate();
    else
        start();
    return unused;
}

static void handler(int signal)
{
    (void)signal;
    fork_and_allocate();
}

int main(int count, char **arguments)
{
    what = arguments[count - 1];
    if (count == 4) {
        snprintf(path, sizeof path, "%s/%%e.trace", arguments[2]);
        snprintf(other_path, sizeof other_path, "%s/%%e.data", arguments[2]);
    }
    if (is("handler")) {
        enum { GUARD = 128 * 1024 };
        /* The kernel's own part; 4 KiB for the library; the rest for the C library's fork. */
        size_t size = (getauxval(AT_MINSIGSTKSZ) + 4096 + 3072 + 4095) & ~(size_t)4095;
        char *memory = mmap(NULL, GUARD + size, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        OK(mprotect(memory + GUARD, size, PROT_READ | PROT_WRITE));
        stack_t stack = {.ss_sp = memory + GUARD, .ss_size = size};
        OK(sigaltstack(&stack, NULL));
        struct sigaction action = {.sa_handler = handler, .sa_flags = SA_ONSTACK};
        OK(sigaction(SIGUSR1, &action, NULL));
        allocate();
        raise(SIGUSR1);
    } else {
        pthread_t thread;
        pthread_attr_t smallest;
        OK(pthread_attr_init(&smallest));
        OK(pthread_attr_setstacksize(&smallest, PTHREAD_STACK_MIN));
        OK(pthread_create(&thread, &smallest, run, NULL));
        OK(pthread_join(thread, NULL));
    }
    puts("fine");
    return 0;
}
