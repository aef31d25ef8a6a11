/* An allocator below: while it makes a block of 4242 bytes or more it has a lock, and is interrupted by SIGUSR1. */
#include <malloc.h>
#include <signal.h>
#include <stddef.h>
#include <string.h>
#include <unistd.h>

extern void *__libc_malloc(size_t), *__libc_realloc(void *, size_t), *__libc_calloc(size_t, size_t);
extern void __libc_free(void *);

static volatile int is_locked;

void *malloc(size_t requested)
{
    if (requested >= 4242) {
        is_locked = 1;
        raise(SIGUSR1);
        is_locked = 0;
    }
    return __libc_malloc(requested);
}

void free(void *block)
{
    __libc_free(block);
}

void *realloc(void *block, size_t requested)
{
    return __libc_realloc(block, requested);
}

void *calloc(size_t count, size_t each)
{
    return __libc_calloc(count, each);
}

struct mallinfo2 mallinfo2(void)
{
    if (is_locked) {
        write(1, "waits for ever\n", 15);
        _exit(99);
    }
    return (struct mallinfo2){.arena = 12345};
}
