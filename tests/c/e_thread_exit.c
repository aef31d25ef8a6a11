/* Threads end: key destructors allocate and free, in several rounds; detached threads; what the C
 * library frees last still reaches the hooks. */
#include "e_check.h"

#define THREADS 200
static pthread_key_t keys[40];
static unsigned long exiting, destroyed, left;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;

static void after_alloc(const memhook_call *call, void *block, void *user)
{
    (void)block;
    e_called(user);
    if (call->circumstances & MEMHOOK_DURING_THREAD_EXIT)
        __atomic_fetch_add(&exiting, 1, __ATOMIC_RELAXED);
}

static void destroy(void *value)
{
    int *rounds = value;
    e_allocate((size_t)*rounds);
    __atomic_fetch_add(&destroyed, 1, __ATOMIC_RELAXED);
    if (--*rounds > 0) {
        int *again = malloc(sizeof *again);
        CHECK(again);
        *again = *rounds;
        free(rounds);
        /* Set again: destroyed in the next round. */
        CHECK(pthread_setspecific(keys[0], again) == 0);
    } else {
        free(rounds);
    }
}

static void *thread(void *detached)
{
    e_allocate(5);
    for (int i = 0; i < 40; i++) {
        int *value = malloc(sizeof *value);
        CHECK(value);
        *value = i == 0 ? 3 : 1;
        CHECK(pthread_setspecific(keys[i], value) == 0);
    }
    if (detached) {
        pthread_mutex_lock(&lock);
        left--;
        pthread_cond_signal(&changed);
        pthread_mutex_unlock(&lock);
    }
    return NULL;
}

int main(int argc, char **argv)
{
    int owning = argc > 1 && !strcmp(argv[1], "owner");
    static struct e_user user = {E_ALIVE, 0, 0}, owner;
    memhook_observer table = {.struct_size = sizeof table, .user = &user, .after_alloc = after_alloc};
    memhook_id id, second = 0;
    CHECK(memhook_observe(&table, &id) == 0);
    for (int i = 0; i < 40; i++)
        CHECK(pthread_key_create(&keys[i], destroy) == 0);
    if (owning)
        CHECK(e_intercept(&owner, &second) == 0);
    pthread_attr_t attributes;
    CHECK(pthread_attr_init(&attributes) == 0);
    CHECK(pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED) == 0);
    for (int n = 0; n < THREADS; n++) {
        pthread_t t;
        CHECK(pthread_create(&t, NULL, thread, NULL) == 0);
        CHECK(pthread_join(t, NULL) == 0);
    }
    unsigned long joined = __atomic_load_n(&destroyed, __ATOMIC_RELAXED);
    left = THREADS;
    for (int n = 0; n < THREADS; n++) {
        pthread_t t;
        CHECK(pthread_create(&t, &attributes, thread, (void *)1) == 0);
        if (n % 8 == 0)
            CHECK(memhook_synchronize() == 0);
    }
    pthread_mutex_lock(&lock);
    while (left)
        pthread_cond_wait(&changed, &lock);
    pthread_mutex_unlock(&lock);
    /* A detached thread counts as gone when its last destructor has run. */
    while (__atomic_load_n(&destroyed, __ATOMIC_RELAXED) != 2 * joined)
        sched_yield();
    if (owning) {
        int result = memhook_unregister(second);
        CHECK(result == 0 || result == EINPROGRESS);
    }
    int result = memhook_unregister(id);
    CHECK(result == 0);
    e_gone(&user);
    printf("%lu destructors in %d joined threads; exits were seen: %s\n", joined, THREADS,
           exiting ? "yes" : "no");
    return 0;
}
