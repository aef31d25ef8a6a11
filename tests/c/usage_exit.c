/* A session of the program's own at its end: a report, and an exit status that says that the budget is exceeded. */
#include "check.h"

static void *late;

static void handler(void)
{
    free(late);
    memhook_log("handler\n");
}

__attribute__((destructor)) static void destructor(void)
{
    memhook_log("destructor\n");
}

int main(void)
{
    memhook_id id, other;
    memhook_usage_limits limits = {.struct_size = sizeof limits, .which = MEMHOOK_USAGE_CALLS, .calls = 2};
    memhook_usage_options options = {
        .struct_size = sizeof options, .flags = MEMHOOK_USAGE_AT_EXIT, .exit_status = 9, .limits = &limits};
    atexit(handler);
    OK(memhook_usage_start(&options, &id));
    OK(memhook_usage_start(&options, &other));
    OK(memhook_usage_stop(other, NULL)); /* nothing is reported of it */
    late = malloc(1000);
    free(malloc(10));
    fputs("not flushed", stdout);
    return 0;
}
