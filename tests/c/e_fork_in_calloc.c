/* The process forks while another thread is in the callback of a calloc. What that was asked for is not told of the
 * calls of a thread in the child. */
#include "e_check.h"
#include <semaphore.h>

static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_calloc)(size_t, size_t) = calloc;
static void *(*volatile do_realloc)(void *, size_t) = realloc;
static sem_t in;
static int in_child, told;

static void after(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    if (in_child && call->entry == MEMHOOK_ENTRY_REALLOC && call->requested == 20) {
        CHECK(call->count == 0 && call->each == 0);
        told = 1;
    }
    if (!in_child && call->entry == MEMHOOK_ENTRY_CALLOC && call->count == 4711) {
        sem_post(&in);
        for (;;)
            pause();
    }
}

/* The second call of a thread that the library has met. */
static void *stops(void *unused)
{
    free(do_malloc(10));
    free(do_calloc(4711, 2));
    return unused;
}

static void *resizes(void *unused)
{
    free(do_malloc(10));
    free(do_realloc(NULL, 20));
    return unused;
}

int main(void)
{
    pthread_t thread;
    memhook_id id;
    memhook_observer o = {.struct_size = sizeof o, .after_alloc = after};
    CHECK(memhook_observe(&o, &id) == 0);
    CHECK(pthread_create(&thread, NULL, stops, NULL) == 0);
    while (sem_wait(&in) != 0)
        CHECK(errno == EINTR);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        in_child = 1;
        CHECK(pthread_create(&thread, NULL, resizes, NULL) == 0);
        CHECK(pthread_join(thread, NULL) == 0);
        CHECK(told);
        _exit(0);
    }
    CHECK(e_wait(pid) == 0);
    printf("told as asked\n");
    return 0;
}
