/* Where libmemusage is wrong, by name. Says what the program itself knows. */
#include <alloca.h>
#include <errno.h>
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

static void *volatile sink;

static void overflow(void)
{
    volatile size_t half = SIZE_MAX / 2 + 2;
    errno = 0;
    sink = calloc(half, 2); /* 2 bytes, to who lets it overflow */
    printf("%s\n", sink == NULL && errno == ENOMEM ? "refused" : "a block");
}

static void aligned(void)
{
    static const size_t alignments[] = {8, 16, 64, 4096, 1 << 16};
    size_t bytes = 0;
    int calls = 0, wrong = 0;
    for (size_t i = 0; i < sizeof alignments / sizeof *alignments; i++)
        for (size_t n = 1; n < 100; n++) {
            void *block[5] = {memalign(alignments[i], n), aligned_alloc(alignments[i], n), NULL, NULL, NULL};
            wrong += posix_memalign(&block[2], alignments[i], n) != 0;
            block[3] = valloc(n);
            block[4] = pvalloc(n);
            for (int k = 0; k < 5; k++) {
                size_t alignment = k < 3 ? alignments[i] : 4096;
                wrong += block[k] == NULL || (uintptr_t)block[k] % alignment != 0;
                wrong += malloc_usable_size(block[k]) < n;
                memset(block[k], 1, malloc_usable_size(block[k]));
                calls++;
                bytes += n;
                if (n % 2)
                    free(block[k]);
                else
                    free(realloc(block[k], n)); /* alignment is not kept, the contents are */
            }
        }
    printf("%d calls, %zu bytes, %d wrong\n", calls, bytes, wrong);
}

/* Arguments that no allocator is asked about. */
static void refused(void)
{
    volatile size_t half = SIZE_MAX / 2 + 2;
    void *volatile block = malloc(10);
    void *own = NULL;
    int given = calloc(half, 2) != NULL;
    given += calloc(half, half) != NULL;
    given += reallocarray(NULL, half, 2) != NULL;
    given += reallocarray(block, 2, half) != NULL;
    given += reallocarray(block, half, half) != NULL;
    given += posix_memalign(&own, 0, 10) != EINVAL;
    given += posix_memalign(&own, 24, 10) != EINVAL;
    given += posix_memalign(&own, half - 1, 10) != ENOMEM;
    given += posix_memalign(&own, half, 10) != EINVAL;
    given += pvalloc(SIZE_MAX - 5) != NULL;
    given += malloc(half) != NULL;
    given += realloc(NULL, half) != NULL;
    printf("%d given\n", given);
    free(block);
}

static void failed(void)
{
    volatile size_t all = SIZE_MAX / 4;
    void *block = malloc(10);
    int given = 0;
    for (int n = 0; n < 5; n++)
        given += malloc(all) != NULL;
    given += realloc(block, all) != NULL;
    given += calloc(all, 1) != NULL;
    given += memalign(64, all) != NULL;
    printf("%d given\n", given);
    free(block);
}

static void measured(void)
{
    int wrong = 0;
    for (size_t n = 1; n < 10000; n += 13) {
        void *block = malloc(n);
        size_t usable = malloc_usable_size(block);
        wrong += usable < n || usable > n + 100;
        free(block);
    }
    printf("%d wrong\n", wrong);
}

__attribute__((noinline)) static int descend(int levels)
{
    char *room = alloca(10000);
    memset(room, levels, 10000);
    sink = malloc(1);
    return levels == 0 ? room[9999] : descend(levels - 1) + room[0];
}

static void stack(void)
{
    sink = malloc(1);
    printf("%d\n", descend(99) != 0);
}

static void mapped(void)
{
    for (int n = 0; n < 10; n++) {
        void *pages = mmap(NULL, 1 << 20, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        munmap(pages, 1 << 20);
    }
    free(sink = malloc(1000));
    puts("mapped");
}

int main(int argc, char **argv)
{
    static const struct {
        const char *name;
        void (*run)(void);
    } all[] = {{"overflow", overflow}, {"aligned", aligned}, {"failed", failed},
               {"refused", refused},
               {"measured", measured}, {"stack", stack},     {"mapped", mapped}};
    setvbuf(stdout, NULL, _IONBF, 0);
    for (size_t i = 0; argc > 1 && i < sizeof all / sizeof *all; i++)
        if (strcmp(argv[1], all[i].name) == 0) {
            all[i].run();
            return 0;
        }
    return 2;
}
