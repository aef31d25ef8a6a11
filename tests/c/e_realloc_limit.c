/* Reallocs of owned blocks with little address space left: each either moves its block, owner and
 * contents and all, or fails with ENOMEM and leaves it. Many more of them find no memory for the mark of
 * the new block than the library has spare places for. */
#include "e_check.h"
#include <sys/mman.h>
#include <sys/resource.h>

#define BLOCKS 4000
static char *blocks[BLOCKS];

#define APART ((size_t)8 << 20)
static char *far;

/* Addresses far apart, so that each new block needs a new page of marks. */
static void *far_realloc(memhook_next *next, void *block, size_t size, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    static int used;
    if (size < 1000)
        return memhook_next_realloc(next, block, size);
    char *new = far + used++ * APART;
    CHECK(mprotect(new, 4096, PROT_READ | PROT_WRITE) == 0);
    memcpy(new, block, 16);
    memhook_next_free(next, block);
    return new;
}

static void far_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    if ((size_t)((char *)block - far) < BLOCKS * APART)
        madvise(block, 4096, MADV_DONTNEED);
    else
        memhook_next_free(next, block);
}

static void *near_malloc(memhook_next *next, size_t size, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    return memhook_next_malloc(next, size);
}

int main(void)
{
    memhook_interceptor table = {.struct_size = sizeof table, .malloc = near_malloc,
                                 .realloc = far_realloc, .free = far_free};
    memhook_id id;
    CHECK(memhook_register(&table, &id) == 0);
    for (int i = 0; i < BLOCKS; i++) {
        CHECK((blocks[i] = malloc(16)) != NULL);
        memset(blocks[i], i, 16);
    }
    far = mmap(NULL, BLOCKS * APART, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    CHECK(far != MAP_FAILED);
    struct rlimit limit = {e_address_space() + (64 << 20), RLIM_INFINITY};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    int moved = 0, failed = 0;
    for (int i = 0; i < BLOCKS; i++) {
        errno = 0;
        char *new = realloc(blocks[i], 1000);
        if (new) {
            blocks[i] = new;
            moved++;
        } else {
            CHECK(errno == ENOMEM);
            failed++;
        }
        for (int k = 0; k < 16; k++)
            CHECK(blocks[i][k] == (char)i);
    }
    CHECK(moved > 500 && failed > 0);
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[i]);
    size_t live = 1;
    CHECK(memhook_live_blocks(id, &live) == 0 && live == 0);
    CHECK(memhook_unregister(id) == 0);
    puts("moved or refused, none lost");
    return 0;
}
