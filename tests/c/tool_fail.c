/* Rules that make allocations fail: each kind of rule, each entry point, errno; wrong rules are refused. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <memhook.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_calloc)(size_t, size_t) = calloc;
static void *(*volatile do_realloc)(void *, size_t) = realloc;
static void *(*volatile do_memalign)(size_t, size_t) = memalign;
static void *(*volatile do_aligned_alloc)(size_t, size_t) = aligned_alloc;
static int (*volatile do_posix_memalign)(void **, size_t, size_t) = posix_memalign;
static void (*volatile do_free)(void *) = free;

static memhook_id id;
static memhook_fail_counts counts = {.struct_size = sizeof counts};

static memhook_fail_rule rule(void)
{
    return (memhook_fail_rule){.struct_size = sizeof(memhook_fail_rule)};
}

static void start(memhook_fail_rule rule)
{
    int error = memhook_fail_start(&rule, &id);
    if (error)
        printf("start: %s\n", strerrorname_np(error)), exit(1);
}

static void stop(void)
{
    int error = memhook_fail_stop(id, &counts);
    if (error)
        printf("stop: %s\n", strerrorname_np(error)), exit(1);
}

/* Which of `n` allocations of `size` bytes fail: one character each. */
static const char *pattern(int n, size_t size)
{
    static char text[4][128];
    static int turn;
    char *to = text[turn++ % 4];
    for (int i = 0; i < n; i++) {
        errno = 0;
        void *block = do_malloc(size);
        to[i] = block ? '.' : errno == ENOMEM ? 'X' : '?';
        do_free(block);
    }
    to[n] = 0;
    return to;
}

static void *other_thread(void *nothing)
{
    (void)nothing;
    return (void *)pattern(6, 10);
}

static void refused(const char *what, memhook_fail_rule rule, int expected)
{
    memhook_id out = 77;
    int error = memhook_fail_start(&rule, &out);
    if (error != expected || out != 77)
        printf("%s: %s\n", what, strerrorname_np(error));
}

