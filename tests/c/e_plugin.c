/* A shared object that registers hooks when it is loaded and leaves the rest to its tie. */
#include "e_check.h"

MEMHOOK_TIE_TO_OBJECT;

static struct e_user user;
unsigned long e_plugin_calls(void);

unsigned long e_plugin_calls(void)
{
    return __atomic_load_n(&user.calls, __ATOMIC_RELAXED);
}

__attribute__((constructor)) static void loaded(void)
{
    user.alive = E_ALIVE;
    memhook_observer table = {
        .struct_size = sizeof table,
        .name = "e_plugin",
        .object = MEMHOOK_OBJECT,
        .user = &user,
        .after_alloc = e_after_alloc,
        .before_free = e_before,
        .realloc_begin = e_before,
        .realloc_commit = e_commit,
    };
    memhook_id id;
    CHECK(memhook_observe(&table, &id) == 0);
}
