/* Callbacks that change pointers, set while blocks live and taken out while others do: nothing is
 * unwrapped that was not wrapped. Beside hooks of the new kind. */
#include <malloc.h>
#include <memhook.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC 0x5afeb10c
static int wrapped, unwrapped, resized;

static void *a_malloc(size_t size, const void *caller)
{
    (void)caller;
    __malloc_hook = NULL;
    unsigned *block = malloc(size + 16);
    __malloc_hook = a_malloc;
    block[0] = MAGIC;
    wrapped++;
    return (char *)block + 16;
}

static void a_free(void *block, const void *caller)
{
    (void)caller;
    if (!block)
        return;
    unsigned *inner = (unsigned *)((char *)block - 16);
    if (*inner != MAGIC) {
        memhook_log("a block that was not wrapped was unwrapped\n");
        abort();
    }
    *inner = 0;
    unwrapped++;
    __free_hook = NULL;
    free(inner);
    __free_hook = a_free;
}

static void *a_realloc(void *block, size_t size, const void *caller)
{
    (void)caller;
    char *inner = block ? (char *)block - 16 : NULL;
    if (inner && *(unsigned *)inner != MAGIC)
        abort();
    resized++;
    __realloc_hook = NULL;
    __malloc_hook = NULL;
    inner = realloc(inner, size + 16);
    __malloc_hook = a_malloc;
    __realloc_hook = a_realloc;
    *(unsigned *)inner = MAGIC;
    return inner + 16;
}

/* A second set, with another header; its memory is its own. */
static char pool[4096];
static size_t used;
static int b_freed;

static void *b_malloc(size_t size, const void *caller)
{
    (void)caller;
    void *block = pool + used;
    used += (size + 15) / 16 * 16;
    return block;
}

static void b_free(void *block, const void *caller)
{
    (void)caller;
    if ((char *)block < pool || (char *)block >= pool + sizeof pool)
        abort();
    b_freed++;
}

static long outer_live;

static void *outer_malloc(memhook_next *next, size_t size, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    char *block = memhook_next_malloc(next, size + 8);
    outer_live++;
    return block ? block + 8 : NULL;
}

static void outer_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    outer_live--;
    memhook_next_free(next, (char *)block - 8);
}

static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_realloc)(void *, size_t) = realloc;
static void (*volatile do_free)(void *) = free;

int main(void)
{
    char *before = do_malloc(100), *resized_before = do_malloc(20);
    memset(before, 1, 100);
    strcpy(resized_before, "before");
    __malloc_hook = a_malloc;
    char *early = do_malloc(10); /* no free callback yet */
    __free_hook = a_free;
    __realloc_hook = a_realloc;
    char *a = do_malloc(100);
    do_free(before);
    resized_before = do_realloc(resized_before, 2000);
    printf("%s: ", resized_before);
    do_free(resized_before);
    printf("%d wrapped, %d unwrapped\n", wrapped, unwrapped);

    /* Another set in its place: each has its own blocks. */
    __realloc_hook = NULL;
    __malloc_hook = b_malloc;
    __free_hook = b_free;
    char *b = do_malloc(50);
    printf("from the pool: %s\n", b >= pool && b < pool + sizeof pool ? "yes" : "no");
    strcpy(a, "grows");
    a = do_realloc(a, 5000);
    printf("%s, resized %d\n", a, resized);
    do_free(early);
    do_free(b);
    b = do_malloc(20);
    __malloc_hook = NULL;
    __free_hook = NULL;
    do_free(a);
    do_free(b);
    printf("%d wrapped, %d unwrapped, %d of the pool freed\n", wrapped, unwrapped, b_freed);
    printf("still out: %s\n", __malloc_hook == NULL && __free_hook == NULL ? "yes" : "no");

    /* Below an interceptor of the new kind, whatever its priority and whichever came first. */
    __malloc_hook = a_malloc;
    __free_hook = a_free;
    memhook_interceptor outer = {.struct_size = sizeof outer, .priority = -1000, .malloc = outer_malloc,
                                 .free = outer_free};
    memhook_id id;
    if (memhook_register(&outer, &id))
        return 2;
    char *both = do_malloc(10), *other = do_malloc(10);
    do_free(both);
    __malloc_hook = NULL;
    __free_hook = NULL;
    both = do_malloc(30);
    do_free(other);
    printf("outer has %ld, %d wrapped, %d unwrapped\n", outer_live, wrapped, unwrapped);
    do_free(both);
    int result = memhook_unregister(id);
    printf("outer has %ld, unregistered: %d\n", outer_live, result);
    return 0;
}
