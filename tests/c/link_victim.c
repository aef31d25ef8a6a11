/* A program that knows nothing of the library. Ten blocks of 4242 bytes. */
#include <stdio.h>
#include <stdlib.h>

static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;

int main(void)
{
    for (int i = 0; i < 10; i++)
        do_free(do_malloc(4242));
    puts("done");
    return 0;
}
