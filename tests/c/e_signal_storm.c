/* A signal handler that allocates, at every point of the library that a timer hits. Runs over
 * e_bump.so, which may be called from a handler. */
#include "e_check.h"
#include <sys/time.h>

#define ROUNDS 100000
static volatile sig_atomic_t signals;
static void *handed_over[64];

static void handler(int number)
{
    (void)number;
    int errno_before = errno;
    e_allocate((size_t)signals % 128);
    /* A block made here and freed by the interrupted program, and the other way round. */
    void *block = malloc(40);
    CHECK(block);
    free(__atomic_exchange_n(&handed_over[signals % 64], block, __ATOMIC_ACQ_REL));
    errno = errno_before;
    signals++;
}

__attribute__((noinline)) static void deep(size_t n)
{
    volatile char room[4096] __attribute__((unused));
    room[n] = 1;
    e_allocate(n);
}

int main(int argc, char **argv)
{
    int owning = argc > 1 && !strcmp(argv[1], "owner");
    static struct e_user user, second;
    memhook_id id, other;
    CHECK((owning ? e_intercept : e_observe)(&user, &id) == 0);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    for (size_t n = 0; n < ROUNDS; n++) {
        /* One shot for each round, sooner and later: it hits anywhere in what follows. */
        struct itimerval timer = {{0, 0}, {0, 1 + (long)(n % 19)}};
        CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
        errno = 77;
        if (n % 2)
            deep(n % 4096);
        else
            free(malloc(n % 512));
        CHECK(errno == 77);
        free(__atomic_exchange_n(&handed_over[n % 64], NULL, __ATOMIC_ACQ_REL));
        CHECK(memhook_is_suspended() == 0);
        if (n % 64 == 0) {
            CHECK(e_observe(&second, &other) == 0);
            free(malloc(3));
            CHECK(memhook_unregister(other) == 0);
            e_gone(&second);
        }
    }
    struct itimerval off = {{0, 0}, {0, 0}};
    CHECK(setitimer(ITIMER_REAL, &off, NULL) == 0);
    for (int i = 0; i < 64; i++)
        free(handed_over[i]);
    CHECK(signals > 0);
    size_t live = 1;
    CHECK(memhook_live_blocks(id, &live) == 0);
    CHECK(live == 0 && user.blocks == 0);
    CHECK(memhook_unregister(id) == 0);
    e_gone(&user);
    e_allocate(1);
    puts("signals came, hooks held");
    return 0;
}
