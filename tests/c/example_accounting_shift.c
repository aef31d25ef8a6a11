/* The example with a larger MALLOC_SHIFT: each block has the bytes that were asked for. */
#define main example
#include "../../examples-c/accounting.c"
#undef main
#include <malloc.h>

int main(void)
{
    for (size_t bytes = 0; bytes < 300; bytes++) {
        void *volatile block = malloc(bytes), *volatile grown;
        size_t usable = malloc_usable_size(block);
        grown = realloc(block, bytes + 100);
        if ((size_t)grown % (1 << MALLOC_SHIFT) != 0 || usable < bytes || malloc_usable_size(grown) < bytes + 100) {
            printf("%zu bytes: %zu\n", bytes, usable);
            return 1;
        }
        free(grown);
    }
    puts("room for all bytes");
    return 0;
}
