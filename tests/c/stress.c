// Everything at once: threads allocate, hand over, resize and free blocks whose contents are
// checked, while others register, unregister, replace and swap hooks that change pointers and
// hooks that observe; threads come and go, the process forks now and then, and plugins with hooks
// are loaded and unloaded, whose memory is made inaccessible afterwards.
//
// stress SECONDS [SEED]. Prints what was done; exit status 0 when every block came back as it was,
// every release ran exactly once, no interceptor was given a block that it did not make, and the
// books of an observer that was in force all the time name exactly the blocks that were live.
//
// PLUGIN is the path of stress_plugin.c as a shared object; without it no plugin is loaded.
#define _GNU_SOURCE
#include "stress_plugin.h"
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <malloc.h>
#include <memhook.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { ALLOCATORS = 4, WRITERS = 3, SLOTS = 512, PLUGINS = 4 };

static atomic_bool stop;
static pid_t parent;

// In a fork child, threads of the parent are gone from where they were. Its fork handlers run releases
// before fork() returns there.
static bool in_child(void)
{
    return getpid() != parent;
}
// Threads begin together: the C library keeps memory of a thread that it creates, which an
// interceptor would own for ever.
static pthread_barrier_t begin;
static atomic_ulong operations, handed_over, registrations, replacements, swaps, forks, removed_later, short_lived;
static atomic_ulong loaded, unloaded_by_itself, unloaded_tied, unloaded_owners, plugin_calls, pages_closed, pages_taken;

#define CHECK(condition)                                                                       \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            memhook_log("stress: line %d: %s is false (errno %d)\n", __LINE__, #condition, errno); \
            abort();                                                                           \
        }                                                                                      \
    } while (0)

static uint64_t next_random(uint64_t *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

// One registered interceptor: what it puts in front of each of its blocks.
struct owner {
    size_t header;
    uint64_t key;
    atomic_long live;
    atomic_int released;
};

static atomic_long owners_made, owners_released, keepers_made, keepers_released;

// 8 bytes, so that blocks can begin 8 bytes after one of the backend's.
struct header {
    uint64_t key : 32, front : 8, size : 24;
};

static void *put_header(struct owner *owner, char *raw, size_t front, size_t size)
{
    if (raw == NULL)
        return NULL;
    char *block = raw + front;
    struct header *header = (struct header *)block - 1;
    CHECK(size < 1 << 24);
    header->key = (uint32_t)owner->key;
    header->front = (uint8_t)front;
    header->size = (uint32_t)size & 0xffffff;
    atomic_fetch_add_explicit(&owner->live, 1, memory_order_relaxed);
    return block;
}

static char *take_header(struct owner *owner, void *block)
{
    struct header *header = (struct header *)block - 1;
    CHECK(header->key == owner->key);
    CHECK(atomic_load(&owner->released) == 0);
    header->key = 0;
    atomic_fetch_sub_explicit(&owner->live, 1, memory_order_relaxed);
    return (char *)block - header->front;
}

static void *owner_malloc(memhook_next *next, size_t size, const memhook_call *call, void *user)
{
    (void)call;
    struct owner *owner = user;
    return put_header(owner, memhook_next_malloc(next, size + owner->header), owner->header, size);
}

static void *owner_memalign(memhook_next *next, size_t alignment, size_t size, const memhook_call *call, void *user)
{
    (void)call;
    struct owner *owner = user;
    size_t front = (owner->header + alignment - 1) / alignment * alignment;
    CHECK(front < 256);
    return put_header(owner, memhook_next_memalign(next, alignment, size + front), front, size);
}

static void *owner_realloc(memhook_next *next, void *block, size_t size, const memhook_call *call, void *user)
{
    struct owner *owner = user;
    if (block == NULL)
        return owner_malloc(next, size, call, user);
    struct header *header = (struct header *)block - 1;
    size_t before = header->size, front = header->front;
    char *raw = take_header(owner, block);
    char *moved = memhook_next_realloc(next, raw, size + front);
    if (moved == NULL) {
        put_header(owner, raw, front, before);
        return NULL;
    }
    return put_header(owner, moved, front, size);
}

static void owner_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call;
    memhook_next_free(next, take_header(user, block));
}

