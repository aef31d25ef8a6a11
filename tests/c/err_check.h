/* Checks for the error programs: each prints one line, "what: result", after looking that errno
 * and the hooks in force are as they were. */
#ifndef ERR_CHECK_H
#define ERR_CHECK_H

#include <errno.h>
#include <memhook.h>
#include <pthread.h>
#include <semaphore.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Calls of the C library that the compiler must neither see through nor leave out. */
static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_realloc)(void *, size_t) = realloc;
static void (*volatile do_free)(void *) = free;

#define NO_ID 0xabcdefu

static inline const char *error_name(int error)
{
    static const struct {
        int number;
        const char *name;
    } names[] = {
        {0, "0"}, {EAGAIN, "EAGAIN"}, {EALREADY, "EALREADY"}, {EBUSY, "EBUSY"},
        {EDEADLK, "EDEADLK"}, {EEXIST, "EEXIST"}, {EINPROGRESS, "EINPROGRESS"},
        {EINVAL, "EINVAL"}, {ENOENT, "ENOENT"}, {ENOLINK, "ENOLINK"}, {ENOMEM, "ENOMEM"},
        {ENOSPC, "ENOSPC"}, {ESRCH, "ESRCH"}, {ETIMEDOUT, "ETIMEDOUT"}, {EFAULT, "EFAULT"},
        {ENOTSUP, "ENOTSUP"}, {ERANGE, "ERANGE"}, {EISDIR, "EISDIR"}, {ENAMETOOLONG, "ENAMETOOLONG"},
    };
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (names[i].number == error)
            return names[i].name;
    return "another number";
}

struct listing {
    size_t count;
    memhook_hook_info infos[300];
};

/* The hooks in force, or those of a chain object. */
static inline void take_listing(memhook_chain chain, struct listing *to)
{
    memset(to, 0, sizeof *to);
    if (memhook_chain_list(chain, to->infos, sizeof *to->infos, 300, &to->count) != 0)
        to->count = (size_t)-1;
}

static inline int same_listing(const struct listing *a, const struct listing *b)
{
    return memcmp(a, b, sizeof *a) == 0;
}

__attribute__((unused)) static struct listing listing_before, listing_after;

/* Prints the result of a call, and what else has changed. */
#define RESULT(what, call)                                                                     \
    do {                                                                                       \
        errno = 4711;                                                                          \
        int result_ = (call);                                                                  \
        const char *errno_ = errno == 4711 ? "" : ", errno changed";                           \
        printf("%s: %s%s\n", what, error_name(result_), errno_);                               \
    } while (0)

/* As RESULT, for a call that must leave the hooks in force as they are. */
#define REFUSED(what, call)                                                                    \
    do {                                                                                       \
        take_listing(0, &listing_before);                                                      \
        errno = 4711;                                                                          \
        int result_ = (call);                                                                  \
        const char *errno_ = errno == 4711 ? "" : ", errno changed";                           \
        take_listing(0, &listing_after);                                                       \
        const char *hooks_ =                                                                   \
            same_listing(&listing_before, &listing_after) ? "" : ", hooks changed";            \
        printf("%s: %s%s%s\n", what, error_name(result_), errno_, hooks_);                     \
    } while (0)

/* As REFUSED, for a call that has `out` as an out-parameter and must leave it alone. */
#define REFUSED_OUT(what, out, call)                                                           \
    do {                                                                                       \
        (out) = NO_ID;                                                                         \
        REFUSED(what, call);                                                                   \
        if ((out) != NO_ID)                                                                    \
            printf("%s: the result was stored\n", what);                                       \
    } while (0)

/* Ends the program where a step of preparation fails. */
#define MUST(call)                                                                             \
    do {                                                                                       \
        int result_ = (call);                                                                  \
        if (result_ != 0) {                                                                    \
            printf("line %d: %s: %s\n", __LINE__, #call, error_name(result_));                 \
            exit(1);                                                                           \
        }                                                                                      \
    } while (0)

#define EXPECT(condition)                                                                      \
    do {                                                                                       \
        if (!(condition))                                                                      \
            printf("line %d: not so: %s\n", __LINE__, #condition);                             \
    } while (0)

static int seen, released;

static inline void count_block(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block, (void)user;
    __atomic_add_fetch(&seen, 1, __ATOMIC_RELAXED);
}

static inline void *pass_malloc(memhook_next *next, size_t requested, const memhook_call *call,
                                void *user)
{
    (void)call, (void)user;
    __atomic_add_fetch(&seen, 1, __ATOMIC_RELAXED);
    return memhook_next_malloc(next, requested);
}

static inline void pass_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    memhook_next_free(next, block);
}

static inline void count_release(void *user)
{
    (void)user;
    __atomic_add_fetch(&released, 1, __ATOMIC_RELAXED);
}

/* An observer that counts in `seen` and `released`. */
static inline memhook_observer counting_observer(void)
{
    memhook_observer table = {.struct_size = sizeof table,
                              .name = "counting",
                              .after_alloc = count_block,
                              .release = count_release};
    return table;
}

/* An interceptor that owns its blocks and counts in `seen` and `released`. */
static inline memhook_interceptor owning_interceptor(void)
{
    memhook_interceptor table = {.struct_size = sizeof table,
                                 .name = "owning",
                                 .malloc = pass_malloc,
                                 .free = pass_free,
                                 .release = count_release};
    return table;
}

/* How many allocations of one malloc and free are seen by counting hooks. */
static inline int seen_by_one_pair(void)
{
    int before = __atomic_load_n(&seen, __ATOMIC_RELAXED);
    do_free(do_malloc(100));
    return __atomic_load_n(&seen, __ATOMIC_RELAXED) - before;
}

/* The process goes on unharmed: prints whether allocation works, as the last line. */
static inline void goes_on(void)
{
    char *blocks[100];
    int fine = 1;
    for (int i = 0; i < 100; i++) {
        blocks[i] = do_malloc(10 + 100 * (size_t)i);
        if (blocks[i] == NULL)
            fine = 0;
        else
            memset(blocks[i], i, 10 + 100 * (size_t)i);
    }
    for (int i = 0; i < 100; i++) {
        blocks[i] = do_realloc(blocks[i], 5000);
        if (blocks[i] == NULL || blocks[i][9] != i)
            fine = 0;
        do_free(blocks[i]);
    }
    puts(fine ? "goes on" : "is harmed");
}

#endif
