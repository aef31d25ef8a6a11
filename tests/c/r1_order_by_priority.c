/* The order of hooks: higher priorities stand nearer the program, and later ones among equals; a replaced hook keeps
 * its place. What a program gets is what the outermost says; observers see that. */
#include "check.h"

enum { HOOKS = 30 };
static char said[HOOKS + 1];
static int count;

static void say(void *user)
{
    CHECK(count < HOOKS);
    said[count++] = (char)(intptr_t)user;
}

static void *pass(memhook_next *next, size_t n, const memhook_call *call, void *user)
{
    if (call->requested != 4711)
        return memhook_next_malloc(next, n);
    say(user);
    void *block = memhook_next_malloc(next, n + 1); /* the next one's size, not the program's */
    SAME(call->requested, 4711);
    return block;
}

static void after(const memhook_call *call, void *block, void *user)
{
    (void)block;
    if (call->requested == 4711)
        say(user);
}

static memhook_id intercept(char name, int priority)
{
    memhook_interceptor t = { .struct_size = sizeof t, .malloc = pass, .priority = priority,
                              .flags = MEMHOOK_KEEPS_POINTERS, .user = (void *)(intptr_t)name };
    memhook_id id;
    OK(memhook_register(&t, &id));
    return id;
}

static memhook_id observe(char name, int priority)
{
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = after, .priority = priority,
                           .user = (void *)(intptr_t)name };
    memhook_id id;
    OK(memhook_observe(&o, &id));
    return id;
}

static void expect(const char *interceptors, const char *observers)
{
    memhook_hook_info infos[HOOKS];
    char order[2][HOOKS + 1] = { "", "" };
    size_t n;
    count = 0;
    memset(said, 0, sizeof said);
    void *block = malloc(4711);
    CHECK(malloc_usable_size(block) >= 4711 + strlen(interceptors));
    free(block);
    /* Interceptors on the way down, observers when the block is there. */
    CHECK(strncmp(said, interceptors, strlen(interceptors)) == 0);
    CHECK(strcmp(said + strlen(interceptors), observers) == 0);
    OK(memhook_chain_list(0, infos, sizeof *infos, HOOKS, &n));
    for (size_t i = 0; i < n; i++) {
        char *to = order[infos[i].kind == MEMHOOK_KIND_OBSERVER];
        to[strlen(to)] = (char)(intptr_t)infos[i].user;
        CHECK(i == 0 || infos[i].kind != infos[i - 1].kind || infos[i].priority <= infos[i - 1].priority);
    }
    CHECK(strcmp(order[0], interceptors) == 0 && strcmp(order[1], observers) == 0);
}

int main(void)
{
    memhook_id ids[HOOKS];
    int n = 0;
    ids[n++] = intercept('a', 0);
    ids[n++] = intercept('b', 5);
    ids[n++] = observe('A', 0);
    ids[n++] = intercept('c', 0);
    ids[n++] = intercept('d', -5);
    ids[n++] = observe('B', -1);
    ids[n++] = intercept('e', INT32_MAX);
    ids[n++] = observe('C', INT32_MIN);
    ids[n++] = intercept('f', INT32_MIN + 1);
    ids[n++] = observe('D', 0);
    ids[n++] = intercept('g', INT32_MAX);
    ids[n++] = observe('E', INT32_MAX);
    expect("gebcadf", "EDABC");
    memhook_interceptor t = { .struct_size = sizeof t, .malloc = pass, .flags = MEMHOOK_KEEPS_POINTERS,
                              .user = (void *)'x' };
    OK(memhook_replace(ids[0], &t));
    expect("gebcxdf", "EDABC");
    OK(memhook_unregister(ids[3]));
    expect("gebxdf", "EDABC");
    /* A copy of the chain, swapped in, is in the same order; what is added to it finds its place. */
    memhook_chain chain, former;
    OK(memhook_chain_copy(&chain));
    OK(memhook_chain_remove(chain, ids[1]));
    OK(memhook_chain_swap(chain, &former));
    expect("gexdf", "EDABC");
    ids[3] = intercept('h', 5);
    expect("gehxdf", "EDABC");
    OK(memhook_chain_swap(former, NULL));
    expect("gebxdf", "EDABC");
    SAME(memhook_unregister(ids[3]), ESRCH);
    for (int i = 0; i < n; i++)
        if (i != 3)
            OK(memhook_unregister(ids[i]));
    expect("", "");
    puts("higher first, later first among equals");
}