static size_t owner_usable_size(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call, (void)next;
    struct owner *owner = user;
    CHECK(((struct header *)block - 1)->key == owner->key);
    return ((struct header *)block - 1)->size;
}

static void owner_release(void *user)
{
    struct owner *owner = user;
    CHECK(atomic_fetch_add(&owner->released, 1) == 0);
    // In a fork child a thread that is gone may have been in the middle of a call.
    CHECK(in_child() || atomic_load(&owner->live) == 0);
    atomic_fetch_add(&owners_released, 1);
    memhook_scratch_free(owner);
}

static memhook_interceptor make_owner(uint64_t *random)
{
    struct owner *owner = memhook_scratch_malloc(sizeof *owner);
    CHECK(owner != NULL);
    memset(owner, 0, sizeof *owner);
    static const size_t headers[] = { 8, 16, 24, 32, 64, 72 };
    owner->header = headers[next_random(random) % (sizeof headers / sizeof *headers)];
    owner->key = (uint32_t)next_random(random) | 1;
    atomic_fetch_add(&owners_made, 1);
    memhook_interceptor table = {
        .struct_size = sizeof table,
        .name = "owner",
        .priority = (int)(next_random(random) % 3),
        .user = owner,
        .malloc = owner_malloc,
        .realloc = owner_realloc,
        .memalign = owner_memalign,
        .free = owner_free,
        .usable_size = owner_usable_size,
        .release = owner_release,
    };
    return table;
}

// An interceptor that keeps pointers: it sees the blocks of all others.
struct keeper {
    atomic_long running;
    atomic_int released;
};

static void *keeper_malloc(memhook_next *next, size_t size, const memhook_call *call, void *user)
{
    (void)call;
    struct keeper *keeper = user;
    atomic_fetch_add(&keeper->running, 1);
    void *block = memhook_next_malloc(next, size);
    CHECK(atomic_load(&keeper->released) == 0);
    atomic_fetch_sub(&keeper->running, 1);
    return block;
}

static void keeper_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)call;
    struct keeper *keeper = user;
    atomic_fetch_add(&keeper->running, 1);
    memhook_next_free(next, block);
    CHECK(atomic_load(&keeper->released) == 0);
    atomic_fetch_sub(&keeper->running, 1);
}

static void keeper_release(void *user)
{
    struct keeper *keeper = user;
    CHECK(atomic_fetch_add(&keeper->released, 1) == 0);
    CHECK(in_child() || atomic_load(&keeper->running) == 0);
    atomic_fetch_add(&keepers_released, 1);
    memhook_scratch_free(keeper);
}

static memhook_interceptor make_keeper(uint64_t *random)
{
    struct keeper *keeper = memhook_scratch_malloc(sizeof *keeper);
    CHECK(keeper != NULL);
    memset(keeper, 0, sizeof *keeper);
    atomic_fetch_add(&keepers_made, 1);
    memhook_interceptor table = {
        .struct_size = sizeof table,
        .name = "keeper",
        .priority = (int)(next_random(random) % 3),
        .flags = MEMHOOK_KEEPS_POINTERS,
        .user = keeper,
        .malloc = keeper_malloc,
        .free = keeper_free,
        .release = keeper_release,
    };
    return table;
}

// An observer: begun and ended reallocs must match in each thread.
struct watcher {
    atomic_long begun, ended;
    atomic_int released;
};

static atomic_long watchers_made, watchers_released;

static void watch_alloc(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block;
    CHECK(atomic_load(&((struct watcher *)user)->released) == 0);
}

static void watch_free(const memhook_call *call, void *user)
{
    CHECK(call->block != NULL);
    CHECK(atomic_load(&((struct watcher *)user)->released) == 0);
}

