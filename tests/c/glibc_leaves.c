/* Callbacks that end otherwise than by returning, that fail, that run while another thread forks; errno. */
#include <errno.h>
#include <malloc.h>
#include <memhook.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;
static jmp_buf out;
static int leave, seen;

static void *my_malloc(size_t size, const void *caller)
{
    (void)caller;
    __malloc_hook = NULL;
    seen++;
    if (leave)
        longjmp(out, 1);
    void *block = size == 7 ? NULL : malloc(size);
    errno = 99;
    __malloc_hook = my_malloc;
    return block;
}

static int stop;

static void *allocate(void *nothing)
{
    while (!__atomic_load_n(&stop, __ATOMIC_RELAXED))
        do_free(do_malloc(30));
    return nothing;
}

int main(void)
{
    __malloc_hook = my_malloc;
    errno = 5;
    do_free(do_malloc(10));
    printf("errno %d, ", errno);
    errno = 0;
    printf("failed %d", do_malloc(7) == NULL);
    printf(" errno %d\n", errno);
    leave = 1;
    if (!setjmp(out))
        do_malloc(10);
    leave = 0;
    /* What it had assigned by then holds: it had taken itself out. */
    int before = seen;
    do_free(do_malloc(10));
    printf("in force after longjmp: %d, called: %d\n", __malloc_hook == my_malloc, seen > before);
    __malloc_hook = my_malloc;

    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, allocate, NULL);
    int well = 0;
    for (int i = 0; i < 100; i++) {
        pid_t child = fork();
        if (child == 0) {
            before = seen;
            do_free(do_malloc(10));
            _exit(seen - before == 1 && __malloc_hook == my_malloc ? 0 : 1);
        }
        int status;
        waitpid(child, &status, 0);
        well += WIFEXITED(status) && WEXITSTATUS(status) == 0;
    }
    __atomic_store_n(&stop, 1, __ATOMIC_RELAXED);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    printf("%d children ended well\n", well);

    /* Put out of the chain with all others, it comes back when it is next asked for. */
    memhook_chain chain;
    if (memhook_chain_create(&chain) || memhook_chain_swap(chain, NULL))
        return 2;
    before = seen;
    do_free(do_malloc(10));
    int out_of_chain = seen - before;
    int asked = __malloc_hook == my_malloc;
    do_free(do_malloc(10));
    printf("out %d, asked %d, again %d\n", out_of_chain, asked, seen - before - out_of_chain);
    return 0;
}
