/* callcount: how often does a program call which allocation function?
 *
 * A tool to preload into any dynamic program. At exit it writes a table to standard error, or
 * appends it to the file that CALLCOUNT_FILE names.
 *
 *     cc -shared -fPIC callcount.c -o callcount.so -lmemhook
 *     LD_PRELOAD="libmemhook.so.0 ./callcount.so" python3 -c 'print("hello")'
 *
 * libmemhook stands there too, and first. As a mere dependency of callcount.so it would be loaded
 * behind the C library, whose malloc would be found instead; the tool says so then.
 *
 * Counted is what an observer is told of: free(NULL) and malloc_usable_size are not. Programs
 * that a program starts write tables of their own. A child of fork that does not exec is left
 * out, and so is a process that ends by _exit or by a signal.
 */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <memhook.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

/* ---- Counting: in stripes, so that threads do not fight over a cache line ----------------- */

enum { STRIPES = 64 };

struct counts {
    atomic_ulong calls, failed, bytes;
};

static _Alignas(128) struct {
    struct counts of[MEMHOOK_ENTRY_COUNT];
} stripes[STRIPES];

/* The first thread counts in stripe 1, the next in 2, ... and the 65th in 1 again. Initial-exec:
 * the ordinary kind of thread-local variable may call malloc when it is first used. */
static __attribute__((tls_model("initial-exec"))) _Thread_local unsigned my_stripe;
static atomic_uint threads_seen;

static void count(const memhook_call *call, int failed)
{
    if (my_stripe == 0)
        my_stripe = 1 + atomic_fetch_add_explicit(&threads_seen, 1, memory_order_relaxed) % STRIPES;
    struct counts *counts = &stripes[my_stripe - 1].of[call->entry];
    atomic_fetch_add_explicit(&counts->calls, 1, memory_order_relaxed);
    if (failed)
        atomic_fetch_add_explicit(&counts->failed, 1, memory_order_relaxed);
    else
        atomic_fetch_add_explicit(&counts->bytes, call->requested, memory_order_relaxed);
}

static void after_alloc(const memhook_call *call, void *block, void *user)
{
    (void)user;
    count(call, block == NULL);
}

static void before_free(const memhook_call *call, void *user)
{
    (void)user;
    count(call, 0);
}

static void realloc_commit(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    count(call, 0);
}

static void realloc_abort(const memhook_call *call, void *user)
{
    (void)user;
    count(call, 1);
}

/* ---- The table ---------------------------------------------------------------------------- */

static unsigned long sum(unsigned entry, size_t member)
{
    unsigned long total = 0;
    for (int i = 0; i < STRIPES; i++)
        total += *(atomic_ulong *)((char *)&stripes[i].of[entry] + member);
    return total;
}

static pid_t pid;
static int standard_error = -1;

/* Formatted into an array and written in one piece: stdio's buffers may be gone by now. */
static void write_table(void)
{
    static char text[2048];
    size_t used = 0;
#define PRINT(...) (used += (size_t)snprintf(text + used, sizeof text - used, __VA_ARGS__))
    PRINT("callcount: %.60s, process %d\n", program_invocation_short_name, (int)pid);
    PRINT("  %-18s %14s %10s %18s\n", "function", "calls", "failed", "bytes asked for");
    for (unsigned entry = 0; entry < MEMHOOK_ENTRY_COUNT; entry++) {
        unsigned long calls = sum(entry, offsetof(struct counts, calls));
        if (calls != 0)
            PRINT("  %-18s %14lu %10lu %18lu\n", memhook_entry_name(entry), calls,
                  sum(entry, offsetof(struct counts, failed)),
                  sum(entry, offsetof(struct counts, bytes)));
    }
#undef PRINT
    const char *name = secure_getenv("CALLCOUNT_FILE");
    int file = standard_error;
    if (name != NULL && (file = open(name, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0666)) < 0)
        memhook_log("callcount: cannot write %s: error %d\n", name, errno);
    else if (write(file, text, used) < 0)
        memhook_log("callcount: cannot write the table: error %d\n", errno);
}

/* ---- The tool's life ---------------------------------------------------------------------- */

static memhook_id id;

__attribute__((constructor)) static void start(void)
{
    static const memhook_observer observer = {
        .struct_size = sizeof observer,
        .flags = MEMHOOK_KEEPS_ERRNO, /* counting leaves it alone */
        .name = "callcount",
        .after_alloc = after_alloc,
        .before_free = before_free,
        .realloc_commit = realloc_commit,
        .realloc_abort = realloc_abort,
    };
    char why[400];
    if (MEMHOOK_SELF_TEST(NULL, why, sizeof why) != 0) {
        memhook_log("callcount: counts nothing: %s\n", why);
        return;
    }
    pid = getpid();
    /* Many programs close standard error before they end. */
    standard_error = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 200);
    int error = memhook_observe(&observer, &id);
    if (error != 0)
        memhook_log("callcount: counts nothing: error %d\n", error);
}

__attribute__((destructor)) static void stop(void)
{
    if (id == 0 || getpid() != pid)
        return;
    /* From here on nobody counts: the figures stand still. */
    if (memhook_unregister(id) == 0)
        write_table();
}
