/* Does to the library what nobody should: attack WHAT SECONDS SEED [IN...].
 *
 * WHAT: functions (every public function from every callback), sessions (the same, and sessions of
 * memhook_usage_start()), hooks (a thousand of them), threads (thousands), processes (fork, vfork and posix_spawn in every
 * callback), signals (whose handlers register and remove).
 * Not run by tests/attack.rs, as it ends badly now and then: releases (functions, from releases too: memhook_replace()
 * waits there for the removal that the release is a part of).
 * IN: membarrier (refused by a filter), proc (nothing is mounted at /proc), descriptors (all are closed).
 *
 * Threads allocate meanwhile, and look whether their blocks are as they left them. Exit status 0 if nothing was lost and
 * every hook was released once; 77 if the kernel does not let this be tried. */
#define _GNU_SOURCE
#include "e_filter.h"
#include <errno.h>
#include <memhook.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/mount.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

extern char **environ;

#define CHECK(condition)                                                                                     \
    do {                                                                                                     \
        if (!(condition)) {                                                                                  \
            memhook_log("attack: line %d: %s is false (errno %d)\n", __LINE__, #condition, errno);           \
            abort();                                                                                         \
        }                                                                                                    \
    } while (0)

static atomic_bool stop;
static atomic_long registered, released;
static pid_t parent;

static uint64_t next_random(void)
{
    static _Thread_local uint64_t state;
    static atomic_ulong seeds = 1;
    if (state == 0)
        state = atomic_fetch_add(&seeds, 1) * 0x9e3779b97f4a7c15u;
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state >> 16;
}

static bool with_sessions, with_releases;

/* What a callback does besides its work. */
static void (*inside)(const memhook_call *call);
static _Thread_local int depth;

static void in_callback(const memhook_call *call)
{
    if (inside == NULL || depth > 0 || getpid() != parent)
        return;
    depth++;
    int error = errno;
    inside(call);
    errno = error;
    depth--;
}

static void *on_malloc(memhook_next *next, size_t size, const memhook_call *call, void *user)
{
    (void)user;
    in_callback(call);
    return memhook_next_malloc(next, size);
}

static void *on_realloc(memhook_next *next, void *block, size_t size, const memhook_call *call, void *user)
{
    (void)user;
    in_callback(call);
    return memhook_next_realloc(next, block, size);
}

static void *on_memalign(memhook_next *next, size_t alignment, size_t size, const memhook_call *call, void *user)
{
    (void)user;
    in_callback(call);
    return memhook_next_memalign(next, alignment, size);
}

static void on_free(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)user;
    in_callback(call);
    memhook_next_free(next, block);
    /* The block is gone, and must not be asked about. */
    in_callback(NULL);
}

static size_t on_usable_size(memhook_next *next, void *block, const memhook_call *call, void *user)
{
    (void)user;
    in_callback(call);
    return memhook_next_usable_size(next, block);
}

static void on_block(const memhook_call *call, void *block, void *user)
{
    (void)block, (void)user;
    in_callback(call);
}

/* Only observers may ask what a block's usable size is. */
static _Thread_local bool observes;

static void on_call(const memhook_call *call, void *user)
{
    (void)user;
    observes = true;
    in_callback(call);
    observes = false;
}

/* `user` is one more than how often the hook was released, in memory of the library's. */
static void on_release(void *user)
{
    CHECK(atomic_exchange((atomic_int *)user, 2) == 1);
    atomic_fetch_add(&released, 1);
    memhook_scratch_free(user);
    if (with_releases)
        in_callback(NULL);
}

static void *new_user(void)
{
    atomic_int *user = memhook_scratch_malloc(sizeof *user);
    if (user != NULL)
        atomic_store(user, 1);
    return user;
}

static memhook_interceptor interceptor(void *user)
{
    return (memhook_interceptor){ .struct_size = sizeof(memhook_interceptor), .name = "attack",
        .priority = (int32_t)(next_random() % 5), .flags = MEMHOOK_WANTS_FRAMES | (next_random() % 2 ? MEMHOOK_KEEPS_POINTERS : 0), .user = user,
        .malloc = on_malloc, .realloc = on_realloc, .memalign = on_memalign, .free = on_free,
        .usable_size = on_usable_size, .release = on_release };
}

