/* Once its last hook has gone, a program's calls cost what they did before there was any: also where the hook came
 * from the initialize hook, and in a fork child whose parent was in the midst of a self-test. */
#include "e_check.h"

static void *(*volatile do_malloc)(size_t) = malloc;
static volatile long steps;
static memhook_id id;

static void on_step(int number)
{
    (void)number;
    steps++;
}

static void after(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block, (void)user;
}

static void registers(void)
{
    memhook_observer o = {.struct_size = sizeof o, .after_alloc = after};
    CHECK(memhook_observe(&o, &id) == 0);
}

MEMHOOK_INITIALIZE(registers);

/* Instructions of a pair of these calls. */
static long pair_of(void *(*allocate)(size_t), void (*give_back)(void *))
{
    give_back(allocate(30));
    steps = 0;
    STEP_ON;
    give_back(allocate(30));
    STEP_OFF;
    return steps;
}

static long pair(void)
{
    return pair_of(do_malloc, free);
}

/* Past the library. */
static long pair_of_backend(void)
{
    return pair_of(memhook_backend_malloc, memhook_backend_free);
}

/* A tested function: it stops the test on its way. */
static int go[2], in[2];

static void *stops(size_t size)
{
    char byte = 0;
    CHECK(write(in[1], &byte, 1) == 1);
    CHECK(read(go[0], &byte, 1) == 1);
    return do_malloc(size);
}

static void *tests(void *unused)
{
    memhook_entry_points points = {.struct_size = sizeof points};
    points.functions[MEMHOOK_ENTRY_MALLOC] = (void (*)(void))stops;
    CHECK(memhook_self_test(&points, NULL, NULL, 0) == 0);
    return unused;
}

int main(void)
{
    pthread_t tester;
    char byte = 0;
    struct sigaction action = {.sa_handler = on_step};
    CHECK(sigaction(SIGTRAP, &action, NULL) == 0);
    long hooked = pair();
    CHECK(memhook_unregister(id) == 0);
    long idle = pair();
    CHECK(idle < hooked && idle < pair_of_backend() + 10);
    CHECK(pipe(go) == 0 && pipe(in) == 0);
    CHECK(pthread_create(&tester, NULL, tests, NULL) == 0);
    CHECK(read(in[0], &byte, 1) == 1);
    CHECK(pair() > idle);
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(pair() == idle);
        _exit(0);
    }
    CHECK(write(go[1], &byte, 1) == 1);
    CHECK(pthread_join(tester, NULL) == 0);
    CHECK(pair() == idle);
    CHECK(e_wait(pid) == 0);
    printf("idle again\n");
    return 0;
}
