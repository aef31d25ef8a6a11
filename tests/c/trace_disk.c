/* The program's own file on the disk of a trace: trace_disk FILE CALLS. */
#include <stdio.h>
#include <stdlib.h>

static void *(*volatile do_malloc)(size_t) = malloc;

int main(int count, char **arguments)
{
    static char zeroes[8192];
    for (int i = count == 3 ? atoi(arguments[2]) : 0; i > 0; i--)
        free(do_malloc(5));
    FILE *file = fopen(arguments[1], "w");
    size_t wrote = fwrite(zeroes, 1, sizeof zeroes, file);
    int closed = fclose(file);
    printf("wrote %zu, closed %d\n", wrote, closed);
    return 0;
}
