/* An allocator with blocks of its own and no malloc_usable_size: the C library's would take the word before a block for a
 * size, and read there. */
#include <stddef.h>
#include <stdint.h>
#include <string.h>

enum { FRONT = 16 };

static _Alignas(16) char memory[64 << 20];
static size_t used;

void *malloc(size_t bytes)
{
    size_t room = FRONT + (bytes + 15) / 16 * 16, at = __atomic_fetch_add(&used, room, __ATOMIC_RELAXED);
    if (bytes > sizeof memory || at + room > sizeof memory)
        return NULL;
    size_t *front = (size_t *)(memory + at);
    front[0] = bytes;
    front[1] = (size_t)1 << 60;
    return memory + at + FRONT;
}

void free(void *block)
{
    (void)block;
}

void *calloc(size_t count, size_t each)
{
    return malloc(count * each);
}

void *memalign(size_t alignment, size_t bytes)
{
    char *block = malloc(bytes + alignment);
    return block == NULL ? NULL : (char *)(((uintptr_t)block + alignment - 1) / alignment * alignment);
}

void *realloc(void *block, size_t bytes)
{
    void *new = malloc(bytes);
    if (block != NULL && new != NULL) {
        size_t before = *(size_t *)((char *)block - FRONT);
        memcpy(new, block, before < bytes ? before : bytes);
    }
    return new;
}
