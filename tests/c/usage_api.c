/* The functions of usage: what they count is what the program knows that it did. */
#define _GNU_SOURCE
#include "check.h"
#include <pthread.h>
#include <signal.h>
#include <sys/mman.h>
#include <sys/wait.h>

static memhook_usage read_of(memhook_id id)
{
    memhook_usage usage = {.struct_size = sizeof usage};
    OK(memhook_usage_read(id, &usage));
    return usage;
}

static memhook_id start(uint32_t flags)
{
    memhook_usage_options options = {.struct_size = sizeof options, .flags = flags};
    memhook_id id;
    errno = 1234;
    OK(memhook_usage_start(&options, &id));
    SAME(errno, 1234);
    return id;
}

static memhook_usage stop(memhook_id id)
{
    memhook_usage usage = {.struct_size = sizeof usage};
    errno = 1234;
    OK(memhook_usage_stop(id, &usage));
    SAME(errno, 1234);
    SAME(memhook_usage_read(id, &usage), ESRCH);
    return usage;
}

static void every_number(void)
{
    static uint64_t histogram[MEMHOOK_USAGE_BUCKETS];
    void *older = malloc(5000), *block[8];
    memhook_id id = start(0);
    free(older); /* not ours */
    block[0] = malloc(100);
    block[1] = calloc(10, 20);
    block[2] = memalign(256, 1000);
    block[3] = realloc(NULL, 50);
    block[3] = realloc(block[3], 5000);
    block[3] = realloc(block[3], 10);
    block[4] = malloc(0);
    SAME(posix_memalign(&block[5], 64, 64), 0);
    block[6] = malloc(65536);
    block[7] = aligned_alloc(4096, 8192);
    SAME((uintptr_t)block[2] % 256, 0);
    SAME((uintptr_t)block[7] % 4096, 0);
    CHECK(malloc_usable_size(block[0]) >= 100 && malloc_usable_size(block[0]) < 200);
    CHECK(malloc_usable_size(block[2]) >= 1000 && malloc_usable_size(block[2]) < 1100);
    CHECK(malloc(SIZE_MAX) == NULL && malloc(SIZE_MAX - 20) == NULL && errno == ENOMEM);
    CHECK(realloc(block[0], SIZE_MAX - 20) == NULL && calloc(1, SIZE_MAX - 8) == NULL);
    CHECK(memalign(64, SIZE_MAX - 100) == NULL && memalign((size_t)1 << 63, 1) == NULL);
    free(NULL);
    free(block[6]);

    memhook_usage usage = {.struct_size = sizeof usage, .histogram = histogram};
    OK(memhook_usage_read(id, &usage));
    SAME(usage.malloc.calls, 5);
    SAME(usage.malloc.bytes, 100 + 65536);
    SAME(usage.malloc.failed, 2);
    SAME(usage.calloc.calls, 2);
    SAME(usage.calloc.bytes, 200);
    SAME(usage.calloc.failed, 1);
    SAME(usage.realloc.calls, 4);
    SAME(usage.realloc.bytes, 5000);
    SAME(usage.realloc.failed, 1);
    SAME(usage.realloc_dec, 1);
    SAME(usage.aligned.calls, 5);
    SAME(usage.aligned.bytes, 1000 + 64 + 8192);
    SAME(usage.aligned.failed, 2);
    SAME(usage.free.calls, 2);
    SAME(usage.free.bytes, 65536);
    SAME(usage.total, 100 + 65536 + 200 + 5000 + 1000 + 64 + 8192);
    SAME(usage.live_bytes, 100 + 200 + 1000 + 10 + 64 + 8192);
    SAME(usage.live_blocks, 7);
    SAME(usage.peak, 100 + 200 + 1000 + 10 + 64 + 65536 + 8192);
    SAME(usage.peak_error, 0);
    SAME(usage.threads, 1);
    CHECK(usage.resident > 100000 && usage.has_allocator == 1);
    CHECK(usage.allocator_in_use >= usage.live_bytes && usage.allocator_system >= usage.allocator_in_use);
    SAME(usage.histogram, histogram);
    SAME(histogram[0], 2); /* 0, 10 */
    SAME(histogram[100 / 16], 1);
    SAME(histogram[5000 / 16], 1);
    SAME(histogram[MEMHOOK_USAGE_BUCKETS - 1], 1);

    CHECK(realloc(block[0], 0) == NULL);
    for (int i = 1; i < 6; i++)
        free(block[i]);
    usage = stop(id);
    SAME(usage.realloc_free, 1);
    SAME(usage.live_bytes, 8192);
    SAME(usage.live_blocks, 1);
    memset(block[7], 1, malloc_usable_size(block[7]));
    block[7] = realloc(block[7], 100000); /* still ours to unwrap */
    SAME(((char *)block[7])[8191], 1);
    free(block[7]);
    puts("every number");
}

