/* fork from one thread while others allocate, change the hooks, and hold the locks of streams, which fork
 * takes after the handlers and before the allocator's; the children use everything. */
#include "e_check.h"

#define FORKS 150
static int done;

static void *allocates(void *argument)
{
    for (size_t n = (size_t)argument; !__atomic_load_n(&done, __ATOMIC_RELAXED); n += 7)
        e_allocate(n);
    return NULL;
}

static void *registers(void *intercepts)
{
    /* Not given back: when the program ends, others may still hold blocks of the interceptor. */
    struct e_user *user = memhook_scratch_malloc(sizeof *user);
    CHECK(user);
    memset(user, 0, sizeof *user);
    while (!__atomic_load_n(&done, __ATOMIC_RELAXED)) {
        memhook_id id;
        CHECK((intercepts ? e_intercept : e_observe)(user, &id) == 0);
        e_allocate(100);
        int result = memhook_unregister(id);
        if (result == EINPROGRESS) {
            /* Other threads hold blocks of it: it goes with the last of them. */
            size_t live;
            do {
                e_allocate(1);
                CHECK(memhook_live_blocks(id, &live) == 0);
            } while (live && !__atomic_load_n(&done, __ATOMIC_RELAXED));
            CHECK(memhook_synchronize() == 0);
        } else {
            CHECK(result == 0);
            if (!intercepts)
                e_gone(user);
        }
    }
    return NULL;
}

static void *streams(void *argument)
{
    while (!__atomic_load_n(&done, __ATOMIC_RELAXED)) {
        char *text = NULL;
        size_t len = 0;
        FILE *stream = open_memstream(&text, &len);
        CHECK(stream);
        CHECK(fprintf(stream, "%d", 12345) == 5);
        CHECK(fflush(NULL) == 0);
        CHECK(fclose(stream) == 0 && len == 5);
        free(text);
    }
    return argument;
}

static void child(int n)
{
    struct e_user observer = {0, 0, 0}, interceptor = {0, 0, 0};
    memhook_id a, b;
    e_allocate((size_t)n);
    CHECK(e_observe(&observer, &a) == 0);
    CHECK(e_intercept(&interceptor, &b) == 0);
    for (size_t i = 0; i < 50; i++)
        e_allocate(i);
    CHECK(observer.calls > 0 && interceptor.calls > 0 && interceptor.blocks == 0);
    CHECK(memhook_unregister(b) == 0);
    e_gone(&interceptor);
    CHECK(memhook_unregister(a) == 0);
    e_gone(&observer);
    CHECK(memhook_synchronize() == 0);
    e_allocate(1);
    pthread_t thread;
    done = 1;
    CHECK(fflush(NULL) == 0);
    CHECK(pthread_create(&thread, NULL, allocates, NULL) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    if (n % 2)
        exit(0);
    _exit(0);
}

int main(void)
{
    static struct e_user always;
    memhook_id id;
    CHECK(e_observe(&always, &id) == 0);
    pthread_t threads[5];
    CHECK(pthread_create(&threads[0], NULL, allocates, (void *)1) == 0);
    CHECK(pthread_create(&threads[1], NULL, allocates, (void *)2) == 0);
    CHECK(pthread_create(&threads[2], NULL, registers, NULL) == 0);
    CHECK(pthread_create(&threads[3], NULL, registers, (void *)1) == 0);
    CHECK(pthread_create(&threads[4], NULL, streams, NULL) == 0);
    int good = 0;
    for (int n = 0; n < FORKS; n++) {
        pid_t pid = fork();
        CHECK(pid >= 0);
        if (pid == 0)
            child(n);
        good += e_wait(pid) == 0;
    }
    __atomic_store_n(&done, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 5; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    CHECK(memhook_unregister(id) == 0);
    printf("%d of %d children ended well\n", good, FORKS);
    return 0;
}
