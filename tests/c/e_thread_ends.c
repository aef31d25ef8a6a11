/* A thread ends in a callback, by pthread_exit or by being cancelled: another thread's unregister
 * returns, and the next threads are served. */
#include "e_check.h"

static int cancels;
static __thread int leaving;
static struct e_user user = {E_ALIVE, 0, 0};
static unsigned long entered;

static void after_alloc(const memhook_call *call, void *block, void *u)
{
    (void)block;
    e_called(u);
    if (!leaving || call->requested != 4321)
        return;
    leaving = 0;
    __atomic_fetch_add(&entered, 1, __ATOMIC_RELEASE);
    if (!cancels)
        pthread_exit((void *)6);
    for (;;)
        pause(); /* a cancellation point */
}

static void *thread(void *argument)
{
    e_allocate((size_t)argument);
    leaving = 1;
    void *volatile block = malloc(4321);
    (void)block;
    CHECK(!"came back normally");
    return NULL;
}

int main(int argc, char **argv)
{
    cancels = argc > 1 && !strcmp(argv[1], "cancel");
    for (int n = 0; n < 20; n++) {
        memhook_observer table = {.struct_size = sizeof table, .user = &user, .after_alloc = after_alloc};
        memhook_id id;
        user.alive = E_ALIVE;
        CHECK(memhook_observe(&table, &id) == 0);
        pthread_t threads[3];
        unsigned long before = __atomic_load_n(&entered, __ATOMIC_ACQUIRE);
        for (size_t i = 0; i < 3; i++)
            CHECK(pthread_create(&threads[i], NULL, thread, (void *)i) == 0);
        while (__atomic_load_n(&entered, __ATOMIC_ACQUIRE) != before + 3)
            sched_yield();
        for (int i = 0; i < 3; i++) {
            if (cancels)
                CHECK(pthread_cancel(threads[i]) == 0);
        }
        int early = n % 2;
        if (early)
            CHECK(memhook_unregister(id) == 0);
        for (int i = 0; i < 3; i++) {
            void *result;
            CHECK(pthread_join(threads[i], &result) == 0);
            CHECK(result == (cancels ? PTHREAD_CANCELED : (void *)6));
        }
        if (!early)
            CHECK(memhook_unregister(id) == 0);
        e_gone(&user);
    }
    e_allocate(5);
    puts("unregistered");
    return 0;
}
