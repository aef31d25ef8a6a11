/* A program that knows nothing of the variables; its library does. */
#include <stdio.h>
#include <stdlib.h>

int hook_library_calls(void);

static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;

int main(void)
{
    int before = hook_library_calls();
    for (int i = 0; i < 100; i++)
        do_free(do_malloc(10));
    printf("%d calls\n", hook_library_calls() - before);
    return 0;
}
