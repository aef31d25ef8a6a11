/* reallocarray of a block, with a product that overflows: a realloc that fails, reported as one. */
#include "check.h"

static char said[8];

static void begin(const memhook_call *c, void *user)
{
    (void)user;
    SAME(c->requested, SIZE_MAX);
    strcat(said, "b");
}

static void commit(const memhook_call *c, void *block, void *user)
{
    (void)c, (void)block, (void)user;
    strcat(said, "c");
}

static void abandon(const memhook_call *c, void *user)
{
    (void)user;
    SAME(c->requested, SIZE_MAX);
    strcat(said, "a");
}

int main(void)
{
    memhook_id id;
    memhook_observer o = { .struct_size = sizeof o, .realloc_begin = begin, .realloc_commit = commit,
                           .realloc_abort = abandon };
    OK(memhook_observe(&o, &id));
    void *p = malloc(10);
    errno = 0;
    SAME((uintptr_t)reallocarray(p, SIZE_MAX / 2, 3), 0);
    SAME(errno, ENOMEM);
    free(p);
    printf("told: %s\n", said);
}
