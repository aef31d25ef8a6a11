/* A callback uses thread variables of objects that are loaded and unloaded: the first use in each thread
 * allocates, inside the callback, in the dynamic linker. Arguments: copies of one object. */
#include "e_check.h"
#include <dlfcn.h>

#define THREADS 20
static long *(*counter)(void);
static unsigned long threads_seen;

static void after_alloc(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block;
    e_called(user);
    long *mine = counter();
    if (++*mine == 1)
        __atomic_fetch_add(&threads_seen, 1, __ATOMIC_RELAXED);
    free(malloc(10));
}

static void *thread(void *argument)
{
    for (size_t n = 0; n < 50; n++)
        e_allocate(n);
    CHECK(*counter() >= 100);
    return argument;
}

int main(int argc, char **argv)
{
    static struct e_user user = {E_ALIVE, 0, 0}, owner;
    memhook_observer table = {.struct_size = sizeof table, .user = &user, .after_alloc = after_alloc};
    memhook_id id, second;
    CHECK(e_intercept(&owner, &second) == 0);
    for (int i = 1; i < argc; i++) {
        void *object = dlopen(argv[i], RTLD_NOW | RTLD_LOCAL);
        CHECK(object);
        *(void **)&counter = dlsym(object, "plugin_counter");
        CHECK(counter);
        CHECK(memhook_observe(&table, &id) == 0);
        pthread_t threads[THREADS];
        for (int k = 0; k < THREADS; k++)
            CHECK(pthread_create(&threads[k], NULL, thread, NULL) == 0);
        for (int k = 0; k < THREADS; k++)
            CHECK(pthread_join(threads[k], NULL) == 0);
        CHECK(memhook_unregister(id) == 0);
        CHECK(dlclose(object) == 0);
    }
    /* The main thread allocates too. */
    CHECK(threads_seen >= (unsigned long)(argc - 1) * (THREADS + 1));
    int result = memhook_unregister(second);
    CHECK(result == 0 || result == EINPROGRESS);
    puts("each thread had its own");
    return 0;
}
