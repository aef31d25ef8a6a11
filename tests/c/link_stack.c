/* Preloaded with the library and then an allocator, whose file name is the argument: hooks see
 * the calls, and the blocks are that allocator's. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <memhook.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static int allocated, freed;
static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_calloc)(size_t, size_t) = calloc;
static void *(*volatile do_realloc)(void *, size_t) = realloc;
static void *(*volatile do_memalign)(size_t, size_t) = memalign;
static void (*volatile do_free)(void *) = free;

static void after_alloc(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)user;
    __atomic_add_fetch(&allocated, block != NULL, __ATOMIC_RELAXED);
}

static void before_free(const memhook_call *call, void *user)
{
    (void)call, (void)user;
    __atomic_add_fetch(&freed, 1, __ATOMIC_RELAXED);
}

static void *churn(void *nothing)
{
    char *blocks[50];
    for (int round = 0; round < 100; round++) {
        for (int i = 0; i < 50; i++) {
            size_t bytes = 1 + (size_t)(round * 50 + i) % 3000;
            switch (i % 3) {
            case 0: blocks[i] = do_malloc(bytes); break;
            case 1: blocks[i] = do_calloc(1, bytes); break;
            default: blocks[i] = do_memalign(64, bytes); break;
            }
            memset(blocks[i], i, bytes);
        }
        for (int i = 0; i < 50; i++)
            do_free(blocks[i]);
    }
    return nothing;
}

/* Whether the block is the allocator's, in its own words. */
static const char *whose(void *allocator, char *block)
{
    int (*mallctl)(const char *, void *, size_t *, void *, size_t);
    int (*in_heap)(const void *);
    int (*property)(const char *, size_t *);
    size_t (*usable)(void *);

    *(void **)&mallctl = dlsym(allocator, "mallctl");
    *(void **)&in_heap = dlsym(allocator, "mi_is_in_heap_region");
    *(void **)&property = dlsym(allocator, "MallocExtension_GetNumericProperty");
    *(void **)&usable = dlsym(allocator, "malloc_usable_size");
    if (usable(block) != malloc_usable_size(block))
        return "of another size there";
    if (mallctl != NULL) {
        uint64_t before = 0, after = 0;
        size_t size = sizeof before;
        mallctl("thread.allocated", &before, &size, NULL, 0);
        void *other = do_malloc(100000);
        mallctl("thread.allocated", &after, &size, NULL, 0);
        do_free(other);
        return after - before >= 100000 ? "its own" : "not its own";
    }
    if (in_heap != NULL)
        return in_heap(block) ? "its own" : "not its own";
    if (property != NULL) {
        size_t before = 0, after = 0;
        property("generic.current_allocated_bytes", &before);
        void *other = do_malloc(10000000);
        property("generic.current_allocated_bytes", &after);
        do_free(other);
        return after - before >= 10000000 ? "its own" : "not its own";
    }
    return "unknown";
}

int main(int argc, char **argv)
{
    memhook_observer table = {.struct_size = sizeof table,
                              .after_alloc = after_alloc,
                              .before_free = before_free};
    int (*observe)(const memhook_observer *, memhook_id *);
    int (*unregister)(memhook_id);
    void *allocator = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_NOLOAD) : NULL;
    memhook_id id;
    pthread_t threads[3];

    *(void **)&observe = dlsym(RTLD_DEFAULT, "memhook_observe");
    *(void **)&unregister = dlsym(RTLD_DEFAULT, "memhook_unregister");
    if (allocator == NULL || observe == NULL || observe(&table, &id) != 0) {
        puts("not preloaded");
        return 1;
    }
    int before = allocated;
    char *block = do_malloc(1000);
    char *grown = do_calloc(10, 10);
    char *aligned = do_memalign(4096, 10);
    printf("seen: %d\n", allocated - before);
    printf("malloc: %s\n", whose(allocator, block));
    printf("memalign: %s\n", whose(allocator, aligned));
    grown = do_realloc(grown, 5000);
    printf("realloc: %s\n", whose(allocator, grown));
    before = freed;
    do_free(block);
    do_free(grown);
    do_free(aligned);
    printf("freed: %d\n", freed - before);
    before = allocated;
    for (int i = 0; i < 3; i++)
        if (pthread_create(&threads[i], NULL, churn, NULL) != 0)
            abort();
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    printf("threads: %s\n", allocated - before >= 3 * 5000 ? "seen" : "not seen");
    printf("unregister: %d\n", unregister(id));
    return 0;
}
