/* A table of live addresses, kept in an observer's callbacks under load: no address is handed out
 * twice without having been given up in between, and in the end the books are empty. Under
 * observers alone, and with an accounting hook below. */
#include "check.h"

enum { BUCKETS = 8192, DEPTH = 24, THREADS = 4, ROUNDS = 60000 };

static struct bucket {
    int locked;
    const void *live[DEPTH];
} buckets[BUCKETS];
static __thread int strict;
static long events;

static struct bucket *lock(const void *p)
{
    struct bucket *b = &buckets[((uintptr_t)p >> 4) * 0x9e3779b97f4a7c15u >> 51];
    while (__atomic_exchange_n(&b->locked, 1, __ATOMIC_ACQUIRE))
        sched_yield();
    return b;
}

static void unlock(struct bucket *b)
{
    __atomic_store_n(&b->locked, 0, __ATOMIC_RELEASE);
}

static void enter(const void *p)
{
    int place = -1;
    struct bucket *b = lock(p);
    for (int i = 0; i < DEPTH; i++) {
        CHECK(b->live[i] != p); /* handed out twice */
        if (!b->live[i])
            place = i;
    }
    CHECK(place >= 0);
    b->live[place] = p;
    unlock(b);
}

static void strike(const void *p)
{
    int found = 0;
    struct bucket *b = lock(p);
    for (int i = 0; i < DEPTH; i++)
        if (b->live[i] == p) {
            b->live[i] = NULL;
            found++;
        }
    unlock(b);
    CHECK(found == 1 || !strict);
}

static void after(const memhook_call *c, void *block, void *user)
{
    (void)c, (void)user;
    __atomic_fetch_add(&events, 1, __ATOMIC_RELAXED);
    if (block)
        enter(block);
}

static void before(const memhook_call *c, void *user)
{
    (void)user;
    strike(c->block);
}

static void commit(const memhook_call *c, void *block, void *user)
{
    (void)c, (void)user;
    if (block)
        enter(block);
}

static void put_back(const memhook_call *c, void *user)
{
    (void)user;
    enter(c->block);
}

static void *work(void *seed)
{
    unsigned long random = (unsigned long)(intptr_t)seed * 7919 + 1;
    void *held[16] = { 0 };
    strict = 1;
    for (int i = 0; i < ROUNDS; i++) {
        random = random * 6364136223846793005u + 1442695040888963407u;
        void **p = &held[(random >> 40) % 16];
        /* Mostly too large for glibc's cache of each thread. */
        size_t n = (random >> 50) % 8 ? 1100 + (random >> 33) % 900 : (random >> 33) % 200000;
        switch ((random >> 58) % 8) {
        case 0: free(*p), *p = calloc(1, n); break;
        case 1: free(*p), *p = memalign(64, n); break;
        case 2: case 3: *p = realloc(*p, n + 1); break;
        case 4:
            if (*p)
                CHECK(!realloc(*p, SIZE_MAX / 2));
            break;
        case 5:
            if (*p)
                *p = realloc(*p, 0);
            break;
        default: free(*p), *p = malloc(n);
        }
    }
    for (int i = 0; i < 16; i++)
        free(held[i]);
    strict = 0;
    return NULL;
}

int main(void)
{
    struct account a = { .tag = 0xa };
    memhook_interceptor t = account_table(&a, "a", 0);
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = after, .before_free = before,
                           .realloc_begin = before, .realloc_commit = commit,
                           .realloc_abort = put_back };
    /* One arena: what one thread frees, another is given. */
    mallopt(M_ARENA_MAX, 1);
    for (int round = 0; round < 2; round++) {
        pthread_t threads[THREADS];
        memhook_id id, account;
        if (round)
            OK(memhook_register(&t, &account));
        memset(buckets, 0, sizeof buckets);
        for (int i = 0; i < THREADS; i++)
            free(malloc(100));
        OK(memhook_observe(&o, &id));
        for (int i = 0; i < THREADS; i++)
            OK(pthread_create(&threads[i], NULL, work, (void *)(intptr_t)i));
        for (int i = 0; i < THREADS; i++)
            OK(pthread_join(threads[i], NULL));
        OK(memhook_unregister(id));
        int left = 0;
        for (int i = 0; i < BUCKETS; i++)
            for (int j = 0; j < DEPTH; j++)
                left += buckets[i].live[j] != NULL;
        CHECK(left <= 2 * THREADS); /* the C library keeps its threads' stacks' books */
        CHECK(events > THREADS * ROUNDS / 4);
        events = 0;
        if (round) {
            int result = memhook_unregister(account);
            CHECK(result == 0 || result == EINPROGRESS);
        }
    }
    puts("the books balance");
}
