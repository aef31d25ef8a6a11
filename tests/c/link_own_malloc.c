/* Brings its own allocator, which is not ready before main. The library stands behind it, preloaded, and may
 * not call it at the start, nor lead others to glibc's. */
#include <stddef.h>
#include <string.h>
#include <unistd.h>

static _Alignas(16) char memory[1 << 20];
static size_t used;
static int ready, frees;

static void say(const char *text)
{
    if (write(1, text, strlen(text)) < 0)
        _exit(2);
}

static void called(const char *what)
{
    if (ready)
        return;
    say(what);
    say(" was called before main\n");
    _exit(1);
}

void *malloc(size_t bytes)
{
    called("malloc");
    size_t *block = (size_t *)(memory + used);
    used += (bytes + 31) / 16 * 16;
    if (used > sizeof memory)
        return NULL;
    *block = bytes;
    return block + 2;
}

void free(void *block)
{
    called("free");
    frees += (char *)block >= memory && (char *)block < memory + sizeof memory;
}

void *calloc(size_t count, size_t each)
{
    called("calloc");
    return malloc(count * each);
}

void *realloc(void *block, size_t bytes)
{
    called("realloc");
    void *larger = malloc(bytes);
    if (larger && block) {
        size_t before = ((size_t *)block)[-2];
        memcpy(larger, block, before < bytes ? before : bytes);
    }
    return larger;
}

void *reallocarray(void *block, size_t count, size_t each);
static void *(*volatile do_reallocarray)(void *, size_t, size_t) = reallocarray;
__attribute__((weak)) void free_sized(void *block, size_t size);
__attribute__((weak)) void free_aligned_sized(void *block, size_t alignment, size_t size);

int main(void)
{
    ready = 1;
    char *copy = strdup("asked");
    if (copy < memory || copy >= memory + sizeof memory)
        say("strdup went elsewhere\n");
    /* Which it lacks: the C library's, or the library's in its place, is to call its realloc. */
    copy = do_reallocarray(copy, 10, 10);
    if (copy < memory || copy >= memory + sizeof memory || strcmp(copy, "asked") != 0)
        say("reallocarray went elsewhere\n");
    frees = 0;
    free_sized(copy, 100);
    free_aligned_sized(malloc(16), 16, 16);
    if (frees != 2)
        say("free_sized went elsewhere\n");
    say("nothing before main\n");
    return 0;
}
