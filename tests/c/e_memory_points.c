/* Memory fails at every point in turn: a tracer answers the Nth call by which the program asks the kernel
 * for memory with ENOMEM, and with a second argument all later ones too, for every N until none is left.
 * Calls return NULL with ENOMEM, registrations say ENOMEM, and nothing is lost or half there. */
#include "e_check.h"
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/user.h>

#define THREADS 20
#define HANDED 40
static struct e_user users[6];
static int released[6];
static void *handed[THREADS][HANDED];
static pthread_barrier_t begin;

static void release(void *user)
{
    int number = (int)((struct e_user *)user - users);
    CHECK(users[number].blocks == 0);
    CHECK(__atomic_add_fetch(&released[number], 1, __ATOMIC_RELAXED) == 1);
    e_gone(&users[number]);
}

/* A block of this size, or none for lack of memory. */
static void *get(size_t bytes, int how)
{
    void *block = NULL;
    errno = 0;
    if (how == 0)
        block = malloc(bytes);
    else if (how == 1)
        block = calloc(1, bytes);
    else if (how == 2)
        block = aligned_alloc(64, (bytes + 63) / 64 * 64);
    else {
        int result = posix_memalign(&block, 256, bytes);
        CHECK(result == 0 || (result == ENOMEM && !block));
        errno = result;
    }
    CHECK(block ? errno == 0 : errno == ENOMEM);
    if (block)
        memset(block, (int)bytes, bytes);
    return block;
}

static void *grow(void *block, size_t from, size_t to)
{
    errno = 0;
    unsigned char *new = realloc(block, to);
    CHECK(new ? errno == 0 : errno == ENOMEM);
    unsigned char *now = new ? new : block;
    for (size_t i = 0; i < from; i++)
        CHECK(now[i] == (unsigned char)from);
    return now;
}

static void *thread(void *argument)
{
    size_t number = (size_t)argument;
    pthread_barrier_wait(&begin);
    for (int i = 0; i < HANDED; i++)
        free(handed[number][i]);
    void *block = get(70 + number, (int)(number % 4));
    if (block)
        block = grow(block, 70 + number, 9000);
    free(block);
    return NULL;
}

static void fill_table(memhook_interceptor *table, struct e_user *user)
{
    memset(table, 0, sizeof *table);
    table->struct_size = sizeof *table;
    table->user = user;
    table->malloc = e_malloc;
    table->realloc = e_realloc;
    table->free = e_free;
    table->usable_size = e_usable_size;
    table->release = release;
    user->alive = E_ALIVE;
}

static int refused(int result)
{
    CHECK(result == 0 || result == ENOMEM);
    return result != 0;
}

static size_t in_force(void)
{
    size_t count = 0;
    if (refused(memhook_chain_list(0, NULL, sizeof(memhook_hook_info), 0, &count)))
        return SIZE_MAX;
    return count;
}

static void traced(void)
{
    /* Made before the hooks: what belongs to their stacks is nobody's. */
    pthread_t threads[THREADS];
    CHECK(pthread_barrier_init(&begin, NULL, THREADS + 1) == 0);
    for (size_t i = 0; i < THREADS; i++)
        CHECK(pthread_create(&threads[i], NULL, thread, (void *)i) == 0);
    __asm__ volatile("int3"); /* From here on calls fail. */
    size_t hooks = 0;
    memhook_id watcher = 0, first = 0, second = 0, third = 0;
    memhook_chain chain = 0, former = 0;
    memhook_interceptor table;
    int watches = !refused(e_observe(&users[0], &watcher));
    hooks += (size_t)watches;
    fill_table(&table, &users[1]);
    int one = !refused(memhook_register(&table, &first));
    hooks += (size_t)one;
    size_t now = in_force();
    CHECK(now == hooks || now == SIZE_MAX);
    for (int i = 0; i < THREADS; i++)
        for (int k = 0; k < HANDED; k++)
            handed[i][k] = get((size_t)(i * k + 1), k % 4);
    /* Large enough to be mapped each for itself, and to need a leaf of marks of its own. */
    void *large = get(5 << 20, 0);
    if (large)
        large = grow(large, 5 << 20, 11 << 20);
    fill_table(&table, &users[2]);
    int two = one && !refused(memhook_register(&table, &second));
    hooks += (size_t)two;
    void *both = get(333, 1);
    /* Another in the first one's place. */
    fill_table(&table, &users[3]);
    int replaced = 0;
    if (one) {
        int result = memhook_replace(first, &table);
        CHECK(result == 0 || result == EINPROGRESS || result == ENOMEM);
        replaced = result != ENOMEM;
    }
    void *after = get(444, 0);
    /* A chain of two is put in force and taken out again. */
    int copied = !refused(memhook_chain_copy(&chain)), three = 0, swapped = 0;
    if (copied) {
        fill_table(&table, &users[4]);
        three = !refused(memhook_chain_register(chain, &table, &third));
        int result = memhook_chain_swap(chain, &former);
        CHECK(result == 0 || result == ENOMEM);
        swapped = result == 0;
        free(get(55, 2));
        if (swapped) {
            result = memhook_chain_swap(former, &chain);
            CHECK(result == 0 || result == ENOMEM);
            swapped = result != 0;
        }
    }
    /* Each thread is seen by the library for the first time, when the library's own memory is used up. */
    void *used_up = NULL;
    for (int i = 0; i < 20000; i++) {
        void **more = memhook_scratch_malloc(48);
        if (!more)
            break;
        *more = used_up;
        used_up = more;
    }
    pthread_barrier_wait(&begin);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    __asm__ volatile("int3"); /* And with memory again, all is as it should be. */
    while (used_up) {
        void *next = *(void **)used_up;
        memhook_scratch_free(used_up);
        used_up = next;
    }
    free(large);
    free(both);
    free(after);
    if (copied) {
        int result = memhook_chain_destroy(swapped ? former : chain);
        CHECK(result == 0 || result == EINPROGRESS);
    }
    CHECK(in_force() == hooks + (size_t)(swapped && three));
    unsigned long before = users[0].calls;
    e_allocate(9);
    CHECK(users[0].calls > before || !watches);
    if (two)
        CHECK(memhook_unregister(second) == 0);
    if (one)
        CHECK(memhook_unregister(first) == 0);
    if (swapped && three)
        CHECK(memhook_unregister(third) == 0);
    if (watches)
        CHECK(memhook_unregister(watcher) == 0);
    CHECK(in_force() == 0);
    CHECK(memhook_synchronize() == 0);
    CHECK(released[1] == one && released[2] == two && released[3] == replaced);
    CHECK(released[4] == three);
    _exit(0);
}

