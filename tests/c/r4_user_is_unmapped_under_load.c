/* Hooks come and go under load, and their user memory is unmapped as soon as they are gone: a
 * callback that ran later would crash. */
#include "check.h"
#include <sys/mman.h>

struct user {
    uint64_t magic;
    long calls;
};

static int stop, released, unmapped;
static long calls;

static void use(void *user)
{
    struct user *u = user;
    SAME(u->magic, 0x4711471147114711);
    __atomic_fetch_add(&u->calls, 1, __ATOMIC_RELAXED);
}

static void after(const memhook_call *c, void *p, void *user)
{
    (void)c, (void)p;
    use(user);
}

static void before(const memhook_call *c, void *user)
{
    (void)c;
    use(user);
}

static void *i_malloc(memhook_next *next, size_t n, const memhook_call *c, void *user)
{
    (void)c;
    use(user);
    void *p = memhook_next_malloc(next, n);
    use(user);
    return p;
}

static void i_free(memhook_next *next, void *p, const memhook_call *c, void *user)
{
    (void)c;
    use(user);
    memhook_next_free(next, p);
    use(user);
}

static void *i_realloc(memhook_next *next, void *p, size_t n, const memhook_call *c, void *user)
{
    (void)c;
    use(user);
    p = memhook_next_realloc(next, p, n);
    use(user);
    return p;
}

static struct user *map(void)
{
    struct user *u = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(u != MAP_FAILED);
    u->magic = 0x4711471147114711;
    return u;
}

static void unmap(void *user)
{
    __atomic_fetch_add(&calls, ((struct user *)user)->calls, __ATOMIC_RELAXED);
    OK(munmap(user, 4096));
    __atomic_fetch_add(&unmapped, 1, __ATOMIC_RELAXED);
}

static void release(void *user)
{
    (void)user;
    __atomic_fetch_add(&released, 1, __ATOMIC_RELAXED);
}

static void *work(void *unused)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
        void *p = malloc(100), *q = malloc(3000);
        p = realloc(p, 1000);
        free(p);
        free(q);
    }
    return unused;
}

int main(void)
{
    enum { ROUNDS = 400 };
    pthread_t threads[3];
    int expected = 0;
    for (int i = 0; i < 3; i++)
        OK(pthread_create(&threads[i], NULL, work, NULL));
    for (int i = 0; i < ROUNDS || !__atomic_load_n(&calls, __ATOMIC_RELAXED); i++) {
        struct user *u = map(), *v = map(), *w = map();
        memhook_id a, b, c;
        memhook_observer o = { .struct_size = sizeof o, .after_alloc = after, .before_free = before,
                               .realloc_begin = before, .realloc_commit = after, .user = u,
                               .release = release };
        memhook_interceptor keeps = { .struct_size = sizeof keeps, .malloc = i_malloc, .free = i_free,
                                      .realloc = i_realloc, .user = v, .release = release,
                                      .flags = MEMHOOK_KEEPS_POINTERS };
        memhook_interceptor owns = { .struct_size = sizeof owns, .malloc = i_malloc, .free = i_free,
                                     .realloc = i_realloc, .user = w, .release = unmap };
        OK(memhook_observe(&o, &a));
        OK(memhook_register(&keeps, &b));
        OK(memhook_register(&owns, &c));
        sched_yield();
        OK(memhook_unregister(a));
        unmap(u);
        OK(memhook_unregister(b));
        unmap(v);
        int result = memhook_unregister(c);
        CHECK(result == 0 || result == EINPROGRESS);
        expected += 3;
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 3; i++)
        OK(pthread_join(threads[i], NULL));
    SAME(unmapped, expected);
    SAME(released, expected / 3 * 2);
    puts("no callback after the end");
}
