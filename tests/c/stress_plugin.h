/* What stress.c asks of stress_plugin.c. */
#ifndef STRESS_PLUGIN_H
#define STRESS_PLUGIN_H
#include <memhook.h>
#include <stdatomic.h>

enum plugin_kind { PLUGIN_OBSERVER, PLUGIN_KEEPER, PLUGIN_OWNER, PLUGIN_KINDS };

/* Lives in the program, not in the plugin. */
struct plugin_state {
    atomic_int released;
    atomic_ulong calls;
};

/* Registers a hook of one kind, beside the observer that the constructor registered. `release` is
 * the program's, or NULL for one of the plugin's own. */
typedef int plugin_register_fn(enum plugin_kind kind, int priority, struct plugin_state *state,
                               memhook_release_fn release, memhook_id *id);
/* Unregisters the constructor's observer. */
typedef int plugin_leave_fn(void);

#endif
