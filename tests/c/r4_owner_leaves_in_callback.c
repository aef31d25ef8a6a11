/* An interceptor unregisters itself in its own malloc, and then makes its only block: it is
 * released with that block, though nobody registers or unregisters anything after it. */
#include "check.h"

static struct account a = { .tag = 0xa };
static memhook_id id;

static void *leaves(memhook_next *next, size_t n, const memhook_call *call, void *user)
{
    SAME(memhook_unregister(id), EINPROGRESS);
    return account_malloc(next, n, call, user);
}

int main(void)
{
    memhook_interceptor t = account_table(&a, "a", 0);
    t.malloc = leaves;
    OK(memhook_register(&t, &id));
    void *p = malloc(100);
    SAME(a.live, 1);
    SAME(a.released, 0);
    free(p);
    SAME(a.live, 0);
    SAME(a.released, 1);
    puts("released with its block");
}
