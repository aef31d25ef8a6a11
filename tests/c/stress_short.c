// The short ways under change: one hook alone, or four observers, come and go while threads allocate; code
// and data of what has gone are overwritten at once. Beside them, now and then, another observer comes and
// goes, so that heads are changed under calls that have just begun.
//
// stress_short SECONDS [SEED]. Exit status 0 when no hook was called after its end, every release ran once,
// every block came back as it was, and calls of each kind came by the short ways.
#define _GNU_SOURCE
#include <errno.h>
#include <memhook.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#define CHECK(condition)                                                                             \
    do {                                                                                             \
        if (!(condition)) {                                                                          \
            memhook_log("stress_short: line %d: %s is false (errno %d)\n", __LINE__, #condition, errno); \
            abort();                                                                                 \
        }                                                                                            \
    } while (0)

enum { ALLOCATORS = 3, SLOTS = 64, KINDS = 4, ALIVE = 0x600dca11 };

static const char *const names[KINDS] = { "one observer", "four observers", "an owner", "a keeper" };
static atomic_bool stop;
static _Atomic(unsigned char *) slots[SLOTS];
static atomic_ulong short_calls[KINDS], long_calls[KINDS];

// A hook's code and data, in a page each.
struct hook {
    unsigned char *code;
    struct data {
        unsigned alive;
        int kind;
        atomic_long live;
        atomic_int *released;
    } *data;
    atomic_int released;
    memhook_id id;
};

static struct data *data_of(const memhook_call *call, void *user)
{
    struct data *data = user;
    CHECK(data->alive == ALIVE);
    // On the full way, what a call is told of stands on its stack.
    char here;
    bool is_long = (uintptr_t)call - (uintptr_t)&here < 65536;
    atomic_fetch_add_explicit(is_long ? &long_calls[data->kind] : &short_calls[data->kind], 1, memory_order_relaxed);
    return data;
}

static void after(const memhook_call *call, void *block, void *user)
{
    (void)block;
    data_of(call, user);
}

static void before(const memhook_call *call, void *user)
{
    CHECK(call->block != NULL);
    data_of(call, user);
}

static void *own(memhook_next *next, size_t size, const memhook_call *call, void *user)
{
    struct data *data = data_of(call, user);
    uintptr_t *block = memhook_next_malloc(next, size + 16);
    CHECK(block != NULL);
    block[0] = (uintptr_t)data;
    atomic_fetch_add_explicit(&data->live, 1, memory_order_relaxed);
    return block + 2;
}

static void own_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    struct data *data = data_of(call, user);
    uintptr_t *inner = (uintptr_t *)block - 2;
    CHECK(inner[0] == (uintptr_t)data);
    inner[0] = 0;
    atomic_fetch_sub_explicit(&data->live, 1, memory_order_relaxed);
    memhook_next_free(next, inner);
}

static void *keep(memhook_next *next, size_t size, const memhook_call *call, void *user)
{
    data_of(call, user);
    return memhook_next_malloc(next, size);
}

static void keep_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    data_of(call, user);
    memhook_next_free(next, block);
}

static void release(void *user)
{
    struct data *data = user;
    CHECK(data->alive == ALIVE && atomic_load(&data->live) == 0);
    CHECK(atomic_fetch_add(data->released, 1) == 0);
}

// A function in the hook's own page that calls the one given and returns by the page.
static void *in_page(struct hook *hook, int place, void *function)
{
#ifdef __x86_64__
    unsigned char *code = hook->code + 64 * place;
    memcpy(code, "\x48\x83\xec\x08\x48\xb8", 6);
    memcpy(code + 6, &function, 8);
    memcpy(code + 14, "\xff\xd0\x48\x83\xc4\x08\xc3", 7);
    return code;
#else
    (void)hook, (void)place;
    return function;
#endif
}