static void watch_begin(const memhook_call *call, void *user)
{
    (void)call;
    atomic_fetch_add(&((struct watcher *)user)->begun, 1);
}

static void watch_commit(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block;
    atomic_fetch_add(&((struct watcher *)user)->ended, 1);
}

static void watch_abort(const memhook_call *call, void *user)
{
    (void)call;
    atomic_fetch_add(&((struct watcher *)user)->ended, 1);
}

static void watch_release(void *user)
{
    struct watcher *watcher = user;
    CHECK(atomic_fetch_add(&watcher->released, 1) == 0);
    atomic_fetch_add(&watchers_released, 1);
    memhook_scratch_free(watcher);
}

static memhook_observer make_watcher(uint64_t *random)
{
    struct watcher *watcher = memhook_scratch_malloc(sizeof *watcher);
    CHECK(watcher != NULL);
    memset(watcher, 0, sizeof *watcher);
    atomic_fetch_add(&watchers_made, 1);
    memhook_observer table = {
        .struct_size = sizeof table,
        .name = "watcher",
        .priority = (int)(next_random(random) % 3),
        .user = watcher,
        .after_alloc = watch_alloc,
        .before_free = watch_free,
        .realloc_begin = watch_begin,
        .realloc_commit = watch_commit,
        .realloc_abort = watch_abort,
        .release = watch_release,
    };
    return table;
}

// The books of the observer that is in force all the time: every address that was reported and not
// given back yet, in buckets by address. An address can come again only after it went.
enum { BUCKETS = 4096, PLACES = 16 };

static _Atomic(uintptr_t) books[BUCKETS][PLACES];
static atomic_ulong reported, given_back, not_in_books;
static _Thread_local bool resizes_unknown;

static _Atomic(uintptr_t) *bucket_of(uintptr_t address)
{
    return books[(address / 8 * 0x9e3779b97f4a7c15u) >> 52];
}

static bool is_in_books(uintptr_t address)
{
    for (unsigned i = 0; i < PLACES; i++)
        if (atomic_load(&bucket_of(address)[i]) == address)
            return true;
    return false;
}

static void enter_in_books(uintptr_t address)
{
    CHECK(!is_in_books(address));
    for (unsigned i = 0; i < PLACES; i++) {
        uintptr_t none = 0;
        if (atomic_compare_exchange_strong(&bucket_of(address)[i], &none, address)) {
            atomic_fetch_add_explicit(&reported, 1, memory_order_relaxed);
            return;
        }
    }
    CHECK(!"a place in the bucket");
}

static bool strike_from_books(uintptr_t address)
{
    for (unsigned i = 0; i < PLACES; i++) {
        uintptr_t here = address;
        if (atomic_compare_exchange_strong(&bucket_of(address)[i], &here, 0)) {
            atomic_fetch_add_explicit(&given_back, 1, memory_order_relaxed);
            return true;
        }
    }
    // Made before the observer, or while this program had hooks suspended.
    atomic_fetch_add(&not_in_books, 1);
    return false;
}

static void book_alloc(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)user;
    if (block != NULL)
        enter_in_books((uintptr_t)block);
}

static void book_free(const memhook_call *call, void *user)
{
    (void)user;
    strike_from_books((uintptr_t)call->block);
}

static void book_begin(const memhook_call *call, void *user)
{
    (void)user;
    resizes_unknown = !strike_from_books((uintptr_t)call->block);
}

static void book_commit(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)user;
    if (block != NULL)
        enter_in_books((uintptr_t)block);
}

static void book_abort(const memhook_call *call, void *user)
{
    (void)user;
    if (!resizes_unknown)
        enter_in_books((uintptr_t)call->block);
}

// A block in a shared slot: whoever takes it out checks it.
struct block {
    size_t size;
    uint64_t seed;
    unsigned char bytes[];
};

static _Atomic(struct block *) slots[SLOTS];

