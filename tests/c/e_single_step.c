/* A signal handler that allocates, delivered after every single instruction of malloc, free,
 * realloc, register and unregister. Runs over e_bump.so. */
#include "e_check.h"
#include <sys/ptrace.h>
#include <sys/user.h>

static struct e_user user, second;

__attribute__((noinline)) static void handler_work(void)
{
    char *block = malloc(48);
    CHECK(block);
    block = realloc(block, 96);
    free(block);
}

static void handler(int number)
{
    (void)number;
    int errno_before = errno;
    handler_work();
    errno = errno_before;
    __asm__ volatile("int3");
}

__attribute__((noinline)) static void deep(void)
{
    volatile char room[16384] __attribute__((unused));
    room[0] = 1;
    free(malloc(33));
    room[1] = 1;
}

static int traced(int owning)
{
    memhook_id id, other;
    CHECK((owning ? e_intercept : e_observe)(&user, &id) == 0);
    deep();
    struct sigaction action = {.sa_handler = handler};
    CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
    CHECK(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
    __asm__ volatile("int3"); /* From here on, every instruction. */
    deep();
    free(malloc(10));
    char *block = calloc(3, 5);
    block = realloc(block, 200);
    CHECK(block && block[0] == 0);
    free(block);
    CHECK(memhook_is_suspended() == 0);
    CHECK(e_observe(&second, &other) == 0);
    free(malloc(11));
    CHECK(memhook_unregister(other) == 0);
    e_gone(&second);
    free(malloc(12));
    CHECK(memhook_is_suspended() == 0);
    CHECK(memhook_suspend() == 0);
    free(malloc(13));
    CHECK(memhook_resume() == 0);
    CHECK(memhook_is_suspended() == 0);
    size_t live = 1;
    CHECK(memhook_live_blocks(id, &live) == 0);
    CHECK(live == 0 && user.blocks == 0);
    CHECK(memhook_unregister(id) == 0);
    e_gone(&user);
    free(malloc(14));
    _exit(0);
}

static int status;

/* Runs the child on and waits until it stops; false when it has ended. */
static int go(pid_t pid, enum __ptrace_request how, long number)
{
    CHECK(ptrace(how, pid, 0, number) == 0);
    CHECK(waitpid(pid, &status, 0) == pid);
    return WIFSTOPPED(status);
}

int main(int argc, char **argv)
{
    int owning = argc > 1 && !strcmp(argv[1], "owner");
    int every = argc > 2 ? atoi(argv[2]) : 1;
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0)
        return traced(owning);
    CHECK(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
    long signals = 0, steps = 0;
    while (go(pid, PTRACE_SINGLESTEP, 0)) {
        if (WSTOPSIG(status) != SIGTRAP) {
            printf("stopped by signal %d after %ld steps\n", WSTOPSIG(status), steps);
            return 1;
        }
        if (steps++ % every)
            continue;
        struct user_regs_struct here, now;
        CHECK(ptrace(PTRACE_GETREGS, pid, 0, &here) == 0);
        signals++;
        /* The handler runs freely up to its int3. */
        if (!go(pid, PTRACE_CONT, SIGUSR1))
            break;
        if (WSTOPSIG(status) != SIGTRAP) {
            printf("stopped by signal %d after %ld steps\n", WSTOPSIG(status), steps);
            return 1;
        }
        int back = 0;
        for (int i = 0; i < 200 && !back; i++) {
            if (!go(pid, PTRACE_SINGLESTEP, 0))
                goto ended;
            CHECK(ptrace(PTRACE_GETREGS, pid, 0, &now) == 0);
            back = now.rip == here.rip && now.rsp == here.rsp;
        }
        CHECK(back);
    }
ended:
    if (!WIFEXITED(status) || WEXITSTATUS(status) || signals < 1000) {
        printf("status %#x after %ld steps and %ld signals\n", (unsigned)status, steps, signals);
        return 1;
    }
    puts("survived a signal after every instruction");
    return 0;
}
