/* The allocator below is link_untyped.c. */
#include "check.h"

extern int untyped_made, untyped_freed;

int main(void)
{
    int made = untyped_made, freed = untyped_freed;
    free(malloc(10));
    memhook_backend_free(memhook_backend_malloc(10));
    SAME(untyped_made, made + 2);
    SAME(untyped_freed, freed + 2);
    puts("found");
    return 0;
}
