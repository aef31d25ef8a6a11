/* A program that loads the library with dlopen: its calls do not arrive. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <malloc.h>
#include <memhook.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(int argc, char **argv)
{
    int (*test)(const memhook_entry_points *, uint32_t *, char *, size_t);
    int (*test_object)(const void *, uint32_t *, char *, size_t);
    uint32_t missed = 77;
    char text[600];
    void *handle = argc > 1 ? dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL) : NULL;
    int result;

    if (handle == NULL) {
        printf("dlopen: %s\n", dlerror());
        return 1;
    }
    *(void **)&test = dlsym(handle, "memhook_self_test");
    *(void **)&test_object = dlsym(handle, "memhook_self_test_object");
    result = test(memhook_entry_points_of_(malloc, free, calloc, realloc, malloc_usable_size,
                                           memalign),
                  &missed, text, sizeof text);
    printf("functions: %s, missed %#x\n  %s\n", strerror(result), (unsigned)missed, text);
    result = test_object((void *)main, &missed, text, sizeof text);
    printf("object: %s, missed %#x\n  %s\n", strerror(result), (unsigned)missed, text);
    free(realloc(malloc(10), 1000));
    return 0;
}
