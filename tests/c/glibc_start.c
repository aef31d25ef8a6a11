/* What stands in the variables before the first allocation and after it, whoever looks first. */
#include <malloc.h>
#include <memhook.h>
#include <stdio.h>
#include <stdlib.h>

static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;
static void *(*first)(size_t, const void *);

__attribute__((constructor)) static void look(void)
{
#ifdef INTERFACE_FIRST
    memhook_backend_free(NULL);
#else
    first = __malloc_hook;
#endif
}

int main(void)
{
    /* A function of the library's that stood there can be called at any time, as those of glibc could. */
    void *block = first ? first(10, NULL) : NULL;
    printf("%s, %s\n", first ? "a function" : "nothing", !first || block ? "works" : "does not work");
    do_free(block);
    do_free(do_malloc(10));
    printf("%s after the first allocation\n", __malloc_hook || __realloc_hook || __memalign_hook ? "something" : "nothing");
    return 0;
}
