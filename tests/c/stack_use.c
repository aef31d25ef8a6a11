/* How much stack each function of the header takes, and each entry point under each tool.
 *
 *   stack_use                          the names of all functions
 *   stack_use FUNCTION FOLDER          "FUNCTION BYTES", of its first call in this process; also of a function that is
 *                                      not among them and takes no arguments
 *   stack_use calls FOLDER TOOL        "FUNCTION under TOOL: BYTES" for each entry point, the first call of a thread
 *                                      among them; and "first call of a fork child under TOOL: BYTES" */
#define _GNU_SOURCE
#include "check.h"
#include "stack_use.h"
#include <mcheck.h>
#include <dlfcn.h>
#include <sys/mman.h>
#include <sys/wait.h>

#undef malloc
#undef calloc
#undef realloc
extern void free_sized(void *, size_t);
extern void free_aligned_sized(void *, size_t, size_t);

static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;

static memhook_id id, other_id;
static memhook_chain chain, former;
static memhook_local key;
static void *volatile block;
static volatile size_t number;
static char text[400];
static const void *addresses[16];
static char trace_path[4096], traced_before[4096], report_path[4096], data_path[4096];

/* What stands in for the arguments of a callback that a function is measured in. */
static struct memhook_next *its_next;
static const memhook_call *its_call;
static void (*in_callback)(void);
static size_t used;

static void *pass(struct memhook_next *next, size_t requested, const memhook_call *call, void *user)
{
    (void)user;
    if (in_callback != NULL) {
        (its_next = next, its_call = call);
        void (*measured)(void) = in_callback;
        in_callback = NULL;
        used = stack_use(measured);
    }
    return memhook_next_malloc(next, requested);
}

static void before_free(const memhook_call *call, void *user)
{
    (void)user;
    if (in_callback != NULL) {
        its_call = call;
        void (*measured)(void) = in_callback;
        in_callback = NULL;
        used = stack_use(measured);
    }
}

static void after_alloc(const memhook_call *call, void *its_block, void *user)
{
    (void)call, (void)its_block, (void)user;
}

static void released(void *user)
{
    (void)user;
}

static memhook_interceptor interceptor = {
    .struct_size = sizeof interceptor, .name = "passes", .malloc = pass, .release = released};
static memhook_observer observer = {
    .struct_size = sizeof observer, .name = "sees", .after_alloc = after_alloc, .before_free = before_free};
static memhook_hook_info infos[16];
static memhook_check_options check;
static memhook_fail_rule rule = {.struct_size = sizeof rule, .every = 1, .above = 1 << 30, .object = "stack_use"};
static memhook_fail_counts fail_counts = {.struct_size = sizeof fail_counts};
static memhook_trace_options trace = {.struct_size = sizeof trace};
static memhook_trace_counts trace_counts = {.struct_size = sizeof trace_counts};
static memhook_usage_options usage = {.struct_size = sizeof usage};
static memhook_usage_limits limits = {.struct_size = sizeof limits, .which = MEMHOOK_USAGE_PEAK, .peak = 1};
static memhook_usage counted = {.struct_size = sizeof counted};

static void fault(const memhook_check_report *report, void *user)
{
    (void)report, (void)user;
}

static int visit(void *memory, uint64_t thread, void *argument)
{
    (void)memory, (void)thread, (void)argument;
    return 0;
}

static void status(enum mcheck_status is)
{
    (void)is;
}

