/* A shared object that stress.c loads and unloads: an observer from its constructor, another hook
 * by a call. Whatever is left of them is unregistered when it is unloaded. */
#include "stress_plugin.h"
#include <stdint.h>
#include <stdlib.h>

MEMHOOK_TIE_TO_OBJECT;

enum { HEADER = 16 };

static memhook_id first;
/* Written by every callback: the data is gone after dlclose too. */
static atomic_ulong runs;

static void ran(void *user)
{
    struct plugin_state *state = user;
    atomic_fetch_add_explicit(&runs, 1, memory_order_relaxed);
    if (state != NULL) {
        atomic_fetch_add_explicit(&state->calls, 1, memory_order_relaxed);
        if (atomic_load(&state->released) != 0)
            abort();
    }
}

static void after_alloc(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block;
    ran(user);
    /* Seen by nobody. */
    free(malloc(24));
}

static void before_free(const memhook_call *call, void *user)
{
    (void)call;
    ran(user);
}

static void *keep_malloc(memhook_next *next, size_t size, const memhook_call *call, void *user)
{
    (void)call;
    void *block = memhook_next_malloc(next, size);
    ran(user);
    return block;
}

static void keep_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call;
    memhook_next_free(next, block);
    ran(user);
}

static char *mark(char *raw, void *user)
{
    if (raw == NULL)
        return NULL;
    *(uint64_t *)raw = (uintptr_t)user;
    ran(user);
    return raw + HEADER;
}

static char *unmark(void *block, void *user)
{
    char *raw = (char *)block - HEADER;
    if (*(uint64_t *)raw != (uintptr_t)user)
        abort();
    ran(user);
    return raw;
}

static void *own_malloc(memhook_next *next, size_t size, const memhook_call *call, void *user)
{
    (void)call;
    return mark(memhook_next_malloc(next, size + HEADER), user);
}

static void *own_realloc(memhook_next *next, void *block, size_t size, const memhook_call *call, void *user)
{
    (void)call;
    if (block == NULL)
        return mark(memhook_next_malloc(next, size + HEADER), user);
    char *moved = memhook_next_realloc(next, unmark(block, user), size + HEADER);
    return moved == NULL ? NULL : moved + HEADER;
}

static void own_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call;
    memhook_next_free(next, unmark(block, user));
}

static size_t own_usable_size(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call;
    return memhook_next_usable_size(next, unmark(block, user)) - HEADER;
}

static void own_release(void *user)
{
    struct plugin_state *state = user;
    ran(state);
    if (atomic_fetch_add(&state->released, 1) != 0)
        abort();
    /* The plugin's code runs on for a moment: unloading must wait for that. */
    for (int i = 0; i < 200; i++)
        atomic_fetch_add(&runs, 1);
}

__attribute__((constructor)) static void enter(void)
{
    memhook_observer table = {
        .struct_size = sizeof table, .name = "constructor", .object = MEMHOOK_OBJECT,
        .after_alloc = after_alloc, .before_free = before_free,
    };
    if (memhook_observe(&table, &first) != 0)
        abort();
}

plugin_leave_fn plugin_leave;
int plugin_leave(void)
{
    return memhook_unregister(first);
}

plugin_register_fn plugin_register;
int plugin_register(enum plugin_kind kind, int priority, struct plugin_state *state,
                    memhook_release_fn release, memhook_id *id)
{
    if (release == NULL)
        release = own_release;
    if (kind == PLUGIN_OBSERVER) {
        memhook_observer table = {
            .struct_size = sizeof table, .name = "plugin", .priority = priority, .object = MEMHOOK_OBJECT,
            .user = state, .after_alloc = after_alloc, .before_free = before_free, .release = release,
        };
        return memhook_observe(&table, id);
    }
    memhook_interceptor table = {
        .struct_size = sizeof table, .name = "plugin", .priority = priority, .object = MEMHOOK_OBJECT,
        .user = state, .release = release,
    };
    if (kind == PLUGIN_KEEPER) {
        table.flags = MEMHOOK_KEEPS_POINTERS;
        table.malloc = keep_malloc;
        table.free = keep_free;
    } else {
        /* No memalign: aligned blocks pass it by, and go back past it. */
        table.malloc = own_malloc;
        table.realloc = own_realloc;
        table.free = own_free;
        table.usable_size = own_usable_size;
    }
    return memhook_register(&table, id);
}
