/* A fork after every single instruction (or every Nth) of a change of hooks in another thread, or of its frees, its start
 * or its stop of the tool `check`. The child has the hooks as they were before or after, can free what was made, change
 * hooks, and end; nothing is released early or twice.
 *
 * The tracer steps the thread that changes hooks; after each step it lets the main thread fork. */
#include "e_check.h"
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/user.h>

static struct e_user users[3];
static int released[3];
static memhook_id ids[3];
static void *blocks[2];
static pthread_barrier_t barrier;
static const char *what;

static void release(void *user)
{
    int number = (int)((struct e_user *)user - users);
    CHECK(users[number].blocks == 0);
    CHECK(++released[number] == 1);
    e_gone(&users[number]);
}

static memhook_interceptor table_of(int number)
{
    memhook_interceptor table = {.struct_size = sizeof table, .user = &users[number], .release = release};
    table.malloc = e_malloc;
    table.realloc = e_realloc;
    table.free = e_free;
    table.usable_size = e_usable_size;
    users[number].alive = E_ALIVE;
    return table;
}

static int is(const char *name)
{
    return !strcmp(what, name);
}

/* The tool `check` in place of hooks of the program's own. */
static int checks(void)
{
    return !strncmp(what, "check", 5);
}

static void fault(const memhook_check_report *report, void *user)
{
    (void)user;
    memhook_log("%.*s", (int)report->text_len, report->text);
    abort();
}

/* More large and small blocks than the quarantine keeps. */
static void fill_quarantine(size_t large)
{
    static __thread char *some[400];
    for (size_t i = 0; i < 400; i++) {
        CHECK((some[i] = malloc(i < large ? 2000 : 50)) != NULL);
        memset(some[i], (int)i, 50);
    }
    for (size_t i = 0; i < 400; i++) {
        CHECK(some[i][0] == (char)i && some[i][49] == (char)i);
        free(some[i]);
    }
}

static void change(void)
{
    memhook_chain chain;
    memhook_interceptor table;
    if (is("check: free")) {
        free(blocks[0]);
        free(blocks[1]);
    } else if (is("check: start")) {
        memhook_check_options options = {.struct_size = sizeof options, .handler = fault};
        CHECK(memhook_check_start(&options) == 0);
    } else if (is("check: stop")) {
        CHECK(memhook_check_stop() == 0);
    } else if (is("unregister")) {
        CHECK(memhook_unregister(ids[0]) == EINPROGRESS);
    } else if (is("empty")) {
        CHECK(memhook_unregister(ids[0]) == 0);
    } else if (is("observer")) {
        CHECK(memhook_unregister(ids[1]) == 0);
    } else if (is("register")) {
        table = table_of(2);
        CHECK(memhook_register(&table, &ids[2]) == 0);
    } else if (is("replace")) {
        table = table_of(2);
        CHECK(memhook_replace(ids[0], &table) == EINPROGRESS);
    } else if (is("swap")) {
        CHECK(memhook_chain_create(&chain) == 0);
        CHECK(memhook_chain_swap(chain, NULL) == EINPROGRESS);
    } else {
        free(blocks[0]); /* The last one of "last". */
    }
}

static void *changer(void *argument)
{
    pthread_barrier_wait(&barrier);
    if (is("check: free")) {
        fill_quarantine(350);
        blocks[0] = malloc(2000);
        blocks[1] = malloc(50);
    }
    __asm__ volatile("int3"); /* From here on, every instruction. */
    change();
    __asm__ volatile("ud2"); /* Up to here. */
    return argument;
}

/* Takes over what the other thread had in that memory. */
static void *later_thread(void *argument)
{
    fill_quarantine(350);
    fill_quarantine(0);
    return argument;
}

