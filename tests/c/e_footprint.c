/* Address space for the marks of owned blocks is taken when there are owned blocks, and not before. */
#include "e_check.h"
#include <fcntl.h>
#include <stdint.h>
#include <sys/mman.h>

/* A leaf holds the marks of this many bytes of addresses, and takes a quarter of it. */
#define COVERED ((size_t)4 << 20)
#define LEAF ((size_t)1 << 20)

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

/* Owned blocks come from here, so that the test knows which leaves have to do with them: the heap may lie over the
   border of two. */
static char *pool;

static void *pool_malloc(memhook_next *next, size_t size, const memhook_call *call, void *user)
{
    (void)next, (void)call;
    e_called(user);
    char *block = pool;
    pool += (size + 16) & ~(size_t)15;
    return block;
}

static void pool_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)next, (void)block, (void)call;
    e_called(user);
}

/* Blocks from `place`. */
static void allocate_at(char *place)
{
    pool = place;
    for (size_t n = 0; n < 500; n++) {
        char *volatile block = (char *)malloc(n);
        CHECK(block >= place && block < place + COVERED);
        free(block);
    }
}

int main(void)
{
    static struct e_user user, owner = {E_ALIVE, 0, 0}, keeper = {E_ALIVE, 0, 0};
    memhook_interceptor keeping = {.struct_size = sizeof keeping, .user = &keeper, .malloc = keep,
                                   .flags = MEMHOOK_KEEPS_POINTERS};
    memhook_interceptor owning = {.struct_size = sizeof owning, .user = &owner, .malloc = pool_malloc,
                                  .free = pool_free};
    memhook_id a, b, c;
    char *mapped = (char *)mmap(NULL, 3 * COVERED, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(mapped != MAP_FAILED);
    char *first = (char *)(((uintptr_t)mapped + COVERED - 1) & -(uintptr_t)COVERED);
    /* The C library's heap is grown, and the thread known. */
    free(malloc(100000));
    e_allocate(1);
    size_t before = space();
    CHECK(e_observe(&user, &a) == 0);
    CHECK(memhook_register(&keeping, &b) == 0);
    for (size_t n = 0; n < 5000; n++)
        e_allocate(n);
    CHECK(user.calls > 0 && keeper.calls > 0);
    CHECK(space() - before < LEAF);
    before = space();
    CHECK(memhook_register(&owning, &c) == 0);
    CHECK(space() - before < LEAF);
    allocate_at(first);
    CHECK(owner.calls == 1000);
    /* One leaf for these, and the table that leads to it. */
    CHECK(space() - before >= LEAF && space() - before < 2 * LEAF);
    before = space();
    allocate_at(first + COVERED);
    CHECK(space() - before >= LEAF && space() - before < 2 * LEAF);
    /* Back where marks were before. */
    before = space();
    allocate_at(first);
    CHECK(space() - before < LEAF);
    CHECK(memhook_unregister(c) == 0);
    CHECK(memhook_unregister(b) == 0);
    CHECK(memhook_unregister(a) == 0);
    puts("nothing before the first owned block");
    return 0;
}
