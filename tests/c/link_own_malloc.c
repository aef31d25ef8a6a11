/* Brings its own allocator, which is not ready before main. The library stands behind it, preloaded, and may
 * not call it at the start, nor lead others to glibc's. */
#include <stddef.h>
#include <string.h>
#include <unistd.h>

static _Alignas(16) char memory[1 << 20];
static size_t used;
static int ready;

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
    (void)block;
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

int main(void)
{
    ready = 1;
    char *copy = strdup("asked");
    if (copy < memory || copy >= memory + sizeof memory)
        say("strdup went elsewhere\n");
    say("nothing before main\n");
    return 0;
}
