/* A signal handler gives a block back while the thread is giving another back, at every fourth instruction; there
 * one of the two owners is unregistered, which the call does not come to. Each block counts, and the owner is released
 * with the last. Each instruction has a process of its own. */
#include "e_check.h"
#include <semaphore.h>

enum { BLOCKS = 4, NOT_REACHED = 3 };

static memhook_id keeper, owner;
static void *blocks[BLOCKS];
static sem_t ask, answered, gone;
static volatile long step, wanted;

static void *makes(memhook_next *next, size_t requested, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    return memhook_next_malloc(next, requested);
}

/* Keeps the block: those below are not asked. */
static void keeps(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)next, (void)block, (void)call, (void)user;
}

static void released(void *user)
{
    (void)user;
    sem_post(&gone);
}

static void await(sem_t *sem)
{
    while (sem_wait(sem) != 0)
        CHECK(errno == EINTR);
}

/* Does not wait for long: who asks may be who is waited for. */
static void *removes(void *unused)
{
    await(&ask);
    int result = memhook_unregister_timed(owner, 10000000);
    CHECK(result == EINPROGRESS || result == ETIMEDOUT);
    sem_post(&answered);
    return unused;
}

static void on_step(int number)
{
    (void)number;
    if (step++ == wanted) {
        free(blocks[1]);
        sem_post(&ask);
        await(&answered);
    }
}

static void at_instruction(long number)
{
    pthread_t remover;
    struct sigaction action = {.sa_handler = on_step};
    memhook_interceptor t = {.struct_size = sizeof t, .malloc = makes, .release = released};
    wanted = number;
    CHECK(pthread_create(&remover, NULL, removes, NULL) == 0);
    CHECK(memhook_register(&t, &owner) == 0);
    t.free = keeps;
    t.release = NULL;
    CHECK(memhook_register(&t, &keeper) == 0);
    for (int i = 0; i < BLOCKS; i++)
        CHECK((blocks[i] = malloc(100)));
    CHECK(sigaction(SIGTRAP, &action, NULL) == 0);
    STEP_ON;
    free(blocks[0]);
    STEP_OFF;
    if (step <= wanted)
        _exit(NOT_REACHED);
    free(blocks[2]);
    free(blocks[3]);
    CHECK(pthread_join(remover, NULL) == 0);
    CHECK(memhook_synchronize() == 0);
    size_t live = 1;
    CHECK(memhook_live_blocks(owner, &live) == 0 && live == 0);
    await(&gone);
    _exit(0);
}

int main(void)
{
    int status = 0;
    long number = 0;
    for (; status == 0; number += 4) {
        pid_t pid = fork();
        if (pid == 0)
            at_instruction(number);
        CHECK(pid > 0);
        status = e_wait(pid);
    }
    CHECK(status == NOT_REACHED && number > 100);
    printf("every block counted\n");
    return 0;
}
