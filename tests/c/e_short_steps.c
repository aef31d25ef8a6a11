/* The program's thread is stepped through single calls, in its own process: the trap flag raises
 * SIGTRAP after every instruction, and the handler does what no handler should have to be spared.
 * Runs over e_bump.so.
 *
 *   unwind SET    at every instruction: the stack unwinds to main, with the callers' registers; the
 *                 handler allocates, and frees what it allocated at the instruction before
 *   late SET      the same, with callbacks that change the hooks, so that calls end the long way
 *   given-up SET  the same, with a change at each of the first instructions
 *   swap A B      at one instruction of each call, each in turn, all hooks A are exchanged for all
 *                 hooks B: the call meets the hooks of one set, and all of them
 *   leave SET A   as swap, with hook A put in force: a hook cannot leave while the call is in it
 *   jump SET      a longjmp out of the handler at one instruction of each call, one after the other
 *
 * A set is a word of o (observer), k (interceptor that keeps pointers), x (interceptor that does not). In capitals:
 * keeps errno, which the others spoil. */
#include "e_check.h"
#include <ctype.h>
#include <semaphore.h>
#include <setjmp.h>
#include <ucontext.h>
#include <unwind.h>

/* Calls a function with the trap flag set and known numbers in the registers that are its caller's. */
void *stepped(void *(*function)(void *), void *argument);
extern char stepped_begins[], stepped_returns[], stepped_ends[];
__asm__(".text\n"
        ".globl stepped\n"
        ".type stepped, @function\n"
        "stepped_begins:\n"
        "stepped:\n"
        ".cfi_startproc\n"
        "push %rbx\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset rbx, 0\n"
        "push %rbp\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset rbp, 0\n"
        "push %r12\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset r12, 0\n"
        "push %r13\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset r13, 0\n"
        "push %r14\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset r14, 0\n"
        "push %r15\n.cfi_adjust_cfa_offset 8\n.cfi_rel_offset r15, 0\n"
        "push %rdi\n.cfi_adjust_cfa_offset 8\n"
        "mov %rsi, %rdi\n"
        "mov $0x1003, %ebx\n"
        "mov $0x1006, %ebp\n"
        "mov $0x100c, %r12d\n"
        "mov $0x100d, %r13d\n"
        "mov $0x100e, %r14d\n"
        "mov $0x100f, %r15d\n"
        "pushf\n.cfi_adjust_cfa_offset 8\n"
        "orq $0x100, (%rsp)\n"
        "popf\n.cfi_adjust_cfa_offset -8\n"
        "call *(%rsp)\n"
        "stepped_returns:\n"
        "pushf\n.cfi_adjust_cfa_offset 8\n"
        "andq $~0x100, (%rsp)\n"
        "popf\n.cfi_adjust_cfa_offset -8\n"
        "cmp $0x1003, %rbx\njne 1f\n"
        "cmp $0x1006, %rbp\njne 1f\n"
        "cmp $0x100c, %r12\njne 1f\n"
        "cmp $0x100d, %r13\njne 1f\n"
        "cmp $0x100e, %r14\njne 1f\n"
        "cmp $0x100f, %r15\njne 1f\n"
        "pop %rdi\n.cfi_adjust_cfa_offset -8\n"
        "pop %r15\n.cfi_adjust_cfa_offset -8\n"
        "pop %r14\n.cfi_adjust_cfa_offset -8\n"
        "pop %r13\n.cfi_adjust_cfa_offset -8\n"
        "pop %r12\n.cfi_adjust_cfa_offset -8\n"
        "pop %rbp\n.cfi_adjust_cfa_offset -8\n"
        "pop %rbx\n.cfi_adjust_cfa_offset -8\n"
        "ret\n"
        "1: ud2\n"
        ".cfi_endproc\n"
        "stepped_ends:\n"
        ".size stepped, . - stepped\n");

/* Hooks: which of them the call under test has met, by number. */
enum { HOOKS = 16 };
static struct e_user users[HOOKS];
static memhook_id ids[HOOKS];
static char kinds[HOOKS];
static int keeps_errno[HOOKS];
static int released[HOOKS];
static volatile unsigned met;
/* What a callback of hook i does. */
static void (*in_callback)(int i);

static int number(void *user)
{
    return (int)((struct e_user *)user - users);
}

static void meet(void *user)
{
    e_called(user);
    met |= 1u << number(user);
    if (in_callback)
        in_callback(number(user));
    if (!keeps_errno[number(user)])
        errno = 5;
}

static void after(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block;
    meet(user);
}

static void before(const memhook_call *call, void *user)
{
    (void)call;
    meet(user);
}

static void *passes(memhook_next *next, size_t requested, const memhook_call *call, void *user)
{
    (void)call;
    meet(user);
    return memhook_next_malloc(next, requested);
}

