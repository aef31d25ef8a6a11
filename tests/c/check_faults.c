/* One fault by name, in a program that knows nothing of the library. Each is a function of its own, so that the
 * message can name it. */
#define _GNU_SOURCE
#include <malloc.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* The compiler must not see through any of it. */
static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_calloc)(size_t, size_t) = calloc;
static void *(*volatile do_realloc)(void *, size_t) = realloc;
static void *(*volatile do_memalign)(size_t, size_t) = memalign;
static size_t (*volatile do_usable_size)(void *) = malloc_usable_size;
static void (*volatile do_free)(void *) = free;
static void *(*volatile do_memset)(void *, int, size_t) = memset;

#define FAULT __attribute__((noinline, visibility("default"))) void

char *block(size_t bytes)
{
    return do_malloc(bytes);
}

FAULT overflow_by_1(void)
{
    char *at = block(24);
    do_memset(at, 'A', 25);
    do_free(at);
}

FAULT overflow_by_16(void)
{
    char *at = block(30);
    do_memset(at + 30, 'A', 16);
    do_free(at);
}

FAULT overflow_by_0_word(void)
{
    char *at = block(4);
    do_memset(at + 4, 0, 4);
    do_free(at);
}

FAULT overflow_leaves_a_gap(void)
{
    char *at = block(32);
    at[40] = 1;
    do_free(at);
}

FAULT overflow_of_a_large_block(void)
{
    char *at = block(1000000);
    at[1000000] = 1;
    do_free(at);
}

FAULT overflow_of_nothing(void)
{
    char *at = block(0);
    at[0] = 1;
    do_free(at);
}

FAULT overflow_of_calloc(void)
{
    char *at = do_calloc(3, 5);
    at[15] = 0;
    do_free(at);
}

FAULT overflow_found_by_realloc(void)
{
    char *at = block(10);
    at[10] = 0;
    do_free(do_realloc(at, 2000));
}

FAULT underflow_by_1(void)
{
    char *at = block(24);
    at[-1] = 0;
    do_free(at);
}

FAULT underflow_by_8(void)
{
    uint64_t *at = (uint64_t *)block(24);
    at[-1] = 25;
    do_free(at);
}

FAULT underflow_far(void)
{
    char *at = block(24);
    at[-40] ^= 1;
    do_free(at);
}

FAULT double_free(void)
{
    char *at = block(24);
    do_free(at);
    do_free(at);
}

FAULT double_free_of_a_large_block(void)
{
    char *at = block(70000);
    do_free(at);
    do_free(at);
}

void *frees(void *at)
{
    do_free(at);
    return NULL;
}

FAULT double_free_in_two_threads(void)
{
    char *at = block(24);
    pthread_t thread;
    pthread_create(&thread, NULL, frees, at);
    pthread_join(thread, NULL);
    do_free(at);
}

FAULT double_free_after_realloc_moved(void)
{
    char *at = block(24);
    char *moved = do_realloc(at, 500);
    do_free(at);
    do_free(moved);
}

FAULT wild(void)
{
    do_free((void *)0xdead0000beef0);
}

FAULT wild_and_odd(void)
{
    do_free((void *)0x41414141);
}

FAULT interior(void)
{
    do_free(block(24) + 8);
}

FAULT interior_end(void)
{
    do_free(block(32) + 32);
}

FAULT interior_of_a_freed_block(void)
{
    char *at = block(48);
    do_free(at);
    do_free(at + 16);
}

FAULT before_a_block(void)
{
    do_free(block(24) - 16);
}

FAULT foreign_mapping(void)
{
    char *pool = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    do_free(pool + 64);
}