static void nothing(void) {}
static void make(void) { block = do_malloc(100); }
static void make_backend(void) { block = memhook_backend_malloc(100); }
static void make_scratch(void) { block = memhook_scratch_malloc(100); }
static void intercept(void) { OK(memhook_register(&interceptor, &id)); }
static void observe(void) { OK(memhook_observe(&observer, &id)); }
static void many(void)
{
    for (int i = 0; i < 12; i++)
        OK(memhook_register(&interceptor, &id));
    observe();
    intercept();
    make();
}
static void with_chain(void)
{
    many();
    OK(memhook_chain_copy(&chain));
}
static void with_key(void)
{
    OK(memhook_local_create(100, &key));
    (void)memhook_local_get(key);
}
static void suspend(void) { OK(memhook_suspend()); }
static void checking(void)
{
    OK(memhook_check_start(&check));
    make();
}
static void spoil(void)
{
    check = (memhook_check_options){
        .struct_size = sizeof check, .flags = MEMHOOK_CHECK_MESSAGE, .frames = 16, .handler = fault};
    checking();
    ((char *)block)[100] = 1;
}
static void failing(void) { OK(memhook_fail_start(&rule, &id)); }
static void tracing(void) { OK(memhook_trace_start(&trace, &id)); }
static void counting(void)
{
    usage.data = data_path;
    OK(memhook_usage_start(&usage, &id));
    make();
}
static void mapped(void) { block = memhook_mmap(NULL, 8192, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0); }
static void set_mtrace(void) { setenv("MALLOC_TRACE", traced_before, 1); }
static void mtracing(void)
{
    set_mtrace();
    mtrace();
}
static void mchecking(void)
{
    number = mcheck(status);
    make();
}

/* In a callback of malloc, of free, or by themselves. */
enum where { ALONE, IN_MALLOC, IN_FREE };

