/* A dozen small programs with one thread, by name: what libmemusage and memhook count must be the same. */
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *volatile sink;

static void nothing(void)
{
}

static void one_block(void)
{
    sink = malloc(100);
}

static void every_size(void)
{
    for (size_t bytes = 0; bytes < 70000; bytes += 7) {
        sink = malloc(bytes);
        if (bytes % 3)
            free(sink);
    }
}

static void edges_of_the_histogram(void)
{
    static const size_t sizes[] = {0, 1, 15, 16, 17, 31, 32, 65519, 65520, 65535, 65536, 65537, 1 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        for (size_t n = 0; n <= i; n++)
            sink = malloc(sizes[i]);
}

static void callocs(void)
{
    for (size_t n = 1; n < 300; n++) {
        char *block = calloc(n, n);
        for (size_t i = 0; i < n * n; i++)
            if (block[i] != 0)
                exit(1);
        memset(block, 1, n * n);
        if (n % 2)
            free(block);
    }
    sink = calloc(1000, 10000);
    sink = calloc(0, 5);
}

static void reallocs(void)
{
    char *block = NULL;
    /* All below 128 KiB: whether a block with a mapping of its own moves is up to its neighbours. */
    for (size_t bytes = 1; bytes < 100000; bytes += bytes / 3 + 1) /* growing, in place and not */
        block = realloc(block, bytes);
    char *fence = malloc(10);
    for (size_t bytes = 100000; bytes > 10; bytes -= bytes / 5) /* decreasing */
        block = realloc(block, bytes);
    block = realloc(block, 11);
    free(fence);
    sink = realloc(block, 0);
    sink = realloc(NULL, 0);
    sink = reallocarray(NULL, 10, 10);
    sink = reallocarray(sink, 10, 20);
}

static void frees_of_nothing(void)
{
    for (int n = 0; n < 1000; n++) {
        free(NULL);
        free(sink = malloc(1));
    }
}

static void peak_in_the_middle(void)
{
    void *blocks[100];
    for (int n = 0; n < 100; n++)
        blocks[n] = malloc(12345);
    for (int n = 0; n < 100; n++)
        free(blocks[n]);
    for (int n = 0; n < 200; n++)
        sink = malloc(100);
}

static void peak_by_realloc(void)
{
    void *block = malloc(30000);
    block = realloc(block, 90000);
    block = realloc(block, 1000);
    sink = malloc(2000000);
    free(sink);
    free(block);
}

static void mapped_blocks(void)
{
    for (size_t bytes = 100000; bytes < 100000000; bytes += bytes) {
        char *block = malloc(bytes);
        block[bytes - 1] = 1;
        sink = calloc(bytes, 2);
        free(block);
    }
}

static uint32_t state = 1;

static uint32_t draw(uint32_t n)
{
    state = state * 1103515245 + 12345;
    return (state >> 16) % n;
}

static void mixture(void)
{
    enum { SLOTS = 500 };
    static void *slots[SLOTS];
    for (int n = 0; n < 200000; n++) {
        void **slot = &slots[draw(SLOTS)];
        size_t bytes = draw(draw(100) ? 2000 : 120000);
        switch (draw(4)) {
        case 0:
            free(*slot);
            *slot = malloc(bytes);
            break;
        case 1:
            free(*slot);
            *slot = calloc(draw(10) + 1, bytes / 10);
            break;
        case 2:
            *slot = realloc(*slot, bytes + 1);
            break;
        default:
            free(*slot);
            *slot = NULL;
        }
    }
}

static void *kept[3];

static void late(void)
{
    free(kept[0]);
    sink = malloc(77);
}

static void at_exit(void)
{
    kept[0] = malloc(1000);
    kept[1] = malloc(2000);
    atexit(late);
}

__attribute__((destructor)) static void destructor(void)
{
    free(kept[1]);
}

static void stdio(void)
{
    char *line = NULL;
    size_t room = 0;
    FILE *file = tmpfile();
    for (int n = 0; n < 10000; n++)
        fprintf(file, "%*d\n", n % 500, n);
    rewind(file);
    while (getline(&line, &room, file) > 0)
        sink = strdup(line);
    fclose(file);
    free(line);
    printf("%d lines", 10000);
}

static const struct {
    const char *name;
    void (*run)(void);
} programs[] = {
    {"nothing", nothing},
    {"one_block", one_block},
    {"every_size", every_size},
    {"edges_of_the_histogram", edges_of_the_histogram},
    {"callocs", callocs},
    {"reallocs", reallocs},
    {"frees_of_nothing", frees_of_nothing},
    {"peak_in_the_middle", peak_in_the_middle},
    {"peak_by_realloc", peak_by_realloc},
    {"mapped_blocks", mapped_blocks},
    {"mixture", mixture},
    {"at_exit", at_exit},
    {"stdio", stdio},
};

int main(int argc, char **argv)
{
    for (size_t i = 0; i < sizeof programs / sizeof *programs; i++)
        if (argc > 1 && strcmp(argv[1], programs[i].name) == 0) {
            programs[i].run();
            return 0;
        }
    return 2;
}
