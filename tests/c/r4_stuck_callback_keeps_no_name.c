/* A thread is stuck in a callback of one hook. What it was in before, however it came there and in
 * whatever mode, is unregistered meanwhile: nobody else is in it. */
#include "check.h"

enum { STUCK = 4711 };

static sem_t in, go;
/* A block that the callbacks of an owner give back: it may be an owner's. */
static void *spare;

static void after(const memhook_call *call, void *block, void *user)
{
    (void)block;
    if (user && call->requested == STUCK) {
        sem_post(&in);
        await(&go);
    }
}

static void before(const memhook_call *call, void *user)
{
    (void)call, (void)user;
}

static void *i_malloc(memhook_next *next, size_t n, const memhook_call *call, void *user)
{
    void *block = memhook_next_malloc(next, n);
    after(call, block, user);
    return block;
}

static void i_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    void *owned = spare;
    spare = NULL;
    free(owned);
    memhook_next_free(next, block);
}

static void f_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    if (user && *(volatile int *)block == STUCK)
        after(&(memhook_call){ .requested = call->block == block ? STUCK : 0 }, block, user);
    memhook_next_free(next, block);
}

/* Puts a hook in a chain object, or in force: an observer, an interceptor that owns, one that keeps, or one
 * whose free is where threads get stuck. */
static memhook_id put(char kind, int sticks, memhook_chain chain)
{
    void *user = sticks ? &go : NULL;
    memhook_id id;
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = after, .before_free = before, .user = user };
    memhook_interceptor t = { .struct_size = sizeof t, .malloc = i_malloc, .free = i_free, .user = user };
    if (kind == 'k' || kind == 'f')
        t.flags = MEMHOOK_KEEPS_POINTERS;
    if (kind == 'f') {
        t.malloc = NULL;
        t.free = f_free;
    }
    if (kind == 'o')
        OK(chain ? memhook_chain_observe(chain, &o, &id) : memhook_observe(&o, &id));
    else
        OK(chain ? memhook_chain_register(chain, &t, &id) : memhook_register(&t, &id));
    return id;
}

static sem_t swapped, again;

static void *sticks(void *unused)
{
    /* Through the hooks that leave, in every way; an owned block is given back in a callback. */
    for (int i = 0; i < 4; i++) {
        spare = malloc(40);
        free(malloc(50));
        free(spare);
        spare = NULL;
    }
    sem_post(&swapped);
    await(&again);
    int *block = malloc(STUCK);
    *block = STUCK;
    free(block);
    return unused;
}

static void leaves(memhook_id id)
{
    OK(memhook_unregister(id));
}

/* The thread has been in `former` alone and is stuck in `now` alone. */
static void exchanged(char former, char now)
{
    memhook_id gone = put(former, 0, 0);
    pthread_t thread;
    memhook_chain other;
    OK(memhook_suspend());
    OK(pthread_create(&thread, NULL, sticks, NULL));
    OK(memhook_resume());
    await(&swapped);
    OK(memhook_chain_create(&other));
    memhook_id stuck = put(now, 1, other);
    OK(memhook_chain_swap(other, &other));
    sem_post(&again);
    await(&in);
    leaves(gone);
    memhook_id later = put('o', 0, 0);
    leaves(later);
    later = put('x', 0, 0);
    leaves(later);
    sem_post(&go);
    OK(pthread_join(thread, NULL));
    OK(memhook_chain_destroy(other));
    leaves(stuck);
}

/* The thread is stuck in one hook of several; all others leave. */
static void among(const char *set, int stuck)
{
    pthread_t thread;
    memhook_id ids[8];
    for (int i = 0; set[i]; i++)
        ids[i] = put(set[i], i == stuck, 0);
    OK(memhook_suspend());
    OK(pthread_create(&thread, NULL, sticks, NULL));
    OK(memhook_resume());
    await(&swapped);
    sem_post(&again);
    await(&in);
    for (int i = 0; set[i]; i++)
        if (i != stuck)
            leaves(ids[i]);
    sem_post(&go);
    OK(pthread_join(thread, NULL));
    leaves(ids[stuck]);
}

int main(void)
{
    sem_init(&in, 0, 0);
    sem_init(&go, 0, 0);
    sem_init(&swapped, 0, 0);
    sem_init(&again, 0, 0);
    for (const char *former = "oxk"; *former; former++)
        for (const char *now = "oxk"; *now; now++)
            exchanged(*former, *now);
    among("oo", 0);
    among("oo", 1);
    among("ooo", 1);
    /* Told before the interceptor, which is stuck. */
    among("of", 1);
    /* Told when the interceptor has returned. */
    among("ok", 0);
    among("ko", 1);
    SAME(hooks_in_force(), 0);
    puts("neither kept the other");
}
