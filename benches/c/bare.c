/* What hooks cost that are promised nothing: the C library is asked and callbacks are called through
 * pointers, with no section, no description of the call, no errno kept, no owner noted. Nothing that tells
 * hooks of calls can be cheaper. OBSERVERS says how many are told; without it, one interceptor is asked. */
#include "count.h"
#include <stddef.h>

void *__libc_malloc(size_t bytes);
void __libc_free(void *block);

#ifdef OBSERVERS

struct observer {
    void (*after_alloc)(const void *call, void *block, void *user);
    void (*before_free)(const void *call, void *user);
    void *user;
};

#define OBSERVER(N)                                                                                \
    static void told_block_##N(const void *call, void *block, void *user)                          \
    {                                                                                              \
        (void)call, (void)block, (void)user;                                                       \
        count_as(N);                                                                               \
    }                                                                                              \
    static void told_##N(const void *call, void *user)                                             \
    {                                                                                              \
        (void)call, (void)user;                                                                    \
        count_as(N);                                                                               \
    }

OBSERVER(0)
OBSERVER(1)
OBSERVER(2)
OBSERVER(3)

/* Volatile, as whoever registers hooks at run time might have changed them. */
static struct observer volatile observers[COUNTERS] = {
    {told_block_0, told_0, NULL},
    {told_block_1, told_1, NULL},
    {told_block_2, told_2, NULL},
    {told_block_3, told_3, NULL},
};

void *malloc(size_t bytes)
{
    void *block = __libc_malloc(bytes);
    observers[0].after_alloc(NULL, block, observers[0].user);
#if OBSERVERS == 4
    observers[1].after_alloc(NULL, block, observers[1].user);
    observers[2].after_alloc(NULL, block, observers[2].user);
    observers[3].after_alloc(NULL, block, observers[3].user);
#endif
    return block;
}

void free(void *block)
{
    observers[0].before_free(NULL, observers[0].user);
#if OBSERVERS == 4
    observers[1].before_free(NULL, observers[1].user);
    observers[2].before_free(NULL, observers[2].user);
    observers[3].before_free(NULL, observers[3].user);
#endif
    __libc_free(block);
}

#else

struct interceptor {
    void *(*malloc)(void *next, size_t bytes, const void *call, void *user);
    void (*free)(void *next, void *block, const void *call, void *user);
    void *user;
};

void *bare_next_malloc(void *next, size_t bytes);
void *bare_next_malloc(void *next, size_t bytes)
{
    (void)next;
    return __libc_malloc(bytes);
}

void bare_next_free(void *next, void *block);
void bare_next_free(void *next, void *block)
{
    (void)next;
    __libc_free(block);
}

static void *pass_malloc(void *next, size_t bytes, const void *call, void *user)
{
    (void)call, (void)user;
    count();
    return bare_next_malloc(next, bytes);
}

static void pass_free(void *next, void *block, const void *call, void *user)
{
    (void)call, (void)user;
    count();
    bare_next_free(next, block);
}

static struct interceptor volatile interceptor = {pass_malloc, pass_free, NULL};

void *malloc(size_t bytes)
{
    return interceptor.malloc(NULL, bytes, NULL, interceptor.user);
}

void free(void *block)
{
    interceptor.free(NULL, block, NULL, interceptor.user);
}

#endif