#define FUNCTIONS(F)                                                                                  \
    F(memhook_register, many, ALONE, number = memhook_register(&interceptor, &other_id))              \
    F(memhook_observe, many, ALONE, number = memhook_observe(&observer, &other_id))                   \
    F(memhook_unregister, many, ALONE, number = memhook_unregister(id))                               \
    F(memhook_unregister_timed, many, ALONE, number = memhook_unregister_timed(id, 1))                \
    F(memhook_unregister_object, many, ALONE, number = memhook_unregister_object(&id))                \
    F(memhook_object_loaded, nothing, ALONE, memhook_object_loaded())                                 \
    F(memhook_replace, many, ALONE, number = memhook_replace(id, &interceptor))                       \
    F(memhook_replace_observer, observe, ALONE, number = memhook_replace_observer(id, &observer))     \
    F(memhook_synchronize, many, ALONE, number = memhook_synchronize())                               \
    F(memhook_live_blocks, many, ALONE, number = memhook_live_blocks(id, (size_t *)&number))          \
    F(memhook_chain_list, many, ALONE,                                                                \
      number = memhook_chain_list(0, infos, sizeof infos[0], 16, (size_t *)&number))                  \
    F(memhook_chain_create, nothing, ALONE, number = memhook_chain_create(&chain))                    \
    F(memhook_chain_copy, many, ALONE, number = memhook_chain_copy(&chain))                           \
    F(memhook_chain_add, with_chain, ALONE, number = memhook_chain_add(chain, id))                    \
    F(memhook_chain_register, with_chain, ALONE,                                                      \
      number = memhook_chain_register(chain, &interceptor, &other_id))                                \
    F(memhook_chain_observe, with_chain, ALONE,                                                       \
      number = memhook_chain_observe(chain, &observer, &other_id))                                    \
    F(memhook_chain_remove, with_chain, ALONE, number = memhook_chain_remove(chain, id))              \
    F(memhook_chain_swap, with_chain, ALONE, number = memhook_chain_swap(chain, &former))             \
    F(memhook_chain_destroy, with_chain, ALONE, number = memhook_chain_destroy(chain))                \
    F(memhook_suspend, nothing, ALONE, number = memhook_suspend())                                    \
    F(memhook_resume, suspend, ALONE, number = memhook_resume())                                      \
    F(memhook_is_suspended, nothing, ALONE, number = memhook_is_suspended())                          \
    F(memhook_local_create, nothing, ALONE, number = memhook_local_create(100, &key))                 \
    F(memhook_local_get, with_key, ALONE, block = memhook_local_get(key))                             \
    F(memhook_local_known, with_key, ALONE, block = memhook_local_known(key))                         \
    F(memhook_local_each, with_key, ALONE, number = memhook_local_each(key, visit, NULL))             \
    F(memhook_thread, nothing, ALONE, number = memhook_thread())                                      \
    F(memhook_next_malloc, intercept, IN_MALLOC, block = memhook_next_malloc(its_next, 10))           \
    F(memhook_next_realloc, intercept, IN_MALLOC, block = memhook_next_realloc(its_next, NULL, 10))   \
    F(memhook_next_memalign, intercept, IN_MALLOC, block = memhook_next_memalign(its_next, 64, 10))   \
    F(memhook_next_free, intercept, IN_MALLOC, memhook_next_free(its_next, memhook_backend_malloc(3)))\
    F(memhook_next_usable_size, intercept, IN_MALLOC,                                                 \
      number = memhook_next_usable_size(its_next, memhook_backend_malloc(3)))                         \
    F(memhook_next_is_backend, intercept, IN_MALLOC, number = memhook_next_is_backend(its_next))      \
    F(memhook_usable_size, observe, IN_FREE, number = memhook_usable_size(its_call))                  \
    F(memhook_frames, observe, IN_FREE, number = memhook_frames(its_call, addresses, 16))             \
    F(memhook_backend_malloc, nothing, ALONE, block = memhook_backend_malloc(5000))                   \
    F(memhook_backend_calloc, nothing, ALONE, block = memhook_backend_calloc(50, 100))                \
    F(memhook_backend_realloc, make_backend, ALONE, block = memhook_backend_realloc(block, 5000))     \
    F(memhook_backend_memalign, nothing, ALONE, block = memhook_backend_memalign(4096, 5000))         \
    F(memhook_backend_free, make_backend, ALONE, memhook_backend_free(block))                         \
    F(memhook_backend_usable_size, make_backend, ALONE, number = memhook_backend_usable_size(block))  \
    F(memhook_scratch_malloc, nothing, ALONE, block = memhook_scratch_malloc(5000))                   \
    F(memhook_scratch_free, make_scratch, ALONE, memhook_scratch_free(block))                         \
    F(memhook_version, nothing, ALONE, block = (void *)memhook_version())                             \
    F(memhook_entry_name, nothing, ALONE, block = (void *)memhook_entry_name(3))                      \
    F(memhook_self_test, nothing, ALONE, number = MEMHOOK_SELF_TEST(NULL, text, sizeof text))         \
    F(memhook_self_test_object, nothing, ALONE,                                                       \
      number = memhook_self_test_object(&id, NULL, text, sizeof text))                                \
    F(memhook_check_start, nothing, ALONE, number = memhook_check_start(NULL))                        \
    F(memhook_check_stop, checking, ALONE, number = memhook_check_stop())                             \
    F(memhook_check_all, spoil, ALONE, number = memhook_check_all())                                  \
    F(memhook_check_block, spoil, ALONE, number = memhook_check_block(block))                         \
    F(memhook_fail_start, nothing, ALONE, number = memhook_fail_start(&rule, &id))                    \
    F(memhook_fail_nth, nothing, ALONE, number = memhook_fail_nth(1000, &id))                         \
    F(memhook_fail_stop, failing, ALONE, number = memhook_fail_stop(id, &fail_counts))                \
    F(memhook_trace_start, nothing, ALONE, number = memhook_trace_start(&trace, &id))                 \
    F(memhook_trace_stop, tracing, ALONE, number = memhook_trace_stop(id, &trace_counts))             \
    F(memhook_usage_start, nothing, ALONE, number = memhook_usage_start(&usage, &id))                 \
    F(memhook_usage_read, counting, ALONE, number = memhook_usage_read(id, &counted))                 \
    F(memhook_usage_reset, counting, ALONE, number = memhook_usage_reset(id))                         \
    F(memhook_usage_report, counting, ALONE, number = memhook_usage_report(id, 2))                    \
    F(memhook_usage_expect, counting, ALONE,                                                          \
      number = memhook_usage_expect(id, &limits, text, sizeof text))                                  \
    F(memhook_usage_stop, counting, ALONE, number = memhook_usage_stop(id, &counted))                 \
    F(memhook_mmap, nothing, ALONE, mapped())                                                         \
    F(memhook_mremap, mapped, ALONE, block = memhook_mremap(block, 8192, 4096, 0, NULL))              \
    F(memhook_munmap, mapped, ALONE, number = memhook_munmap(block, 8192))                            \
    F(memhook_log, nothing, ALONE, memhook_log("%s %d %p\n", "text", 5, (void *)&id))                 \
    F(mtrace, set_mtrace, ALONE, mtrace())                                                            \
    F(muntrace, mtracing, ALONE, muntrace())                                                          \
    F(mcheck, nothing, ALONE, number = mcheck(NULL))                                                  \
    F(mcheck_pedantic, nothing, ALONE, number = mcheck_pedantic(status))                              \
    F(mcheck_check_all, mchecking, ALONE, mcheck_check_all())                                         \
    F(mprobe, mchecking, ALONE, number = mprobe(block))

