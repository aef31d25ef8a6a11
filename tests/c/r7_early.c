/* A library that knows nothing of memhook, starts before it and ends after it. */
#include <stdlib.h>

void *volatile early_block;

__attribute__((constructor)) static void start(void)
{
    early_block = malloc(111);
}

__attribute__((destructor)) static void end(void)
{
    free(early_block);
    early_block = malloc(777);
}

void early_touch(void)
{
}
