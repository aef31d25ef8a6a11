/* ENOMEM: the kernel gives no pages any more and the library's own are used up. */
#ifndef ERR_USE_UP_H
#define ERR_USE_UP_H

#include "err_check.h"
#include <sys/mman.h>
#include <sys/resource.h>

enum { KEPT = 8192, CHAINS = 16384 };
static void *kept[KEPT];
static int kept_count;
static memhook_chain leftover[CHAINS];
static int chains;
static struct rlimit whole;

/* Takes all that the library has left: of its scratch allocator, and what it never gives back. */
static inline void use_up(void)
{
    MUST(getrlimit(RLIMIT_DATA, &whole));
    struct rlimit none = whole;
    none.rlim_cur = 4096;
    MUST(setrlimit(RLIMIT_DATA, &none));
    for (size_t bytes = 32000; bytes >= 8; bytes /= 2) {
        void *memory;
        while (kept_count < KEPT && (memory = memhook_scratch_malloc(bytes)) != NULL)
            kept[kept_count++] = memory;
    }
    EXPECT(kept_count < KEPT);
    EXPECT(mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) ==
           MAP_FAILED);
    while (chains < CHAINS && memhook_chain_create(&leftover[chains]) == 0)
        chains++;
    EXPECT(chains < CHAINS);
}

/* The scratch allocator has small blocks again; the kernel still gives nothing. */
static inline void give_back_scratch(void)
{
    while (kept_count > 0)
        memhook_scratch_free(kept[--kept_count]);
}

static inline void give_back(void)
{
    MUST(setrlimit(RLIMIT_DATA, &whole));
    give_back_scratch();
    while (chains > 0)
        MUST(memhook_chain_destroy(leftover[--chains]));
}

#endif