FAULT foreign_pool_with_headers(void)
{
    size_t *pool = mmap(NULL, 8192, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    pool[1] = 64; /* What a chunk of that size would have in front. */
    do_free(pool + 2);
}

FAULT foreign_stack(void)
{
    char room[64] __attribute__((aligned(16)));
    do_memset(room, 0, sizeof room);
    do_free(room + 16);
}

static char data[64] __attribute__((aligned(16)));

FAULT foreign_static(void)
{
    do_free(data + 16);
}

FAULT write_after_free(void)
{
    char *at = block(100);
    do_free(at);
    at[33] = 7;
    for (int i = 0; i < 200; i++)
        do_free(block(100));
}

FAULT write_after_free_to_a_large_block(void)
{
    char *at = block(100000);
    do_free(at);
    at[99999] = 7;
    for (int i = 0; i < 200; i++)
        do_free(block(100000));
}

FAULT write_after_free_found_at_the_end(void)
{
    char *at = block(100);
    do_free(at);
    do_memset(at + 8, 0, 8);
}

FAULT realloc_of_a_freed_block(void)
{
    char *at = block(24);
    do_free(at);
    do_free(do_realloc(at, 100));
}

FAULT realloc_of_an_interior_pointer(void)
{
    do_free(do_realloc(block(24) + 16, 100));
}

FAULT realloc_of_a_wild_pointer(void)
{
    do_free(do_realloc((void *)0xdead0000beef0, 100));
}

FAULT measure_a_freed_block(void)
{
    char *at = block(24);
    do_free(at);
    do_usable_size(at);
}

FAULT never_freed(void)
{
    char *at = block(77);
    at[77] = 'A';
}

FAULT memalign_overflow(void)
{
    char *at = do_memalign(256, 100);
    at[100] = 'A';
    do_free(at);
}

FAULT memalign_underflow(void)
{
    char *at = do_memalign(4096, 100);
    at[-2] = 'A';
    do_free(at);
}

FAULT memalign_double_free(void)
{
    char *at = do_memalign(64, 100);
    do_free(at);
    do_free(at);
}

FAULT no_fault(void)
{
    do_free(block(24));
}

static const struct {
    const char *name;
    void (*run)(void);
} faults[] = {
#define NAMED(name) {#name, name}
    NAMED(overflow_by_1),
    NAMED(overflow_by_16),
    NAMED(overflow_by_0_word),
    NAMED(overflow_leaves_a_gap),
    NAMED(overflow_of_a_large_block),
    NAMED(overflow_of_nothing),
    NAMED(overflow_of_calloc),
    NAMED(overflow_found_by_realloc),
    NAMED(underflow_by_1),
    NAMED(underflow_by_8),
    NAMED(underflow_far),
    NAMED(double_free),
    NAMED(double_free_of_a_large_block),
    NAMED(double_free_in_two_threads),
    NAMED(double_free_after_realloc_moved),
    NAMED(wild),
    NAMED(wild_and_odd),
    NAMED(interior),
    NAMED(interior_end),
    NAMED(interior_of_a_freed_block),
    NAMED(before_a_block),
    NAMED(foreign_mapping),
    NAMED(foreign_pool_with_headers),
    NAMED(foreign_stack),
    NAMED(foreign_static),
    NAMED(write_after_free),
    NAMED(write_after_free_to_a_large_block),
    NAMED(write_after_free_found_at_the_end),
    NAMED(realloc_of_a_freed_block),
    NAMED(realloc_of_an_interior_pointer),
    NAMED(realloc_of_a_wild_pointer),
    NAMED(measure_a_freed_block),
    NAMED(never_freed),
    NAMED(memalign_overflow),
    NAMED(memalign_underflow),
    NAMED(memalign_double_free),
    NAMED(no_fault),
};

/* A handler that does what handlers should not do and do. */
static void on_abort(int signal)
{
    (void)signal;
    char *text = do_malloc(10000);
    snprintf(text, 10000, "handler\n");
    if (write(1, text, strlen(text)) < 0)
        _exit(2);
    do_free(text);
    _exit(7);
}

int main(int argc, char **argv)
{
    if (argc > 2)
        signal(SIGABRT, on_abort);
    for (size_t i = 0; argc > 1 && i < sizeof faults / sizeof *faults; i++)
        if (strcmp(argv[1], faults[i].name) == 0) {
            faults[i].run();
            if (write(1, "went on\n", 8) < 0)
                return 3;
            return 0;
        }
    return 2;
}