static void passes_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call;
    meet(user);
    memhook_next_free(next, block);
}

static void *owns(memhook_next *next, size_t requested, const memhook_call *call, void *user)
{
    meet(user);
    return e_malloc(next, requested, call, user);
}

static void owns_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    meet(user);
    e_free(next, block, call, user);
}

static void *passes_realloc(memhook_next *next, void *block, size_t requested, const memhook_call *call, void *user)
{
    (void)call;
    meet(user);
    return memhook_next_realloc(next, block, requested);
}

static void *owns_realloc(memhook_next *next, void *block, size_t requested, const memhook_call *call, void *user)
{
    meet(user);
    return e_realloc(next, block, requested, call, user);
}

static void is_released(void *user)
{
    released[number(user)]++;
}

/* Puts hook i in a chain object; 0: in force. */
static void put(int i, char letter, memhook_chain chain)
{
    char kind = (char)tolower(letter);
    unsigned flags = kind == letter ? 0 : MEMHOOK_KEEPS_ERRNO;
    memhook_observer o = { .struct_size = sizeof o, .after_alloc = after, .before_free = before,
                           .realloc_commit = e_commit, .user = &users[i], .release = is_released,
                           .flags = flags };
    memhook_interceptor t = { .struct_size = sizeof t, .user = &users[i], .release = is_released, .flags = flags };
    users[i].alive = E_ALIVE;
    kinds[i] = kind;
    keeps_errno[i] = flags != 0;
    released[i] = 0;
    if (kind == 'k') {
        t.malloc = passes;
        t.realloc = passes_realloc;
        t.free = passes_free;
        t.flags |= MEMHOOK_KEEPS_POINTERS;
    } else {
        t.malloc = owns;
        t.realloc = owns_realloc;
        t.free = owns_free;
    }
    if (kind == 'o')
        CHECK((chain ? memhook_chain_observe(chain, &o, &ids[i]) : memhook_observe(&o, &ids[i])) == 0);
    else
        CHECK((chain ? memhook_chain_register(chain, &t, &ids[i]) : memhook_register(&t, &ids[i])) == 0);
}

/* The calls under test. */
static void *block_to_free;

static void *call_malloc(void *requested)
{
    return malloc((size_t)requested);
}

static void *call_calloc(void *requested)
{
    return calloc(1, (size_t)requested);
}

static void *call_realloc(void *requested)
{
    return realloc(NULL, (size_t)requested);
}

static void *call_free(void *requested)
{
    (void)requested;
    free(block_to_free);
    return NULL;
}

typedef void *call_under_test(void *);
static call_under_test *const calls[] = { call_malloc, call_free, call_calloc, call_realloc };
enum { CALLS = 4, FREE = 1 };

/* The handler's part. */
static volatile long steps, stop_at;
static void (*at_each)(ucontext_t *context);
static void (*at_stop)(void);
static void *handed_on;

int main(int argc, char **argv);

/* A frame: bit 0 of `seen` for `stepped`, where the registers must be as it has set them, bit 1 for main. */
static _Unwind_Reason_Code look(struct _Unwind_Context *context, void *seen)
{
    static const int registers[] = { 3, 6, 12, 13, 14, 15 };
    uintptr_t ip = _Unwind_GetIP(context);
    if (ip >= (uintptr_t)stepped_begins && ip < (uintptr_t)stepped_ends) {
        for (int i = 0; i < 6; i++)
            CHECK(_Unwind_GetGR(context, registers[i]) == 0x1000 + (unsigned)registers[i]);
        *(int *)seen |= 1;
    }
    if (_Unwind_FindEnclosingFunction((void *)ip) == (void *)main)
        *(int *)seen |= 2;
    return _URC_NO_REASON;
}

/* From here the stack leads through the call under test to main. */
static void unwind(uintptr_t from)
{
    int seen = 0;
    _Unwind_Backtrace(look, &seen);
    if (seen != 3) {
        memhook_log("step %ld, %p: unwinding %s\n", steps, (void *)from, seen ? "misses main" : "ends early");
        _exit(71);
    }
}

static void unwind_and_allocate(ucontext_t *context)
{
    unwind((uintptr_t)context->uc_mcontext.gregs[REG_RIP]);
    void *block = malloc(40);
    CHECK(block);
    free(handed_on);
    handed_on = block;
    char *resized = realloc(calloc(1, 24), 90);
    CHECK(resized && resized[23] == 0);
    free(resized);
}

static void trapped(int signal, siginfo_t *info, void *context_of)
{
    (void)signal, (void)info;
    ucontext_t *context = context_of;
    uintptr_t ip = (uintptr_t)context->uc_mcontext.gregs[REG_RIP];
    if (ip >= (uintptr_t)stepped_begins && ip < (uintptr_t)stepped_ends)
        return;
    int errno_before = errno;
    steps++;
    if (steps == stop_at) {
        if (!at_each)
            context->uc_mcontext.gregs[REG_EFL] &= ~0x100l;
        at_stop();
    }
    if (at_each)
        at_each(context);
    errno = errno_before;
}

