/* vfork with exec, vfork whose child allocates, vfork whose child ends in a callback, posix_spawn. */
#include "e_check.h"
#include <spawn.h>

extern char **environ;
static int leave;

static void after_alloc(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block;
    e_called(user);
    if (leave)
        _exit(9);
}

/* The child shares our memory and our thread's record. */
__attribute__((noinline)) static int vforked(char **argv, int how)
{
    leave = how == 2;
    pid_t pid = vfork();
    CHECK(pid >= 0);
    if (pid == 0) {
        if (how >= 1)
            free(malloc(77));
        execv(argv[0], argv);
        _exit(127);
    }
    leave = 0;
    return e_wait(pid);
}

int main(void)
{
    static struct e_user user = {E_ALIVE, 0, 0}, owner;
    memhook_observer table = {.struct_size = sizeof table, .user = &user, .after_alloc = after_alloc};
    memhook_id id, second;
    char *sh[] = {"/bin/sh", "-c", "exit 5", NULL};
    CHECK(memhook_observe(&table, &id) == 0);
    CHECK(e_intercept(&owner, &second) == 0);
    int sum[4] = {0, 0, 0, 0};
    for (int n = 0; n < 20; n++) {
        for (int how = 0; how < 3; how++) {
            sum[how] += vforked(sh, how);
            unsigned long before = user.calls;
            e_allocate((size_t)n);
            CHECK(memhook_is_suspended() == 0);
            CHECK(user.calls > before);
        }
        pid_t pid;
        CHECK(posix_spawn(&pid, sh[0], NULL, NULL, sh, environ) == 0);
        sum[3] += e_wait(pid);
    }
    int result = memhook_unregister(second);
    size_t live = 99;
    CHECK(memhook_live_blocks(second, &live) == 0);
    /* What the children that ended in a callback had allocated is ours and lives on. */
    CHECK(result == (live ? EINPROGRESS : 0));
    CHECK(memhook_unregister(id) == 0);
    e_gone(&user);
    e_allocate(1);
    printf("exec %d, allocating %d, in a callback %d, spawned %d, live %s\n", sum[0], sum[1], sum[2], sum[3],
           live == 20 || live == 0 ? "as expected" : "otherwise");
    return 0;
}
