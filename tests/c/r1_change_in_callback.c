/* Hooks that come and go inside a callback: one that comes is not seen by the call that the callback
 * belongs to; one that goes before its turn is passed by, by all its callbacks. */
#include "check.h"

static char said[64];
static memhook_id b, c, d, j;
static int gone;

static void say(char who)
{
    size_t n = strlen(said);
    said[n] = who;
    said[n + 1] = 0;
}

static void expect(const char *wanted)
{
    if (strcmp(said, wanted) != 0) {
        memhook_log("heard \"%s\", not \"%s\"\n", said, wanted);
        _exit(1);
    }
    said[0] = 0;
}

static int ours(const memhook_call *call)
{
    return call->requested >= 1001 && call->requested <= 1020;
}

static void letter_after(const memhook_call *call, void *block, void *user)
{
    (void)block;
    if (ours(call))
        say(*(char *)user);
}

static void letter_before(const memhook_call *call, void *user)
{
    if (ours(call))
        say(*(char *)user);
}

static void released(void *user)
{
    (void)user;
    gone++;
}

static memhook_observer letter(const char *user, int priority)
{
    return (memhook_observer){ .struct_size = sizeof(memhook_observer), .priority = priority,
                               .user = (void *)user, .after_alloc = letter_after,
                               .realloc_begin = letter_before, .realloc_commit = letter_after,
                               .release = released };
}

static void a_after(const memhook_call *call, void *block, void *user)
{
    letter_after(call, block, user);
    if (call->requested == 1001) {
        memhook_observer inner = letter("b", -5), outer = letter("c", 5);
        OK(memhook_observe(&inner, &b));
        OK(memhook_observe(&outer, &c));
    }
    if (call->requested == 1002) {
        SAME(memhook_unregister(b), EINPROGRESS);
        SAME(memhook_unregister(c), EINPROGRESS);
        SAME(gone, 0);
    }
}

static void a_begin(const memhook_call *call, void *user)
{
    letter_before(call, user);
    if (call->requested == 1011) {
        memhook_observer inner = letter("d", -5);
        OK(memhook_observe(&inner, &d));
    }
    if (call->requested == 1012)
        SAME(memhook_unregister(d), EINPROGRESS);
}

static void *j_malloc(memhook_next *next, size_t n, const memhook_call *call, void *user)
{
    (void)user;
    if (ours(call))
        say('j');
    return memhook_next_malloc(next, n);
}

static void *i_malloc(memhook_next *next, size_t n, const memhook_call *call, void *user)
{
    (void)user;
    if (ours(call))
        say('i');
    if (n == 1015) {
        memhook_interceptor table = { .struct_size = sizeof table, .priority = -5,
                                      .flags = MEMHOOK_KEEPS_POINTERS, .malloc = j_malloc,
                                      .release = released };
        OK(memhook_register(&table, &j));
    }
    if (n == 1016)
        SAME(memhook_unregister(j), EINPROGRESS);
    return memhook_next_malloc(next, n);
}

int main(void)
{
    memhook_observer a = letter("a", 0);
    memhook_id id;
    a.after_alloc = a_after;
    a.realloc_begin = a_begin;
    OK(memhook_observe(&a, &id));

    free(malloc(1001));
    expect("a"); /* registered in it: not seen */
    free(malloc(1002));
    expect("ca"); /* b goes before its turn, c after it */
    SAME(gone, 2);
    free(malloc(1003));
    expect("a");

    void *p = malloc(10);
    p = realloc(p, 1011);
    expect("aa");
    p = realloc(p, 1012);
    expect("aa");
    SAME(gone, 3);
    p = realloc(p, 1013);
    expect("aa");
    free(p);

    memhook_interceptor table = { .struct_size = sizeof table, .flags = MEMHOOK_KEEPS_POINTERS,
                                  .malloc = i_malloc };
    OK(memhook_register(&table, &id));
    free(malloc(1015));
    expect("ia");
    free(malloc(1018));
    expect("ija");
    free(malloc(1016));
    expect("ia");
    SAME(gone, 4);
    free(malloc(1017));
    expect("ia");
    puts("a call meets none that came in it");
}