/* Whether hook i of the kind `of` is among those that a call met. */
static unsigned all_of(char of)
{
    unsigned all = 0;
    for (int i = 0; i < HOOKS; i++)
        all |= kinds[i] == of ? 1u << i : 0;
    return all;
}

static void *step(int call)
{
    steps = 0;
    met = 0;
    errno = 77;
    void *block = stepped(calls[call], (void *)57);
    CHECK(errno == 77);
    CHECK(memhook_is_suspended() == 0);
    CHECK((call == FREE) == (block == NULL));
    return block;
}

/* Each observer of a set is told as often as each other. */
static void told_alike(int first, int behind)
{
    for (int i = first + 1; i < behind; i++)
        CHECK(kinds[i] != 'o' || kinds[first] != 'o' || users[i].calls == users[first].calls);
}

static void put_all(const char *set)
{
    for (int i = 0; set[i]; i++)
        put(i, set[i], 0);
    /* What is done once, and what the short ways find near from the second time on. */
    for (int i = 0; i < 3; i++)
        free(realloc(calloc(1, 16), 40)), free(malloc(i + 1));
}

static void leave_all(const char *set)
{
    in_callback = NULL;
    for (int i = 0; set[i]; i++) {
        CHECK(memhook_unregister(ids[i]) == 0);
        CHECK(released[i] == 1 && users[i].blocks == 0);
        e_gone(&users[i]);
    }
}

/* unwind, late, given-up. */
static struct e_user extra;

static void spoils_errno(void *user)
{
    (void)user;
    errno = EDOM;
}

static void come_and_go(void)
{
    memhook_id id;
    memhook_observer table = { .struct_size = sizeof table, .after_alloc = e_after_alloc, .before_free = e_before,
                               .user = &extra, .release = spoils_errno };
    extra.alive = E_ALIVE;
    CHECK(memhook_observe(&table, &id) == 0);
    int result = memhook_unregister(id);
    CHECK(result == 0 || result == EINPROGRESS);
}

static void come_and_go_in(int i)
{
    (void)i;
    if (met == (met & -met))
        come_and_go();
}

/* `changes`: at how many instructions the handler changes the hooks, one in each round; 1: at none. */
static void walk(const char *set, long changes)
{
    put_all(set);
    at_each = unwind_and_allocate;
    at_stop = come_and_go;
    for (long n = 1; n <= changes; n++)
        for (int call = 0; call < CALLS; call++) {
            stop_at = changes == 1 ? 0 : n;
            if (call == FREE)
                block_to_free = malloc(30);
            void *block = step(call);
            CHECK(steps > 20);
            free(block);
            told_alike(0, (int)strlen(set));
        }
    free(handed_on);
    leave_all(set);
}

/* At each instruction of each call in turn, `last` at most. */
static void at_every_instruction(long last, void (*begin)(void), void (*end)(int call, void *block))
{
    for (int call = 0; call < CALLS; call++) {
        long n = 0;
        do {
            if (begin)
                begin();
            stop_at = ++n;
            if (call == FREE) {
                void (*then)(int) = in_callback;
                in_callback = NULL;
                block_to_free = malloc(30);
                in_callback = then;
            }
            end(call, step(call));
        } while (steps >= n && n < last);
        CHECK(n > 20);
    }
}

/* swap. */
static memhook_chain other;
static unsigned sets[2], owned_by;
static int swapped;

static void exchange(void)
{
    int result = memhook_chain_swap(other, &other);
    CHECK(result == 0 || result == EINPROGRESS);
    swapped ^= 1;
}

static void met_one_set(int call, void *block)
{
    unsigned now = met, owners = all_of('x');
    if (call != FREE ? now != sets[0] && now != sets[1] : (now & owners) != owned_by ||
        ((now & ~owners) != (sets[0] & ~owners) && (now & ~owners) != (sets[1] & ~owners))) {
        memhook_log("call %d, step %ld: met 0x%x of 0x%x and 0x%x\n", call, stop_at, now, sets[0], sets[1]);
        _exit(72);
    }
    free(block);
    if (swapped)
        exchange();
}

static void swap(const char *one, const char *two, long last)
{
    int n = (int)strlen(one);
    put_all(one);
    CHECK(memhook_chain_create(&other) == 0);
    for (int i = 0; two[i]; i++)
        put(n + i, two[i], other);
    sets[0] = (1u << n) - 1;
    sets[1] = ((1u << strlen(two)) - 1) << n;
    owned_by = sets[0] & all_of('x');
    at_stop = exchange;
    at_every_instruction(last, NULL, met_one_set);
    int result = memhook_chain_destroy(other);
    CHECK(result == 0);
    leave_all(one);
}

