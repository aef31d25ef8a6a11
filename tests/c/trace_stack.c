/* Calls through known functions, on the stacks that there are: of main, of a thread, of a signal, of a coroutine. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <ucontext.h>

__attribute__((noinline)) void inner(size_t bytes)
{
    void *volatile block = malloc(bytes);
    block = realloc(block, bytes + 10000);
    free(block);
}

__attribute__((noinline)) int middle(size_t bytes, int depth)
{
    volatile char local[100];
    local[0] = (char)depth;
    if (depth > 0)
        return middle(bytes, depth - 1) + local[0];
    inner(bytes);
    return local[0];
}

__attribute__((noinline)) int outer(size_t bytes)
{
    volatile int sum = middle(bytes, 2);
    return sum + 1;
}

static void *thread(void *argument)
{
    outer((size_t)argument);
    return NULL;
}

static ucontext_t thread_context, coroutine_first;

static void in_coroutine_first(void)
{
    outer(3006);
    swapcontext(&coroutine_first, &thread_context);
}

/* The first call of the thread comes from a stack that is not its own. */
static void *coroutine_thread(void *stack)
{
    getcontext(&coroutine_first);
    coroutine_first.uc_stack.ss_sp = stack;
    coroutine_first.uc_stack.ss_size = 65536;
    makecontext(&coroutine_first, in_coroutine_first, 0);
    swapcontext(&thread_context, &coroutine_first);
    outer(3007);
    return NULL;
}

static void on_signal(int number)
{
    (void)number;
    outer(3003);
}

static int compare(const void *left, const void *right)
{
    static int calls;
    if (calls++ == 0)
        outer(3005);
    return *(const int *)left - *(const int *)right;
}

static ucontext_t main_context, coroutine;

static void in_coroutine(void)
{
    for (;;) {
        outer(3004);
        swapcontext(&coroutine, &main_context);
    }
}

int main(void)
{
    outer(3001);
    for (int i = 0; i < 3; i++) {
        pthread_t id;
        pthread_create(&id, NULL, thread, (void *)3002);
        pthread_join(id, NULL);
    }
    /* A stack of the program's, with something behind it. */
    static char thread_stack[3 << 20] __attribute__((aligned(4096)));
    pthread_attr_t attributes;
    pthread_t other;
    pthread_attr_init(&attributes);
    pthread_attr_setstack(&attributes, thread_stack, 1 << 20);
    pthread_create(&other, &attributes, thread, (void *)3008);
    pthread_join(other, NULL);
    pthread_attr_destroy(&attributes);
    static char coroutine_stack[65536];
    pthread_create(&other, NULL, coroutine_thread, coroutine_stack);
    pthread_join(other, NULL);
    static char signal_stack[65536];
    stack_t stack = {.ss_sp = signal_stack, .ss_size = sizeof signal_stack};
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_ONSTACK};
    sigaltstack(&stack, NULL);
    sigaction(SIGUSR1, &action, NULL);
    raise(SIGUSR1);
    for (int i = 0; i < 3; i++) {
        char *own = mmap(NULL, 65536, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        getcontext(&coroutine);
        coroutine.uc_stack.ss_sp = own;
        coroutine.uc_stack.ss_size = 65536;
        makecontext(&coroutine, in_coroutine, 0);
        swapcontext(&main_context, &coroutine);
        outer(3001);
        swapcontext(&main_context, &coroutine);
        munmap(own, 65536);
    }
    int numbers[] = {3, 1, 2};
    qsort(numbers, 3, sizeof *numbers, compare);
    printf("done\n");
    return 0;
}
