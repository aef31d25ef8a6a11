/* An allocator whose entry points are written in assembler, with no type: it counts, and has the C library do the rest. */
#include <stddef.h>

extern void *__libc_malloc(size_t), *__libc_calloc(size_t, size_t), *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);
extern void __libc_free(void *);

int untyped_made, untyped_freed;

void *untyped_malloc(size_t requested)
{
    untyped_made++;
    return __libc_malloc(requested);
}

void *untyped_calloc(size_t count, size_t each)
{
    return __libc_calloc(count, each);
}

void *untyped_realloc(void *block, size_t requested)
{
    return __libc_realloc(block, requested);
}

void *untyped_memalign(size_t alignment, size_t requested)
{
    return __libc_memalign(alignment, requested);
}

void untyped_free(void *block)
{
    untyped_freed++;
    __libc_free(block);
}

#if defined(__x86_64__)
#define LEADS(name) __asm__(".text\n.globl " #name "\n" #name ": jmp untyped_" #name "@PLT")
#else
#define LEADS(name) __asm__(".text\n.globl " #name "\n" #name ": b untyped_" #name)
#endif

LEADS(malloc);
LEADS(calloc);
LEADS(realloc);
LEADS(memalign);
LEADS(free);
