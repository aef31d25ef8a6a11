/* Address space runs out: calls return NULL with ENOMEM, registration answers ENOMEM, and no block
 * and no hook is lost. Run once for each limit, in a child. */
#include "e_check.h"
#include <sys/resource.h>

#define BLOCKS 20000
#define MANY 3000
static void *blocks[BLOCKS];

static void *thread(void *argument)
{
    (void)argument;
    void *block = malloc(100);
    if (!block)
        CHECK(errno == ENOMEM);
    free(block);
    return NULL;
}

static void child(size_t room, int owning)
{
    static struct e_user user, more[MANY];
    static memhook_id ids[MANY];
    memhook_id id = 0;
    int early = room % 3 == 0;
    if (early)
        CHECK((owning ? e_intercept : e_observe)(&user, &id) == 0);
    struct rlimit limit = {e_address_space() + room, RLIM_INFINITY};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    int have = early;
    if (!have) {
        int result = (owning ? e_intercept : e_observe)(&user, &id);
        CHECK(result == 0 || result == ENOMEM);
        have = result == 0;
    }
    size_t n = 0;
    for (; n < BLOCKS; n++) {
        errno = 0;
        blocks[n] = n % 3 == 0 ? calloc(1, 3000) : n % 3 == 1 ? malloc(3000) : aligned_alloc(64, 3072);
        if (!blocks[n]) {
            CHECK(errno == ENOMEM);
            break;
        }
        memset(blocks[n], 7, 3000);
    }
    CHECK(n < BLOCKS);
    errno = 0;
    CHECK(!malloc((size_t)1 << 40) && errno == ENOMEM);
    if (n) {
        errno = 0;
        CHECK(!realloc(blocks[0], (size_t)1 << 40) && errno == ENOMEM);
        CHECK(((char *)blocks[0])[2999] == 7);
    }
    /* Registration is refused at last; with much room that would take long. */
    int made = 0, most = room < 200000 ? MANY : 50;
    for (; made < most; made++) {
        int result = e_observe(&more[made], &ids[made]);
        CHECK(result == 0 || result == ENOMEM);
        if (result)
            break;
    }
    CHECK(made < MANY);
    pthread_t t;
    if (pthread_create(&t, NULL, thread, NULL) == 0)
        CHECK(pthread_join(t, NULL) == 0);
    for (size_t i = 0; i < n; i++) {
        CHECK(((char *)blocks[i])[1234] == 7);
        free(blocks[i]);
    }
    limit.rlim_cur = RLIM_INFINITY;
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    /* With memory again, all is as it was. */
    for (int i = 0; i < made; i++)
        CHECK(memhook_unregister(ids[i]) == 0);
    size_t count;
    CHECK(memhook_chain_list(0, NULL, sizeof(memhook_hook_info), 0, &count) == 0);
    CHECK(count == (size_t)have);
    if (have) {
        unsigned long before = user.calls;
        e_allocate(9);
        CHECK(user.calls > before);
        size_t live = 1;
        CHECK(memhook_live_blocks(id, &live) == 0 && live == 0 && user.blocks == 0);
        CHECK(memhook_unregister(id) == 0);
    }
    e_allocate(10);
    _exit(0);
}

int main(void)
{
    int good = 0, all = 0;
    for (int owning = 0; owning < 2; owning++) {
        for (size_t room = 0; room < (size_t)24 << 20; room += room < (1 << 20) ? 65536 : (size_t)1234 * 1024) {
            for (size_t slip = 0; slip < 3; slip++) {
                pid_t pid = fork();
                CHECK(pid >= 0);
                if (pid == 0)
                    child(room + slip, owning);
                all++;
                int status = e_wait(pid);
                good += status == 0;
                if (status)
                    printf("room %zu, owner %d: %d\n", room + slip, owning, status);
            }
        }
    }
    if (good == all)
        puts("every limit was survived");
    return good != all;
}
