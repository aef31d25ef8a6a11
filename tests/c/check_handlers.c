/* Which handler is told of a fault in a block that outlives the start that it was made in. */
#define _GNU_SOURCE
#include <errno.h>
#include <memhook.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <ucontext.h>

/* More than a look takes up to its message; and how often the handler is changed in one, which is not for ever. */
enum { STEPS = 1200, CHANGES = 30 };

static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;
static int users[2];
static volatile int told, left, stepping, turn;

static void tell(int number, void *user)
{
    stepping = 0;
    told++;
    if (user != &users[number])
        printf("handler %d was given another's user\n", number);
}

static void zeroth(const memhook_check_report *report, void *user)
{
    (void)report;
    tell(0, user);
}

static void first(const memhook_check_report *report, void *user)
{
    (void)report;
    tell(1, user);
}

static int start(int number)
{
    memhook_check_options options = {.struct_size = sizeof options, .user = &users[number]};
    options.handler = number ? first : zeroth;
    return memhook_check_start(&options);
}

static char *changed(void)
{
    char *block = do_malloc(24);
    block[24] = 1;
    return block;
}

/* After so many instructions of a look, and after some more, the tool is started for the other handler. */
static void step(int signal, siginfo_t *info, void *context)
{
    greg_t *flags = &((ucontext_t *)context)->uc_mcontext.gregs[REG_EFL];
    (void)signal, (void)info;
    *flags &= ~0x100;
    if (!stepping || left-- <= -CHANGES)
        return;
    *flags |= 0x100;
    if (left >= 0)
        return;
    int error = memhook_check_stop();
    if ((error && error != EINPROGRESS) || start(turn ^= 1))
        puts("it cannot be started again");
}

int main(void)
{
    if (start(0))
        return 1;
    char *block = changed();
    printf("stop %s, ", memhook_check_stop() == EINPROGRESS ? "EINPROGRESS" : "?");
    if (start(1))
        return 1;
    printf("then %d, ", memhook_check_stop());
    do_free(block);
    printf("told %d\n", told);

    struct sigaction action = {.sa_sigaction = step, .sa_flags = SA_SIGINFO};
    sigaction(SIGTRAP, &action, NULL);
    if (start(0))
        return 1;
    block = changed();
    for (int at = 0; at < STEPS; at += CHANGES - 1) {
        left = at;
        stepping = 1;
        __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" ::: "memory", "cc");
        (void)!memhook_check_block(block);
        stepping = 0;
        __asm__ volatile("nop");
    }
    printf("changed at every instruction, told %d\n", told);
    fflush(stdout);
    _Exit(0); /* the changed block would be found again */
}