static memhook_observer observer(void *user)
{
    return (memhook_observer){ .struct_size = sizeof(memhook_observer), .name = "attack",
        .priority = (int32_t)(next_random() % 5), .flags = MEMHOOK_WANTS_FRAMES | (next_random() % 2 ? MEMHOOK_KEEPS_ERRNO : 0), .user = user,
        .after_alloc = on_block, .before_free = on_call, .realloc_begin = on_call, .realloc_commit = on_block,
        .realloc_abort = on_call, .release = on_release };
}

/* Hooks that anybody may remove or replace. */
enum { PLACES = 1000 };
static _Atomic(memhook_id) places[PLACES];
static int many = 24;

static _Atomic(memhook_id) *place(void)
{
    return &places[next_random() % (unsigned)many];
}

/* Interceptors that may own blocks: what the C library keeps of them, they keep. */
static _Atomic(memhook_id) owners[1 << 16];
static atomic_uint owners_made;

static void note_owner(memhook_id id)
{
    atomic_store(&owners[atomic_fetch_add(&owners_made, 1) % (1 << 16)], id);
}

/* How many are there still since there are blocks of theirs. */
static long owners_left(void)
{
    long left = 0;
    for (int i = 0; i < 1 << 16; i++) {
        size_t live = 0;
        memhook_id id = atomic_load(&owners[i]);
        left += id != 0 && memhook_live_blocks(id, &live) == 0 && live > 0;
    }
    return left;
}

/* One more hook, or where there is no place for it, none. */
static void add(memhook_chain chain)
{
    _Atomic(memhook_id) *where = place();
    void *user = atomic_load(where) == 0 ? new_user() : NULL;
    if (user == NULL)
        return;
    memhook_id id = 0;
    int error;
    if (next_random() % 3 == 0) {
        memhook_interceptor table = interceptor(user);
        error = chain == 0 ? memhook_register(&table, &id) : memhook_chain_register(chain, &table, &id);
        if (error == 0 && !(table.flags & MEMHOOK_KEEPS_POINTERS))
            note_owner(id);
    } else {
        memhook_observer table = observer(user);
        error = chain == 0 ? memhook_observe(&table, &id) : memhook_chain_observe(chain, &table, &id);
    }
    if (error != 0) {
        memhook_scratch_free(user);
        return;
    }
    atomic_fetch_add(&registered, 1);
    id = atomic_exchange(where, id);
    if (id != 0)
        (void)!memhook_unregister_timed(id, 0);
}

static void take_away(void)
{
    memhook_id id = atomic_exchange(place(), 0);
    if (id == 0)
        return;
    int error = next_random() % 2 ? memhook_unregister(id) : memhook_unregister_timed(id, next_random() % 100000);
    if (error == EBUSY) {
        /* Somebody replaces it: once more, by whoever comes. */
        memhook_id none = 0;
        if (!atomic_compare_exchange_strong(place(), &none, id))
            (void)!memhook_unregister_timed(id, 0);
    }
}

static void replace(void)
{
    memhook_id id = atomic_load(place());
    void *user = id == 0 ? NULL : new_user();
    if (user == NULL)
        return;
    memhook_interceptor one = interceptor(user);
    one.flags |= MEMHOOK_KEEPS_POINTERS;
    memhook_observer other = observer(user);
    /* Counted first: it may be released before the call returns. */
    atomic_fetch_add(&registered, 1);
    int error = memhook_replace(id, &one);
    if (error != 0 && error != EINPROGRESS)
        error = memhook_replace_observer(id, &other);
    if (error != 0 && error != EINPROGRESS) {
        atomic_fetch_sub(&registered, 1);
        memhook_scratch_free(user);
    }
}

