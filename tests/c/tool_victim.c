/* Knows nothing of the library: says how many of 1,000 allocations failed, and which was the first. */
#include <stdio.h>
#include <stdlib.h>

static void *(*volatile do_malloc)(size_t) = malloc;

int main(void)
{
    int failed = 0, first = 0;
    for (int i = 1; i <= 1000; i++) {
        void *block = do_malloc((size_t)i);
        if (!block && !failed++)
            first = i;
        free(block);
    }
    fprintf(stderr, "failed %d, first %d\n", failed, first);
    return 0;
}
