/* A leak detector: a list of headers in front of the blocks and a mark behind them, callbacks put in and taken out
 * by functions that remember whether they are in, hooks set while blocks live, and given up from inside a
 * callback. */
#ifdef OLD
#include "glibc_old.h"
#endif
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_calloc)(size_t, size_t) = calloc;
static void *(*volatile do_realloc)(void *, size_t) = realloc;
static void (*volatile do_free)(void *) = free;

struct header {
    struct header *previous, *next;
    size_t bytes;
    char *note; /* allocated by the callback */
    unsigned long magic;
};
#define MAGIC 0x7ac0be11ul
#define TAIL 0xcafebabeul

static struct header first;
static int installed, wrong, mallocs, frees, reallocs, limit = -1;
static void *(*old_malloc)(size_t, const void *);
static void *(*old_realloc)(void *, size_t, const void *);
static void (*old_free)(void *, const void *);
static void *malloc_hook(size_t, const void *);
static void *realloc_hook(void *, size_t, const void *);
static void free_hook(void *, const void *);

static void install(void)
{
    if (installed || limit == 0)
        return;
    old_malloc = __malloc_hook;
    old_realloc = __realloc_hook;
    old_free = __free_hook;
    __malloc_hook = malloc_hook;
    __realloc_hook = realloc_hook;
    __free_hook = free_hook;
    installed = 1;
}

static void uninstall(void)
{
    if (!installed)
        return;
    __malloc_hook = old_malloc;
    __realloc_hook = old_realloc;
    __free_hook = old_free;
    installed = 0;
}

static unsigned long *tail(struct header *header)
{
    return (unsigned long *)(void *)((char *)(header + 1) + header->bytes);
}

static void mark(struct header *header)
{
    unsigned long magic = TAIL;
    memcpy(tail(header), &magic, sizeof magic);
}

static int is_intact(struct header *header)
{
    unsigned long magic = TAIL;
    return header->magic == MAGIC && memcmp(tail(header), &magic, sizeof magic) == 0;
}

static void *malloc_hook(size_t bytes, const void *caller)
{
    (void)caller;
    mallocs++;
    uninstall();
    struct header *header = malloc(sizeof *header + bytes + sizeof(long));
    *header = (struct header){&first, first.next, bytes, strdup("a note"), MAGIC};
    mark(header);
    install();
    if (header->next)
        header->next->previous = header;
    first.next = header;
    if (limit > 0)
        limit--;
    if (limit == 0)
        uninstall();
    return header + 1;
}

static void free_hook(void *block, const void *caller)
{
    (void)caller;
    if (!block)
        return;
    frees++;
    struct header *header = (struct header *)block - 1;
    uninstall();
    if (!is_intact(header)) {
        wrong++;
    } else {
        header->previous->next = header->next;
        if (header->next)
            header->next->previous = header->previous;
        free(header->note);
        memset(header, 0xff, sizeof *header + header->bytes);
        free(header);
    }
    install();
}

static void *realloc_hook(void *block, size_t bytes, const void *caller)
{
    if (!block)
        return malloc_hook(bytes, caller);
    reallocs++;
    struct header *header = (struct header *)block - 1;
    uninstall();
    wrong += !is_intact(header);
    header = realloc(header, sizeof *header + bytes + sizeof(long));
    header->bytes = bytes;
    mark(header);
    if (header->next)
        header->next->previous = header;
    header->previous->next = header;
    install();
    return header + 1;
}

static void *work(void *unused)
{
    for (int i = 0; i < 1000; i++) {
        char *block = do_malloc(i % 300);
        block = do_realloc(block, i % 500 + 1);
        block[0] = 1;
        do_free(block);
    }
    return unused;
}

static void report(void)
{
    int left = 0;
    size_t bytes = 0;
    for (struct header *header = first.next; header; header = header->next) {
        left++;
        bytes += header->bytes;
    }
    printf("left %d of %zu bytes, wrong %d\n", left, bytes, wrong);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    void *before = do_malloc(10), *grows = do_malloc(10);
    (void)before, (void)grows;
    install();
    do_free(NULL);
    char *zero = do_calloc(3, 33);
    for (int i = 0; i < 99; i++)
        wrong += zero[i] != 0;
    do_free(zero);
#ifndef OLD
    /* In glibc these would be unwrapped. */
    do_free(before);
    do_free(do_realloc(grows, 1000));
#endif
    void *kept = do_malloc(77), *text = strdup("a text of thirty bytes ......");
    work(NULL);
    report();
    limit = 1;
    void *last = do_malloc(5);
    int calls = mallocs;
    do_free(do_malloc(10));
    printf("given up: %s\n", calls == mallocs && !__malloc_hook && !__free_hook ? "yes" : "no");
    /* Its own blocks go back through it, although nothing of it stands in the variables. */
    (void)last, (void)kept, (void)text;
#ifndef OLD
    do_free(last);
    do_free(kept);
    do_free(text);
    report();
#endif
    printf("mallocs %d, frees %d, reallocs %d\n", mallocs, frees, reallocs);
    return 0;
}