static void fill(struct block *block, size_t size, uint64_t seed)
{
    block->size = size;
    block->seed = seed;
    for (size_t i = 0; i < size; i++)
        block->bytes[i] = (unsigned char)(seed + i * 31);
}

static void verify(struct block *block, size_t size)
{
    for (size_t i = 0; i < size; i++)
        CHECK(block->bytes[i] == (unsigned char)(block->seed + i * 31));
}

static void *allocate(void *argument)
{
    pthread_barrier_wait(&begin);
    uint64_t random = (uintptr_t)argument * 0x9e3779b97f4a7c15u + 1;
    unsigned long done = 0, moved = 0;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        size_t size = next_random(&random) % (next_random(&random) % 64 == 0 ? 100000 : 300);
        struct block *block = NULL;
        switch (next_random(&random) % 4) {
        case 0:
            block = malloc(sizeof *block + size);
            break;
        case 1:
            block = calloc(1, sizeof *block + size);
            for (size_t i = 0; i < sizeof *block + size; i++)
                CHECK(((unsigned char *)block)[i] == 0);
            break;
        case 2:
            block = realloc(NULL, sizeof *block + size);
            break;
        case 3:
            block = memalign(16, sizeof *block + size);
            CHECK(((uintptr_t)block & 15) == 0);
            break;
        }
        CHECK(block != NULL);
        CHECK(malloc_usable_size(block) >= sizeof *block + size);
        fill(block, size, next_random(&random));
        if (next_random(&random) % 4 == 0) {
            size_t larger = next_random(&random) % 600;
            struct block *resized = realloc(block, sizeof *block + larger);
            CHECK(resized != NULL);
            verify(resized, size < larger ? size : larger);
            block = resized;
            fill(block, larger, next_random(&random));
        }
        struct block *other = atomic_exchange(&slots[next_random(&random) % SLOTS], block);
        if (other != NULL) {
            verify(other, other->size);
            free(other);
            moved++;
        }
        done++;
    }
    atomic_fetch_add(&operations, done);
    atomic_fetch_add(&handed_over, moved);
    return NULL;
}

static void expect_removed(int result)
{
    // A swap by another thread may have taken the hook out first.
    CHECK(result == 0 || result == EINPROGRESS || result == ESRCH || result == EALREADY);
    if (result == EINPROGRESS)
        atomic_fetch_add(&removed_later, 1);
}

enum kind { NOTHING, OWNER, KEEPER, WATCHER };

// One change of one hook, chosen by chance.
static void change_one(memhook_id *id, enum kind *kind, uint64_t *random)
{
    int result;
    if (*kind == NOTHING) {
        *kind = OWNER + next_random(random) % 3;
        if (*kind == OWNER) {
            memhook_interceptor table = make_owner(random);
            result = memhook_register(&table, id);
            if (result != 0)
                owner_release(table.user);
        } else if (*kind == KEEPER) {
            memhook_interceptor table = make_keeper(random);
            result = memhook_register(&table, id);
            if (result != 0)
                keeper_release(table.user);
        } else {
            memhook_observer table = make_watcher(random);
            result = memhook_observe(&table, id);
            CHECK(result == 0);
        }
        CHECK(result == 0 || result == ENOSPC);
        if (result != 0)
            *kind = NOTHING;
        atomic_fetch_add(&registrations, 1);
    } else if (*kind == OWNER && next_random(random) % 4 == 0) {
        memhook_interceptor table = make_owner(random);
        result = memhook_replace(*id, &table);
        if (result != 0 && result != EINPROGRESS)
            owner_release(table.user);
        expect_removed(result == ENOSPC ? 0 : result);
        atomic_fetch_add(&replacements, 1);
    } else {
        result = memhook_unregister(*id);
        if (result == ENOSPC)
            return;
        expect_removed(result);
        *kind = NOTHING;
    }
}

