/* Says whether the process is privileged, and whether its blocks are checked: then their sizes are exact. */
#include <malloc.h>
#include <memhook.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/auxv.h>

static void *(*volatile do_malloc)(size_t) = malloc;

int main(void)
{
    void *block = do_malloc(65);
    printf("privileged %d, checked %d\n", getauxval(AT_SECURE) != 0, malloc_usable_size(block) == 65);
    free(block);
    return memhook_check_all() != 0;
}