#define DEFINE(name, prepare, where, statement)                                                       \
    static void call_##name(void) { statement; }
FUNCTIONS(DEFINE)

#define ENTER(name, prepare, where, statement) {#name, prepare, where, call_##name},
static const struct {
    const char *name;
    void (*prepare)(void);
    enum where where;
    void (*call)(void);
} functions[] = {FUNCTIONS(ENTER)};

enum { COUNT = sizeof functions / sizeof functions[0] };

static void *(*by_name)(void);
static void call_by_name(void) { block = by_name(); }

/* Allocation calls: small, larger than a page, and with a mapping of their own; so many that whatever happens only
 * now and then under a tool has happened. */
static const size_t sizes[] = {10, 300, 5000, 300000};
enum { ROUNDS = 6000 };
static void *blocks[ROUNDS];

#define EACH(i) for (int i = 0; i < ROUNDS; i++)
#define SIZE(i) sizes[(i) % 64 < 61 ? (i) % 2 : 2 + (i) % 2]

static void all_free(void) { EACH(i) do_free(blocks[i]); }
static void all_malloc(void) { EACH(i) blocks[i] = malloc(SIZE(i)); }
static void all_calloc(void) { EACH(i) blocks[i] = calloc(1, SIZE(i)); }
static void all_realloc(void) { EACH(i) blocks[i] = realloc(i % 2 ? blocks[i] : NULL, SIZE(i + 1)); }
static void all_reallocarray(void) { EACH(i) blocks[i] = reallocarray(blocks[i], 1, SIZE(i)); }
static void all_memalign(void) { EACH(i) blocks[i] = memalign(256, SIZE(i)); }
static void all_aligned_alloc(void) { EACH(i) blocks[i] = aligned_alloc(64, SIZE(i)); }
static void all_posix_memalign(void) { EACH(i) number = posix_memalign(&blocks[i], 4096, SIZE(i)); }
static void all_valloc(void) { EACH(i) blocks[i] = valloc(SIZE(i)); }
static void all_pvalloc(void) { EACH(i) blocks[i] = pvalloc(SIZE(i)); }
static void all_usable_size(void) { EACH(i) number = malloc_usable_size(blocks[i]); }
static void all_free_sized(void) { EACH(i) free_sized(blocks[i], SIZE(i)); }
static void all_free_aligned_sized(void) { EACH(i) free_aligned_sized(blocks[i], 64, SIZE(i)); }

static const struct {
    const char *name;
    void (*before)(void), (*call)(void), (*after)(void);
} entry_points[] = {
    {"malloc", nothing, all_malloc, all_free},
    {"free", all_malloc, all_free, nothing},
    {"calloc", nothing, all_calloc, all_free},
    {"realloc", nothing, all_realloc, all_free},
    {"reallocarray", all_malloc, all_reallocarray, all_free},
    {"memalign", nothing, all_memalign, all_free},
    {"aligned_alloc", nothing, all_aligned_alloc, all_free},
    {"posix_memalign", nothing, all_posix_memalign, all_free},
    {"valloc", nothing, all_valloc, all_free},
    {"pvalloc", nothing, all_pvalloc, all_free},
    {"malloc_usable_size", all_malloc, all_usable_size, all_free},
    {"free_sized", all_malloc, all_free_sized, nothing},
    {"free_aligned_sized", all_aligned_alloc, all_free_aligned_sized, nothing},
};

enum { ENTRY_POINTS = sizeof entry_points / sizeof entry_points[0] };

static void *measure(void *argument)
{
    size_t i = (size_t)argument;
    entry_points[i].before();
    used = stack_use(entry_points[i].call);
    entry_points[i].after();
    memset(blocks, 0, sizeof blocks);
    return NULL;
}

static void free_one(void) { do_free(block); }
static void allocate_one(void) { do_free(do_malloc(10)); }

