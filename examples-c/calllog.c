/* calllog: a line on standard error for each allocation call, with who made it.
 *
 * A tool to preload into any dynamic program:
 *
 *     cc -shared -fPIC calllog.c -o calllog.so -lmemhook
 *     LD_PRELOAD="libmemhook.so.0 ./calllog.so" ls
 *
 *     malloc(5) = 0x55d0c5e2a2a0  [libc.so.6+0x8eb1a]
 *     realloc(0x55d0c5e2a2a0, 200) ...  [ls+0x7a31]
 *     realloc(0x55d0c5e2a2a0, 200) = 0x55d0c5e2a310  [ls+0x7a31]
 *     free(0x55d0c5e2a310)  [ls+0x7a5c]
 *
 * The brackets have the caller: its object, and the return address as an offset in it, which
 * `addr2line -f -e OBJECT OFFSET` turns into function and line. A realloc has two lines, as the
 * old block's address may go to another thread before the new one is known. A line is one
 * write(2): those of different threads do not mix.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <link.h>
#include <malloc.h>
#include <memhook.h>
#include <stdlib.h>
#include <string.h>

/* ---- Who called --------------------------------------------------------------------------- */

struct place {
    const char *object;
    size_t offset;
};

/* dladdr would wait for the dynamic linker's lock. A callback may not: the program can be
 * holding any lock when it allocates, and whoever has the linker's may be waiting for that one.
 * _dl_find_object, of glibc 2.35 and later, takes none. */
static struct place find(const void *address)
{
#ifdef DLFO_EH_SEGMENT_TYPE /* That glibc, or a newer one. */
    struct dl_find_object found;
    if (_dl_find_object((void *)address, &found) == 0) {
        const struct link_map *map = found.dlfo_link_map;
        const char *slash = strrchr(map->l_name, '/');
        const char *object = map->l_name[0] == '\0' ? program_invocation_short_name
                             : slash != NULL        ? slash + 1
                                                    : map->l_name;
        return (struct place){object, (uintptr_t)address - map->l_addr};
    }
#endif
    return (struct place){"?", (uintptr_t)address};
}

/* ---- The lines ---------------------------------------------------------------------------- */

/* memhook_log formats without stdio, locks or allocation: made for callbacks. */
#define LINE(format, ...)                                                                      \
    do {                                                                                       \
        struct place from = find(call->caller);                                                \
        memhook_log(format "  [%s+0x%zx]\n", __VA_ARGS__, from.object, from.offset);           \
    } while (0)

static void after_alloc(const memhook_call *call, void *block, void *user)
{
    const char *name = memhook_entry_name(call->entry);
    (void)user;
    if (call->entry == MEMHOOK_ENTRY_CALLOC || call->entry == MEMHOOK_ENTRY_REALLOCARRAY)
        LINE("%s(%zu bytes in %zu) = %p", name, call->requested, call->count, block);
    else if (call->alignment != 0)
        LINE("%s(%zu, aligned to %zu) = %p", name, call->requested, call->alignment, block);
    else
        LINE("%s(%zu) = %p", name, call->requested, block);
}

static void before_free(const memhook_call *call, void *user)
{
    (void)user;
    LINE("%s(%p)", memhook_entry_name(call->entry), call->block);
}

static void realloc_begin(const memhook_call *call, void *user)
{
    (void)user;
    LINE("%s(%p, %zu) ...", memhook_entry_name(call->entry), call->block, call->requested);
}

static void realloc_commit(const memhook_call *call, void *block, void *user)
{
    (void)user;
    LINE("%s(%p, %zu) = %p", memhook_entry_name(call->entry), call->block, call->requested, block);
}

static void realloc_abort(const memhook_call *call, void *user)
{
    (void)user;
    LINE("%s(%p, %zu) failed, %p lives on", memhook_entry_name(call->entry), call->block,
         call->requested, call->block);
}

__attribute__((constructor)) static void start(void)
{
    static const memhook_observer observer = {
        .struct_size = sizeof observer,
        .name = "calllog",
        .after_alloc = after_alloc,
        .before_free = before_free,
        .realloc_begin = realloc_begin,
        .realloc_commit = realloc_commit,
        .realloc_abort = realloc_abort,
    };
    memhook_id id;
    char why[400];
    int error;
    if (MEMHOOK_SELF_TEST(NULL, why, sizeof why) != 0)
        memhook_log("calllog: logs nothing: %s\n", why);
    else if ((error = memhook_observe(&observer, &id)) != 0)
        memhook_log("calllog: logs nothing: error %d\n", error);
}
