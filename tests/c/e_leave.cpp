// A callback is left by longjmp or by a C++ exception: the thread's hooks work again at its next
// call from the same depth of the stack or above, and unregister returns.
//
// e_leave longjmp|throw [interceptor|owner [free]]
#include "e_check.h"
#include <csetjmp>

static jmp_buf back;
static int how;
static unsigned long calls, releases;

static void leave(void)
{
    calls++;
    CHECK(memhook_is_suspended() == 1);
    int now = how;
    how = 0;
    if (now == 1)
        longjmp(back, 1);
    if (now == 2)
        throw 5;
}

static void after_alloc(const memhook_call *, void *, void *)
{
    leave();
}

static void before_free(const memhook_call *, void *)
{
    leave();
}

static void *on_malloc(memhook_next *next, size_t requested, const memhook_call *, void *)
{
    leave();
    return memhook_next_malloc(next, requested);
}

static void on_free(memhook_next *next, void *block, const memhook_call *, void *)
{
    leave();
    memhook_next_free(next, block);
}

static void release(void *)
{
    releases++;
}

// malloc as a function that may throw, which its declaration denies.
static void *(*volatile throwing_malloc)(size_t) = malloc;
static void (*volatile throwing_free)(void *) = free;
// The call that is left is a free.
static bool from_free;

// Calls from the depth at which the left call was made. volatile: the compiler may not drop it.
__attribute__((noinline)) static void allocate(int leaves)
{
    void *volatile block = leaves && from_free ? malloc(23) : nullptr;
    if (leaves == 1) {
        if (!setjmp(back)) {
            how = 1;
            from_free ? free(block) : (void)(block = malloc(20));
            CHECK(!"came back normally");
        }
    } else if (leaves == 2) {
        try {
            how = 2;
            from_free ? throwing_free(block) : (void)(block = throwing_malloc(21));
            CHECK(!"came back normally");
        } catch (int number) {
            CHECK(number == 5);
        }
    } else {
        block = malloc(22);
    }
    if (!leaves || !from_free)
        free(block);
}

int main(int argc, char **argv)
{
    int leaves = argc > 1 && !strcmp(argv[1], "throw") ? 2 : 1;
    int intercepts = argc > 2;
    from_free = argc > 3;
    memhook_id id;
    if (intercepts) {
        memhook_interceptor table = {};
        table.struct_size = sizeof table;
        // Otherwise it owns what pthread_create allocates for good.
        table.flags = strcmp(argv[2], "owner") ? MEMHOOK_KEEPS_POINTERS : 0;
        table.malloc = on_malloc;
        table.free = on_free;
        table.release = release;
        CHECK(memhook_register(&table, &id) == 0);
    } else {
        memhook_observer table = {};
        table.struct_size = sizeof table;
        table.after_alloc = after_alloc;
        table.before_free = before_free;
        table.release = release;
        CHECK(memhook_observe(&table, &id) == 0);
    }
    for (int n = 0; n < 100; n++) {
        allocate(leaves);
        unsigned long before = calls;
        allocate(0);
        CHECK(calls > before);
        CHECK(memhook_is_suspended() == 0);
    }
    // Another thread's removal does not wait for the callback that was left.
    allocate(leaves);
    allocate(0);
    static memhook_id shared;
    shared = id;
    pthread_t thread;
    CHECK(memhook_suspend() == 0);
    CHECK(pthread_create(&thread, nullptr, [](void *) -> void * {
        CHECK(memhook_unregister(shared) == 0);
        return nullptr;
    }, nullptr) == 0);
    CHECK(memhook_resume() == 0);
    CHECK(pthread_join(thread, nullptr) == 0);
    CHECK(releases == 1);
    unsigned long before = calls;
    allocate(0);
    CHECK(calls == before);
    puts("repaired");
    return 0;
}
