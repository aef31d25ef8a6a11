/* Every kind of line that mtrace writes, twice the same in every process. PLUGIN: a shared object with callers. */
#include <malloc.h>
#include <mcheck.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#ifdef PLUGIN

void *plugin_make(size_t bytes)
{
    void *block = malloc(bytes);
    return realloc(block, 3 * bytes);
}

#else

void *plugin_make(size_t bytes);

static void *hidden_leak(size_t bytes)
{
    void *volatile block = malloc(bytes);
    return block;
}

void *visible_leak(size_t bytes)
{
    void *volatile block = calloc(3, bytes);
    return block;
}

int main(void)
{
    void *before = malloc(30);
    mtrace();
    mtrace();
    void *volatile block = NULL;
    free(block);
    free(before);
    block = malloc(0);
    free(block);
    block = realloc(NULL, 10);
    block = realloc(block, 11);
    block = realloc(block, 5000);
    block = realloc(block, 0);
    size_t volatile much = (size_t)PTRDIFF_MAX - 4096, more = SIZE_MAX;
    block = malloc(much);
    block = calloc(more, 2);
    block = realloc(NULL, much);
    block = reallocarray(NULL, much, 1);
    block = reallocarray(NULL, more, 2);
    block = malloc(40);
    void *failed = realloc(block, much);
    if (failed != NULL)
        return 1;
    free(block);
    void *aligned;
    if (posix_memalign(&aligned, 3, 10) == 0 || posix_memalign(&aligned, 128, 10) != 0)
        return 2;
    free(aligned);
    block = memalign(64, 100);
    free(block);
    block = aligned_alloc(32, 64);
    free(block);
    block = valloc(10);
    free(block);
    block = reallocarray(NULL, 3, 7);
    block = reallocarray(block, 300, 7);
    free(block);
    block = hidden_leak(77);
    block = visible_leak(0x100);
    block = plugin_make(200);
    free(plugin_make(201));
    block = strdup("of the C library");
    for (int i = 0; i < 20000; i++)
        free(strdup("many lines"));
    printf("a buffer of the C library\n");
#ifdef STOP
    muntrace();
    block = malloc(1000);
    free(block);
    muntrace();
#endif
    return 0;
}

#endif