static void checked_child(void)
{
    memhook_check_options options = {.struct_size = sizeof options, .handler = fault};
    pthread_t thread;
    alarm(10);
    /* On or off, as the other thread has left it, it can be stopped and started. */
    int stopped = is("check: free") ? ESRCH : memhook_check_stop();
    CHECK(stopped == 0 || stopped == ESRCH || stopped == EINPROGRESS);
    int started = memhook_check_start(&options);
    CHECK(started == (is("check: free") ? EALREADY : 0));
    CHECK(pthread_create(&thread, NULL, later_thread, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(memhook_check_all() == 0);
    int result = memhook_check_stop();
    CHECK(result == 0 || result == EINPROGRESS);
    _exit(0);
}

static void child(void)
{
    static struct e_user observer, interceptor;
    memhook_id a, b;
    if (checks())
        checked_child();
    alarm(10);
    /* What was to be done for the other thread's change is done while its blocks live. */
    CHECK(memhook_synchronize() == 0);
    CHECK(e_observe(&observer, &a) == 0);
    CHECK(memhook_unregister(a) == 0);
    CHECK(released[0] == 0 || users[0].blocks == 0);
    for (int i = is("free") || is("last"); i < 2; i++)
        free(blocks[i]);
    CHECK(is("free") || is("last") || (users[0].blocks == 0 && users[2].blocks == 0));
    CHECK(e_observe(&observer, &a) == 0);
    CHECK(e_intercept(&interceptor, &b) == 0);
    for (size_t i = 0; i < 10; i++)
        e_allocate(i);
    CHECK(observer.calls > 0 && interceptor.calls > 0);
    CHECK(memhook_unregister(b) == 0);
    e_gone(&interceptor);
    CHECK(memhook_unregister(a) == 0);
    e_gone(&observer);
    CHECK(memhook_synchronize() == 0);
    for (int i = 0; i < 3; i++) {
        int result = ids[i] ? memhook_unregister(ids[i]) : ESRCH;
        CHECK(result == 0 || result == EALREADY || result == ESRCH || result == EINPROGRESS);
        CHECK(i == 1 || result || released[i] == 1 || released[2] == 1);
    }
    /* Of a hook that was being registered, nobody may know the id yet. */
    size_t left = 0;
    CHECK(memhook_chain_list(0, NULL, sizeof(memhook_hook_info), 0, &left) == 0);
    CHECK(left == 0 || (is("register") && left == 1 && ids[2] == 0));
    e_allocate(3);
    _exit(0);
}

static int traced(void)
{
    memhook_interceptor table = table_of(0);
    pthread_t thread;
    CHECK(pthread_barrier_init(&barrier, NULL, 2) == 0);
    CHECK(pthread_create(&thread, NULL, changer, NULL) == 0);
    if (checks()) {
        memhook_check_options options = {.struct_size = sizeof options, .handler = fault};
        CHECK(memhook_check_start(&options) == 0);
        CHECK(!is("check: start") || memhook_check_stop() == 0);
    } else {
        CHECK(e_observe(&users[1], &ids[1]) == 0);
        CHECK(memhook_register(&table, &ids[0]) == 0);
        for (int i = 0; i < 2; i++)
            CHECK((blocks[i] = malloc(100)) != NULL);
    }
    if (is("empty") || is("last"))
        for (int i = is("last"); i < 2; i++) {
            free(blocks[i]);
            blocks[i] = NULL;
        }
    if (is("last"))
        CHECK(memhook_unregister(ids[0]) == EINPROGRESS);
    pthread_barrier_wait(&barrier);
    for (;;) {
        __asm__ volatile("int3"); /* Stopped, while the other takes a step. */
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0)
            child();
        int ended = e_wait(pid);
        if (ended) {
            memhook_log("%s: a child ended with %d\n", what, ended);
            abort();
        }
    }
}

static int status;

/* Runs a thread on until it stops, for another reason than that a child has ended. */
static void go(pid_t thread, enum __ptrace_request how)
{
    do {
        CHECK(ptrace(how, thread, 0, 0) == 0);
        CHECK(waitpid(thread, &status, __WALL) == thread);
    } while (WIFSTOPPED(status) && WSTOPSIG(status) == SIGCHLD);
}

static int stopped_by(int signal)
{
    return WIFSTOPPED(status) && WSTOPSIG(status) == signal && status >> 16 == 0;
}

int main(int argc, char **argv)
{
    what = argc > 1 ? argv[1] : "";
    int every = argc > 2 ? atoi(argv[2]) : 1;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
        __asm__ volatile("int3");
        return traced();
    }
    CHECK(waitpid(pid, &status, 0) == pid && stopped_by(SIGTRAP));
    CHECK(ptrace(PTRACE_SETOPTIONS, pid, 0, PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL) == 0);
    pid_t other = 0;
    go(pid, PTRACE_CONT);
    CHECK(status >> 8 == (SIGTRAP | PTRACE_EVENT_CLONE << 8));
    unsigned long number;
    CHECK(ptrace(PTRACE_GETEVENTMSG, pid, 0, &number) == 0);
    other = (pid_t)number;
    CHECK(waitpid(other, &status, __WALL) == other && WIFSTOPPED(status));
    CHECK(ptrace(PTRACE_CONT, other, 0, 0) == 0);
    /* The main thread is ready to fork, the other to change hooks. */
    go(pid, PTRACE_CONT);
    CHECK(stopped_by(SIGTRAP));
    CHECK(waitpid(other, &status, __WALL) == other && stopped_by(SIGTRAP));
    long steps = 0, forks = 0;
    for (;; steps++) {
        go(other, PTRACE_SINGLESTEP);
        if (stopped_by(SIGILL))
            break;
        CHECK(stopped_by(SIGTRAP));
        if (steps % every)
            continue;
        go(pid, PTRACE_CONT);
        forks++;
        if (!stopped_by(SIGTRAP)) {
            printf("%s: after %ld steps: status %#x\n", what, steps, (unsigned)status);
            return 1;
        }
    }
    CHECK(forks > 10);
    printf("%s: forked all the way\n", what);
    return 0;
}
