/* The functions of the check tool: what they refuse, what the handler is told, starting and stopping in the middle. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <memhook.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_calloc)(size_t, size_t) = calloc;
static void *(*volatile do_realloc)(void *, size_t) = realloc;
static void *(*volatile do_memalign)(size_t, size_t) = memalign;
static size_t (*volatile do_usable_size)(void *) = malloc_usable_size;
static void (*volatile do_free)(void *) = free;
extern void free_sized(void *, size_t);

static memhook_check_report last;
static int reports, user;
static const void *made_by, *freed_by;

static void handler(const memhook_check_report *report, void *its_user)
{
    last = *report;
    made_by = report->made_by_count ? report->made_by[0] : NULL;
    freed_by = report->freed_by_count ? report->freed_by[0] : NULL;
    reports++;
    if (its_user != &user || report->struct_size != sizeof *report || report->text_len < 20 ||
        memcmp(report->text, "memhook: check: ", 16) != 0)
        puts("the report is wrong");
    do_free(do_malloc(100)); /* Handlers may. */
}

static memhook_check_options options(uint32_t flags)
{
    return (memhook_check_options){
        .struct_size = sizeof(memhook_check_options), .flags = flags, .handler = handler, .user = &user};
}

static const char *name(int error)
{
    return error ? strerrorname_np(error) : "0";
}

static void refused(const char *what, memhook_check_options options)
{
    int error = memhook_check_start(&options);
    if (error != EINVAL)
        printf("%s: %s\n", what, name(error));
}

static int in_here(const void *address)
{
    extern char etext;
    extern char __executable_start;
    return (const char *)address > &__executable_start && (const char *)address < &etext;
}

/* What the handler was told since the last time. */
static void told(const char *what)
{
    printf("%-22s %d report%s", what, reports, reports == 1 ? "" : "s");
    if (reports)
        printf(": kind %d by %s, %zu bytes, offset %td, span %zu%s%s%s", (int)last.kind,
               memhook_entry_name(last.entry), last.requested, last.offset, last.span,
               in_here(last.caller) ? ", caller" : "", in_here(made_by) ? ", made" : "",
               in_here(freed_by) ? ", freed" : "");
    puts("");
    reports = 0;
}

static void *stays(void *block)
{
    do_free(block);
    return NULL;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    char *older = do_malloc(24);

    memhook_check_options wrong = options(0);
    wrong.struct_size--, refused("struct_size", wrong);
    wrong = options(512), refused("flags", wrong);
    wrong = options(0), wrong.frames = 65, refused("frames", wrong);
    wrong = options(0), wrong.reserved[3] = 1, refused("reserved", wrong);
    wrong = options(MEMHOOK_CHECK_FILL_ONLY), refused("fill only", wrong);
    printf("not started: stop %s, all %zu, block %s\n", name(memhook_check_stop()), memhook_check_all(),
           name(memhook_check_block(older)));

    memhook_check_options good = options(0);
    printf("start %s", name(memhook_check_start(&good)));
    printf(", again %s\n", name(memhook_check_start(&good)));

    char *at = do_malloc(24);
    printf("sizes: %zu %zu %zu\n", do_usable_size(at), do_usable_size(older) >= 24 ? (size_t)24 : 0,
           do_usable_size(NULL));
    at[24] = 1;
    printf("block %s", name(memhook_check_block(at)));
    printf(", all %zu", memhook_check_all());
    at[24] = (char)0xd7;
    reports = 0;
    printf("; repaired: block %s, all %zu, inside %s, older %s\n", name(memhook_check_block(at)),
           memhook_check_all(), name(memhook_check_block(at + 1)), name(memhook_check_block(older)));
    char saved[64];
    memcpy(saved, at - 64, 64);
    memset(at - 64, 0, 64);
    printf("zeroes before it: block %s, all %zu\n", name(memhook_check_block(at)), memhook_check_all());
    memcpy(at - 64, saved, 64);
    reports = 0;
    at[26] = 1;
    do_free(at), told("overflow");
    do_free(at), told("double free");
    printf("%s", name(memhook_check_block(at))), told(": freed block");
    at = do_malloc(10);
    at[-3] = 0;
    at = do_realloc(at, 12), told("underflow, realloc");
    do_free(at), reports = 0;
    do_free(at = do_calloc(4, 8)), told("nothing");
    do_free(at + 5), told("interior");
    do_free((void *)8), told("wild");
    do_free(&at), told("foreign");
    printf("%s", do_realloc(&at, 10) ? "grew" : "refused"), told(": foreign realloc");
    free_sized(do_malloc(30), 29), told("wrong size");
    free_sized(do_malloc(30), 30), told("right size");
    do_free(NULL), told("NULL");
    do_free(older), told("older");
    for (size_t alignment = 1; alignment <= 1 << 22; alignment *= 2) {
        char *block = do_memalign(alignment, 100);
        if ((uintptr_t)block % alignment || do_usable_size(block) != 100)
            printf("alignment %zu is lost\n", alignment);
        block[100] = 1;
        do_free(block);
        reports -= last.kind == MEMHOOK_CHECK_OVERFLOW && last.block == block;
    }
    told("aligned");

    /* Contents and sizes through every way of resizing. */
    size_t sizes[] = {1, 16, 17, 1000, 1024, 1025, 40000, 5000000, 70000, 33000, 32000, 900, 20, 3};
    unsigned char *text = do_malloc(1);
    size_t before = 1;
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        memset(text, (int)i, before);
        size_t kept = before < sizes[i] ? before : sizes[i];
        text = do_realloc(text, before = sizes[i]);
        for (size_t j = 0; j < kept; j++)
            if (text[j] != i || do_usable_size(text) != before)
                printf("resizing to %zu lost something\n", before), exit(1);
    }
    text[3] = 1;
    do_free(text), told("resized");
    if (do_malloc(SIZE_MAX) || do_malloc(SIZE_MAX / 4) || do_realloc(at = do_malloc(8), SIZE_MAX - 100) ||
        do_memalign(16, SIZE_MAX - 20) || do_memalign((size_t)1 << 62, 1) || errno != ENOMEM)
        puts("too much was given");
    do_free(at), told("too much");

    /* What was made before the end is looked at after it. */
    char *lives = do_malloc(24), *more = do_malloc(2000);
    printf("stop %s, ", name(memhook_check_stop()));
    lives[24] = 1;
    char *between = do_malloc(24);
    printf("all %zu, ", memhook_check_all());
    printf("start %s\n", name(memhook_check_start(&good)));
    do_free(between), told("made between");
    pthread_t thread;
    pthread_create(&thread, NULL, stays, lives);
    pthread_join(thread, NULL), told("made before");
    do_free(more), told("made before, sound");
    printf("stop %s\n", name(memhook_check_stop()));

    /* One at a time: a handler beside a message beside nothing. */
    for (int i = 0; i < 3; i++) {
        good = options(i == 0 ? MEMHOOK_CHECK_MESSAGE | MEMHOOK_CHECK_SHORT : i == 1 ? 0 : MEMHOOK_CHECK_QUIET);
        if (i)
            good.handler = i == 1 ? handler : NULL;
        int error = memhook_check_start(&good);
        do_free(&thread);
        printf("%s ", name(error)), told(i == 0 ? "both" : i == 1 ? "handler" : "neither");
        memhook_check_stop();
    }
    return 0;
}
