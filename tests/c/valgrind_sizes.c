/* All that one thread can do with blocks: what valgrind and memhook count of it must be the same. What it asks for
 * may fail. */
#include <malloc.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { SLOTS = 300 };

static char *slots[SLOTS];
static void *volatile sink;

static uint32_t draw(uint32_t n)
{
    static uint32_t state = 7;
    state = state * 1103515245 + 12345;
    return (state >> 16) % n;
}

__attribute__((noinline)) static char *grown(size_t bytes)
{
    char *text = NULL;
    for (size_t room = 1; room < bytes; room += room / 2 + 1) {
        char *more = realloc(text, room);
        if (more == NULL)
            break;
        text = more;
        memset(text, 'x', room);
    }
    return text;
}

__attribute__((noinline)) static void *aligned(size_t alignment, size_t bytes)
{
    void *block = NULL;
    switch (draw(4)) {
    case 0: return memalign(alignment, bytes);
    case 1: return aligned_alloc(alignment, (bytes + alignment - 1) / alignment * alignment);
    case 2: return valloc(bytes);
    default: return posix_memalign(&block, alignment, bytes) == 0 ? block : NULL;
    }
}

__attribute__((noinline)) static void mixture(int calls)
{
    for (int i = 0; i < calls; i++) {
        char **slot = &slots[draw(SLOTS)];
        size_t bytes = draw(draw(20) ? 300 : 30000);
        switch (draw(8)) {
        case 0:
            free(*slot);
            *slot = malloc(bytes); /* also of no bytes */
            break;
        case 1:
            free(*slot);
            *slot = calloc(bytes / 10, 10);
            break;
        case 2:
        case 3: *slot = realloc(*slot, bytes); break; /* larger, smaller, of NULL, to nothing */
        case 4: *slot = reallocarray(*slot, bytes + 1, 3); break;
        case 5:
            free(*slot);
            *slot = aligned((size_t)16 << draw(8), bytes + 1);
            break;
        default:
            free(*slot); /* also NULL */
            *slot = NULL;
        }
    }
}

int main(void)
{
    mixture(20000);
    for (int i = 0; i < SLOTS; i += 2) {
        free(slots[i]);
        slots[i] = NULL;
    }
    sink = grown(5 << 20); /* the peak */
    free(sink);
    for (int i = 0; i < 20; i++)
        slots[i * 2] = grown(100 + i);
    sink = realloc(malloc(5000), 20);
    mixture(500);
    printf("%d slots\n", SLOTS);
    return 0;
}
