/* Names no allocation function itself: whoever allocates for it is seen all the same. */
#include <memhook.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>

static atomic_int seen;

static void after_alloc(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block, (void)user;
    seen++;
}

static void start(void)
{
    static const memhook_observer table = {.struct_size = sizeof table, .after_alloc = after_alloc};
    memhook_id id;
    if (memhook_observe(&table, &id) != 0)
        memhook_log("not observed\n");
}

MEMHOOK_INITIALIZE(start);

static char *(*volatile do_strdup)(const char *) = strdup;

int main(void)
{
    int before = seen;
    for (int i = 0; i < 3; i++)
        if (do_strdup("text") == NULL)
            return 1;
    printf("seen %d\n", seen - before);
    return 0;
}
