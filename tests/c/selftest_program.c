/* The self-test in a program whose calls arrive, and its wrong arguments. With arguments: a
 * plugin to test, another to load with RTLD_DEEPBIND (lazily with a fourth argument), and one that
 * calls nothing. */
#define _GNU_SOURCE
#include "err_check.h"
#include <dlfcn.h>
#include <malloc.h>

static uint32_t missed;
static char text[600];

static void says(const char *what, int result)
{
    printf("%s: %s, missed %#x\n", what, error_name(result), (unsigned)missed);
    printf("  %s\n", text);
    memset(text, 'x', sizeof text);
    missed = 0xffff;
}

static int tests_left, inner_result = -1;

/* A callback that makes sure itself, which the test's own call may lead to. */
static void told(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block, (void)user;
    if (tests_left && tests_left--)
        inner_result = MEMHOOK_SELF_TEST(NULL, NULL, 0);
}

static void inside_itself(void)
{
    static const memhook_observer observer = {.struct_size = sizeof observer, .after_alloc = told};
    memhook_id id;
    MUST(memhook_observe(&observer, &id));
    tests_left = 1;
    says("inside itself", MEMHOOK_SELF_TEST(&missed, text, sizeof text));
    EXPECT(inner_result == 0);
    MUST(memhook_unregister(id));
}

static void wrong_arguments(void)
{
    static memhook_entry_points none;
    const memhook_entry_points *all;
    memhook_entry_points wrong;
    int on_the_stack;

    all = memhook_entry_points_of_(malloc, free, calloc, realloc, malloc_usable_size, memalign);
    REFUSED("no functions", memhook_self_test(NULL, &missed, text, sizeof text));
    wrong = *all, wrong.struct_size--;
    REFUSED("wrong struct_size", memhook_self_test(&wrong, &missed, text, sizeof text));
    none.struct_size = sizeof none;
    says("nothing to test", memhook_self_test(&none, &missed, text, sizeof text));
    REFUSED("nowhere to write", memhook_self_test(all, NULL, NULL, 0));
    text[0] = 'x';
    REFUSED("no room", memhook_self_test(all, &missed, text, 0));
    EXPECT(text[0] == 'x');
    REFUSED("little room", memhook_self_test(all, &missed, text, 8));
    printf("  %s\n", text);
    REFUSED("object at NULL", memhook_self_test_object(NULL, &missed, text, sizeof text));
    REFUSED("object on the stack",
            memhook_self_test_object(&on_the_stack, &missed, text, sizeof text));
}

static void *plugin(const char *path, int flags)
{
    void *handle = dlopen(path, flags), *function;
    if (handle == NULL) {
        printf("dlopen: %s\n", dlerror());
        exit(1);
    }
    function = dlsym(handle, "plugin_function");
    EXPECT(function != NULL);
    return function;
}

int main(int argc, char **argv)
{
    memhook_observer watch = counting_observer();
    memhook_interceptor table = owning_interceptor();
    memhook_id observer, interceptor;

    setvbuf(stdout, NULL, _IONBF, 0);
    says("bare", MEMHOOK_SELF_TEST(&missed, text, sizeof text));
    MUST(memhook_observe(&watch, &observer));
    says("observed", MEMHOOK_SELF_TEST(&missed, text, sizeof text));
    MUST(memhook_register(&table, &interceptor));
    says("intercepted", MEMHOOK_SELF_TEST(&missed, text, sizeof text));
    inside_itself();
    MUST(memhook_suspend());
    says("suspended", MEMHOOK_SELF_TEST(&missed, text, sizeof text));
    MUST(memhook_resume());
    EXPECT(seen_by_one_pair() == 2);
    wrong_arguments();
    if (argc > 1) {
        void *at = plugin(argv[1], RTLD_NOW);
        says("plugin", memhook_self_test_object(at, &missed, text, sizeof text));
        at = plugin(argv[2], (argc > 4 ? RTLD_LAZY : RTLD_NOW) | RTLD_DEEPBIND);
        says("deep plugin", memhook_self_test_object(at, &missed, text, sizeof text));
        void *apart = dlmopen(LM_ID_NEWLM, argv[1], RTLD_NOW);
        EXPECT(apart != NULL);
        at = dlsym(apart, "plugin_function");
        says("plugin in a namespace of its own", memhook_self_test_object(at, &missed, text, sizeof text));
        at = plugin(argv[3], RTLD_NOW);
        says("plugin without calls", memhook_self_test_object(at, &missed, text, sizeof text));
        says("main program", memhook_self_test_object((void *)main, &missed, text, sizeof text));
        says("libc", memhook_self_test_object((void *)puts, &missed, text, sizeof text));
    }
#ifdef OBJECT
    if (argc == 1) {
        REFUSED("object", memhook_self_test_object((void *)main, &missed, text, sizeof text));
    }
#endif
    EXPECT(seen_by_one_pair() == 2);
    MUST(memhook_unregister(observer));
    RESULT("unregister", memhook_unregister(interceptor));
    goes_on();
    return 0;
}