static void *change(void *argument)
{
    pthread_barrier_wait(&begin);
    uint64_t random = (uintptr_t)argument * 0xd1342543de82ef95u + 7;
    bool swaps_chains = (uintptr_t)argument % 100 == 0;
    memhook_id mine[8] = { 0 };
    enum kind kinds[8] = { NOTHING };
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        unsigned i = next_random(&random) % 8;
        change_one(&mine[i], &kinds[i], &random);
        if (swaps_chains && next_random(&random) % 16 == 0) {
            // The hooks in force out and in again, in one step each.
            memhook_chain copy, former;
            CHECK(memhook_chain_copy(&copy) == 0);
            int result = memhook_chain_swap(copy, &former);
            if (result == 0) {
                result = memhook_chain_destroy(former);
                CHECK(result == 0 || result == EINPROGRESS);
                atomic_fetch_add(&swaps, 1);
            } else {
                // Another thread may be replacing one of them.
                CHECK(result == ENOSPC || result == EBUSY);
                result = memhook_chain_destroy(copy);
                CHECK(result == 0 || result == EINPROGRESS);
            }
        }
    }
    for (unsigned i = 0; i < 8; i++)
        while (kinds[i] != NOTHING)
            change_one(&mine[i], &kinds[i], &random);
    return NULL;
}

// The C library keeps memory of threads that have ended: it is not to be an interceptor's.
static void start_thread(pthread_t *thread, void *(*function)(void *), void *argument)
{
    CHECK(memhook_suspend() == 0);
    CHECK(pthread_create(thread, NULL, function, argument) == 0);
    CHECK(memhook_resume() == 0);
}

static pthread_key_t last_words;

static void say_last_words(void *value)
{
    free(value);
    free(malloc(40));
}

static void *live_shortly(void *argument)
{
    uint64_t random = (uintptr_t)argument * 0xa0761d6478bd642fu + 3;
    void *own = malloc(64);
    CHECK(own != NULL);
    // The C library keeps the place of a value, too; the first few are in the thread itself.
    CHECK(pthread_setspecific(last_words, own) == 0);
    for (int i = 0; i < 50; i++) {
        size_t size = next_random(&random) % 300;
        struct block *block = malloc(sizeof *block + size);
        CHECK(block != NULL);
        fill(block, size, next_random(&random));
        struct block *other = atomic_exchange(&slots[next_random(&random) % SLOTS], block);
        if (other != NULL) {
            verify(other, other->size);
            free(other);
        }
    }
    return NULL;
}

static void *start_threads(void *argument)
{
    pthread_barrier_wait(&begin);
    uintptr_t number = (uintptr_t)argument << 32;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        pthread_t threads[3];
        for (int i = 0; i < 3; i++)
            start_thread(&threads[i], live_shortly, (void *)++number);
        for (int i = 0; i < 3; i++)
            CHECK(pthread_join(threads[i], NULL) == 0);
        atomic_fetch_add(&short_lived, 3);
    }
    return NULL;
}

#ifdef PLUGIN

// A copy of the plugin in memory, and what was last done with it.
struct plugin {
    char path[64];
    void *handle;
    plugin_leave_fn *leave;
    uintptr_t start, end;
    memhook_id id;
    enum plugin_kind kind;
    // The hook is on its way out; the object may go when all its blocks are back.
    bool waits;
    // `release` is the program's.
    bool released_here;
    struct plugin_state *state;
    // The address range it was at, now inaccessible.
    uintptr_t closed[2];
};

static struct plugin plugins[PLUGINS];

static void released_here(void *user)
{
    CHECK(atomic_fetch_add(&((struct plugin_state *)user)->released, 1) == 0);
}

static void copy_plugin(struct plugin *plugin)
{
    int from = open(PLUGIN, O_RDONLY | O_CLOEXEC), to = memfd_create("plugin", MFD_CLOEXEC);
    CHECK(from >= 0 && to >= 0);
    char buffer[4096];
    ssize_t n;
    while ((n = read(from, buffer, sizeof buffer)) > 0)
        CHECK(write(to, buffer, (size_t)n) == n);
    CHECK(n == 0 && close(from) == 0);
    snprintf(plugin->path, sizeof plugin->path, "/proc/self/fd/%d", to);
}

