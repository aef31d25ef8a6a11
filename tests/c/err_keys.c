/* All keys of memhook_local_create() are given out: tools that need memory in each thread are refused. */
#define _GNU_SOURCE
#include "err_check.h"
#include "e_filter.h"
#include <sys/mman.h>

static size_t frames;
static const void *addresses[4];

static void ask_for_frames(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    frames = memhook_frames(call, addresses, 4);
    EXPECT(memhook_frames(call, NULL, 0) == 0);
    EXPECT(addresses[0] == call->caller);
}

int main(int argc, char **argv)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", memfd_create("trace", 0));
    memhook_trace_options to = {.struct_size = sizeof to, .path = path};
    memhook_observer watch = {.struct_size = sizeof watch, .flags = MEMHOOK_WANTS_FRAMES,
                              .after_alloc = ask_for_frames};
    memhook_id id_out, id;
    memhook_local key;

    setvbuf(stdout, NULL, _IONBF, 0);
    if (argc > 1) {
        /* A kernel that does not know MADV_WIPEONFORK, and another that does not know anything. */
        MUST(refuse(SYS_madvise, EINVAL));
        REFUSED_OUT("trace_start", id_out, memhook_trace_start(&to, &id_out));
        goes_on();
        return strcmp(argv[1], "old") != 0;
    }
    int keys = 0;
    while (memhook_local_create(64, &key) == 0)
        keys++;
    printf("%d keys\n", keys);
    REFUSED_OUT("local_create", key, memhook_local_create(64, &key));
    REFUSED("check_start", memhook_check_start(NULL));
    REFUSED_OUT("usage_start", id_out, memhook_usage_start(NULL, &id_out));
    REFUSED_OUT("trace_start", id_out, memhook_trace_start(&to, &id_out));
    to.flags = MEMHOOK_TRACE_BINARY, to.frames = 3;
    REFUSED_OUT("trace_start with frames", id_out, memhook_trace_start(&to, &id_out));
    MUST(memhook_observe(&watch, &id));
    do_free(do_malloc(10));
    printf("frames: %zu\n", frames);
    MUST(memhook_unregister(id));
    goes_on();
    (void)argv;
    return 0;
}