static void chains(void)
{
    memhook_chain chain = 0, former = 0;
    memhook_hook_info infos[4];
    size_t count;
    (void)!memhook_chain_list(0, infos, sizeof *infos, 4, &count);
    if (memhook_chain_copy(&chain) != 0)
        return;
    add(chain);
    (void)!memhook_chain_remove(chain, atomic_load(place()));
    (void)!memhook_chain_add(chain, atomic_load(place()));
    (void)!memhook_chain_list(chain, infos, sizeof *infos, 4, &count);
    if (next_random() % 4 == 0) {
        (void)!memhook_chain_swap(chain, &former);
        (void)!memhook_chain_destroy(former);
    }
    (void)!memhook_chain_destroy(chain);
    if (memhook_chain_create(&chain) == 0)
        (void)!memhook_chain_destroy(chain);
}

static memhook_local key;

static int visit(void *memory, uint64_t thread, void *argument)
{
    (void)thread, (void)argument;
    return memory == NULL;
}

static void tools(void)
{
    memhook_id id;
    switch (next_random() % 5) {
    case 0: {
        if (!with_sessions)
            break;
        memhook_usage_options options = { .struct_size = sizeof options };
        memhook_usage usage = { .struct_size = sizeof usage };
        memhook_usage_limits limits = { .struct_size = sizeof limits };
        char text[256];
        if (memhook_usage_start(&options, &id) == 0) {
            (void)!memhook_usage_read(id, &usage);
            (void)!memhook_usage_reset(id);
            (void)!memhook_usage_expect(id, &limits, text, sizeof text);
            memhook_usage_report(id, -1);
            memhook_usage_stop(id, &usage);
        }
        break;
    }
    case 1: {
        memhook_fail_rule rule = { .struct_size = sizeof rule, .nth = 1, .above = (size_t)1 << 50 };
        if (memhook_fail_start(&rule, &id) == 0)
            memhook_fail_stop(id, NULL);
        break;
    }
    case 2: {
        memhook_trace_options options = { .struct_size = sizeof options, .path = "/dev/null",
            .flags = next_random() % 2 ? MEMHOOK_TRACE_BINARY : 0 };
        if (memhook_trace_start(&options, &id) == 0)
            memhook_trace_stop(id, NULL);
        break;
    }
    default: {
        uint32_t missed;
        char text[256];
        (void)!memhook_self_test_object((const void *)(next_random() % 2 ? (uintptr_t)tools : (uintptr_t)getenv), &missed,
            text, sizeof text);
        break;
    }
    }
}

