/* What glibc's own functions do and say of its heap, with the library in place: mallopt, mallinfo2, malloc_info,
 * malloc_trim, malloc_stats, each in main and from inside the initialize hook; and GLIBC_TUNABLES. With "tunables" the
 * mmap threshold is what GLIBC_TUNABLES says, else what mallopt says inside the hook: 300000 either way. Where a block
 * lies is seen by its address. */
#include <malloc.h>
#include <memhook.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;
static unsigned long seen;
static int early_set, early_trimmed, early_written;
static struct mallinfo2 early;

static void after_alloc(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block, (void)user;
    seen++;
}

static int is_by_tunables(void)
{
    const char *tunables = getenv("GLIBC_TUNABLES");
    return tunables && strstr(tunables, "mmap_threshold");
}

static void begin(void)
{
    static const memhook_observer table = {.struct_size = sizeof table, .after_alloc = after_alloc};
    static memhook_id id;
    if (memhook_observe(&table, &id))
        _exit(2);
    early_set = is_by_tunables() ? 1 : mallopt(M_MMAP_THRESHOLD, 300000);
    void *block = memhook_backend_malloc(1000);
    early = mallinfo2();
    memhook_backend_free(block);
    early_trimmed = malloc_trim(0) >= 0;
    if (getenv("EARLY_STDIO")) {
        malloc_stats();
        early_written = malloc_info(0, stderr) == 0;
    }
}

MEMHOOK_INITIALIZE(begin);

static int in_heap(void *block)
{
    return (uintptr_t)sbrk(0) - (uintptr_t)block < 64 << 20;
}

static void threshold(void)
{
    /* Room for what a tool adds. */
    char *above = do_malloc(300000), *below = do_malloc(299000);
    printf("above the threshold: %s, below: %s\n", in_heap(above) ? "heap" : "mapped",
           in_heap(below) ? "heap" : "mapped");
    struct mallinfo2 info = mallinfo2();
    int counted = info.uordblks >= 299000 && info.hblkhd >= 300000 && info.hblks == 1;
    do_free(below);
    do_free(above);
    printf("in use: %s\n", counted ? "counted" : "wrong");
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    threshold();
    printf("early: %s, %s, %s, %s\n", early_set == 1 ? "set" : "not set",
           early.uordblks >= 1000 ? "counted" : "wrong", early_trimmed ? "trimmed" : "kept",
           early_written ? "written" : "not written");

    /* A megabyte at the top of the heap goes back to the kernel. */
    void *blocks[16];
    mallopt(M_TRIM_THRESHOLD, 64 << 20);
    for (int i = 0; i < 16; i++)
        blocks[i] = do_malloc(64000);
    for (int i = 0; i < 16; i++)
        do_free(blocks[i]);
    char *before = sbrk(0);
    int trimmed = malloc_trim(0);
    printf("trimmed: %d, heap %s\n", trimmed, (char *)sbrk(0) < before ? "shrank" : "stayed");

    char *text = NULL;
    size_t length = 0;
    FILE *file = open_memstream(&text, &length);
    int written = file && malloc_info(0, file) == 0 && fclose(file) == 0 && strstr(text, "<malloc version") &&
                  strstr(text, "</malloc>");
    do_free(text);
    printf("malloc_info: %s\n", written ? "written" : "lost");
    malloc_stats();
    return seen < 2;
}
