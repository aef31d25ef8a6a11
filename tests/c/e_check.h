/* What the programs about process events share. */
#ifndef E_CHECK_H
#define E_CHECK_H
#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <malloc.h>
#include <memhook.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define CHECK(condition)                                                                \
    do {                                                                                \
        if (!(condition)) {                                                             \
            memhook_log("%s:%d: not true: %s (errno %d)\n", __FILE__, __LINE__,         \
                        #condition, errno);                                             \
            _exit(70);                                                                  \
        }                                                                               \
    } while (0)

/* x86-64's trap flag: SIGTRAP after every instruction in between. */
#define STEP_ON __asm__ volatile("pushfq; orq $0x100, (%%rsp); popfq" : : : "memory", "cc")
#define STEP_OFF __asm__ volatile("pushfq; andq $~0x100, (%%rsp); popfq" : : : "memory", "cc")

/* What RLIMIT_AS counts, in bytes. */
static inline size_t e_address_space(void)
{
    char text[256];
    FILE *file = fopen("/proc/self/statm", "r");
    CHECK(file && fgets(text, sizeof text, file));
    fclose(file);
    return (size_t)strtol(text, NULL, 10) * 4096;
}

/* The `user` of the hooks below. Poisoned by who has unregistered the hook. */
#define E_ALIVE 0x600dca11
struct e_user {
    unsigned alive;
    unsigned long calls;  /* changed with __atomic_ functions */
    unsigned long blocks; /* made by an interceptor, freed again through it */
};

static inline void e_called(void *user)
{
    struct e_user *u = (struct e_user *)user;
    CHECK(__atomic_load_n(&u->alive, __ATOMIC_ACQUIRE) == E_ALIVE);
    /* Inside a callback, hooks are suppressed: the read section is open. */
    CHECK(memhook_is_suspended() == 1);
    __atomic_fetch_add(&u->calls, 1, __ATOMIC_RELAXED);
}

static inline void e_after_alloc(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block;
    e_called(user);
}

static inline void e_before(const memhook_call *call, void *user)
{
    (void)call;
    e_called(user);
}

static inline void e_commit(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block;
    e_called(user);
}

static inline int e_observe(struct e_user *user, memhook_id *id)
{
    memhook_observer table;
    memset(&table, 0, sizeof table);
    table.struct_size = sizeof table;
    table.user = user;
    table.after_alloc = e_after_alloc;
    table.before_free = e_before;
    table.realloc_begin = e_before;
    table.realloc_commit = e_commit;
    table.realloc_abort = e_before;
    user->alive = E_ALIVE;
    return memhook_observe(&table, id);
}

/* An interceptor that changes pointers: 32 bytes in front of every block. */
#define E_FRONT 32
#define E_MARK 0x5ca1ab1e5ca1ab1eull

static inline void *e_dress(char *base)
{
    if (!base)
        return NULL;
    *(unsigned long long *)base = E_MARK;
    return base + E_FRONT;
}

static inline char *e_undress(void *block)
{
    char *base = (char *)block - E_FRONT;
    CHECK(*(unsigned long long *)base == E_MARK);
    return base;
}

static inline void *e_malloc(memhook_next *next, size_t requested, const memhook_call *call, void *user)
{
    (void)call;
    e_called(user);
    void *block = e_dress((char *)memhook_next_malloc(next, requested + E_FRONT));
    if (block)
        __atomic_fetch_add(&((struct e_user *)user)->blocks, 1, __ATOMIC_RELAXED);
    return block;
}

static inline void e_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call;
    e_called(user);
    char *base = e_undress(block);
    *(unsigned long long *)base = 0;
    __atomic_fetch_sub(&((struct e_user *)user)->blocks, 1, __ATOMIC_RELAXED);
    memhook_next_free(next, base);
}

static inline void *e_realloc(memhook_next *next, void *block, size_t requested,
                              const memhook_call *call, void *user)
{
    if (!block)
        return e_malloc(next, requested, call, user);
    if (requested == 0) {
        e_free(next, block, call, user);
        return NULL;
    }
    e_called(user);
    return e_dress((char *)memhook_next_realloc(next, e_undress(block), requested + E_FRONT));
}

static inline size_t e_usable_size(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call;
    e_called(user);
    return memhook_next_usable_size(next, e_undress(block)) - E_FRONT;
}

static inline int e_intercept(struct e_user *user, memhook_id *id)
{
    memhook_interceptor table;
    memset(&table, 0, sizeof table);
    table.struct_size = sizeof table;
    table.user = user;
    table.malloc = e_malloc;
    table.realloc = e_realloc;
    table.free = e_free;
    table.usable_size = e_usable_size;
    user->alive = E_ALIVE;
    return memhook_register(&table, id);
}

/* The hook was unregistered: nobody may call it any more. */
static inline void e_gone(struct e_user *user)
{
    __atomic_store_n(&user->alive, 0xdead, __ATOMIC_RELEASE);
}

/* A few allocation calls of several kinds. */
static inline void e_allocate(size_t n)
{
    char *a = (char *)malloc(n % 700 + 1);
    char *b = (char *)calloc(n % 30 + 1, 16);
    CHECK(a && b);
    memset(a, 1, n % 700 + 1);
    for (size_t i = 0; i < 16; i++)
        CHECK(b[i] == 0);
    a = (char *)realloc(a, n % 1500 + 20);
    CHECK(a && a[0] == 1);
    CHECK(malloc_usable_size(a) >= n % 1500 + 20);
    free(b);
    free(a);
}

/* Waits for a child; its exit status, or minus the signal that ended it. */
static inline int e_wait(pid_t pid)
{
    int status;
    while (waitpid(pid, &status, 0) != pid)
        CHECK(errno == EINTR);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -WTERMSIG(status);
}
#endif
