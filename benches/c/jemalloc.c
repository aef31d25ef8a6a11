/* Empty hooks by jemalloc's experimental.hooks, to be preloaded with libjemalloc. */
#include "count.h"
#include <jemalloc/jemalloc.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>

static void made(void *extra, int type, void *result, uintptr_t raw, uintptr_t arguments[3])
{
    (void)extra, (void)type, (void)result, (void)raw, (void)arguments;
    count();
}

static void gone(void *extra, int type, void *block, uintptr_t arguments[3])
{
    (void)extra, (void)type, (void)block, (void)arguments;
    count();
}

static void resized(void *extra, int type, void *block, size_t old, size_t new, uintptr_t raw,
                    uintptr_t arguments[4])
{
    (void)extra, (void)type, (void)block, (void)old, (void)new, (void)raw, (void)arguments;
    count();
}

/* As jemalloc's internal/hook.h declares it. */
static struct {
    void (*made)(void *, int, void *, uintptr_t, uintptr_t[3]);
    void (*gone)(void *, int, void *, uintptr_t[3]);
    void (*resized)(void *, int, void *, size_t, size_t, uintptr_t, uintptr_t[4]);
    void *extra;
} hooks = {made, gone, resized, NULL};

__attribute__((constructor)) static void install(void)
{
    void *handle;
    size_t length = sizeof handle;
    if (mallctl("experimental.hooks.install", &handle, &length, &hooks, sizeof hooks) != 0)
        abort();
}
