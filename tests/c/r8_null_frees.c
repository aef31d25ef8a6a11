/* free(NULL) is shown to interceptors that ask for it, and to nobody else; errno stays. */
#include "check.h"

static int seen, others;

static void on_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    int *count = user;
    if (block == NULL) {
        SAME(call->entry == MEMHOOK_ENTRY_FREE || call->entry == MEMHOOK_ENTRY_FREE_SIZED, 1);
        SAME(call->block, NULL);
        errno = 77;
        free(NULL); /* inside a callback: not shown */
        ++*count;
    }
    memhook_next_free(next, block); /* of NULL does nothing, next being NULL too */
}

static void *on_malloc(memhook_next *next, size_t requested, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    return memhook_next_malloc(next, requested);
}

static void before_free(const memhook_call *call, void *user)
{
    (void)user;
    others += call->block == NULL;
}

static memhook_id add(uint32_t flags, int *count)
{
    memhook_interceptor table = {
        .struct_size = sizeof table, .flags = flags, .user = count, .malloc = on_malloc, .free = on_free};
    memhook_id id;
    OK(memhook_register(&table, &id));
    return id;
}

int main(void)
{
    memhook_observer observer = {.struct_size = sizeof observer, .before_free = before_free};
    memhook_id ids[5];
    free(NULL);
    ids[0] = add(MEMHOOK_SEES_NULL, &seen);
    errno = 5;
    free(NULL);
    SAME(seen, 1);
    ids[1] = add(MEMHOOK_SEES_NULL | MEMHOOK_KEEPS_POINTERS, &seen);
    ids[2] = add(0, &others);
    ids[3] = add(MEMHOOK_KEEPS_POINTERS, &others);
    OK(memhook_observe(&observer, &ids[4]));
    free(NULL);
    SAME(seen, 3);
    SAME(errno, 5);
    void *block = malloc(10);
    free(block);
    SAME(seen, 3);
    OK(memhook_suspend());
    free(NULL);
    OK(memhook_resume());
    for (int i = 0; i < 5; i++)
        OK(memhook_unregister(ids[i]));
    free(NULL);
    SAME(seen, 3);
    SAME(others, 0);
    puts("nothing, seen by who wants to");
    return 0;
}
