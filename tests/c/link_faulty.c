/* Knows nothing of the library. Asks for a block's size, and, with an argument, writes behind a block. */
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

static void *(*volatile do_malloc)(size_t) = malloc;

int main(int argc, char **argv)
{
    (void)argv;
    volatile char *block = do_malloc(24);
    printf("size known: %s\n", malloc_usable_size((void *)block) >= 24 ? "yes" : "no");
    fflush(stdout);
    if (argc > 1)
        block[24] ^= 1;
    free((void *)block);
    puts("not noticed");
    return 0;
}
