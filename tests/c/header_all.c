/* Everything in the header, used once. Also compiled as C++: see header_all.cpp. */
#include <memhook.h>

#include <malloc.h>
#include <stdlib.h>

static void initialize(void)
{
}

MEMHOOK_INITIALIZE(initialize);
MEMHOOK_TIE_TO_OBJECT;

static const int constants[] = {
    MEMHOOK_ENTRY_MALLOC, MEMHOOK_ENTRY_FREE, MEMHOOK_ENTRY_CALLOC, MEMHOOK_ENTRY_REALLOC,
    MEMHOOK_ENTRY_REALLOCARRAY, MEMHOOK_ENTRY_MEMALIGN, MEMHOOK_ENTRY_ALIGNED_ALLOC,
    MEMHOOK_ENTRY_POSIX_MEMALIGN, MEMHOOK_ENTRY_VALLOC, MEMHOOK_ENTRY_PVALLOC,
    MEMHOOK_ENTRY_USABLE_SIZE, MEMHOOK_ENTRY_FREE_SIZED, MEMHOOK_ENTRY_FREE_ALIGNED_SIZED,
    MEMHOOK_ENTRY_COUNT, MEMHOOK_DURING_STARTUP, MEMHOOK_DURING_FORK_CHILD,
    MEMHOOK_DURING_THREAD_EXIT, MEMHOOK_DURING_PROCESS_EXIT, MEMHOOK_KEEPS_POINTERS,
    MEMHOOK_THIS_THREAD, MEMHOOK_SEES_NULL, MEMHOOK_SEES_REFUSED, MEMHOOK_KIND_INTERCEPTOR,
    MEMHOOK_KIND_OBSERVER,
    MEMHOOK_VERSION_MAJOR, MEMHOOK_VERSION_MINOR, MEMHOOK_VERSION_PATCH,
};

static void *on_malloc(memhook_next *next, size_t requested, const memhook_call *call, void *user)
{
    (void)call;
    (void)user;
    return memhook_next_malloc(next, requested);
}

MEMHOOK_MUST_USE static int register_all(void)
{
    memhook_interceptor table = {0, NULL, 0, 0, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL};
    memhook_id id;
    table.struct_size = sizeof table;
    table.object = MEMHOOK_OBJECT;
    table.malloc = on_malloc;
    return memhook_register(&table, &id) != 0 || memhook_unregister(id) != 0;
}

int main(void)
{
    uint32_t missed;
    char text[300];

    if (sizeof constants != 27 * sizeof(int) || register_all() != 0)
        return 1;
    if (MEMHOOK_SELF_TEST(&missed, text, sizeof text) != 0)
        return 2;
    if (memhook_initialize_hook != initialize)
        return 3;
    memhook_log("%s %d\n", memhook_version(), (int)missed);
    return 0;
}