static int measure(struct dl_phdr_info *info, size_t size, void *argument)
{
    (void)size;
    struct plugin *plugin = argument;
    uintptr_t inside = (uintptr_t)plugin->leave;
    uintptr_t start = UINTPTR_MAX, end = 0;
    for (int i = 0; i < info->dlpi_phnum; i++) {
        const ElfW(Phdr) *header = &info->dlpi_phdr[i];
        if (header->p_type != PT_LOAD)
            continue;
        uintptr_t from = info->dlpi_addr + header->p_vaddr, to = from + header->p_memsz;
        start = from < start ? from : start;
        end = to > end ? to : end;
    }
    if (inside < start || inside >= end)
        return 0;
    plugin->start = start & ~(uintptr_t)4095;
    plugin->end = (end + 4095) & ~(uintptr_t)4095;
    return 1;
}

static plugin_register_fn *load(struct plugin *plugin)
{
    plugin->handle = dlopen(plugin->path, RTLD_NOW | RTLD_LOCAL);
    CHECK(plugin->handle != NULL);
    plugin_register_fn *enter;
    *(void **)&enter = dlsym(plugin->handle, "plugin_register");
    *(void **)&plugin->leave = dlsym(plugin->handle, "plugin_leave");
    CHECK(enter != NULL && plugin->leave != NULL);
    CHECK(dl_iterate_phdr(measure, plugin) == 1);
    return enter;
}

// From here on, a call of the plugin's code and a use of its data crash.
static void unload(struct plugin *plugin)
{
    if (plugin->closed[1] != 0)
        CHECK(munmap((void *)plugin->closed[0], plugin->closed[1] - plugin->closed[0]) == 0);
    plugin->closed[1] = 0;
    CHECK(dlclose(plugin->handle) == 0);
    CHECK(atomic_load(&plugin->state->released) == 1);
    CHECK(dlopen(plugin->path, RTLD_NOW | RTLD_NOLOAD) == NULL);
    void *got = mmap((void *)plugin->start, plugin->end - plugin->start, PROT_NONE,
                     MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
    size_t pages = (plugin->end - plugin->start) / 4096;
    if (got == (void *)plugin->start) {
        plugin->closed[0] = plugin->start;
        plugin->closed[1] = plugin->end;
        atomic_fetch_add(&pages_closed, pages);
    } else {
        // Another thread has mapped something there already.
        CHECK(errno == EEXIST);
        atomic_fetch_add(&pages_taken, pages);
    }
    atomic_fetch_add(&plugin_calls, plugin->state->calls);
    memhook_scratch_free(plugin->state);
    plugin->handle = NULL;
}

static void begin_plugin(struct plugin *plugin, uint64_t *random)
{
    plugin->state = memhook_scratch_malloc(sizeof *plugin->state);
    CHECK(plugin->state != NULL);
    memset(plugin->state, 0, sizeof *plugin->state);
    plugin_register_fn *enter = load(plugin);
    plugin->kind = next_random(random) % PLUGIN_KINDS;
    plugin->waits = false;
    plugin->released_here = next_random(random) % 2;
    int result;
    // The stress itself may have used up the sets of owners for a moment.
    do
        result = enter(plugin->kind, (int)(next_random(random) % 3), plugin->state,
                       plugin->released_here ? released_here : NULL, &plugin->id);
    while (result == ENOSPC);
    CHECK(result == 0);
    atomic_fetch_add(&loaded, 1);
}

static int unregister(memhook_id id)
{
    int result;
    do
        result = memhook_unregister(id);
    while (result == ENOSPC);
    CHECK(result == 0 || result == EINPROGRESS || result == EALREADY || result == ESRCH);
    return result;
}

// Unloads it if that is allowed already.
static void end_plugin(struct plugin *plugin, uint64_t *random)
{
    bool owns = plugin->kind == PLUGIN_OWNER;
    if (!owns && !plugin->waits && next_random(random) % 2 == 0) {
        // Everything is in force when the object goes.
        unload(plugin);
        atomic_fetch_add(&unloaded_tied, 1);
        return;
    }
    if (!plugin->waits) {
        int result = unregister(plugin->id);
        plugin->waits = true;
        CHECK(owns || result != EINPROGRESS);
        if (result == 0)
            CHECK(atomic_load(&plugin->state->released) == 1);
    }
    if (!owns) {
        // Another thread's swap may be removing it just now: that is waited for by the destructor.
        if (next_random(random) % 2 == 0) {
            int result = plugin->leave();
            CHECK(result == 0 || result == EALREADY || result == ESRCH || result == ENOSPC);
        }
        unload(plugin);
        atomic_fetch_add(&unloaded_by_itself, 1);
        return;
    }
    size_t live;
    CHECK(memhook_live_blocks(plugin->id, &live) == 0);
    if (live != 0)
        return;
    // The last free may still be in its callback, and the release under way: dlclose waits.
    unload(plugin);
    atomic_fetch_add(&unloaded_owners, 1);
}

static void *use_plugins(void *argument)
{
    pthread_barrier_wait(&begin);
    uint64_t random = (uintptr_t)argument * 0xe7037ed1a0b428dbu + 11;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        struct plugin *plugin = &plugins[next_random(&random) % PLUGINS];
        if (plugin->handle == NULL)
            begin_plugin(plugin, &random);
        else
            end_plugin(plugin, &random);
    }
    return NULL;
}

