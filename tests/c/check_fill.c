/* What new and freed blocks are filled with: a byte that all of them hold, or "mixed". Reads freed memory, which a
 * program must not. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_calloc)(size_t, size_t) = calloc;
static void *(*volatile do_realloc)(void *, size_t) = realloc;
static void *(*volatile do_memalign)(size_t, size_t) = memalign;
static void (*volatile do_free)(void *) = free;

static const char *byte(const void *block, size_t from, size_t to)
{
    static char text[8][8];
    static int turn;
    const volatile unsigned char *at = block;
    char *line = text[turn++ % 8];
    snprintf(line, 8, "%02x", at[from]);
    for (size_t i = from; i < to; i++)
        if (at[i] != at[from])
            return "mixed";
    return line;
}

int main(void)
{
    static char room[4096];
    setvbuf(stdout, room, _IOFBF, sizeof room);
    char *one = do_malloc(200), *two = do_memalign(64, 200), *three = do_calloc(2, 100), *four = do_malloc(200);
    printf("malloc %s, memalign %s, calloc %s, ", byte(one, 0, 200), byte(two, 0, 200), byte(three, 0, 200));
    memset(four, 'x', 200);
    char *old = four;
    do_free(do_malloc(5000)); /* So that realloc moves. */
    char *between = do_malloc(200);
    four = do_realloc(four, 5000);
    printf("realloc %s, ", byte(four, 300, 5000));
    memset(two, 'x', 200);
    do_free(two);
    /* The allocator keeps lists at the beginning. */
    printf("freed %s, moved %s\n", byte(two, 32, 190), byte(old, 32, 190));
    do_free(between);
    return 0;
}