static int mine(void)
{
    return pattern(1, 10)[0] == 'X';
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    memhook_fail_rule r = rule();
    r.nth = 3;
    start(r), puts(pattern(6, 10)), stop();
    printf("selected %d, failed %d, bytes %d\n", (int)counts.selected, (int)counts.failed, (int)counts.bytes);
    r = rule(), r.every = 2;
    start(r), puts(pattern(6, 10)), stop();
    r = rule(), r.every = 1, r.above = 100;
    start(r), printf("%s %s\n", pattern(3, 100), pattern(3, 101)), stop();
    r = rule(), r.after_bytes = 50;
    start(r), puts(pattern(8, 10)), stop();
    r = rule(), r.per_million = 300000, r.seed = 7;
    start(r);
    const char *once = pattern(100, 10);
    stop(), start(r);
    const char *again = pattern(100, 10);
    stop();
    printf("by chance: %s, %s\n", strcmp(once, again) ? "not repeatable" : "repeatable",
           counts.failed > 15 && counts.failed < 45 ? "about 30 of 100" : "not 30 of 100");
    r = rule(), r.per_million = 1000000;
    start(r), puts(pattern(3, 0)), stop();

    /* This thread only. */
    pthread_t thread;
    void *theirs;
    if (memhook_fail_nth(2, &id))
        return 1;
    const char *own_pattern = pattern(3, 10);
    if (memhook_fail_stop(id, &counts) || memhook_fail_nth(5, &id))
        return 1;
    pthread_create(&thread, NULL, other_thread, NULL);
    pthread_join(thread, &theirs);
    stop();
    printf("nth: this thread %s, another %s\n", own_pattern, (char *)theirs);

    /* Every entry point; what lives lives on. */
    char *block = do_malloc(20), *out = NULL;
    strcpy(block, "lives on");
    r = rule(), r.every = 1;
    start(r);
    int failures = 0;
    errno = 0, failures += !do_calloc(2, 10) && errno == ENOMEM;
    errno = 0, failures += !do_realloc(block, 2000) && errno == ENOMEM;
    errno = 0, failures += !do_realloc(NULL, 20) && errno == ENOMEM;
    errno = 0, failures += !do_memalign(64, 10) && errno == ENOMEM;
    errno = 0, failures += !do_aligned_alloc(64, 64) && errno == ENOMEM;
    failures += do_posix_memalign((void **)&out, 64, 10) == ENOMEM && !out;
    failures += do_posix_memalign((void **)&out, 3, 10) == EINVAL;
    errno = 0, failures += !do_calloc(SIZE_MAX / 2, 4) && errno == ENOMEM;
    stop();
    printf("%d of 8 failed as they should, %d of them by the rule; %s\n", failures, (int)counts.failed, block);
    r = rule(), r.every = 1;
    start(r);
    block = do_realloc(block, 0);
    stop();
    printf("realloc to nothing is a free: %s\n", block || counts.selected ? "no" : "yes");
    r = rule(), r.every = 1, r.entries = 1u << MEMHOOK_ENTRY_CALLOC;
    start(r), printf("%s", pattern(2, 10)), printf(" %s\n", do_calloc(1, 10) ? "." : "X"), stop();

    /* By caller and by object. */
    r = rule(), r.every = 1, r.caller_from = (void *)pattern, r.caller_to = (char *)pattern + 400;
    start(r);
    int by_caller = mine(), strdups = strdup("x") == NULL;
    stop();
    r = rule(), r.every = 1, r.object = "libc.so", r.object_len = 7;
    start(r);
    int own = mine(), library = strdup("x") == NULL;
    stop();
    r = rule(), r.every = 1, r.object = "tool_fail", r.object_len = 9;
    start(r);
    int executable = mine(), no_library = strdup("x") == NULL;
    stop();
    printf("by caller: %d, not %d; by object: %d, not %d; by executable: %d, not %d\n", by_caller, strdups, library,
           own, executable, no_library);
    /* Sizes that cannot be are not subtracted. */
    r = rule(), r.after_bytes = 1000;
    start(r);
    int before = !do_malloc(500), impossible = !do_malloc(SIZE_MAX - 600), after = !do_malloc(1);
    stop();
    printf("after bytes: %d %d %d\n", before, impossible, after);

    /* Two rules at once, stopped in the other order; one as a hook like any other. */
    memhook_id first, second;
    r = rule(), r.nth = 1;
    start(r), first = id;
    r.nth = 3;
    start(r), second = id;
    puts(pattern(4, 10));
    id = first, stop(), id = second;
    if (memhook_unregister(second))
        return 1;
    printf("stopped already: %s\n", strerrorname_np(memhook_fail_stop(second, NULL)));

    memhook_fail_rule good = rule();
    good.nth = 1;
    r = good, r.struct_size--, refused("struct_size", r, EINVAL);
    r = rule(), refused("nothing fails", r, EINVAL);
    r = good, r.flags = MEMHOOK_KEEPS_POINTERS, refused("flags", r, EINVAL);
    r = good, r.per_million = 1000001, refused("per_million", r, EINVAL);
    r = good, r.reserved = 1, refused("reserved", r, EINVAL);
    r = good, r.entries = 1u << MEMHOOK_ENTRY_COUNT, refused("entries", r, EINVAL);
    r = good, r.object = "x", refused("object_len", r, EINVAL);
    r = good, r.object_len = 1, refused("object", r, EINVAL);
    r = good, r.object = "no such object", r.object_len = 14, refused("no object", r, ENOENT);
    if (memhook_fail_start(NULL, &id) != EINVAL || memhook_fail_start(&good, NULL) != EINVAL ||
        memhook_fail_nth(0, &id) != EINVAL || memhook_fail_stop(0, NULL) != ESRCH ||
        memhook_fail_stop(12345, NULL) != ESRCH)
        puts("bad arguments were taken");
    start(good);
    memhook_fail_counts wrong = {.struct_size = 1};
    if (memhook_fail_stop(id, &wrong) != EINVAL)
        puts("wrong counts were taken");
    stop();
    puts("goes on");
    return 0;
}
