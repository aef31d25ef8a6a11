/* The thread that registered a hook for itself forks: in the child it is still that thread. */
#include "check.h"
#include <sys/wait.h>

static int seen;

static void after(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    seen += call->requested == 4711;
}

int main(void)
{
    memhook_id id;
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = after, .flags = MEMHOOK_THIS_THREAD };
    OK(memhook_observe(&o, &id));
    free(malloc(4711));
    SAME(seen, 1);
    pid_t child = fork();
    if (child == 0) {
        free(malloc(4711));
        _exit(seen);
    }
    int status;
    SAME(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    SAME(WEXITSTATUS(status), 2);
    puts("seen in the child");
}
