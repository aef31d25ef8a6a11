/* mallopt, mallinfo2, malloc_info and malloc_trim with the library in place, and mallopt from inside the
 * initialize hook: M_MMAP_THRESHOLD with a block on either side of it, seen by its address. */
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

static void after_alloc(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block, (void)user;
    seen++;
}

static void begin(void)
{
    static const memhook_observer table = {.struct_size = sizeof table, .after_alloc = after_alloc};
    static memhook_id id;
    if (memhook_observe(&table, &id) || mallopt(M_MMAP_THRESHOLD, 300000) != 1)
        _exit(2);
}

MEMHOOK_INITIALIZE(begin);

static int in_heap(void *block)
{
    return (uintptr_t)block < (uintptr_t)sbrk(0) && (uintptr_t)block > (uintptr_t)sbrk(0) - (64 << 20);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    char *above = do_malloc(310000), *below = do_malloc(290000);
    printf("above the threshold: %s, below: %s\n", in_heap(above) ? "heap" : "mapped",
           in_heap(below) ? "heap" : "mapped");
    struct mallinfo2 info = mallinfo2();
    int counted = info.uordblks >= 290000 && info.hblkhd >= 310000 && info.hblks == 1;
    do_free(below);
    do_free(above);
    counted = counted && mallinfo2().hblks == 0;
    int trimmed = malloc_trim(0) == 1;
    char *text = NULL;
    size_t length = 0;
    FILE *file = open_memstream(&text, &length);
    int written = file && malloc_info(0, file) == 0 && fclose(file) == 0 && strstr(text, "<malloc version");
    do_free(text);
    printf("in use %s, %s, %s\n", counted ? "counted" : "wrong", trimmed ? "trimmed" : "kept",
           written ? "written" : "lost");
    return seen < 2;
}
