/* fork inside a callback: parent and child both return from it and go on. */
#include "e_check.h"

static pid_t pid = -1;
static uint32_t in_child;

static void after_alloc(const memhook_call *call, void *block, void *user)
{
    (void)block;
    e_called(user);
    if (call->requested == 12345 && pid == -1)
        pid = fork();
    else if (pid == 0)
        in_child = call->circumstances;
}

int main(void)
{
    static struct e_user user = {E_ALIVE, 0, 0};
    memhook_observer table = {.struct_size = sizeof table, .user = &user, .after_alloc = after_alloc};
    memhook_id id, second;
    CHECK(memhook_observe(&table, &id) == 0);
    setvbuf(stdout, NULL, _IONBF, 0);
    void *block = malloc(12345);
    CHECK(block && pid != -1);
    CHECK(memhook_is_suspended() == 0);
    unsigned long before = user.calls;
    e_allocate(5);
    CHECK(user.calls > before);
    static struct e_user other;
    CHECK(e_intercept(&other, &second) == 0);
    e_allocate(7);
    CHECK(other.calls > 0);
    CHECK(memhook_unregister(second) == 0);
    free(block);
    if (pid == 0)
        CHECK(in_child & MEMHOOK_DURING_FORK_CHILD);
    CHECK(memhook_unregister(id) == 0);
    e_gone(&user);
    e_allocate(3);
    if (pid == 0)
        exit(42);
    CHECK(in_child == 0);
    printf("child %d\n", e_wait(pid));
    return 0;
}
