/* memhook_frames: the callers of callers, in main, in a thread, deep down; the caller alone where the stack is another one,
 * and for who has not asked. Compiled with frame pointers. */
#define _GNU_SOURCE
#include <memhook.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <ucontext.h>

static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;

static _Thread_local const void *found[64], *plain[64];
static _Thread_local size_t count, plain_count;
static _Thread_local void *expected[4];

static void told(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    if (call->entry == MEMHOOK_ENTRY_MALLOC)
        count = memhook_frames(call, found, 64);
}

static void *asked(memhook_next *next, size_t bytes, const memhook_call *call, void *user)
{
    (void)user;
    plain_count = memhook_frames(call, plain, 3);
    return memhook_next_malloc(next, bytes);
}

__attribute__((noinline)) static void innermost(void)
{
    expected[0] = __builtin_return_address(0);
    void *block = do_malloc(10);
    do_free(block);
}

__attribute__((noinline)) static void middle(int depth)
{
    volatile char room[1000];
    memset((char *)room, depth, sizeof room);
    if (depth > 0)
        middle(depth - 1);
    else {
        expected[1] = __builtin_return_address(0);
        innermost();
    }
    room[1] = room[2];
}

__attribute__((noinline)) static void *outermost(void *depth)
{
    expected[2] = __builtin_return_address(0);
    middle((int)(intptr_t)depth);
    return NULL;
}

static const char *tell(int deep)
{
    static char text[100];
    int as_expected = count >= 3 && found[1] == expected[0] && found[2] == expected[1] &&
                      (deep ? count == 64 : found[3] == expected[2]);
    snprintf(text, sizeof text, "%s", count == 1 ? "the caller" : as_expected ? "all" : "something else");
    return text;
}

static void on_signal(int number)
{
    (void)number;
    outermost(0);
}

static ucontext_t here, there;

static void coroutine(void)
{
    outermost(0);
}

/* On a stack that is mapped a short way below the thread's own. */
static void *thread_with_coroutine(void *said)
{
    static ucontext_t here_too, below;
    outermost(0);
    pthread_attr_t attributes;
    void *low;
    size_t size, room = 1 << 16;
    pthread_getattr_np(pthread_self(), &attributes);
    pthread_attr_getstack(&attributes, &low, &size);
    pthread_attr_destroy(&attributes);
    /* Found behind the guard pages, at the latest. */
    void *stack = MAP_FAILED;
    for (char *at = (char *)low - 2 * room; stack == MAP_FAILED && (char *)low - at < 32 << 20; at -= room)
        stack = mmap(at, room, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    getcontext(&below);
    below.uc_stack.ss_sp = stack, below.uc_stack.ss_size = room, below.uc_link = &here_too;
    makecontext(&below, coroutine, 0);
    for (int i = 0; i < 2; i++) {
        swapcontext(&here_too, &below);
        strcat(strcat(said, tell(0)), ", ");
        makecontext(&below, coroutine, 0);
    }
    outermost(0);
    strcat(said, tell(0));
    return NULL;
}

static void *thread(void *depth)
{
    outermost(depth);
    static char text[100];
    strcpy(text, tell(depth != NULL));
    return text;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    static const memhook_observer observer = {
        .struct_size = sizeof observer, .flags = MEMHOOK_WANTS_FRAMES, .after_alloc = told};
    static const memhook_interceptor keeper = {
        .struct_size = sizeof keeper, .flags = MEMHOOK_KEEPS_POINTERS, .malloc = asked};
    memhook_id id, second;
    if (memhook_register(&keeper, &second))
        return 1;
    outermost(0);
    printf("nobody wants them: %zu\n", plain_count);
    if (memhook_observe(&observer, &id))
        return 1;
    outermost(0);
    printf("main: %s, three places: %zu\n", tell(0), plain_count);
    if (memhook_unregister(second))
        return 1;
    outermost(0);
    printf("an observer alone: %s\n", tell(0));
    outermost((void *)4000);
    printf("four megabytes down: %s\n", tell(1));
    for (intptr_t depth = 0; depth <= 100; depth += 100) {
        pthread_t other;
        void *said;
        pthread_create(&other, NULL, thread, (void *)depth);
        pthread_join(other, &said);
        printf("thread: %s\n", (char *)said);
    }
    char said[100] = "";
    pthread_t other;
    pthread_create(&other, NULL, thread_with_coroutine, said);
    pthread_join(other, NULL);
    printf("coroutine below a thread's stack, twice, and that thread again: %s\n", said);
    stack_t stack = {.ss_sp = memhook_backend_malloc(100000), .ss_size = 100000};
    sigaltstack(&stack, NULL);
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    printf("signal's own stack: %s\n", tell(0));
    getcontext(&there);
    there.uc_stack.ss_sp = memhook_backend_malloc(100000), there.uc_stack.ss_size = 100000, there.uc_link = &here;
    makecontext(&there, coroutine, 0);
    swapcontext(&here, &there);
    printf("coroutine: %s\n", tell(0));
    outermost(0);
    printf("main again: %s\n", tell(0));
    return memhook_unregister(id);
}
