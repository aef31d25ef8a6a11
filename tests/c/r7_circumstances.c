/* In which circumstances a call happens: start-up and exit are those of a library that starts
 * before memhook and ends after it, r7_early.c. */
#include "check.h"
#include <sys/wait.h>

static uint32_t last;
static size_t wanted = 111;

static void after(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    if (call->requested == wanted)
        last = call->circumstances;
    /* The very end: nobody else is left to say it. */
    if (call->requested == 777 && call->circumstances == MEMHOOK_DURING_PROCESS_EXIT)
        (void)!write(1, "exit seen\n", 10);
}

static void before(const memhook_call *call, void *user)
{
    (void)user;
    if (call->entry == MEMHOOK_ENTRY_FREE)
        last = call->circumstances;
}

static void first(void)
{
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = after, .before_free = before };
    memhook_id id;
    OK(memhook_observe(&o, &id));
}

MEMHOOK_INITIALIZE(first);

extern void early_touch(void);
static pthread_key_t key;

static void destroy(void *p)
{
    free(p);
    SAME(last, MEMHOOK_DURING_THREAD_EXIT);
    wanted = 444;
    free(malloc(444));
    SAME(last, MEMHOOK_DURING_THREAD_EXIT);
}

static void *thread(void *unused)
{
    wanted = 333;
    void *p = malloc(333);
    SAME(last, 0);
    OK(pthread_setspecific(key, p));
    return unused;
}

static uint32_t at_constructor;

__attribute__((constructor)) static void constructor(void)
{
    /* The early library's constructor has run: its call was the last of 111 bytes. */
    at_constructor = last;
}

int main(void)
{
    early_touch();
    printf("constructor before memhook's: %u\n", at_constructor & MEMHOOK_DURING_STARTUP);
    wanted = 222;
    void *p = malloc(222);
    SAME(last, 0);

    pthread_t other;
    OK(pthread_key_create(&key, destroy));
    OK(pthread_create(&other, NULL, thread, NULL));
    OK(pthread_join(other, NULL));
    last = 99;
    wanted = 222;
    free(malloc(222));
    SAME(last, 0);
    puts("thread exit seen");
    fflush(stdout);

    pid_t child = fork();
    if (child == 0) {
        wanted = 555;
        free(malloc(555));
        CHECK(last == MEMHOOK_DURING_FORK_CHILD);
        pid_t grandchild = fork();
        if (grandchild == 0) {
            last = 0;
            p = realloc(p, 1);
            free(p);
            _exit((int)last);
        }
        int status;
        SAME(waitpid(grandchild, &status, 0), grandchild);
        _exit(WEXITSTATUS(status));
    }
    int status;
    SAME(waitpid(child, &status, 0), child);
    SAME(status, MEMHOOK_DURING_FORK_CHILD << 8);
    free(p);
    SAME(last, 0);
    puts("fork child seen");
    fflush(stdout);
}
