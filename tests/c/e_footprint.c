/* Address space for the marks of owned blocks is taken when there are owned blocks, and not before. */
#include "e_check.h"
#include <fcntl.h>

/* Bytes of address space, without allocating. */
static size_t space(void)
{
    char text[256];
    int fd = open("/proc/self/statm", O_RDONLY);
    CHECK(fd >= 0);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    CHECK(n > 0);
    text[n] = 0;
    return (size_t)strtol(text, NULL, 10) * 4096;
}

static void *keep(memhook_next *next, size_t size, const memhook_call *call, void *user)
{
    (void)call;
    e_called(user);
    return memhook_next_malloc(next, size);
}

int main(void)
{
    static struct e_user user, owner, keeper = {E_ALIVE, 0, 0};
    memhook_interceptor table = {.struct_size = sizeof table, .user = &keeper, .malloc = keep,
                                 .flags = MEMHOOK_KEEPS_POINTERS};
    memhook_id a, b, c;
    size_t leaf = 1 << 20;
    /* The C library's heap is grown, and the thread known. */
    free(malloc(100000));
    e_allocate(1);
    size_t before = space();
    CHECK(e_observe(&user, &a) == 0);
    CHECK(memhook_register(&table, &b) == 0);
    for (size_t n = 0; n < 5000; n++)
        e_allocate(n);
    CHECK(user.calls > 0 && keeper.calls > 0);
    CHECK(space() - before < leaf);
    before = space();
    CHECK(e_intercept(&owner, &c) == 0);
    CHECK(space() - before < leaf);
    for (size_t n = 0; n < 5000; n++)
        e_allocate(n);
    CHECK(owner.calls > 0);
    /* One leaf for the heap, and the table that leads to it. */
    CHECK(space() - before >= leaf && space() - before < 2 * leaf);
    CHECK(memhook_unregister(c) == 0);
    CHECK(memhook_unregister(b) == 0);
    CHECK(memhook_unregister(a) == 0);
    puts("nothing before the first owned block");
    return 0;
}