/* leave: another thread unregisters the hook whose callback runs. */
static sem_t asked, answered;
static memhook_id leaving;
static int answer, base, comes;
static char one_of_base[HOOKS], that_comes;

static void *unregister(void *unused)
{
    for (;;) {
        while (sem_wait(&asked) != 0) {
        }
        if (leaving == 0)
            return unused;
        answer = memhook_unregister_timed(leaving, 0);
        sem_post(&answered);
    }
}

static int has_left[HOOKS];

static void leave_from(int i)
{
    if (has_left[i])
        return;
    has_left[i] = 1;
    leaving = ids[i];
    sem_post(&asked);
    while (sem_wait(&answered) != 0) {
    }
    CHECK(answer == ETIMEDOUT || answer == EINPROGRESS);
    CHECK(released[i] == 0);
}

static void one_comes(void)
{
    void (*then)(int) = in_callback;
    in_callback = NULL;
    put(base, that_comes, 0);
    comes = 1;
    in_callback = then;
}

static void begin_leaving(void)
{
    in_callback = NULL;
    for (int i = 0; i < base; i++)
        if (released[i] || has_left[i]) {
            CHECK(released[i] == 1);
            has_left[i] = 0;
            put(i, one_of_base[i], 0);
        }
    free(malloc(11));
    in_callback = leave_from;
}

static void end_leaving(int call, void *block)
{
    (void)call;
    in_callback = NULL;
    free(block);
    block_to_free = NULL;
    CHECK(memhook_synchronize() == 0);
    if (comes && !has_left[base])
        CHECK(memhook_unregister(ids[base]) == 0);
    CHECK(!comes || released[base] == 1);
    comes = 0;
    has_left[base] = 0;
    for (int i = 0; i < base; i++)
        CHECK(released[i] == has_left[i]);
}

static void leave(const char *set, const char *comes_in, long last)
{
    pthread_t thread;
    base = (int)strlen(set);
    strcpy(one_of_base, set);
    that_comes = comes_in[0];
    sem_init(&asked, 0, 0);
    sem_init(&answered, 0, 0);
    CHECK(pthread_create(&thread, NULL, unregister, NULL) == 0);
    put_all(set);
    at_stop = one_comes;
    at_every_instruction(last, begin_leaving, end_leaving);
    begin_leaving();
    leave_all(set);
    leaving = 0;
    sem_post(&asked);
    CHECK(pthread_join(thread, NULL) == 0);
}

/* jump. */
static sigjmp_buf back;

static void jump(void)
{
    siglongjmp(back, 1);
}

static void leap(const char *set)
{
    int n = (int)strlen(set);
    put_all(set);
    at_stop = jump;
    for (int call = 0; call < CALLS; call++) {
        volatile long instruction = 0;
        do {
            /* Where sections begin, at each; later at every seventh. */
            stop_at = instruction += instruction < 60 ? 1 : 7;
            block_to_free = malloc(30);
            if (!sigsetjmp(back, 1))
                step(call);
            /* From the same depth: all is as before, to the last hook. */
            met = 0;
            void *block = malloc(31);
            CHECK(block && met == (1u << n) - 1);
            met = 0;
            free(block);
            CHECK(met == (1u << n) - 1);
            CHECK(memhook_is_suspended() == 0);
            if (instruction % 16 == 0)
                come_and_go();
        } while (steps >= instruction);
        CHECK(instruction > 20);
    }
    for (int i = 0; i < n; i++) {
        /* The block of a call that was left may never come back. */
        int result = memhook_unregister(ids[i]);
        CHECK(result == 0 || (kinds[i] == 'x' && result == EINPROGRESS));
    }
}

int main(int argc, char **argv)
{
    CHECK(argc > 2);
    int seen = 0;
    _Unwind_Backtrace(look, &seen);
    struct sigaction action = { .sa_sigaction = trapped, .sa_flags = SA_SIGINFO };
    CHECK(sigaction(SIGTRAP, &action, NULL) == 0);
    if (!strcmp(argv[1], "unwind")) {
        walk(argv[2], 1);
    } else if (!strcmp(argv[1], "late")) {
        in_callback = come_and_go_in;
        walk(argv[2], 1);
    } else if (!strcmp(argv[1], "given-up")) {
        walk(argv[2], 40);
    } else if (!strcmp(argv[1], "swap")) {
        swap(argv[2], argv[3], 120);
    } else if (!strcmp(argv[1], "leave")) {
        /* Where sections begin: with each instruction, two threads take turns. */
        leave(argv[2], argv[3], 80);
    } else {
        leap(argv[2]);
    }
    puts("stepped through");
    return 0;
}