// All at once and without hooks: what the dynamic linker keeps for ever, it gets now.
static void prepare_plugins(void)
{
    for (unsigned i = 0; i < PLUGINS; i++) {
        copy_plugin(&plugins[i]);
        CHECK(load(&plugins[i]) != NULL);
    }
    for (unsigned i = 0; i < PLUGINS; i++) {
        CHECK(dlclose(plugins[i].handle) == 0);
        plugins[i].handle = NULL;
        CHECK(dlopen(plugins[i].path, RTLD_NOW | RTLD_NOLOAD) == NULL);
    }
}

static void finish_plugins(void)
{
    uint64_t random = 1;
    for (unsigned round = 0; round < 1000; round++)
        for (unsigned i = 0; i < PLUGINS; i++)
            if (plugins[i].handle != NULL)
                end_plugin(&plugins[i], &random);
    for (unsigned i = 0; i < PLUGINS; i++)
        CHECK(plugins[i].handle == NULL);
}

enum { LOADERS = 1 };

#else

enum { LOADERS = 0 };

static void *use_plugins(void *argument)
{
    return argument;
}

static void prepare_plugins(void)
{
}

static void finish_plugins(void)
{
}

#endif

static void *fork_now_and_then(void *argument)
{
    pthread_barrier_wait(&begin);
    (void)argument;
    while (!atomic_load_explicit(&stop, memory_order_relaxed)) {
        pid_t child = fork();
        CHECK(child >= 0);
        if (child == 0) {
            for (int i = 0; i < 100; i++) {
                struct block *block = atomic_exchange(&slots[i], NULL);
                if (block != NULL) {
                    verify(block, block->size);
                    free(block);
                }
                free(malloc(100));
            }
            memhook_observer table = { .struct_size = sizeof table, .after_alloc = NULL, .before_free = watch_free };
            struct watcher watcher = { 0 };
            table.user = &watcher;
            memhook_id id;
            if (memhook_observe(&table, &id) != 0 || memhook_unregister(id) != 0)
                _exit(2);
            _exit(0);
        }
        int status;
        CHECK(waitpid(child, &status, 0) == child);
        CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
        atomic_fetch_add(&forks, 1);
        usleep(20000);
    }
    return NULL;
}

static void free_slots(void)
{
    for (unsigned i = 0; i < SLOTS; i++) {
        struct block *block = atomic_exchange(&slots[i], NULL);
        if (block != NULL) {
            verify(block, block->size);
            free(block);
        }
    }
}

