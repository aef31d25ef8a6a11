/* The tools' functions inside a callback, structs of a wrong size, and members that must be 0. */
#define _GNU_SOURCE
#include "err_check.h"
#include <sys/mman.h>

static memhook_id fail, trace;
static int turn;

static void stop_inside(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block, (void)user;
    if (turn++ != 0)
        return;
    memhook_fail_counts counts = {.struct_size = sizeof counts};
    RESULT("fail_stop inside", memhook_fail_stop(fail, &counts));
    EXPECT(counts.selected == 0);
    RESULT("fail_stop again", memhook_fail_stop(fail, NULL));
    RESULT("check_stop inside", memhook_check_stop());
    RESULT("check_stop again", memhook_check_stop());
    RESULT("trace_stop inside", memhook_trace_stop(trace, NULL));
    RESULT("trace_stop again", memhook_trace_stop(trace, NULL));
}

int main(void)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", memfd_create("trace", 0));
    memhook_trace_options to = {.struct_size = sizeof to, .path = path};
    memhook_fail_rule rule = {.struct_size = sizeof rule, .every = 1, .above = 1 << 20};
    memhook_check_options check = {.struct_size = sizeof check, .flags = MEMHOOK_CHECK_NO_QUARANTINE};
    memhook_observer watch = {.struct_size = sizeof watch, .after_alloc = stop_inside};
    memhook_trace_counts trace_counts = {.struct_size = sizeof trace_counts + 8};
    memhook_fail_counts fail_counts = {.struct_size = sizeof fail_counts - 8};
    memhook_usage_limits limits = {.struct_size = sizeof limits, .reserved = 1};
    memhook_usage_options options = {.struct_size = sizeof options, .limits = &limits};
    memhook_usage usage = {.struct_size = sizeof usage - 8};
    memhook_id id, watching;

    setvbuf(stdout, NULL, _IONBF, 0);
    REFUSED_OUT("usage_start reserved", id, memhook_usage_start(&options, &id));
    options.limits = NULL, options.batch = (size_t)1 << 48;
    REFUSED_OUT("usage_start batch", id, memhook_usage_start(&options, &id));
    REFUSED("usage_expect NULL", memhook_usage_expect(0, NULL, NULL, 0));
    REFUSED("usage_expect reserved", memhook_usage_expect(0, &limits, NULL, 0));
    REFUSED("fail_nth NULL", memhook_fail_nth(1, NULL));
    MUST(memhook_usage_start(NULL, &id));
    REFUSED("usage_stop struct_size", memhook_usage_stop(id, &usage));
    REFUSED("usage_read struct_size", memhook_usage_read(id, &usage));
    MUST(memhook_usage_stop(id, NULL));
    MUST(memhook_trace_start(&to, &trace));
    REFUSED("trace_stop struct_size", memhook_trace_stop(trace, &trace_counts));
    MUST(memhook_fail_start(&rule, &fail));
    REFUSED("fail_stop struct_size", memhook_fail_stop(fail, &fail_counts));
    MUST(memhook_check_start(&check));
    MUST(memhook_observe(&watch, &watching));
    do_free(do_malloc(10));
    MUST(memhook_unregister(watching));
    MUST(memhook_synchronize());
    static struct listing listing;
    take_listing(0, &listing);
    EXPECT(listing.count == 0);
    goes_on();
    return 0;
}
