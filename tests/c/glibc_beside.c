/* The callbacks in the variables are one interceptor among others: listed, below all others whoever came first,
 * suspended with them, unregistered like them. */
#include <malloc.h>
#include <memhook.h>
#include <stdio.h>
#include <stdlib.h>

static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;

static char order[256];
static size_t length;
static size_t observed, upper_got, lower_got;

static void say(const char *what)
{
    length += (size_t)snprintf(order + length, sizeof order - length, " %s", what);
}

static void *my_malloc(size_t size, const void *caller)
{
    (void)caller;
    say("variable");
    lower_got = size;
    __malloc_hook = NULL;
    void *block = malloc(size);
    __malloc_hook = my_malloc;
    return block;
}

static void *layer(memhook_next *next, size_t size, const memhook_call *call, void *user)
{
    (void)call;
    say(user);
    upper_got = size;
    return memhook_next_malloc(next, size + 8);
}

static void observe(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    if (call->entry == MEMHOOK_ENTRY_MALLOC)
        observed = call->requested;
}

static memhook_id put(const char *name, int priority)
{
    memhook_interceptor table = {.struct_size = sizeof table, .name = name, .priority = priority,
                                 .flags = MEMHOOK_KEEPS_POINTERS, .malloc = layer, .user = (void *)name};
    memhook_id id;
    return memhook_register(&table, &id) == 0 ? id : 0;
}

static void call(const char *what)
{
    length = 0;
    order[0] = 0;
    do_free(do_malloc(100));
    printf("%s:%s\n", what, order);
}

static memhook_id list(void)
{
    memhook_hook_info infos[8];
    size_t count = 0;
    memhook_id id = 0;
    if (memhook_chain_list(0, infos, sizeof *infos, 8, &count) != 0)
        return 0;
    for (size_t i = 0; i < count; i++) {
        printf("%s%s", i ? ", " : "", infos[i].name);
        if (infos[i].name[0] == '_')
            id = infos[i].id;
    }
    printf("\n");
    return id;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    memhook_id first = put("first", 0), lowest = put("lowest", -2147483647);
    __malloc_hook = my_malloc;
    memhook_observer observer = {.struct_size = sizeof observer, .name = "observer", .after_alloc = observe};
    memhook_id seen, last = put("last", 0), late = put("late", -2147483647);
    if (!first || !lowest || !last || !late || memhook_observe(&observer, &seen) != 0)
        return 2;
    memhook_id own = list();
    call("all");
    printf("observed %zu, the last of the others %zu, the variable %zu\n", observed, upper_got, lower_got);
    memhook_suspend();
    call("suspended");
    memhook_resume();
    /* Unregistered like any other; it comes back when the program next asks for a variable. */
    printf("unregistered: %d\n", memhook_unregister(own));
    call("without");
    printf("still there: %d\n", __malloc_hook == my_malloc);
    call("again");
    int wrong = memhook_unregister(first) | memhook_unregister(lowest) | memhook_unregister(last) |
                memhook_unregister(late) | memhook_unregister(seen);
    call("alone");
    return wrong;
}
