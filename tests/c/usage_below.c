/* glibc's allocator, with a calloc that is malloc and memset, as libmemusage's is: stands below both in a
 * comparison, so that blocks lie in the same places. */
#include <stddef.h>
#include <string.h>

extern void *__libc_malloc(size_t), *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

void *malloc(size_t requested)
{
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

void *memalign(size_t alignment, size_t requested)
{
    return __libc_memalign(alignment, requested);
}

void *calloc(size_t count, size_t each)
{
    size_t requested = count * each;
    void *block = __builtin_mul_overflow(count, each, &requested) ? NULL : __libc_malloc(requested);
    return block == NULL ? NULL : memset(block, 0, requested);
}