static void calls(const char *folder, const char *tool)
{
    static char path[4096];
    snprintf(path, sizeof path, "%s/%s", folder, tool);
    trace.path = path;
    trace.most_bytes = 64 << 20;
    usage.data = path;
    int is_check = strcmp(tool, "check") == 0 || strcmp(tool, "all") == 0;
    if (is_check)
        check = (memhook_check_options){
            .struct_size = sizeof check, .flags = MEMHOOK_CHECK_MESSAGE, .frames = 64, .handler = fault};
    if (strcmp(tool, "usage") == 0 || strcmp(tool, "all") == 0)
        OK(memhook_usage_start(&usage, &id));
    if (strcmp(tool, "trace") == 0) {
        OK(memhook_trace_start(&trace, &id));
    } else if (strcmp(tool, "binary") == 0) {
        trace.flags = MEMHOOK_TRACE_BINARY;
        OK(memhook_trace_start(&trace, &id));
    } else if (strcmp(tool, "unwind") == 0 || strcmp(tool, "all") == 0) {
        trace.flags = MEMHOOK_TRACE_BINARY | MEMHOOK_TRACE_UNWIND;
        trace.frames = 32;
        OK(memhook_trace_start(&trace, &id));
    }
    if (is_check)
        OK(memhook_check_start(&check));
    if (strcmp(tool, "fail") == 0 || strcmp(tool, "all") == 0)
        OK(memhook_fail_start(&rule, &other_id));

    for (size_t i = 0; i < ENTRY_POINTS; i++) {
        pthread_t thread;
        OK(pthread_create(&thread, NULL, measure, (void *)i));
        OK(pthread_join(thread, NULL));
        printf("%s under %s: %zu\n", entry_points[i].name, tool, used);
    }
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        used = stack_use(allocate_one);
        printf("first call of a fork child under %s: %zu\n", tool, used);
        fflush(stdout);
        _exit(0);
    }
    int ended;
    CHECK(waitpid(child, &ended, 0) == child && ended == 0);
    if (strcmp(tool, "check") == 0) {
        make();
        ((char *)block)[100] = 1;
        printf("free that reports a fault under %s: %zu\n", tool, stack_use(free_one));
    }
}

/* Names that the tools have to put together, and a trace that they may not overwrite: this process seems to have begun
 * it before it called exec. */
static void prepare_files(const char *folder)
{
    static const char zeroes[8192];
    snprintf(traced_before, sizeof traced_before, "%s/trace.stack_use", folder);
    snprintf(trace_path, sizeof trace_path, "%s/trace.%%e", folder);
    snprintf(report_path, sizeof report_path, "%s/report.%%e.%%n", folder);
    snprintf(data_path, sizeof data_path, "%s/data.%%e.%%p.%%n", folder);
    int file = open(traced_before, O_WRONLY | O_CREAT | O_TRUNC, 0600);
    SAME(write(file, zeroes, sizeof zeroes), sizeof zeroes);
    close(file);
    trace.path = trace_path;
    usage.report = report_path;
    usage.data = data_path;
}

int main(int count, char **arguments)
{
    rule.object_len = strlen(rule.object);
    check.struct_size = sizeof check;
    for (size_t i = 0; count == 1 && i < COUNT; i++)
        puts(functions[i].name);
    if (count == 4)
        calls(arguments[2], arguments[3]);
    if (count == 3)
        prepare_files(arguments[2]);
    for (size_t i = 0; count == 3 && i < COUNT; i++) {
        if (strcmp(arguments[1], functions[i].name) == 0) {
            functions[i].prepare();
            in_callback = functions[i].call;
            if (functions[i].where == ALONE)
                used = stack_use(functions[i].call);
            else
                make();
            if (functions[i].where == IN_FREE)
                do_free(block);
            printf("%s %zu\n", functions[i].name, used);
            return 0;
        }
    }
    if (count == 3) {
        by_name = (void *(*)(void))(uintptr_t)dlsym(RTLD_DEFAULT, arguments[1]);
        CHECK(by_name != NULL);
        printf("%s %zu\n", arguments[1], stack_use(call_by_name));
    }
    return 0;
}
