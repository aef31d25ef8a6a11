/* A callback that asks the allocator below without malloc: by memhook_backend_malloc(), or while it has
 * suspended hooks. Its blocks are the allocator's, not its own. */
#include <malloc.h>
#include <memhook.h>
#include <stdio.h>
#include <stdlib.h>

static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_memalign)(size_t, size_t) = memalign;
static void *(*volatile do_realloc)(void *, size_t) = realloc;
static void (*volatile do_free)(void *) = free;
static int made, freed, suspending;

static void *my_malloc(size_t size, const void *caller)
{
    (void)caller;
    made++;
    if (!suspending)
        return memhook_backend_malloc(size);
    if (memhook_suspend() != 0)
        abort();
    void *block = malloc(size);
    if (memhook_resume() != 0)
        abort();
    return block;
}

static void *my_realloc(void *block, size_t size, const void *caller)
{
    (void)caller;
    made++;
    return memhook_backend_realloc(block, size);
}

static void *my_memalign(size_t alignment, size_t size, const void *caller)
{
    (void)caller;
    made++;
    return memhook_backend_memalign(alignment, size);
}

static void my_free(void *block, const void *caller)
{
    (void)caller;
    freed++;
    memhook_backend_free(block);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    void *before = do_malloc(10);
    __malloc_hook = my_malloc;
    __realloc_hook = my_realloc;
    __memalign_hook = my_memalign;
    __free_hook = my_free;
    for (suspending = 0; suspending < 2; suspending++) {
        void *block = do_malloc(100);
        size_t usable = malloc_usable_size(block);
        printf("made %d, usable: %s\n", made, usable >= 100 ? "yes" : "no");
        do_free(do_realloc(block, 1000));
        do_free(do_memalign(64, 10));
    }
    do_free(before);
    __malloc_hook = NULL;
    __realloc_hook = NULL;
    __memalign_hook = NULL;
    __free_hook = NULL;
    printf("made %d, freed %d\n", made, freed);
    return 0;
}