static void *map(int access)
{
    void *page = mmap(NULL, 4096, PROT_READ | PROT_WRITE | access, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(page != MAP_FAILED);
    return page;
}

static void enter(struct hook *hook, int kind)
{
    hook->data->alive = ALIVE;
    hook->data->kind = kind;
    hook->data->live = 0;
    hook->data->released = &hook->released;
    hook->released = 0;
    memhook_observer o = { .struct_size = sizeof o, .user = hook->data, .release = release };
    memhook_interceptor t = { .struct_size = sizeof t, .user = hook->data, .release = release };
    if (kind < 2) {
        *(void **)&o.after_alloc = in_page(hook, 0, (void *)after);
        *(void **)&o.before_free = in_page(hook, 1, (void *)before);
        CHECK(memhook_observe(&o, &hook->id) == 0);
        return;
    }
    *(void **)&t.malloc = in_page(hook, 0, kind == 2 ? (void *)own : (void *)keep);
    *(void **)&t.free = in_page(hook, 1, kind == 2 ? (void *)own_free : (void *)keep_free);
    t.flags = kind == 2 ? 0 : MEMHOOK_KEEPS_POINTERS;
    CHECK(memhook_register(&t, &hook->id) == 0);
}

static void leave(struct hook *hook)
{
    int result = memhook_unregister(hook->id);
    CHECK(result == 0 || (result == EINPROGRESS && hook->data->kind == 2));
    while (atomic_load(&hook->released) == 0)
        sched_yield();
    CHECK(hook->released == 1);
    memset(hook->code, 0xcc, 4096);
    memset(hook->data, 0xcc, 4096);
}

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

static void check_and_free(unsigned char *block)
{
    if (block == NULL)
        return;
    for (unsigned i = 1; i < block[0]; i++)
        CHECK(block[i] == (unsigned char)(block[0] + i));
    free(block);
}

static void *allocate(void *argument)
{
    uint64_t random = (uintptr_t)argument * 0x9e3779b97f4a7c15u + 1;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        unsigned size = (unsigned)(next_random(&random) % 200) + 2;
        unsigned char *block = malloc(size);
        CHECK(block != NULL);
        block[0] = (unsigned char)size;
        for (unsigned i = 1; i < size; i++)
            block[i] = (unsigned char)(size + i);
        unsigned at = next_random(&random) % (4 * SLOTS);
        check_and_free(at < SLOTS ? atomic_exchange(&slots[at], block) : block);
        // What the last owner still has goes home soon.
        check_and_free(atomic_exchange(&slots[next_random(&random) % SLOTS], NULL));
    }
    return NULL;
}

static struct hook make(void)
{
    return (struct hook){ .code = map(PROT_EXEC), .data = map(0) };
}

static atomic_bool beside;

static void *come_and_go(void *argument)
{
    struct hook *hook = argument;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        if (!atomic_load(&beside)) {
            sched_yield();
            continue;
        }
        enter(hook, 0);
        sched_yield();
        leave(hook);
    }
    return NULL;
}

static double now(void)
{
    struct timespec time;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
    return (double)time.tv_sec + (double)time.tv_nsec * 1e-9;
}

int main(int argc, char **argv)
{
    double end = now() + (argc > 1 ? atof(argv[1]) : 2);
    uint64_t random = (argc > 2 ? strtoul(argv[2], NULL, 0) : 1) * 0x9e3779b97f4a7c15u;
    pthread_t threads[ALLOCATORS + 1];
    static struct hook hooks[4], other;
    for (int i = 0; i < 4; i++)
        hooks[i] = make();
    other = make();
    for (uintptr_t i = 0; i < ALLOCATORS; i++)
        CHECK(pthread_create(&threads[i], NULL, allocate, (void *)(i + random)) == 0);
    CHECK(pthread_create(&threads[ALLOCATORS], NULL, come_and_go, &other) == 0);
    unsigned long rounds = 0;
    bool all = false;
    while (now() < end || !all) {
        int kind = (int)(next_random(&random) % KINDS);
        atomic_store(&beside, next_random(&random) % 4 == 0);
        int many = kind == 1 ? 4 : 1;
        for (int i = 0; i < many; i++)
            enter(&hooks[i], kind);
        for (uint64_t i = next_random(&random) % 3; i > 0; i--)
            sched_yield();
        for (int i = 0; i < many; i++)
            leave(&hooks[i]);
        rounds++;
        // A keeper has no short way of its own.
        all = short_calls[0] && short_calls[1] && short_calls[2] && long_calls[3];
    }
    atomic_store(&stop, true);
    for (int i = 0; i <= ALLOCATORS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    for (int i = 0; i < SLOTS; i++)
        check_and_free(atomic_exchange(&slots[i], NULL));
    size_t left = 0;
    CHECK(memhook_chain_list(0, NULL, sizeof(memhook_hook_info), 0, &left) == 0);
    printf("rounds %lu", rounds);
    for (int kind = 0; kind < KINDS; kind++)
        printf("; %s: short %lu, long %lu", names[kind], short_calls[kind], long_calls[kind]);
    printf("; hooks left %zu\n", left);
    return left != 0;
}
