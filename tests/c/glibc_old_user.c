/* Uses a shared object with the old variables, and has none itself. */
#include <stdio.h>
#include <stdlib.h>

void plugin_begin(void);
int plugin_end(void);

static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    plugin_begin();
    for (int i = 0; i < 100; i++)
        do_free(do_malloc(10));
    int seen = plugin_end();
    for (int i = 0; i < 100; i++)
        do_free(do_malloc(10));
    printf("seen %d, and after the end %d\n", seen, plugin_end() - seen);
    return 0;
}
