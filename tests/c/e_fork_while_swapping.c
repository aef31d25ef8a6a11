/* The process forks while another thread puts chain objects in force. Whatever the child does with the object, what is
 * in force there is alive. */
#include "e_check.h"

enum { FORKS = 400 };

static memhook_chain chain;
static int stop;

static void after(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block, (void)user;
}

static void *swaps(void *unused)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        memhook_chain former;
        CHECK(memhook_chain_swap(chain, &former) == 0);
        __atomic_store_n(&chain, former, __ATOMIC_RELAXED);
    }
    return unused;
}

static int child(void)
{
    memhook_hook_info info;
    size_t count;
    int result = memhook_chain_destroy(chain);
    CHECK(result == 0 || result == EINVAL);
    CHECK(memhook_chain_list(0, &info, sizeof info, 1, &count) == 0);
    CHECK(count == 1);
    CHECK(memhook_unregister(info.id) == 0);
    CHECK(memhook_chain_list(0, &info, sizeof info, 1, &count) == 0);
    CHECK(count == 0);
    return 0;
}

int main(void)
{
    pthread_t swapper;
    memhook_id id;
    memhook_observer o = {.struct_size = sizeof o, .after_alloc = after};
    CHECK(memhook_observe(&o, &id) == 0);
    CHECK(memhook_chain_create(&chain) == 0);
    CHECK(memhook_chain_observe(chain, &o, &id) == 0);
    CHECK(pthread_create(&swapper, NULL, swaps, NULL) == 0);
    for (int i = 0; i < FORKS; i++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0)
            _exit(child());
        CHECK(e_wait(pid) == 0);
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    CHECK(pthread_join(swapper, NULL) == 0);
    printf("alive in every child\n");
    return 0;
}
