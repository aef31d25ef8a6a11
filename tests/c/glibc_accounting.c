/* The classic accounting hook, as such programs were: the size in front of each block, all four
 * callbacks, set by __malloc_initialize_hook. With eight threads that allocate at once, the count is
 * exact, which it never was before. Compiled unchanged as C and as C++. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HEADER 8
static volatile long live, calls;
static __thread int counted; /* this thread's calls are counted */

static void my_init(void);

#ifndef DEFINITION
#define DEFINITION void (*__MALLOC_HOOK_VOLATILE __malloc_initialize_hook)(void)
#endif
DEFINITION = my_init;

static void put_in(void);

static void take_out(void)
{
    __malloc_hook = 0;
    __free_hook = 0;
    __realloc_hook = 0;
    __memalign_hook = 0;
}

static void *account(char *block, size_t size)
{
    if (!block)
        return 0;
    memcpy(block, &size, sizeof size);
    __sync_fetch_and_add(&live, (long)size);
    return block + HEADER;
}

static char *forget(void *block)
{
    size_t size;
    memcpy(&size, (char *)block - HEADER, sizeof size);
    __sync_fetch_and_sub(&live, (long)size);
    return (char *)block - HEADER;
}

static void *my_malloc(size_t size, const void *caller)
{
    (void)caller;
    take_out();
    if (counted)
        __sync_fetch_and_add(&calls, 1);
    void *block = account((char *)malloc(size + HEADER), size);
    put_in();
    return block;
}

static void my_free(void *block, const void *caller)
{
    (void)caller;
    take_out();
    if (counted)
        __sync_fetch_and_add(&calls, 1);
    if (block)
        free(forget(block));
    put_in();
}

static void *my_realloc(void *block, size_t size, const void *caller)
{
    (void)caller;
    take_out();
    if (counted)
        __sync_fetch_and_add(&calls, 1);
    char *old = block ? forget(block) : (char *)0;
    block = account((char *)realloc(old, size ? size + HEADER : 0), size);
    put_in();
    return block;
}

static void *my_memalign(size_t alignment, size_t size, const void *caller)
{
    (void)caller;
    take_out();
    if (counted)
        __sync_fetch_and_add(&calls, 1);
    char *block = (char *)memalign(alignment, size + alignment);
    if (block)
        block += alignment - HEADER;
    block = (char *)account(block, size);
    put_in();
    /* Where its free would have to begin is not kept: these are never freed. */
    return block;
}

static void put_in(void)
{
    __malloc_hook = my_malloc;
    __free_hook = my_free;
    __realloc_hook = my_realloc;
    __memalign_hook = my_memalign;
}

static void my_init(void)
{
    put_in();
}

/* So that the compiler makes the calls. */
static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;

#define THREADS 8
#define ROUNDS 20000
static void *handed[THREADS];
static pthread_barrier_t all;

static void *work(void *argument)
{
    long me = (long)argument;
    pthread_barrier_wait(&all);
    counted = 1;
    for (int i = 0; i < ROUNDS; i++) {
        char *a = (char *)malloc(10 + i % 100), *b = (char *)calloc(3, 7);
        if (b[20] || b[0])
            abort();
        memset(a, 1, 10);
        memset(b, 2, 21);
        a = (char *)realloc(a, 200);
        if (a[9] != 1)
            abort();
        void *other = __sync_lock_test_and_set(&handed[(me + i) % THREADS], a);
        free(other);
        free(b);
    }
    counted = 0;
    return 0;
}

int main(void)
{
    pthread_t threads[THREADS];
    pthread_barrier_init(&all, 0, THREADS);
    for (long i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], 0, work, (void *)i))
            return 2;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], 0);
    int left = 0;
    for (int i = 0; i < THREADS; i++)
        left += handed[i] != 0, free(handed[i]);
    long missed = (long)THREADS * ROUNDS * 5 - calls, before = live;
    void *aligned = memalign(64, 100);
    long after = live;
    char *block = (char *)do_malloc(123);
    printf("%d handed on, %ld calls missed, %ld and %ld bytes\n", left, missed, after - before, live - after);
    if ((unsigned long)aligned % 64)
        return 3;
    /* The variables go, the blocks go back the way they came. */
    long old = live;
    __malloc_hook = 0;
    __realloc_hook = 0;
    __memalign_hook = 0;
    __free_hook = 0;
    do_free(block);
    printf("%ld bytes given back\n", old - live);
    block = (char *)do_malloc(50);
    do_free(block);
    printf("%ld bytes more\n", old - live - 123);
    printf("out of force: %s\n", __malloc_hook == 0 && __free_hook == 0 ? "yes" : "no");
    return 0;
}
