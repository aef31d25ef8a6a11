/* A thread leaves a callback by longjmp. Then the last hook is unregistered, which waits for it; then a call ends
 * that is older, and with it the grace period of former chains. The thread's next call is noticed all the same. */
#include "check.h"
#include <setjmp.h>

static sem_t in, go, left, on, end;
static int done;
static jmp_buf out;
static memhook_id id;
static pid_t remover;

static void after(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    if (call->requested == 4711) {
        sem_post(&in);
        await(&go);
    }
    if (call->requested == 4712)
        longjmp(out, 1);
}

static void nothing(const memhook_call *call, void *user)
{
    (void)call, (void)user;
}

static void *returns(void *unused)
{
    free(malloc(4711));
    return unused;
}

__attribute__((noinline)) static void deep(void)
{
    volatile char room[4096] __attribute__((unused));
    room[0] = 1;
    free(malloc(4712));
    room[1] = 1;
}

static void *leaves(void *unused)
{
    if (!setjmp(out))
        deep();
    sem_post(&left);
    await(&on);
    free(malloc(10));
    /* Its end would be noticed too. */
    await(&end);
    return unused;
}

static void *removes(void *unused)
{
    __atomic_store_n(&remover, tid(), __ATOMIC_SEQ_CST);
    OK(memhook_unregister(id));
    __atomic_store_n(&done, 1, __ATOMIC_SEQ_CST);
    return unused;
}

int main(void)
{
    pthread_t returning, leaving, removing;
    memhook_id other;
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = after };
    memhook_observer p = { .struct_size = sizeof p, .realloc_abort = nothing };
    OK(memhook_observe(&o, &id));
    OK(pthread_create(&returning, NULL, returns, NULL));
    await(&in);
    /* Two chains that the older call keeps. */
    OK(memhook_observe(&p, &other));
    OK(memhook_unregister(other));
    OK(pthread_create(&leaving, NULL, leaves, NULL));
    await(&left);
    OK(pthread_create(&removing, NULL, removes, NULL));
    while (hooks_in_force())
        sched_yield();
    while (!sleeps(remover))
        sched_yield();
    sem_post(&go);
    OK(pthread_join(returning, NULL));
    SAME(__atomic_load_n(&done, __ATOMIC_SEQ_CST), 0);
    sem_post(&on);
    OK(pthread_join(removing, NULL));
    sem_post(&end);
    OK(pthread_join(leaving, NULL));
    puts("noticed, unregistered");
}