/* Every function of the header, in any circumstance; what it answers is its own affair. */
static void any_function(const memhook_call *call)
{
    const void *frames[8];
    switch (next_random() % 16) {
    case 0:
    case 1:
        add(0);
        break;
    case 2:
    case 3:
        take_away();
        break;
    case 4:
        replace();
        break;
    case 5:
        if (next_random() % 8 == 0)
            chains();
        break;
    case 6:
        if (next_random() % 64 == 0)
            tools();
        break;
    case 7:
        if (memhook_suspend() == 0) {
            CHECK(memhook_is_suspended() > 0);
            CHECK(memhook_resume() == 0);
        }
        break;
    case 8: {
        char *mine = memhook_local_get(key);
        CHECK(mine == NULL || memhook_local_known(key) == mine);
        if (mine != NULL)
            mine[next_random() % 64]++;
        memhook_local_each(key, visit, NULL);
        CHECK(memhook_thread() == memhook_thread());
        break;
    }
    case 9: {
        size_t live;
        (void)!memhook_live_blocks(atomic_load(place()), &live);
        if (next_random() % 16 == 0)
            (void)!memhook_synchronize();
        break;
    }
    case 10:
        if (call != NULL) {
            (void)memhook_frames(call, frames, 8);
            if (observes && call->block != NULL && call->entry == MEMHOOK_ENTRY_FREE)
                CHECK(memhook_usable_size(call) > 0);
        }
        break;
    case 11: {
        char *block = memhook_backend_malloc(100);
        block = memhook_backend_realloc(block, 50);
        char *zero = memhook_backend_calloc(3, 30), *aligned = memhook_backend_memalign(128, 3);
        CHECK(zero == NULL || (zero[0] == 0 && zero[89] == 0));
        CHECK(memhook_backend_usable_size(aligned) >= 3);
        memhook_backend_free(block);
        memhook_backend_free(zero);
        memhook_backend_free(aligned);
        break;
    }
    case 12: {
        void *volatile block = malloc(next_random() % 5000);
        block = realloc(block, next_random() % 5000 + 1);
        free(block);
        break;
    }
    case 13:
        CHECK(memhook_version()[0] != 0 && memhook_entry_name((uint32_t)next_random() % 20) != NULL);
        memhook_unregister_object("not in an object that has hooks");
        break;
    case 14: {
        void *pages = memhook_mmap(NULL, 4096, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
        if (pages != MAP_FAILED) {
            void *moved = memhook_mremap(pages, 4096, 8192, MREMAP_MAYMOVE, NULL);
            memhook_munmap(moved == MAP_FAILED ? pages : moved, moved == MAP_FAILED ? 4096 : 8192);
        }
        break;
    }
    default:
        /* What is refused. */
        CHECK(memhook_register(NULL, NULL) == EINVAL);
        CHECK(memhook_observe(NULL, NULL) == EINVAL);
        CHECK(memhook_unregister(next_random() << 40) != 0);
        break;
    }
}

static void some_process(const memhook_call *call)
{
    (void)call;
    if (next_random() % 200 != 0)
        return;
    int status = 0;
    pid_t child = -1;
    char *arguments[] = { "/bin/true", NULL };
    switch (next_random() % 3) {
    case 0:
        child = fork();
        if (child == 0) {
            for (int i = 1; i < 20; i++) {
                void *volatile block = malloc((size_t)i * 100);
                free(block);
            }
            _exit(memhook_is_suspended() == 0 ? 3 : 0);
        }
        break;
    case 1:
        child = vfork();
        if (child == 0)
            _exit(0);
        break;
    default:
        if (posix_spawn(&child, arguments[0], NULL, NULL, arguments, environ) != 0)
            return;
    }
    if (child < 0)
        return;
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(status == 0);
}

/* Threads that allocate. */
static void round_of_blocks(void)
{
    enum { BLOCKS = 16 };
    unsigned char *blocks[BLOCKS];
    size_t sizes[BLOCKS];
    for (int i = 0; i < BLOCKS; i++) {
        sizes[i] = next_random() % 400 + 1;
        void *aligned = NULL;
        switch (next_random() % 4) {
        case 0:
            blocks[i] = calloc(1, sizes[i]);
            break;
        case 1:
            blocks[i] = posix_memalign(&aligned, 64, sizes[i]) == 0 ? aligned : NULL;
            break;
        default:
            blocks[i] = malloc(sizes[i]);
        }
        CHECK(blocks[i] != NULL);
        memset(blocks[i], i + 1, sizes[i]);
    }
    for (int i = 0; i < BLOCKS; i++) {
        if (next_random() % 2) {
            size_t size = next_random() % 1000 + 1;
            unsigned char *moved = realloc(blocks[i], size);
            CHECK(moved != NULL);
            blocks[i] = moved;
            sizes[i] = size < sizes[i] ? size : sizes[i];
        }
        for (size_t j = 0; j < sizes[i]; j++)
            CHECK(blocks[i][j] == i + 1);
    }
    for (int i = 0; i < BLOCKS; i++)
        free(blocks[i]);
}

static void *allocate(void *unused)
{
    while (!atomic_load(&stop))
        round_of_blocks();
    return unused;
}

static void *allocate_a_little(void *unused)
{
    round_of_blocks();
    return unused;
}

static void *change(void *unused)
{
    while (!atomic_load(&stop))
        any_function(NULL);
    return unused;
}

static void on_signal(int number)
{
    (void)number;
    int error = errno;
    /* Nothing that an allocator does with its locks held: hooks come and go. */
    if (next_random() % 2)
        add(0);
    else
        take_away();
    errno = error;
}

static long now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void finish(pthread_t *threads, int count)
{
    atomic_store(&stop, 1);
    for (int i = 0; i < count; i++)
        CHECK(pthread_join(threads[i], NULL) == 0);
    inside = NULL;
    /* Chains that were swapped in may have brought back hooks that have lost their place. */
    memhook_hook_info infos[2 * PLACES];
    size_t count_left = 0;
    for (int tries = 0; tries < 100; tries++) {
        CHECK(memhook_chain_list(0, infos, sizeof *infos, 2 * PLACES, &count_left) == 0);
        for (size_t i = 0; i < count_left && i < 2 * PLACES; i++)
            if (strcmp(infos[i].name, "attack") == 0)
                (void)!memhook_unregister(infos[i].id);
        for (int i = 0; i < PLACES; i++) {
            memhook_id id = atomic_exchange(&places[i], 0);
            if (id != 0)
                (void)!memhook_unregister(id);
        }
        CHECK(memhook_synchronize() == 0);
        if (atomic_load(&released) >= atomic_load(&registered))
            break;
    }
    round_of_blocks();
}

static int prepare(int count, char **what)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(what[i], "membarrier") == 0) {
            if (refuse_membarrier(EPERM) != 0)
                return 77;
        } else if (strcmp(what[i], "proc") == 0) {
            if (unshare(CLONE_NEWNS) != 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) != 0 ||
                mount("none", "/proc", "tmpfs", 0, NULL) != 0 || access("/proc/self", F_OK) == 0)
                return 77;
        } else if (strcmp(what[i], "descriptors") == 0) {
            for (int fd = 0; fd < 1024; fd++)
                close(fd);
        } else {
            return 2;
        }
    }
    return 0;
}

