/* A callback calls what allocates: none of it is seen by a hook, none of it stops the thread. */
#include "check.h"
#include <dlfcn.h>
#include <execinfo.h>
#include <netdb.h>
#include <time.h>

static __thread int depth;
static int rounds, deepest;
static long others;

static void *thread(void *unused)
{
    free(malloc(4712));
    return unused;
}

static void everything(void)
{
    void *frames[32];
    rounds++;
    void *p = malloc(1000);
    p = realloc(p, 100000);
    free(p);
    p = calloc(10, 10);
    p = reallocarray(p, 20, 20);
    free(p);
    CHECK(posix_memalign(&p, 4096, 100) == 0);
    CHECK(malloc_usable_size(p) >= 100);
    free(p);
    p = strdup("text");
    free(p);
    FILE *file = fopen("/proc/self/status", "r");
    CHECK(file);
    char *line = NULL;
    size_t size = 0;
    CHECK(getline(&line, &size, file) > 0);
    free(line);
    fclose(file);
    char text[100];
    CHECK(snprintf(text, sizeof text, "%s %f %zu", "text", 1.5, size) > 0);
    CHECK(fprintf(stdout, "%s", "") >= 0);
    CHECK(backtrace(frames, 32) > 0);
    char **symbols = backtrace_symbols(frames, 1);
    CHECK(symbols);
    free(symbols);
    void *library = dlopen("libm.so.6", RTLD_NOW);
    CHECK(library && dlsym(library, "cos"));
    CHECK(!dlsym(library, "no_such_function") && dlerror());
    dlclose(library);
    CHECK(!dlopen("/no/such/file.so", RTLD_NOW) && dlerror());
    struct addrinfo *found = NULL;
    struct addrinfo wanted = { .ai_flags = AI_NUMERICHOST };
    CHECK(getaddrinfo("127.0.0.1", "80", &wanted, &found) == 0);
    freeaddrinfo(found);
    if (getaddrinfo("localhost", NULL, NULL, &found) == 0)
        freeaddrinfo(found);
    setenv("CHECK", "1", 1);
    time_t now = time(NULL);
    CHECK(localtime(&now));
    pthread_t other;
    OK(pthread_create(&other, NULL, thread, NULL));
    OK(pthread_join(other, NULL));
}

static void in_callback(const memhook_call *call)
{
    if (call->requested == 4712) { /* the thread made in a callback: its calls are seen */
        __atomic_fetch_add(&others, 1, __ATOMIC_RELAXED);
        return;
    }
    if (call->requested != 4711 && call->requested != 4713)
        return;
    depth++;
    if (depth > deepest)
        deepest = depth;
    everything();
    depth--;
}

static void after(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    in_callback(call);
}

static void before(const memhook_call *call, void *user)
{
    (void)user;
    in_callback(call);
}

static void *i_malloc(memhook_next *next, size_t n, const memhook_call *call, void *user)
{
    (void)user;
    in_callback(call);
    return memhook_next_malloc(next, n);
}

static void *i_realloc(memhook_next *next, void *p, size_t n, const memhook_call *call, void *user)
{
    (void)user;
    in_callback(call);
    return memhook_next_realloc(next, p, n);
}

static void i_free(memhook_next *next, void *p, const memhook_call *call, void *user)
{
    (void)user, (void)call;
    if (*(size_t *)p == 4714) {
        depth++;
        everything();
        depth--;
    }
    memhook_next_free(next, p);
}

int main(void)
{
    memhook_id id;
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = after, .realloc_begin = before,
                           .realloc_commit = after, .before_free = before };
    memhook_interceptor t = { .struct_size = sizeof t, .malloc = i_malloc, .realloc = i_realloc,
                              .free = i_free };
    OK(memhook_observe(&o, &id));
    OK(memhook_register(&t, &id));
    size_t *p = malloc(4711);
    SAME(rounds, 2);
    p = realloc(p, 4713);
    SAME(rounds, 5);
    p[0] = 4714;
    free(p);
    SAME(rounds, 6);
    SAME(deepest, 1);
    SAME(others, 2 * rounds); /* the interceptor and the observer, once in each thread */
    printf("%d rounds, no recursion\n", rounds);
}
