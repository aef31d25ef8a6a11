/* The end of the process: allocation in exit handlers and destructors, exit and abort in callbacks. */
#include "e_check.h"

static struct e_user user = {E_ALIVE, 0, 0};
static const char *how = "";
static unsigned long during_exit;
static void *early;

static void say(const char *text)
{
    CHECK(write(1, text, strlen(text)) == (ssize_t)strlen(text));
}

static void after_alloc(const memhook_call *call, void *block, void *u)
{
    (void)block;
    e_called(u);
    if (call->circumstances & MEMHOOK_DURING_PROCESS_EXIT)
        during_exit++;
    if (call->requested != 4321)
        return;
    if (!strcmp(how, "exit"))
        exit(7);
    if (!strcmp(how, "quick"))
        quick_exit(8);
    if (!strcmp(how, "abort"))
        abort();
}

static void handler(void)
{
    unsigned long before = user.calls;
    e_allocate(3);
    free(early);
    memhook_id id;
    static struct e_user late;
    CHECK(e_intercept(&late, &id) == 0);
    e_allocate(4);
    CHECK(memhook_unregister(id) == 0 || memhook_is_suspended());
    /* Where exit was called inside a callback, hooks are suppressed. */
    say(user.calls > before ? "handler seen\n" : "handler not seen\n");
}

__attribute__((destructor)) static void destructor(void)
{
    unsigned long before = user.calls;
    e_allocate(6);
    say(user.calls > before ? "destructor seen\n" : "destructor not seen\n");
    if (!strcmp(how, "circumstance"))
        say(during_exit ? "as process exit\n" : "not as process exit\n");
}

__attribute__((constructor)) static void constructor(void)
{
    e_allocate(1);
}

int main(int argc, char **argv)
{
    how = argc > 1 ? argv[1] : "";
    memhook_observer table = {.struct_size = sizeof table, .user = &user, .after_alloc = after_alloc};
    memhook_id id;
    CHECK(memhook_observe(&table, &id) == 0);
    CHECK(atexit(handler) == 0);
    early = malloc(99);
    void *block = malloc(4321);
    say("main returns\n");
    free(block);
    return 0;
}
