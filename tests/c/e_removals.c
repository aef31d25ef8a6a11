/* Hooks come and go while other threads allocate; nobody is called once unregister has returned.
 * With an argument, membarrier(2) is taken away in the middle. */
#include "e_check.h"
#include "e_filter.h"

#define ROUNDS 3000
static int done;

static void *allocates(void *argument)
{
    for (size_t n = (size_t)argument; !__atomic_load_n(&done, __ATOMIC_RELAXED); n += 7)
        e_allocate(n);
    return NULL;
}

static void *removes(void *argument)
{
    (void)argument;
    for (int n = 0; n < ROUNDS; n++) {
        /* Memory that is unreadable after its last use would be best; a poison will do. */
        struct e_user *user = memhook_scratch_malloc(sizeof *user);
        CHECK(user);
        memset(user, 0, sizeof *user);
        memhook_id id;
        CHECK(e_observe(user, &id) == 0);
        e_allocate(3);
        CHECK(user->calls > 0);
        CHECK(memhook_unregister(id) == 0);
        e_gone(user);
        memhook_scratch_free(user);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    (void)argv;
    static struct e_user always;
    memhook_id id;
    CHECK(e_observe(&always, &id) == 0);
    pthread_t threads[5];
    for (size_t i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, allocates, (void *)i) == 0);
    for (size_t i = 3; i < 5; i++)
        CHECK(pthread_create(&threads[i], NULL, removes, NULL) == 0);
    if (argc > 1)
        CHECK(refuse_membarrier(EPERM) == 0);
    for (size_t i = 3; i < 5; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    __atomic_store_n(&done, 1, __ATOMIC_RELAXED);
    for (size_t i = 0; i < 3; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(always.calls > ROUNDS);
    CHECK(memhook_unregister(id) == 0);
    puts("6000 removals");
    return 0;
}
