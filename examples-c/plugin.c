/* plugin: a shared object that watches allocations from dlopen to dlclose.
 *
 * It registers in its constructor. MEMHOOK_TIE_TO_OBJECT and `.object = MEMHOOK_OBJECT` see to
 * the end: dlclose takes the hook out and waits until no thread is in its code, which may then
 * be unmapped. plugin_host.c loads it.
 *
 *     cc -shared -fPIC plugin.c -o plugin.so -lmemhook
 */
#include <memhook.h>
#include <stdatomic.h>

MEMHOOK_TIE_TO_OBJECT;

/* Read by the host with dlsym. */
atomic_ulong plugin_blocks_seen;

static void after_alloc(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block;
    atomic_fetch_add_explicit((atomic_ulong *)user, 1, memory_order_relaxed);
}

__attribute__((constructor)) static void start(void)
{
    const memhook_observer observer = {
        .struct_size = sizeof observer,
        .name = "plugin",
        .object = MEMHOOK_OBJECT,
        .user = &plugin_blocks_seen,
        .after_alloc = after_alloc,
    };
    memhook_id id;
    int error = memhook_observe(&observer, &id);
    if (error != 0)
        memhook_log("plugin: cannot observe, error %d\n", error);
}
