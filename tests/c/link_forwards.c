/* An allocator that only forwards, and one function to another by its name, which is an entry point. */
#include <stddef.h>

extern void *__libc_realloc(void *, size_t), *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);
extern void *aligned_alloc(size_t, size_t);
extern void *realloc(void *, size_t);

void *malloc(size_t requested)
{
    return aligned_alloc(16, requested);
}

void *calloc(size_t count, size_t each)
{
    char *block = aligned_alloc(16, count * each);
    for (size_t i = 0; block != NULL && i < count * each; i++)
        ((volatile char *)block)[i] = 0;
    return block;
}

void *aligned_alloc(size_t alignment, size_t requested)
{
    return __libc_memalign(alignment, requested);
}

void *memalign(size_t alignment, size_t requested)
{
    return aligned_alloc(alignment, requested);
}

void *realloc(void *block, size_t requested)
{
    return __libc_realloc(block, requested);
}

void free(void *block)
{
    if (block != NULL)
        realloc(block, 0);
}
