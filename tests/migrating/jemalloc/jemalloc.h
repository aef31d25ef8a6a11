/* As much of jemalloc's interface as docs/MIGRATING.md shows. */
#include <stddef.h>
#include <stdint.h>

typedef int hook_alloc_t, hook_dalloc_t, hook_expand_t;
typedef struct {
    void (*alloc_hook)(void *extra, hook_alloc_t type, void *result, uintptr_t raw, uintptr_t arguments[3]);
    void (*dalloc_hook)(void *extra, hook_dalloc_t type, void *address, uintptr_t arguments[3]);
    void (*expand_hook)(void *extra, hook_expand_t type, void *address, size_t old_size, size_t new_size, uintptr_t raw,
                        uintptr_t arguments[4]);
    void *extra;
} hooks_t;
int mallctl(const char *name, void *old, size_t *old_size, void *new_value, size_t new_size);
