/* swapchain: two whole sets of hooks, exchanged in one step while threads allocate.
 *
 * The chains "red" and "blue" have an outer and an inner interceptor each. A call that met the
 * outer one of red and the inner one of blue would be a mixture; there is none. And once a swap
 * has returned, nobody is left in the chain that was taken out.
 *
 *     cc swapchain.c -o swapchain -pthread -lmemhook && ./swapchain
 */
#include <memhook.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 3, SWAPS = 300 };

/* ---- The hooks ---------------------------------------------------------------------------- */

struct colour {
    const char *name;
    atomic_ulong outer_calls, inner_calls;
};

static struct colour red = {.name = "red"}, blue = {.name = "blue"};

/* Whose outer interceptor the call of this thread has passed; NULL outside. */
static _Thread_local struct colour *passed;
static atomic_ulong mixtures;

static void *outer_malloc(memhook_next *next, size_t bytes, const memhook_call *call, void *user)
{
    struct colour *mine = user;
    (void)call;
    passed = mine;
    void *block = memhook_next_malloc(next, bytes);
    passed = NULL;
    mine->outer_calls++;
    return block;
}

static void *inner_malloc(memhook_next *next, size_t bytes, const memhook_call *call, void *user)
{
    struct colour *mine = user;
    (void)call;
    if (passed != mine)
        mixtures++;
    mine->inner_calls++;
    return memhook_next_malloc(next, bytes);
}

static void check(int error, const char *what)
{
    if (error != 0) {
        fprintf(stderr, "%s: %s\n", what, strerror(error));
        exit(1);
    }
}

static memhook_chain build(struct colour *colour)
{
    memhook_interceptor outer = {
        .struct_size = sizeof outer,
        .name = "outer",
        .priority = 1, /* Nearer the program than the inner one. */
        .flags = MEMHOOK_KEEPS_POINTERS,
        .user = colour,
        .malloc = outer_malloc,
    };
    memhook_interceptor inner = {
        .struct_size = sizeof inner,
        .name = "inner",
        .flags = MEMHOOK_KEEPS_POINTERS,
        .user = colour,
        .malloc = inner_malloc,
    };
    memhook_chain chain;
    memhook_id id;
    check(memhook_chain_create(&chain), "memhook_chain_create");
    check(memhook_chain_register(chain, &outer, &id), "memhook_chain_register");
    check(memhook_chain_register(chain, &inner, &id), "memhook_chain_register");
    return chain;
}

/* ---- The program -------------------------------------------------------------------------- */

static atomic_int stop;

static void *worker(void *unused)
{
    while (!stop) {
        void *volatile block = malloc(64); /* volatile: or the compiler drops the pair. */
        free(block);
    }
    return unused;
}

int main(void)
{
    pthread_t threads[THREADS];
    memhook_chain spare = build(&blue); /* The chain that is not in force. */
    memhook_chain none;
    check(memhook_chain_swap(build(&red), &none), "memhook_chain_swap");

    for (int i = 0; i < THREADS; i++)
        check(pthread_create(&threads[i], NULL, worker, NULL), "pthread_create");

    struct colour *in_force = &red, *resting = &blue;
    unsigned long worked = 0, late = 0;
    for (int i = 0; i < SWAPS; i++) {
        /* The chain that comes out is the spare one of the next round. */
        check(memhook_chain_swap(spare, &spare), "memhook_chain_swap");
        struct colour *former = in_force;
        in_force = resting;
        resting = former;

        /* Let the threads use the new chain, and look whether one still uses the former. */
        unsigned long resting_calls = resting->outer_calls, calls = in_force->outer_calls;
        while (in_force->outer_calls == calls)
            sched_yield();
        worked++;
        late += resting->outer_calls - resting_calls;
    }
    stop = 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);

    /* Back to what was in force at first: nothing. Both chains end here. */
    check(memhook_chain_swap(none, NULL), "memhook_chain_swap");
    check(memhook_chain_destroy(spare), "memhook_chain_destroy");
    size_t hooks;
    check(memhook_chain_list(0, NULL, sizeof(memhook_hook_info), 0, &hooks), "memhook_chain_list");

    printf("swaps while %d threads allocate: %d\n", THREADS, SWAPS);
    printf("new chain at work after a swap: %lu\n", worked);
    printf("calls that a former chain still saw: %lu\n", late);
    printf("calls that saw a mixture: %lu\n", mixtures);
    for (struct colour *each = &red; each != NULL; each = each == &red ? &blue : NULL)
        printf("%s: outer and inner saw the same calls: %s\n", each->name,
               each->outer_calls == each->inner_calls ? "yes" : "no");
    printf("hooks left: %zu\n", hooks);
    return 0;
}
