/* failing: does a function survive when any one of its allocations fails?
 *
 * An interceptor fails the n-th allocation of this thread. The program runs a function with n =
 * 1, 2, 3, ... until nothing was left to fail, and looks each time whether the function reported
 * the failure and gave everything back. One function does; the careless one does not. Another
 * thread allocates all the while and notices nothing.
 *
 *     cc failing.c -o failing -pthread -lmemhook && ./failing
 */
#define _GNU_SOURCE
#include <memhook.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The hook ----------------------------------------------------------------------------- */

/* No atomics: with MEMHOOK_THIS_THREAD no other thread comes here. */
static struct {
    long until_failure; /* 1: the next allocation fails. 0 or less: none does. */
    long live_blocks;
} state;

static bool fails_now(void)
{
    return state.until_failure-- == 1;
}

static void *made(void *block)
{
    state.live_blocks += block != NULL;
    return block;
}

static void *on_malloc(memhook_next *next, size_t bytes, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    return fails_now() ? NULL : made(memhook_next_malloc(next, bytes));
}

static void *on_memalign(memhook_next *next, size_t alignment, size_t bytes,
                         const memhook_call *call, void *user)
{
    (void)call, (void)user;
    return fails_now() ? NULL : made(memhook_next_memalign(next, alignment, bytes));
}

static void on_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)user;
    state.live_blocks--;
    memhook_next_free(next, block);
}

static void *on_realloc(memhook_next *next, void *block, size_t bytes, const memhook_call *call,
                        void *user)
{
    if (block == NULL)
        return on_malloc(next, bytes, call, user);
    if (bytes == 0) {
        on_free(next, block, call, user);
        return NULL;
    }
    return fails_now() ? NULL : memhook_next_realloc(next, block, bytes);
}

/* ---- The functions on trial --------------------------------------------------------------- */

/* Copies of the words, and after the last a NULL; or NULL where there was no memory. */
typedef char **copy_function(const char *const *words);

static char **careful_copy(const char *const *words)
{
    char **copies = NULL;
    size_t count = 0;
    for (;; count++) {
        char **longer = realloc(copies, (count + 1) * sizeof *copies);
        if (longer == NULL)
            goto fail;
        copies = longer;
        copies[count] = NULL;
        if (words[count] == NULL)
            return copies;
        copies[count] = strdup(words[count]);
        if (copies[count] == NULL)
            goto fail;
    }
fail:
    for (size_t i = 0; i < count; i++)
        free(copies[i]);
    free(copies);
    return NULL;
}

static char **careless_copy(const char *const *words)
{
    char **copies = NULL;
    for (size_t count = 0;; count++) {
        copies = realloc(copies, (count + 1) * sizeof *copies); /* Loses the old block. */
        if (copies == NULL)
            return NULL;
        copies[count] = NULL;
        if (words[count] == NULL)
            return copies;
        copies[count] = strdup(words[count]); /* A failure looks like the end of the list. */
    }
}

/* ---- A bystander -------------------------------------------------------------------------- */

static pthread_barrier_t turn;
static bool finished;
static long bystander_failures;

/* Allocates between two meetings at the barrier, while a failure is pending in the main thread. */
static void *bystander(void *unused)
{
    for (;;) {
        pthread_barrier_wait(&turn);
        if (finished)
            return unused;
        for (int i = 0; i < 100; i++) {
            void *volatile block = malloc(64);
            bystander_failures += block == NULL;
            free(block);
        }
        pthread_barrier_wait(&turn);
    }
}

/* ---- The trial ---------------------------------------------------------------------------- */

static void try_all(const char *name, copy_function *copy)
{
    static const char *const words[] = {"one", "two", NULL};

    printf("%s\n", name);
    for (long n = 1;; n++) {
        long before = state.live_blocks;
        state.until_failure = n;
        pthread_barrier_wait(&turn); /* The bystander's allocations do not count. */
        pthread_barrier_wait(&turn);
        char **copies = copy(words);
        bool failed = state.until_failure <= 0;
        state.until_failure = 0;
        if (!failed) {
            printf("  %ld allocations in all\n", n - 1);
            return;
        }
        if (copies != NULL)
            printf("  allocation %ld fails: goes unnoticed\n", n);
        else if (state.live_blocks != before)
            printf("  allocation %ld fails: reported, %ld blocks lost\n", n, state.live_blocks - before);
        else
            printf("  allocation %ld fails: reported, nothing lost\n", n);
    }
}

int main(void)
{
    static const memhook_interceptor failing = {
        .struct_size = sizeof failing,
        .name = "failing",
        .flags = MEMHOOK_KEEPS_POINTERS | MEMHOOK_THIS_THREAD,
        .malloc = on_malloc,
        .realloc = on_realloc,
        .memalign = on_memalign,
        .free = on_free,
    };
    pthread_t thread;
    pthread_barrier_init(&turn, NULL, 2);
    if (pthread_create(&thread, NULL, bystander, NULL) != 0)
        return 1;

    memhook_id id;
    int error = memhook_register(&failing, &id);
    if (error != 0) {
        fprintf(stderr, "failing: %s\n", strerror(error));
        return 1;
    }
    try_all("careful_copy", careful_copy);
    try_all("careless_copy", careless_copy);
    finished = true;
    pthread_barrier_wait(&turn);
    pthread_join(thread, NULL);
    printf("the other thread: %ld failures\n", bystander_failures);
    error = memhook_unregister(id);
    printf("unregistered: %s\n", strerror(error));
    return error;
}
