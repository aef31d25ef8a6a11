/* What the header says of the edges: NULL, nothing, too much; and how far removals that are not alone come. */
#define _GNU_SOURCE
#include "err_check.h"
#include <malloc.h>
#include <stdint.h>

static memhook_id owner;

/* Owned blocks keep a hook whose last chain goes, whichever way. */
static void last_chain(const char *what, int (*end)(memhook_chain chain))
{
    memhook_interceptor table = owning_interceptor();
    memhook_chain empty, former;
    void *block;

    MUST(memhook_register(&table, &owner));
    block = do_malloc(100);
    MUST(memhook_chain_create(&empty));
    MUST(memhook_chain_swap(empty, &former));
    released = 0;
    RESULT(what, end(former));
    EXPECT(released == 0);
    REFUSED("  unregister", memhook_unregister(owner));
    REFUSED("  unregister_timed", memhook_unregister_timed(owner, 1000));
    REFUSED("  replace", memhook_replace(owner, &table));
    do_free(block);
    MUST(memhook_synchronize());
    EXPECT(released == 1);
    REFUSED("  unregister then", memhook_unregister(owner));
    int error = memhook_chain_destroy(former);
    EXPECT(error == 0 || error == EINVAL);
}

static int remove_it(memhook_chain chain)
{
    return memhook_chain_remove(chain, owner);
}

/* Put in force again, and out for good. */
static int swap_twice(memhook_chain chain)
{
    memhook_chain empty;
    MUST(memhook_chain_swap(chain, NULL));
    MUST(memhook_chain_create(&empty));
    return memhook_chain_swap(empty, NULL);
}

static void *nothing_next(memhook_next *next, size_t requested, const memhook_call *call, void *user)
{
    (void)user;
    errno = 4711;
    memhook_next_free(next, NULL);
    EXPECT(memhook_next_usable_size(next, NULL) == 0);
    EXPECT(memhook_usable_size(call) == 0);
    EXPECT(memhook_next_malloc(next, SIZE_MAX) == NULL && errno == ENOMEM);
    EXPECT(memhook_next_realloc(next, NULL, SIZE_MAX) == NULL);
    EXPECT(memhook_next_memalign(next, 64, SIZE_MAX) == NULL);
    void *made = memhook_next_realloc(next, NULL, 10);
    EXPECT(made != NULL && memhook_next_usable_size(next, made) >= 10);
    EXPECT(memhook_next_realloc(next, made, 0) == NULL);
    EXPECT(memhook_is_suspended() == 1 && memhook_next_is_backend(next) == 1);
    EXPECT(memhook_thread() != 0);
    return memhook_next_malloc(next, requested);
}

static void next_of_nothing(void)
{
    memhook_interceptor table = {.struct_size = sizeof table, .flags = MEMHOOK_KEEPS_POINTERS, .malloc = nothing_next};
    MUST(memhook_register(&table, &owner));
    do_free(do_malloc(10));
    MUST(memhook_unregister(owner));
    puts("next of nothing");
}

static void backend(void)
{
    errno = 4711;
    memhook_backend_free(NULL);
    EXPECT(memhook_backend_usable_size(NULL) == 0 && errno == 4711);
    EXPECT(memhook_backend_malloc(SIZE_MAX) == NULL && errno == ENOMEM);
    errno = 4711;
    EXPECT(memhook_backend_calloc(SIZE_MAX / 2, 3) == NULL && errno == ENOMEM);
    EXPECT(memhook_backend_memalign(64, SIZE_MAX - 10) == NULL);
    unsigned char *block = memhook_backend_calloc(10, 100);
    for (int i = 0; i < 1000; i++)
        EXPECT(block[i] == 0);
    block = memhook_backend_realloc(block, 5000);
    EXPECT(memhook_backend_usable_size(block) >= 5000);
    EXPECT(memhook_backend_realloc(block, SIZE_MAX - 100) == NULL);
    memhook_backend_free(block);
    block = memhook_backend_memalign(4096, 10);
    EXPECT((uintptr_t)block % 4096 == 0);
    do_free(block); /* Nobody owns it. */
    puts("backend");
}

