/* What the C library frees of a thread after its last destructor, it frees through the hooks, to the owner
 * that made it: the buffer of strerror, the message of dlerror, the table of thread-specific values. */
#include "e_check.h"
#include <dlfcn.h>

#define THREADS 50
static pthread_key_t keys[40];
static unsigned long late;
static __thread int is_late;

static void before_free(const memhook_call *call, void *user)
{
    e_called(user);
    if (is_late) {
        CHECK(call->circumstances & MEMHOOK_DURING_THREAD_EXIT);
        __atomic_fetch_add(&late, 1, __ATOMIC_RELAXED);
    }
}

/* Sets its value again until the C library gives up: nothing of the thread comes after the last time. */
static void destroy(void *value)
{
    size_t left = (size_t)value;
    is_late = left == 1;
    if (left > 1)
        CHECK(pthread_setspecific(keys[39], (void *)(left - 1)) == 0);
}

static void *thread(void *argument)
{
    (void)argument;
    /* Beyond the 32 values for which there is room in the thread itself. */
    CHECK(pthread_setspecific(keys[39], (void *)4) == 0);
    CHECK(strerror(98765) != NULL);
    CHECK(dlopen("/nowhere/to/be/found.so", RTLD_NOW) == NULL);
    return NULL;
}

static void run_one(void)
{
    pthread_t t;
    CHECK(pthread_create(&t, NULL, thread, NULL) == 0);
    CHECK(pthread_join(t, NULL) == 0);
}

int main(void)
{
    static struct e_user user = {E_ALIVE, 0, 0}, owner;
    memhook_observer table = {.struct_size = sizeof table, .user = &user, .before_free = before_free};
    memhook_id id, second;
    for (int i = 0; i < 40; i++)
        CHECK(pthread_key_create(&keys[i], destroy) == 0);
    /* The stack that all threads will use, and what belongs to it. */
    run_one();
    CHECK(memhook_observe(&table, &id) == 0);
    CHECK(e_intercept(&owner, &second) == 0);
    for (int i = 0; i < THREADS; i++)
        run_one();
    size_t live = 1;
    CHECK(memhook_live_blocks(second, &live) == 0);
    CHECK(live == 0 && owner.blocks == 0);
    CHECK(memhook_unregister(second) == 0);
    CHECK(memhook_unregister(id) == 0);
    printf("%d frees or more of each thread came late, all went home\n", late >= 3 * THREADS ? 3 : (int)(late / THREADS));
    return 0;
}