static void sessions_are_apart(void)
{
    memhook_id outer = start(0);
    void *first = malloc(1000);
    memhook_id inner = start(0);
    void *second = malloc(500);
    free(first);
    SAME(read_of(outer).live_bytes, 500);
    SAME(read_of(inner).live_bytes, 500);
    SAME(read_of(inner).free.calls, 0);
    SAME(stop(outer).peak, 1500);
    void *third = malloc(70);
    free(second);
    memhook_usage usage = stop(inner);
    SAME(usage.total, 570);
    SAME(usage.live_bytes, 70);
    free(third);
    puts("sessions are apart");
}

static void *elsewhere(void *block)
{
    free(malloc(12345));
    free(block);
    return NULL;
}

static void one_thread_only(void)
{
    pthread_t thread;
    memhook_id id = start(MEMHOOK_THIS_THREAD);
    void *block = malloc(100), *kept = malloc(10);
    pthread_create(&thread, NULL, elsewhere, block);
    pthread_join(thread, NULL);
    memhook_usage usage = stop(id);
    SAME(usage.live_bytes - (usage.calloc.bytes + usage.aligned.bytes), 10); /* less the thread's own needs */
    CHECK(usage.peak >= 110 && usage.peak < 12345);
    free(kept);
    puts("one thread only");
}

static void reset(void)
{
    memhook_id id = start(0);
    void *block = malloc(1000);
    free(malloc(100000));
    OK(memhook_usage_reset(id));
    memhook_usage usage = read_of(id);
    SAME(usage.total, 0);
    SAME(usage.malloc.calls + usage.free.calls, 0);
    SAME(usage.peak, 1000);
    SAME(usage.live_bytes, 1000);
    SAME(usage.live_blocks, 1);
    free(malloc(10));
    for (int i = 0; i < 1000; i++)
        OK(memhook_usage_reset(id));
    free(malloc(50));
    usage = stop(id);
    SAME(usage.malloc.calls, 1);
    SAME(usage.malloc.bytes, 50);
    SAME(usage.peak, 1050);
    SAME(usage.peak_error, 0);
    free(block);
    puts("reset");
}

static void budget(void)
{
    char text[200];
    memhook_id id = start(0);
    void *block = malloc(1000);
    free(malloc(500));
    memhook_usage_limits limits = {.struct_size = sizeof limits, .which = MEMHOOK_USAGE_PEAK, .peak = 1500};
    SAME(memhook_usage_expect(id, &limits, text, sizeof text), 0);
    puts(text);
    limits.which |= MEMHOOK_USAGE_CALLS | MEMHOOK_USAGE_LIVE_BLOCKS | MEMHOOK_USAGE_TOTAL | MEMHOOK_USAGE_LIVE_BYTES;
    limits.peak = 1499;
    limits.calls = 2;
    limits.total = 1499;
    limits.live_bytes = 1000;
    SAME(memhook_usage_expect(id, &limits, text, sizeof text), ERANGE);
    puts(text);
    SAME(memhook_usage_expect(id, &limits, NULL, 0), ERANGE);
    SAME(memhook_usage_expect(id, &limits, text, 10), ERANGE);
    SAME(strlen(text), 9);
    limits.which = 32;
    SAME(memhook_usage_expect(id, &limits, text, sizeof text), EINVAL);
    stop(id);
    SAME(memhook_usage_expect(id, &(memhook_usage_limits){.struct_size = sizeof limits}, NULL, 0), ESRCH);
    free(block);
}