static int asks_for_memory(const struct user_regs_struct *regs)
{
    return regs->orig_rax == SYS_mmap || (regs->orig_rax == SYS_brk && regs->rdi) ||
           regs->orig_rax == SYS_mremap || regs->orig_rax == SYS_mprotect;
}

/* A call that is being refused. */
struct refusal {
    pid_t thread;
    unsigned long long argument;
};

static struct refusal *place_of(struct refusal *all, pid_t thread)
{
    for (int i = 0; i <= THREADS; i++)
        if (all[i].thread == thread)
            return &all[i];
    return NULL;
}

/* Runs the program and fails the Nth request, and with `all` the later ones. Whether it came so far. */
static int fails_at(long n, int all, int *bad)
{
    pid_t pid = fork();
    CHECK(pid >= 0);
    if (pid == 0) {
        CHECK(ptrace(PTRACE_TRACEME, 0, 0, 0) == 0);
        __asm__ volatile("int3"); /* Until its options are set, its threads would not be traced. */
        traced();
        _exit(1);
    }
    int status, failing = 0, reached = 0;
    long seen = 0;
    struct refusal refusals[THREADS + 1] = {{0, 0}};
    CHECK(waitpid(pid, &status, 0) == pid && WIFSTOPPED(status));
    CHECK(ptrace(PTRACE_SETOPTIONS, pid, 0,
                 PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACECLONE | PTRACE_O_EXITKILL) == 0);
    CHECK(ptrace(PTRACE_SYSCALL, pid, 0, 0) == 0);
    for (;;) {
        pid_t who = waitpid(-1, &status, __WALL);
        CHECK(who > 0);
        if (!WIFSTOPPED(status)) {
            if (who != pid)
                continue;
            if (!WIFEXITED(status) || WEXITSTATUS(status)) {
                printf("request %ld%s: status %#x\n", n, all ? " and later" : "", (unsigned)status);
                (*bad)++;
            }
            return reached;
        }
        int signal = 0;
        if (WSTOPSIG(status) == (SIGTRAP | 0x80)) {
            struct user_regs_struct regs;
            CHECK(ptrace(PTRACE_GETREGS, who, 0, &regs) == 0);
            /* Entered with the number of the call, left with another in its place: rax is -ENOSYS at
             * the entry only, for calls that exist. */
            struct refusal *mine = place_of(refusals, who);
            if (mine) {
                mine->thread = 0;
                if (regs.orig_rax == SYS_brk)
                    regs.rdi = mine->argument;
                else
                    regs.rax = (unsigned long long)-ENOMEM;
                CHECK(ptrace(PTRACE_SETREGS, who, 0, &regs) == 0);
            } else if ((long long)regs.rax == -ENOSYS && failing && asks_for_memory(&regs)) {
                seen++;
                if (seen == n || (all && seen > n)) {
                    reached = 1;
                    *place_of(refusals, 0) = (struct refusal){who, regs.rdi};
                    /* brk says no by the break that there is, which it gives for 0 too. */
                    if (regs.orig_rax == SYS_brk)
                        regs.rdi = 0;
                    else
                        regs.orig_rax = (unsigned long long)-1;
                    CHECK(ptrace(PTRACE_SETREGS, who, 0, &regs) == 0);
                }
            }
        } else if (WSTOPSIG(status) == SIGTRAP && status >> 8 == SIGTRAP) {
            failing = !failing;
        } else if (WSTOPSIG(status) != SIGSTOP && WSTOPSIG(status) != SIGTRAP) {
            signal = WSTOPSIG(status);
        }
        CHECK(ptrace(PTRACE_SYSCALL, who, 0, signal) == 0);
    }
}

int main(void)
{
    int bad = 0;
    long points = 0;
    for (int all = 0; all < 2; all++)
        for (long n = 1; fails_at(n, all, &bad); n++)
            points++;
    CHECK(points > 20);
    if (!bad)
        puts("memory failed at every point in turn");
    return bad != 0;
}