int main(int argc, char **argv)
{
    if (argc < 4)
        return 2;
    const char *what = argv[1];
    long end = now_ms() + (long)(atof(argv[2]) * 1000);
    for (long i = atol(argv[3]); i > 0; i--)
        next_random();
    int error = prepare(argc - 4, argv + 4);
    if (error != 0)
        return error;
    parent = getpid();
    CHECK(memhook_local_create(64, &key) == 0);
    enum { THREADS = 6 };
    pthread_t threads[THREADS];
    int count = 4;
    void *(*runs[THREADS])(void *) = { allocate, allocate, change, change };
    with_sessions = strcmp(what, "sessions") == 0;
    with_releases = strcmp(what, "releases") == 0;
    if (strcmp(what, "functions") == 0 || with_sessions || with_releases) {
        inside = any_function;
    } else if (strcmp(what, "hooks") == 0) {
        many = PLACES;
        runs[3] = allocate;
        for (int i = 0; i < 20 * PLACES; i++)
            add(0);
    } else if (strcmp(what, "processes") == 0) {
        inside = some_process;
    } else if (strcmp(what, "threads") == 0) {
        count = 3;
        runs[0] = change;
    } else if (strcmp(what, "signals") == 0) {
        struct sigaction action = { .sa_handler = on_signal, .sa_flags = SA_RESTART };
        CHECK(sigaction(SIGUSR1, &action, NULL) == 0);
        runs[2] = allocate;
        runs[3] = allocate;
    } else {
        return 2;
    }
    if (strcmp(what, "hooks") != 0)
        for (int i = 0; i < 6; i++)
            add(0);
    for (int i = 0; i < count; i++)
        CHECK(pthread_create(&threads[i], NULL, runs[i], NULL) == 0);
    while (now_ms() < end) {
        if (strcmp(what, "signals") == 0) {
            for (int i = 0; i < 100; i++)
                pthread_kill(threads[i % count], SIGUSR1);
        } else if (strcmp(what, "threads") == 0) {
            pthread_t wave[64];
            for (int i = 0; i < 64; i++)
                CHECK(pthread_create(&wave[i], NULL, allocate_a_little, NULL) == 0);
            for (int i = 0; i < 64; i++)
                CHECK(pthread_join(wave[i], NULL) == 0);
        } else {
            struct timespec moment = { 0, 10000000 };
            nanosleep(&moment, NULL);
        }
    }
    finish(threads, count);
    long made = atomic_load(&registered), gone = atomic_load(&released), left = owners_left();
    if (made != gone + left)
        memhook_log("attack: %ld hooks were registered, %ld released, %ld own blocks\n", made, gone, left);
    return made == gone + left ? 0 : 1;
}