static void *map_here(void *unused)
{
    (void)unused;
    void *at = memhook_mmap(NULL, 5000, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    return at;
}

static void map_in_callback(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block;
    *(void **)user = map_here(NULL);
}

/* The library's own functions, and who counts them: sessions that were asked to, not inside callbacks. */
static void maps(void)
{
    memhook_id all = start(MEMHOOK_USAGE_MAPS), mine = start(MEMHOOK_USAGE_MAPS | MEMHOOK_THIS_THREAD);
    memhook_id none = start(0), observer;
    void *at = map_here(NULL), *of_other, *of_callback = NULL;
    pthread_t thread;
    OK(pthread_create(&thread, NULL, map_here, NULL));
    OK(pthread_join(thread, &of_other));
    memhook_observer table = {.struct_size = sizeof table, .after_alloc = map_in_callback, .user = &of_callback};
    OK(memhook_observe(&table, &observer));
    void *block = malloc(100);
    OK(memhook_unregister(observer));
    CHECK(of_callback != NULL);
    OK(memhook_suspend());
    OK(memhook_munmap(of_callback, 5000));
    OK(memhook_resume());
    errno = 0;
    CHECK(memhook_munmap((char *)at + 1, 4096) == -1 && errno == EINVAL);
    memhook_usage usage = read_of(all);
    SAME(usage.mmap_anonymous.calls, 2);
    SAME(usage.mmap_anonymous.bytes, 10000);
    SAME(usage.munmap.failed, 1);
    SAME(usage.munmap.bytes, 0);
    SAME(usage.mapped_bytes, 2 * 8192);
    CHECK(usage.total >= 10000 + 100);
    CHECK(usage.peak >= 2 * 8192 + 100);
    usage = read_of(mine);
    SAME(usage.mmap_anonymous.calls, 1);
    SAME(usage.mapped_bytes, 8192);
    SAME(usage.total, 5000 + 100);
    OK(memhook_usage_reset(mine));
    CHECK(memhook_mremap(at, 8192, 20000, MREMAP_MAYMOVE | MREMAP_FIXED, at) == MAP_FAILED && errno == EINVAL);
    CHECK(memhook_mremap(at, 8192, 4096, 0, NULL) == at);
    usage = read_of(mine);
    SAME(usage.mmap_anonymous.calls, 0);
    SAME(usage.mremap.calls, 2);
    SAME(usage.mremap.failed, 1);
    SAME(usage.mremap_nomove, 1);
    SAME(usage.mremap_dec, 1);
    SAME(usage.total, 0);
    SAME(usage.mapped_bytes, 4096);
    OK(memhook_munmap(at, 4096));
    OK(memhook_munmap(of_other, 5000));
    SAME(read_of(all).mapped_bytes, 0);
    free(block);
    SAME(stop(mine).munmap.calls, 2);
    usage = stop(none);
    SAME(usage.mmap_anonymous.calls + usage.munmap.calls + usage.mremap.calls + usage.mapped_bytes, 0);
    stop(all);
    puts("maps");
}

static volatile sig_atomic_t signals_seen;

static void on_signal(int number)
{
    (void)number;
    signals_seen++;
}

static void refused(void)
{
    memhook_id id = 77, ids[20];
    memhook_usage_limits none = {.struct_size = sizeof none};
#define REFUSED(error, ...)                                                                    \
    SAME(memhook_usage_start(&(memhook_usage_options){__VA_ARGS__}, &id), error);              \
    SAME(id, 77)
#define SIZE .struct_size = sizeof(memhook_usage_options)
    REFUSED(EINVAL, .struct_size = 8);
    REFUSED(EINVAL, SIZE, .flags = 1);
    REFUSED(EINVAL, SIZE, .signal = 9);
    REFUSED(EINVAL, SIZE, .signal = 65);
    REFUSED(EINVAL, SIZE, .exit_status = 256);
    REFUSED(EINVAL, SIZE, .data = "");
    REFUSED(EINVAL, SIZE, .report = "%q");
    REFUSED(EINVAL, SIZE, .flags = MEMHOOK_USAGE_TIMER);
    REFUSED(EINVAL, SIZE, .flags = MEMHOOK_USAGE_ABORT, .limits = &none);
    REFUSED(EINVAL, SIZE, .limits = &(memhook_usage_limits){.struct_size = sizeof none, .which = 64});
    REFUSED(EINVAL, SIZE, .limits = &(memhook_usage_limits){.struct_size = 1});
    REFUSED(ENOENT, SIZE, .data = "/no/such/folder/file");
    REFUSED(ENOENT, SIZE, .report = "/no/such/folder/file");
    REFUSED(EISDIR, SIZE, .report = "/tmp");
    signal(SIGUSR2, on_signal);
    REFUSED(EBUSY, SIZE, .signal = SIGUSR2);
    signal(SIGUSR2, SIG_DFL);
    SAME(memhook_usage_start(NULL, NULL), EINVAL);
    SAME(memhook_usage_read(1, NULL), EINVAL);
    SAME(memhook_usage_read(1, &(memhook_usage){.struct_size = 1}), EINVAL);
    SAME(memhook_usage_read(0, &(memhook_usage){.struct_size = sizeof(memhook_usage)}), ESRCH);
    SAME(memhook_usage_stop(0, NULL), ESRCH);
    SAME(memhook_usage_reset(0), ESRCH);
    SAME(memhook_usage_report(0, 1), ESRCH);
    for (int i = 0; i < 16; i++)
        OK(memhook_usage_start(NULL, &ids[i]));
    SAME(memhook_usage_start(NULL, &id), ENOSPC);
    for (int i = 0; i < 16; i++)
        OK(memhook_usage_stop(ids[i], NULL));
    SAME(memhook_usage_stop(ids[0], NULL), ESRCH);
    puts("refused");
}

/* A session that has stopped needs nothing but itself for the blocks that live on. */
/* What is refused leaves files and signals as they were. */
static void refused_without_a_trace(void)
{
    char name[64];
    memhook_id id = 77, ids[16];
    int file = memfd_create("data", 0);
    snprintf(name, sizeof name, "/proc/self/fd/%d", file);
    SAME(write(file, "kept", 4), 4);
    signal(SIGUSR2, on_signal);
    REFUSED(EBUSY, SIZE, .signal = SIGUSR2, .data = name);
    signal(SIGUSR2, SIG_DFL);
    for (int i = 0; i < 16; i++)
        OK(memhook_usage_start(NULL, &ids[i]));
    REFUSED(ENOSPC, SIZE, .signal = SIGUSR2, .data = name);
    for (int i = 0; i < 16; i++)
        OK(memhook_usage_stop(ids[i], NULL));
    REFUSED(ENOENT, SIZE, .signal = SIGUSR2, .report = "/no/such/folder/file");
    SAME(lseek(file, 0, SEEK_END), 4);
    CHECK(signal(SIGUSR2, SIG_DFL) == SIG_DFL);
    close(file);
    puts("refused without a trace");
}

static pthread_barrier_t step;

static void *start_with_signal(void *id)
{
    for (int i = 0; i < 2000; i++) {
        pthread_barrier_wait(&step);
        memhook_usage_options options = {SIZE, .signal = SIGUSR2};
        int result = memhook_usage_start(&options, id);
        CHECK(result == 0 || result == EBUSY);
        if (result != 0)
            *(memhook_id *)id = 0;
        pthread_barrier_wait(&step);
    }
    return NULL;
}

static void signals(void)
{
    memhook_usage_options options = {SIZE, .signal = SIGUSR2};
    memhook_id id, other;

    /* A handler that the program installs later stays. */
    OK(memhook_usage_start(&options, &id));
    signal(SIGUSR2, on_signal);
    stop(id);
    raise(SIGUSR2);
    SAME(signals_seen, 1);
    signal(SIGUSR2, SIG_DFL);

    /* One that is unregistered as a hook has the signal no longer. */
    OK(memhook_usage_start(&options, &id));
    OK(memhook_unregister(id));
    CHECK(signal(SIGUSR2, SIG_DFL) == SIG_IGN);
    OK(memhook_usage_start(&options, &id));
    stop(id);
    signal(SIGUSR2, SIG_DFL);

    /* Of two that begin at the same time one has it. */
    pthread_t thread;
    pthread_barrier_init(&step, NULL, 2);
    pthread_create(&thread, NULL, start_with_signal, &other);
    for (int i = 0; i < 2000; i++) {
        pthread_barrier_wait(&step);
        int result = memhook_usage_start(&options, &id);
        pthread_barrier_wait(&step);
        CHECK(result == 0 ? other == 0 : result == EBUSY);
        OK(memhook_usage_stop(result == 0 ? id : other, NULL));
    }
    pthread_join(thread, NULL);
    signal(SIGUSR2, SIG_DFL);
    puts("signals");
}

static void leaky_sessions(void)
{
    enum { MANY = 300 };
    static void *kept[MANY];
    for (int i = 0; i < MANY; i++) {
        memhook_id id = start(0);
        kept[i] = malloc((size_t)i);
        SAME(stop(id).live_bytes, i);
    }
    for (int i = 0; i < MANY; i++)
        free(kept[i]);
    puts("leaky sessions");
}

static void taken_away(void)
{
    memhook_usage usage = {.struct_size = sizeof usage};
    memhook_id id = start(0);
    OK(memhook_unregister(id));
    SAME(memhook_usage_read(id, &usage), ESRCH);
    id = start(0);
    void *block = malloc(1);
    SAME(memhook_unregister(id), EINPROGRESS);
    free(block);
    SAME(memhook_usage_stop(id, NULL), ESRCH);
    puts("taken away");
}

static memhook_id in_callback;
static int steps;

static void *meddle(memhook_next *next, size_t requested, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    memhook_usage usage = {.struct_size = sizeof usage};
    switch (steps++) {
    case 0:
        OK(memhook_usage_start(NULL, &in_callback));
        break;
    case 1:
        OK(memhook_usage_read(in_callback, &usage));
        OK(memhook_usage_reset(in_callback));
        break;
    case 2:
        OK(memhook_usage_stop(in_callback, &usage));
        break;
    }
    return memhook_next_malloc(next, requested);
}

static void inside_callbacks(void)
{
    memhook_interceptor table = {.struct_size = sizeof table, .malloc = meddle};
    memhook_id id;
    OK(memhook_register(&table, &id));
    void *blocks[20];
    for (int i = 0; i < 20; i++)
        blocks[i] = malloc(10);
    for (int i = 0; i < 20; i++)
        free(blocks[i]);
    OK(memhook_unregister(id));
    SAME(steps, 20);
    SAME(memhook_usage_stop(in_callback, NULL), ESRCH);
    puts("inside callbacks");
}

static void large_calloc_touches_nothing(void)
{
    memhook_id id = start(0);
    uint64_t before = read_of(id).resident;
    char *block = calloc(1 << 10, 1 << 18);
    uint64_t after = read_of(id).resident;
#ifdef EMULATED /* The emulator has pages for pages. */
    after = before;
#endif
    CHECK(block != NULL && after < before + (1 << 20));
    SAME(block[12345678], 0);
    free(block);
    SAME(stop(id).peak, 1 << 28);
    puts("a large calloc touches nothing");
}

static void report(void)
{
    static char text[100000];
    memhook_id id = start(0);
    void *block = malloc(100);
    int file = memfd_create("report", 0);
    OK(memhook_usage_report(id, file));
    ssize_t len = pread(file, text, sizeof text - 1, 0);
    CHECK(len > 0 && strchr(text, '\033') == NULL);
    CHECK(strncmp(text, "\nMemory usage summary: heap total: 100, heap peak: 100, stack peak: ", 68) == 0);
    CHECK(strstr(text, "   96-111             1 100% ==================================================\n") != NULL);
    CHECK(strstr(text, " in use| 100 bytes in 1 blocks, of threads: 1\n") != NULL);
    close(file);
    SAME(memhook_usage_report(id, file), EBADF);
    SAME(memhook_usage_report(id, file = open("/dev/full", O_WRONLY)), ENOSPC);
    close(file);
    int ends[2];
    OK(pipe(ends));
    close(ends[0]);
    SAME(memhook_usage_report(id, ends[1]), EPIPE); /* and no SIGPIPE */
    close(ends[1]);
    stop(id);
    free(block);
    puts("report");
}

static void in_a_child(void)
{
    memhook_id id = start(0);
    void *block = malloc(100);
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        block = realloc(block, 1000);
        memhook_usage usage = read_of(id);
        _exit(usage.live_bytes == 1000 && usage.malloc.calls >= 1 ? 0 : 1);
    }
    int status;
    SAME(waitpid(child, &status, 0), child);
    SAME(status, 0);
    SAME(stop(id).live_bytes, 100);
    free(block);
    puts("in a child");
}

int main(void)
{
    setvbuf(stdout, NULL, _IOLBF, 4096);
    puts("begin");
    every_number();
    sessions_are_apart();
    one_thread_only();
    reset();
    budget();
    refused();
    refused_without_a_trace();
    signals();
    maps();
    leaky_sessions();
    taken_away();
    inside_callbacks();
    large_calloc_touches_nothing();
    report();
    in_a_child();
    return 0;
}