static void names_and_listings(void)
{
    memhook_observer watch = counting_observer();
    memhook_hook_info infos[3] = {{.id = 77}, {.id = 77}, {.id = 77}};
    memhook_id ids[2];
    size_t count;

    watch.name = "0123456789012345678901234567890123456789";
    MUST(memhook_observe(&watch, &ids[0]));
    watch.name = NULL, watch.priority = INT32_MIN;
    MUST(memhook_observe(&watch, &ids[1]));
    MUST(memhook_chain_list(0, infos, sizeof *infos, 1, &count));
    printf("\"%s\", %d of %zu stored\n", infos[0].name, infos[0].id == ids[0] && infos[1].id == 77, count);
    MUST(memhook_chain_list(0, infos, sizeof *infos, 3, &count));
    printf("\"%s\", %d stored\n", infos[1].name, infos[1].id == ids[1] && infos[2].id == 77);
    MUST(memhook_unregister(ids[0]));
    MUST(memhook_unregister(ids[1]));
}

/* Each id and each chain is used once. */
static void never_twice(void)
{
    memhook_observer watch = counting_observer();
    memhook_id id, last = 0;
    memhook_chain chain, last_chain = 0;
    for (int i = 0; i < 1000; i++) {
        MUST(memhook_observe(&watch, &id));
        MUST(memhook_unregister(id));
        EXPECT(id > last);
        MUST(memhook_chain_create(&chain));
        MUST(memhook_chain_destroy(chain));
        EXPECT(chain > last_chain);
        last = id, last_chain = chain;
    }
    puts("never twice");
}

static void scratch(void)
{
    static void *all[3000];
    size_t sizes[] = {0, 1, 16, 17, 100, 4000, 40000, 1 << 20};
    errno = 4711;
    for (int i = 0; i < 3000; i++) {
        size_t bytes = sizes[i % 8];
        all[i] = memhook_scratch_malloc(bytes);
        EXPECT(all[i] != NULL && (uintptr_t)all[i] % 16 == 0);
        memset(all[i], i, bytes);
        if (i >= 100) {
            unsigned char *earlier = all[i - 100];
            size_t its = sizes[(i - 100) % 8];
            EXPECT(its == 0 || (earlier[0] == (unsigned char)(i - 100) && earlier[its - 1] == earlier[0]));
            memhook_scratch_free(earlier);
        }
    }
    for (int i = 2900; i < 3000; i++)
        memhook_scratch_free(all[i]);
    EXPECT(memhook_scratch_malloc(SIZE_MAX) == NULL && errno == 4711);
    puts("scratch");
}

/* Without the compiler's eye on formats. */
static void (*volatile do_log)(const char *format, ...) = memhook_log;

/* Of a log line everything that the header names, to standard error. */
static void log_lines(void)
{
    static char longer[700];
    memset(longer, 'x', sizeof longer - 1);
    errno = 4711;
    do_log("%s|%10s|%-10s|%.3s|%.*s|%*s|%-*s|%c|%%\n", "text", "right", "left", "cut here", 2, "cut", 6, "wide", 6,
                "l", 'c');
    do_log("%d %i %5d %-5d| %05d %d %u %o %x %X\n", -1, 2, 33, 44, 55, INT32_MIN, UINT32_MAX, 8, 0xbeef, 0xbeef);
    do_log("%hd %ld %lld %zu %zd %jd %td %lx %p\n", (short)-3, -4L, -5LL, SIZE_MAX, (ssize_t)-1, (intmax_t)-6,
                (ptrdiff_t)7, ~0UL, (void *)0x1234);
    do_log("%hx %hu %hhx %hhd|%*d|\n", -1, 65537, -1, 255, -4, 7);
    memhook_log("%d %d %d %d %d %d %d %d %d %s\n", 1, 2, 3, 4, 5, 6, 7, 8, 9, "ten");
    do_log("%s %q\n", (const char *)NULL);
    memhook_log("%s\n", longer);
    do_log("");
    do_log(NULL);
    EXPECT(errno == 4711);
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    last_chain("remove from the last chain", remove_it);
    last_chain("destroy the last chain", memhook_chain_destroy);
    last_chain("swap without the former", swap_twice);
    next_of_nothing();
    backend();
    names_and_listings();
    never_twice();
    scratch();
    log_lines();
    goes_on();
    return 0;
}
