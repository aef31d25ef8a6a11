/* Walks through every point where an allocation can fail: each entry point fails once, alone, as its manual page says;
 * the blocks of failed reallocs live on; what the program had before stays what it was. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <memhook.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_calloc)(size_t, size_t) = calloc;
static void *(*volatile do_realloc)(void *, size_t) = realloc;
static void *(*volatile do_reallocarray)(void *, size_t, size_t) = reallocarray;
static void *(*volatile do_memalign)(size_t, size_t) = memalign;
static void *(*volatile do_aligned_alloc)(size_t, size_t) = aligned_alloc;
static int (*volatile do_posix_memalign)(void **, size_t, size_t) = posix_memalign;
static void *(*volatile do_valloc)(size_t) = valloc;
static void *(*volatile do_pvalloc)(size_t) = pvalloc;
static char *(*volatile do_strdup)(const char *) = strdup;
static void (*volatile do_free)(void *) = free;

static char failed[200];

static void *made(const char *name, void *block)
{
    if (block == NULL) {
        size_t length = strlen(failed);
        snprintf(failed + length, sizeof failed - length, "%s NULL %s", name, strerrorname_np(errno));
    } else if (errno != E2BIG)
        strcat(failed, " a call that did not fail touched errno ");
    errno = E2BIG;
    return block;
}

static void lives_on(char *block, const char *text)
{
    if (memcmp(block, text, strlen(text) + 1) != 0)
        strcat(failed, " and its block is lost");
    do_free(block);
}

/* One call of each. */
static void work(void)
{
    errno = E2BIG;
    do_free(made("malloc", do_malloc(10)));
    do_free(made("calloc", do_calloc(2, 10)));

    static char text[20] = "still there";
    char *block = memhook_backend_malloc(20);
    memcpy(block, text, sizeof text);
    char *larger = made("realloc", do_realloc(block, 5000));
    lives_on(larger ? larger : block, text);
    do_free(made("realloc (NULL)", do_realloc(NULL, 10)));
    block = memhook_backend_malloc(20);
    memcpy(block, text, sizeof text);
    larger = made("reallocarray", do_reallocarray(block, 50, 100));
    lives_on(larger ? larger : block, text);

    do_free(made("memalign", do_memalign(64, 10)));
    do_free(made("aligned_alloc", do_aligned_alloc(64, 128)));
    void *out = text;
    int error = do_posix_memalign(&out, 64, 10);
    if (error) {
        size_t length = strlen(failed);
        snprintf(failed + length, sizeof failed - length, "posix_memalign %s%s", strerrorname_np(error),
                 out == text ? "" : " and the pointer is changed");
    } else
        do_free(out);
    errno = E2BIG;
    do_free(made("valloc", do_valloc(10)));
    do_free(made("pvalloc", do_pvalloc(10)));
    do_free(made("strdup", do_strdup(text)));
    do_free(NULL);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    for (uint64_t n = 1;; n++) {
        memhook_id id;
        memhook_fail_counts counts = {.struct_size = sizeof counts};
        memset(failed, 0, sizeof failed);
        if (memhook_fail_nth(n, &id))
            return 1;
        work();
        if (memhook_fail_stop(id, &counts))
            return 1;
        printf("run %d: %s\n", (int)n, counts.failed ? failed : "nothing failed");
        if (counts.failed == 0)
            return *failed != 0;
    }
}
