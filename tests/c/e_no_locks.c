/* Looks at every instruction of the library that an allocation call executes: says how many of them are locked, or are
 * fences. With every kind of hook; the C library's instructions and those of callbacks are theirs. x86-64. */
#include "e_check.h"
#include <fcntl.h>
#include <link.h>
#include <sched.h>
#include <stdint.h>
#include <ucontext.h>

static uintptr_t from, to;
static volatile long looked, found;
static volatile uintptr_t last;

/* An instruction that makes the processor wait for its stores: with a lock prefix, xchg with memory, mfence. */
static int waits(const unsigned char *at)
{
    int locked = 0;
    while (*at == 0x66 || *at == 0x67 || *at == 0xf2 || *at == 0xf3 || *at == 0xf0 || *at == 0x64 || *at == 0x65 ||
           *at == 0x2e || *at == 0x3e || *at == 0x36 || *at == 0x26)
        locked |= *at++ == 0xf0;
    if ((*at & 0xf0) == 0x40)
        at++;
    int exchange = (at[0] == 0x86 || at[0] == 0x87) && at[1] < 0xc0;
    int fence = at[0] == 0x0f && at[1] == 0xae && at[2] >= 0xe8;
    return locked || exchange || fence;
}

static void on_step(int number, siginfo_t *info, void *context)
{
    uintptr_t at = (uintptr_t)((ucontext_t *)context)->uc_mcontext.gregs[REG_RIP];
    (void)number, (void)info;
    if (at < from || at >= to)
        return;
    looked++;
    if (waits((const unsigned char *)at)) {
        found++;
        last = at - from;
    }
}

static int library(struct dl_phdr_info *info, size_t size, void *unused)
{
    (void)size, (void)unused;
    if (strstr(info->dlpi_name, "libmemhook.so") == NULL)
        return 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *segment = &info->dlpi_phdr[i];
        if (segment->p_type == PT_LOAD && segment->p_flags & PF_X) {
            from = info->dlpi_addr + segment->p_vaddr;
            to = from + segment->p_memsz;
        }
    }
    return 1;
}

static void calls(int stepped)
{
    if (stepped)
        STEP_ON;
    char *block = malloc(100), *zeroed = calloc(10, 10), *aligned = memalign(64, 100);
    block = realloc(block, 200);
    free(block);
    free(zeroed);
    free(aligned);
    free(realloc(NULL, 30));
    free(NULL);
    if (stepped)
        STEP_OFF;
}

static int measure(const char *what)
{
    /* What a thread does once for all is done. */
    calls(0);
    calls(0);
    looked = found = last = 0;
    calls(1);
    printf("%s: %s\n", what, looked < 2 * 9 ? "not looked at" : found == 0 ? "none" : "some");
    if (found)
        fprintf(stderr, "%s: %ld, the last at %#lx\n", what, found, (unsigned long)last);
    return found != 0;
}

static pthread_barrier_t in, go;
static memhook_id stuck;
static pid_t child, waits_by;

static void sticks(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    if (call->requested == 4711) {
        pthread_barrier_wait(&in);
        pthread_barrier_wait(&go);
    }
}

static void forks(void *unused)
{
    (void)unused;
    child = fork();
}

static void *runs(void *unused)
{
    void *volatile block = malloc(4711);
    free(block);
    return unused;
}

static void *removes(void *unused)
{
    __atomic_store_n(&waits_by, gettid(), __ATOMIC_SEQ_CST);
    CHECK(memhook_unregister(stuck) == 0);
    return unused;
}

/* Until the thread that removes the hook has gone to sleep. */
static void wait_for_sleep(void)
{
    char path[64], text[256];
    ssize_t n;
    do {
        sched_yield();
        snprintf(path, sizeof path, "/proc/self/task/%d/stat", (int)__atomic_load_n(&waits_by, __ATOMIC_SEQ_CST));
        int fd = open(path, O_RDONLY);
        n = fd < 0 ? 0 : read(fd, text, sizeof text - 1);
        text[n > 0 ? n : 0] = 0;
        if (fd >= 0)
            close(fd);
    } while (n <= 0 || strncmp(strrchr(text, ')'), ") S", 3) != 0);
}

static void *lets_go(void *unused)
{
    wait_for_sleep();
    pthread_barrier_wait(&go);
    return unused;
}

/* In a child of a process in which a thread waits for another and has asked all to make room for that. `waits`: it is
 * the one that forks, which goes on with that in the child. */
static int measure_in_child(const char *what, int waits)
{
    pthread_t runner, other;
    memhook_observer o = {.struct_size = sizeof o, .after_alloc = sticks, .release = waits ? forks : NULL};
    CHECK(memhook_observe(&o, &stuck) == 0);
    CHECK(pthread_create(&runner, NULL, runs, NULL) == 0);
    pthread_barrier_wait(&in);
    waits_by = 0;
    CHECK(pthread_create(&other, NULL, waits ? lets_go : removes, NULL) == 0);
    if (waits) {
        removes(NULL);
    } else {
        wait_for_sleep();
        child = fork();
    }
    if (child == 0)
        _exit(measure(what));
    if (!waits)
        pthread_barrier_wait(&go);
    CHECK(pthread_join(runner, NULL) == 0 && pthread_join(other, NULL) == 0);
    int status;
    CHECK(child > 0 && waitpid(child, &status, 0) == child && WIFEXITED(status));
    return WEXITSTATUS(status);
}

int main(void)
{
    static struct e_user users[6];
    struct sigaction action = {.sa_sigaction = on_step, .sa_flags = SA_SIGINFO};
    memhook_id ids[6];
    setvbuf(stdout, NULL, _IONBF, 0);
    CHECK(dl_iterate_phdr(library, NULL) == 1 && from < to);
    CHECK(sigaction(SIGTRAP, &action, NULL) == 0);
    int any = measure("no hook");
    CHECK(e_observe(&users[0], &ids[0]) == 0);
    any |= measure("an observer");
    for (int i = 1; i < 4; i++)
        CHECK(e_observe(&users[i], &ids[i]) == 0);
    any |= measure("four observers");
    for (int i = 0; i < 4; i++)
        CHECK(memhook_unregister(ids[i]) == 0);
    CHECK(e_intercept(&users[4], &ids[4]) == 0);
    any |= measure("an interceptor");
    CHECK(e_intercept(&users[5], &ids[5]) == 0);
    CHECK(e_observe(&users[0], &ids[0]) == 0);
    any |= measure("two, and an observer");
    CHECK(memhook_unregister(ids[4]) == 0 && memhook_unregister(ids[5]) == 0);
    CHECK(pthread_barrier_init(&in, NULL, 2) == 0 && pthread_barrier_init(&go, NULL, 2) == 0);
    any |= measure_in_child("a child of one in a hurry", 0);
    any |= measure_in_child("a child that was in a hurry", 1);
    CHECK(memhook_unregister(ids[0]) == 0);
    return any ? 3 : 0;
}