int main(int argc, char **argv)
{
    double seconds = argc > 1 ? atof(argv[1]) : 2;
    unsigned long seed = argc > 2 ? strtoul(argv[2], NULL, 0) : 1;
    pthread_t threads[ALLOCATORS + WRITERS + 3];
    unsigned n = 0;
    parent = getpid();
    CHECK(pthread_barrier_init(&begin, NULL, ALLOCATORS + WRITERS + LOADERS + 3) == 0);
    CHECK(pthread_key_create(&last_words, say_last_words) == 0);
    for (uintptr_t i = 0; i < ALLOCATORS; i++)
        start_thread(&threads[n++], allocate, (void *)(seed * 100 + i));
    for (uintptr_t i = 0; i < WRITERS; i++)
        start_thread(&threads[n++], change, (void *)(seed * 100 + i));
    start_thread(&threads[n++], fork_now_and_then, NULL);
    start_thread(&threads[n++], start_threads, (void *)seed);
    if (LOADERS != 0)
        start_thread(&threads[n++], use_plugins, (void *)seed);
    prepare_plugins();
    memhook_observer table = {
        .struct_size = sizeof table, .name = "books", .after_alloc = book_alloc, .before_free = book_free,
        .realloc_begin = book_begin, .realloc_commit = book_commit, .realloc_abort = book_abort,
    };
    memhook_id bookkeeper;
    CHECK(memhook_observe(&table, &bookkeeper) == 0);
    pthread_barrier_wait(&begin);
    struct timespec nap = { (time_t)seconds, (long)((seconds - (time_t)seconds) * 1e9) };
    nanosleep(&nap, NULL);
    atomic_store(&stop, true);
    for (unsigned i = 0; i < n; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);

    // What the books say is what is live.
    unsigned long live = 0;
    for (unsigned i = 0; i < SLOTS; i++) {
        struct block *block = atomic_load(&slots[i]);
        CHECK(block == NULL || is_in_books((uintptr_t)block));
        live += block != NULL;
    }
    unsigned long expected = reported - given_back;
    free_slots();
    finish_plugins();
    CHECK(memhook_synchronize() == 0);
    unsigned long others = reported - given_back, in_books = 0;
    for (unsigned i = 0; i < BUCKETS; i++)
        for (unsigned k = 0; k < PLACES; k++)
            in_books += books[i][k] != 0;
    CHECK(in_books == others);
    CHECK(memhook_unregister(bookkeeper) == 0);

    size_t left = 0;
    CHECK(memhook_synchronize() == 0);
    CHECK(memhook_chain_list(0, NULL, sizeof(memhook_hook_info), 0, &left) == 0);
    printf("operations %lu, handed over %lu, registrations %lu, replacements %lu, swaps %lu, forks %lu, "
           "removed later %lu, short-lived threads %lu\n",
           operations, handed_over, registrations, replacements, swaps, forks, removed_later, short_lived);
    printf("plugins loaded %lu; unloaded in force %lu, unregistered %lu, owners without blocks %lu; calls %lu; "
           "pages closed %lu, taken %lu\n",
           loaded, unloaded_tied, unloaded_by_itself, unloaded_owners, plugin_calls, pages_closed, pages_taken);
    printf("books: reported %lu, given back %lu, live before the end %lu of which in slots %lu, not in the books %lu, "
           "left %lu\n",
           reported, given_back, expected, live, not_in_books, others);
    printf("owners made %ld, released %ld; keepers made %ld, released %ld; watchers made %ld, released %ld; "
           "hooks left %zu\n",
           owners_made, owners_released, keepers_made, keepers_released, watchers_made, watchers_released, left);
    return !(owners_made == owners_released && keepers_made == keepers_released && watchers_made == watchers_released &&
             others == 0 && loaded == unloaded_tied + unloaded_by_itself + unloaded_owners && left == 0);
}
