/* What the programs of the rules need: a check that says where it failed, calls that the compiler
 * keeps, a way to see that a thread has gone to sleep, and the classic accounting hook. */
#ifndef CHECK_H
#define CHECK_H

#include <errno.h>
#include <fcntl.h>
#include <malloc.h>
#include <memhook.h>
#include <pthread.h>
#include <sched.h>
#include <semaphore.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#define UNUSED __attribute__((unused))

/* Ends the program with a line on standard error unless the condition holds. */
#define CHECK(condition)                                                                       \
    ((condition) ? (void)0                                                                     \
                 : (memhook_log("%s:%d: not so: %s\n", __FILE__, __LINE__, #condition), _exit(1)))

/* The same, for two numbers or pointers that should be equal; shows both. */
#define SAME(got, wanted)                                                                      \
    check_same(__FILE__, __LINE__, #got, (unsigned long long)(got), (unsigned long long)(wanted))

#define OK(call) SAME(call, 0)

UNUSED static inline void check_same(const char *file, int line, const char *text,
                                     unsigned long long got, unsigned long long wanted)
{
    if (got != wanted) {
        memhook_log("%s:%d: %s is %lld (0x%llx), not %lld (0x%llx)\n", file, line, text, got, got,
                    wanted, wanted);
        _exit(1);
    }
}

/* Keeps the compiler from knowing what a pointer or size is, and from leaving calls out. It also
 * believes of the C library's functions that none of them calls back: that our callbacks change
 * no variable of ours. */
UNUSED static inline void *hide(void *p)
{
    __asm__ volatile("" : "+r"(p) : : "memory");
    return p;
}

UNUSED static inline size_t some(size_t n)
{
    __asm__ volatile("" : "+r"(n) : : "memory");
    return n;
}

#define malloc(n) hide(malloc(some(n)))
#define calloc(n, each) hide(calloc(some(n), some(each)))
#define realloc(p, n) hide(realloc(hide(p), some(n)))
#define reallocarray(p, n, each) hide(reallocarray(hide(p), some(n), some(each)))
#define memalign(a, n) hide(memalign(some(a), some(n)))
#define aligned_alloc(a, n) hide(aligned_alloc(some(a), some(n)))
#define valloc(n) hide(valloc(some(n)))
#define pvalloc(n) hide(pvalloc(some(n)))
#define posix_memalign(out, a, n) ((int)some((size_t)posix_memalign(out, some(a), some(n))))
#define malloc_usable_size(p) some(malloc_usable_size(hide(p)))
#define free(p) (free(hide(p)), (void)hide(NULL))

UNUSED static inline void await(sem_t *sem)
{
    while (sem_wait(sem) != 0) {
    }
}

UNUSED static inline pid_t tid(void)
{
    return (pid_t)syscall(SYS_gettid);
}

/* Whether a thread of this process sleeps in the kernel. */
UNUSED static inline int sleeps(pid_t thread)
{
    char path[64], text[256];
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)thread);
    int fd = open(path, O_RDONLY);
    if (fd < 0)
        return 0;
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    if (n <= 0)
        return 0;
    text[n] = 0;
    char *end = strrchr(text, ')');
    return end && end[1] && end[2] == 'S';
}

/* Whether a hook is in the chain in force. */
UNUSED static inline int in_force(memhook_id id)
{
    static __thread memhook_hook_info infos[300];
    size_t count = 0;
    OK(memhook_chain_list(0, infos, sizeof infos[0], 300, &count));
    for (size_t i = 0; i < count && i < 300; i++)
        if (infos[i].id == id)
            return 1;
    return 0;
}

UNUSED static inline size_t hooks_in_force(void)
{
    size_t count = 0;
    OK(memhook_chain_list(0, NULL, sizeof(memhook_hook_info), 0, &count));
    return count;
}

UNUSED static inline size_t live(memhook_id id)
{
    size_t count = 0;
    OK(memhook_live_blocks(id, &count));
    return count;
}

/* The classic accounting hook: what it needs to know of a block stands before it. A block that is
 * not its own, or is given back twice, is noticed. */
struct account {
    uint32_t tag;
    int live, released;
    long bytes;
};

struct account_head {
    uint32_t tag, pad;
    size_t requested;
};

UNUSED static inline struct account_head *account_head_of(void *p)
{
    return (struct account_head *)p - 1;
}

UNUSED static void *account_note(struct account *a, void *base, uint32_t pad, size_t n)
{
    if (!base)
        return NULL;
    void *p = (char *)base + pad;
    struct account_head *head = account_head_of(p);
    head->tag = a->tag;
    head->pad = pad;
    head->requested = n;
    __atomic_fetch_add(&a->live, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&a->bytes, (long)n, __ATOMIC_RELAXED);
    return p;
}

/* Forgets a block; how far before it the real one begins. */
UNUSED static uint32_t account_strike(struct account *a, void *p)
{
    struct account_head *head = account_head_of(p);
    SAME(head->tag, a->tag);
    head->tag = 0;
    __atomic_fetch_sub(&a->live, 1, __ATOMIC_RELAXED);
    __atomic_fetch_sub(&a->bytes, (long)head->requested, __ATOMIC_RELAXED);
    return head->pad;
}

UNUSED static void *account_malloc(memhook_next *next, size_t n, const memhook_call *c, void *user)
{
    (void)c;
    return n > SIZE_MAX - 16 ? NULL
                             : account_note((struct account *)user, memhook_next_malloc(next, n + 16), 16, n);
}

UNUSED static void *account_realloc(memhook_next *next, void *p, size_t n, const memhook_call *c,
                                    void *user)
{
    struct account *a = (struct account *)user;
    (void)c;
    if (n > SIZE_MAX / 2)
        return NULL;
    if (!p)
        return account_note(a, memhook_next_realloc(next, NULL, n + 16), 16, n);
    struct account_head before = *account_head_of(p);
    uint32_t pad = account_strike(a, p);
    void *base = memhook_next_realloc(next, (char *)p - pad, n + pad);
    if (base)
        return account_note(a, base, pad, n);
    account_note(a, (char *)p - pad, pad, before.requested);
    return NULL;
}

UNUSED static void *account_memalign(memhook_next *next, size_t alignment, size_t n,
                                     const memhook_call *c, void *user)
{
    size_t pad = alignment < 16 ? 16 : alignment;
    (void)c;
    if (n > SIZE_MAX / 2 || pad > UINT32_MAX)
        return NULL;
    return account_note((struct account *)user, memhook_next_memalign(next, alignment, n + pad),
                        (uint32_t)pad, n);
}

UNUSED static void account_free(memhook_next *next, void *p, const memhook_call *c, void *user)
{
    (void)c;
    memhook_next_free(next, (char *)p - account_strike((struct account *)user, p));
}

UNUSED static size_t account_usable(memhook_next *next, void *p, const memhook_call *c, void *user)
{
    (void)c;
    SAME(account_head_of(p)->tag, ((struct account *)user)->tag);
    uint32_t pad = account_head_of(p)->pad;
    return memhook_next_usable_size(next, (char *)p - pad) - pad;
}

UNUSED static void account_release(void *user)
{
    struct account *a = (struct account *)user;
    SAME(__atomic_load_n(&a->live, __ATOMIC_RELAXED), 0);
    SAME(__atomic_add_fetch(&a->released, 1, __ATOMIC_RELAXED), 1);
}

UNUSED static memhook_interceptor account_table(struct account *a, const char *name, int priority)
{
    memhook_interceptor table;
    memset(&table, 0, sizeof table);
    table.struct_size = sizeof table;
    table.name = name;
    table.priority = priority;
    table.user = a;
    table.malloc = account_malloc;
    table.realloc = account_realloc;
    table.memalign = account_memalign;
    table.free = account_free;
    table.usable_size = account_usable;
    table.release = account_release;
    return table;
}

#endif
