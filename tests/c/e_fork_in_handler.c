/* A signal handler that forks, which glibc allows while there is one thread: in malloc, free, realloc and
 * fork themselves. What the hooks add may not wait for anything that the interrupted call holds. */
#include "e_check.h"
#include <sys/time.h>

#define ROUNDS 500
static volatile sig_atomic_t forks, trouble;

static void handler(int number)
{
    (void)number;
    int errno_before = errno;
    pid_t pid = fork();
    if (pid == 0)
        _exit(3);
    int status;
    if (pid < 0 || waitpid(pid, &status, 0) != pid || !WIFEXITED(status) || WEXITSTATUS(status) != 3)
        trouble = 1;
    forks++;
    errno = errno_before;
}

int main(int argc, char **argv)
{
    int owning = argc > 1 && !strcmp(argv[1], "owner");
    static struct e_user user;
    memhook_id id;
    CHECK((owning ? e_intercept : e_observe)(&user, &id) == 0);
    struct sigaction action = {.sa_handler = handler, .sa_flags = SA_RESTART};
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    static void *blocks[64];
    for (size_t n = 0; n < ROUNDS; n++) {
        int before = forks;
        struct itimerval timer = {{0, 0}, {0, 1 + (long)(n % 13)}};
        CHECK(setitimer(ITIMER_REAL, &timer, NULL) == 0);
        void **place = &blocks[n % 64];
        do {
            free(*place);
            *place = malloc(n * 97 % 70000);
            CHECK(*place);
            *place = realloc(*place, n * 31 % 5000 + 1);
            CHECK(*place);
            if (n % 7 == 0) {
                pid_t pid = fork();
                CHECK(pid >= 0);
                if (pid == 0)
                    _exit(0);
                CHECK(e_wait(pid) == 0);
            }
        } while (forks == before);
        CHECK(!trouble && memhook_is_suspended() == 0);
    }
    for (int i = 0; i < 64; i++)
        free(blocks[i]);
    size_t live = 1;
    CHECK(memhook_live_blocks(id, &live) == 0 && live == 0 && user.blocks == 0);
    CHECK(memhook_unregister(id) == 0);
    puts(forks >= ROUNDS ? "forked in every round" : "not enough signals");
    return 0;
}
