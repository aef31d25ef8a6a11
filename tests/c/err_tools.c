/* The tools when there is no memory: what they refuse leaves everything as it was, and goes on. */
#define _GNU_SOURCE
#include "err_use_up.h"

static memhook_id usage, trace, fail, id_out;

static void refused(memhook_trace_options *to, memhook_fail_rule *rule, memhook_usage_limits *budget)
{
    memhook_usage read = {.struct_size = sizeof read, .total = NO_ID};
    memhook_trace_counts trace_counts = {.struct_size = sizeof trace_counts, .bytes = NO_ID};
    memhook_fail_counts fail_counts = {.struct_size = sizeof fail_counts, .failed = NO_ID};
    char text[100] = "untouched";

    REFUSED_OUT("usage_start", id_out, memhook_usage_start(NULL, &id_out));
    REFUSED_OUT("trace_start", id_out, memhook_trace_start(to, &id_out));
    REFUSED_OUT("fail_start", id_out, memhook_fail_start(rule, &id_out));
    REFUSED_OUT("fail_nth", id_out, memhook_fail_nth(3, &id_out));
    REFUSED("usage_read", memhook_usage_read(usage, &read));
    REFUSED("usage_reset", memhook_usage_reset(usage));
    REFUSED("usage_report", memhook_usage_report(usage, 2));
    REFUSED("usage_expect", memhook_usage_expect(usage, budget, text, sizeof text));
    REFUSED("usage_stop", memhook_usage_stop(usage, &read));
    REFUSED("trace_stop", memhook_trace_stop(trace, &trace_counts));
    REFUSED("fail_stop", memhook_fail_stop(fail, &fail_counts));
    REFUSED("check_start", memhook_check_start(NULL));
    REFUSED("check_stop", memhook_check_stop());
    EXPECT(read.total == NO_ID && trace_counts.bytes == NO_ID && fail_counts.failed == NO_ID);
    EXPECT(strcmp(text, "untouched") == 0);
}

int main(void)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", memfd_create("trace", 0));
    memhook_trace_options to = {.struct_size = sizeof to, .path = path};
    memhook_fail_rule rule = {.struct_size = sizeof rule, .every = 1, .above = 1 << 20};
    memhook_check_options check = {.struct_size = sizeof check, .flags = MEMHOOK_CHECK_NO_QUARANTINE};
    memhook_usage_limits budget = {.struct_size = sizeof budget, .which = MEMHOOK_USAGE_PEAK, .peak = 1 << 20};
    memhook_usage read = {.struct_size = sizeof read};
    memhook_trace_counts trace_counts = {.struct_size = sizeof trace_counts};
    memhook_fail_counts fail_counts = {.struct_size = sizeof fail_counts};

    setvbuf(stdout, NULL, _IONBF, 0);
    MUST(memhook_usage_start(NULL, &usage));
    MUST(memhook_trace_start(&to, &trace));
    MUST(memhook_fail_start(&rule, &fail));
    MUST(memhook_check_start(&check));
    do_free(do_malloc(100));
    use_up();
    refused(&to, &rule, &budget);
    /* All are in force still. */
    EXPECT(do_malloc((1 << 20) + 1) == NULL);
    give_back();

    puts("with memory:");
    RESULT("usage_read", memhook_usage_read(usage, &read));
    EXPECT(read.malloc.calls == 2 && read.malloc.failed == 1 && read.free.calls == 1);
    RESULT("usage_reset", memhook_usage_reset(usage));
    RESULT("usage_expect", memhook_usage_expect(usage, &budget, NULL, 0));
    RESULT("trace_stop", memhook_trace_stop(trace, &trace_counts));
    EXPECT(trace_counts.bytes > 60);
    RESULT("fail_stop", memhook_fail_stop(fail, &fail_counts));
    EXPECT(fail_counts.selected == 1 && fail_counts.failed == 1);
    RESULT("check_stop", memhook_check_stop());

    puts("with memory for little:");
    use_up();
    REFUSED("check_start", memhook_check_start(&check));
    give_back_scratch();
    /* Ends all the same; what was counted is too large. */
    RESULT("usage_stop", memhook_usage_stop(usage, &read));
    EXPECT(read.malloc.calls == 2);
    REFUSED("usage_read", memhook_usage_read(usage, &read));
    give_back();
    RESULT("check_start", memhook_check_start(&check));
    do_free(do_malloc(100));
    RESULT("check_stop", memhook_check_stop());
    REFUSED("check_stop", memhook_check_stop());
    goes_on();
    return 0;
}
