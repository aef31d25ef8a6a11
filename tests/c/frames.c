/* memhook_frames: the callers of callers, in main, in a thread, deep down, on a stack that the program gave a thread, on
 * one of several mappings, after the end of the first thread; the caller alone where the stack is another one, where the
 * kernel cannot be asked, and for who has not asked. Compiled with frame pointers. */
#define _GNU_SOURCE
#include <memhook.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <ucontext.h>
#include <unistd.h>

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

enum { STACK = 100000 };

static _Thread_local ucontext_t here, there;

static void coroutine(void)
{
    outermost(0);
}

/* Runs it on a stack of its own. */
static void run_coroutine(void *stack)
{
    getcontext(&there);
    there.uc_stack.ss_sp = stack, there.uc_stack.ss_size = STACK, there.uc_link = &here;
    makecontext(&there, coroutine, 0);
    swapcontext(&here, &there);
}

static void raise_on(void *stack)
{
    stack_t other = {.ss_sp = stack, .ss_size = STACK};
    sigaltstack(&other, NULL);
    raise(SIGUSR1);
}

static void *pages(size_t bytes)
{
    return mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
}

static void *thread(void *depth)
{
    outermost(depth);
    static char text[100];
    strcpy(text, tell(depth != NULL));
    return text;
}

/* In a thread: what it is to do, and what was found. */
static char said[3][100];

static void *on_other_stacks_first(void *nothing)
{
    run_coroutine(pages(STACK));
    strcpy(said[0], tell(0));
    raise_on(pages(STACK));
    strcpy(said[1], tell(0));
    outermost(0);
    strcpy(said[2], tell(0));
    return nothing;
}

/* The library is asked for the first time in the child. */
static void *fork_first(void *nothing)
{
    pid_t child = fork();
    if (child == 0) {
        outermost(0);
        _exit(strcmp(tell(0), "all") != 0);
    }
    int status;
    waitpid(child, &status, 0);
    strcpy(said[0], status == 0 ? "all" : "something else");
    return nothing;
}

/* A locked page in the middle makes several mappings of a stack. */
static void *with_a_locked_page(void *depth)
{
    char pages[3 << 12] = {0};
    mlock((char *)(((uintptr_t)pages + 4095) & ~(uintptr_t)4095), 1 << 12);
    outermost(depth);
    strcpy(said[0], tell(depth != NULL));
    return NULL;
}

static void *without_descriptors_first(void *nothing)
{
    struct rlimit usual, none;
    getrlimit(RLIMIT_NOFILE, &usual);
    none = usual, none.rlim_cur = 0;
    setrlimit(RLIMIT_NOFILE, &none);
    outermost(0);
    strcpy(said[0], tell(0));
    setrlimit(RLIMIT_NOFILE, &usual);
    outermost(0);
    strcpy(said[1], tell(0));
    return nothing;
}

static memhook_id id;

static void *after_the_first(void *first)
{
    pthread_join(*(pthread_t *)first, NULL);
    outermost(0);
    printf("thread after the first one's end: %s\n", tell(0));
    exit(memhook_unregister(id));
}

static void in_thread(void *(*what)(void *), void *argument, void *stack)
{
    pthread_attr_t attributes;
    pthread_t other;
    void *result;
    pthread_attr_init(&attributes);
    if (stack && pthread_attr_setstack(&attributes, stack, 1 << 20) != 0)
        puts("no such stack");
    if (pthread_create(&other, &attributes, what, argument) != 0)
        puts("no such thread");
    pthread_join(other, &result);
    pthread_attr_destroy(&attributes);
    if (result)
        strcpy(said[0], result);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    static const memhook_observer observer = {
        .struct_size = sizeof observer, .flags = MEMHOOK_WANTS_FRAMES, .after_alloc = told};
    static const memhook_interceptor keeper = {
        .struct_size = sizeof keeper, .flags = MEMHOOK_KEEPS_POINTERS, .malloc = asked};
    memhook_id second;
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
    in_thread(thread, (void *)0, NULL);
    printf("thread: %s\n", said[0]);
    in_thread(thread, (void *)100, NULL);
    printf("thread: %s\n", said[0]);
    /* Stacks of the program's, with what is not stack before and behind them. */
    static char in_data[3 << 20] __attribute__((aligned(4096)));
    char *const stacks[] = {pages(3 << 20), in_data, memhook_backend_memalign(4096, 3 << 20)};
    for (int i = 0; i < 3; i++) {
        in_thread(thread, (void *)0, stacks[i] + (1 << 20));
        printf("thread on a stack of the program's: %s\n", said[0]);
    }
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    sigaction(SIGUSR1, &action, NULL);
    in_thread(on_other_stacks_first, NULL, NULL);
    printf("thread on a coroutine's stack first: %s; a signal's: %s; its own: %s\n", said[0], said[1], said[2]);
    in_thread(with_a_locked_page, NULL, NULL);
    printf("thread with a locked page in its stack: %s\n", said[0]);
    in_thread(without_descriptors_first, NULL, NULL);
    printf("thread without descriptors: %s; with: %s\n", said[0], said[1]);
    in_thread(fork_first, NULL, NULL);
    printf("thread's fork child: %s\n", said[0]);
    raise_on(memhook_backend_malloc(STACK));
    printf("signal's own stack: %s\n", tell(0));
    run_coroutine(memhook_backend_malloc(STACK));
    printf("coroutine: %s\n", tell(0));
    outermost(0);
    printf("main again: %s\n", tell(0));
    with_a_locked_page((void *)1000);
    printf("main with a locked page in its stack: %s\n", said[0]);
    static pthread_t first, last;
    first = pthread_self();
    if (pthread_create(&last, NULL, after_the_first, &first) != 0)
        puts("no such thread");
    pthread_exit(NULL);
}
