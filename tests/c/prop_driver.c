/* Runs programs for properties.rs, which says what they are to print. A program is any string of
 * bytes, four to an operation. The file that is named holds programs, each after its length. */
#include "check.h"

#include <stdarg.h>

void free_sized(void *block, size_t bytes);

enum { USERS = 100, CHAINS = 60, SLOTS = 8, OPERATIONS = 26, ARM = 25 };

enum kind { KEEPER, HEAD_16, HEAD_32, HEAD_64, MALLOC_ONLY, FREE_ONLY, NO_MEMALIGN, VETO, POOL, KINDS };

enum watch { WATCH_ALL, WATCH_SIZES, WATCH_ALLOC, WATCHES };

struct user {
    int number, kind, hook, named, released, armed;
    unsigned char action[4];
};

struct slot {
    unsigned char *block;
    size_t size;
    int busy;
};

static struct user users[USERS];
static memhook_id hooks[USERS];
static memhook_chain chains[CHAINS];
static struct slot slots[SLOTS];
static int user_count, hook_count, chain_count, suspensions;

static char text[1 << 20];
static size_t text_len;

static void flush(void)
{
    for (size_t at = 0; at < text_len;) {
        ssize_t n = write(1, text + at, text_len - at);
        if (n <= 0)
            _exit(4);
        at += (size_t)n;
    }
    text_len = 0;
}

__attribute__((format(printf, 1, 2))) static void say(const char *format, ...)
{
    va_list args;
    if (text_len > sizeof text - 512)
        flush();
    va_start(args, format);
    text_len += (size_t)vsnprintf(text + text_len, 500, format, args);
    va_end(args);
}

#define SURE(condition)                                                                        \
    do {                                                                                       \
        if (!(condition)) {                                                                    \
            flush();                                                                           \
            CHECK(condition);                                                                  \
        }                                                                                      \
    } while (0)

static void perform(const unsigned char *op);

/* What the hook was told to do in its next callback. */
static void act(struct user *u)
{
    SURE(u->named && !u->released);
    SURE(memhook_is_suspended() == 1);
    if (u->armed) {
        u->armed = 0;
        perform(u->action);
    }
}

/* Interceptors. */

struct head {
    uint32_t tag, pad;
    size_t requested;
};

static size_t room_of(const struct user *u)
{
    switch (u->kind) {
    case HEAD_16:
    case NO_MEMALIGN:
        return 16;
    case HEAD_32:
        return 32;
    case HEAD_64:
        return 64;
    default:
        return 0;
    }
}

static uint32_t tag_of(const struct user *u)
{
    return 0x5eed0000u + (uint32_t)u->number;
}

static void *note(struct user *u, void *base, size_t pad, size_t n)
{
    if (!base || !pad)
        return base;
    struct head *head = (struct head *)((char *)base + pad) - 1;
    *head = (struct head){tag_of(u), (uint32_t)pad, n};
    return head + 1;
}

static size_t strike(struct user *u, void *p, int keep)
{
    if (!room_of(u))
        return 0;
    struct head *head = (struct head *)p - 1;
    SURE(head->tag == tag_of(u));
    if (!keep)
        head->tag = 0;
    return head->pad;
}

static int refuses(const struct user *u, const memhook_call *call)
{
    return u->kind == VETO && call->requested % 16 == 15;
}

static long distance(const void *p, const memhook_call *call)
{
    return (long)((const char *)p - (const char *)call->block);
}

static void *on_malloc(memhook_next *next, size_t n, const memhook_call *call, void *user)
{
    struct user *u = user;
    say("M%d e%u n%zu\n", u->number, call->entry, n);
    act(u);
    if (refuses(u, call))
        return NULL;
    if (u->kind == POOL)
        return memhook_backend_malloc(n);
    return note(u, memhook_next_malloc(next, n + room_of(u)), room_of(u), n);
}

static void *on_realloc(memhook_next *next, void *p, size_t n, const memhook_call *call, void *user)
{
    struct user *u = user;
    if (p)
        say("R%d e%u n%zu at%ld\n", u->number, call->entry, n, distance(p, call));
    else
        say("R%d e%u n%zu new\n", u->number, call->entry, n);
    act(u);
    if (refuses(u, call))
        return NULL;
    if (u->kind == POOL)
        return p ? memhook_backend_realloc(p, n ? n : 1) : memhook_backend_malloc(n);
    if (!room_of(u))
        return memhook_next_realloc(next, p, n);
    if (!p)
        return note(u, memhook_next_realloc(next, NULL, n + room_of(u)), room_of(u), n);
    struct head before = *((struct head *)p - 1);
    size_t pad = strike(u, p, 0);
    void *base = memhook_next_realloc(next, (char *)p - pad, n + pad);
    if (base)
        return note(u, base, pad, n);
    note(u, (char *)p - pad, pad, before.requested);
    return NULL;
}

static void *on_memalign(memhook_next *next, size_t alignment, size_t n, const memhook_call *call,
                         void *user)
{
    struct user *u = user;
    say("A%d e%u n%zu a%zu\n", u->number, call->entry, n, alignment);
    act(u);
    if (refuses(u, call))
        return NULL;
    if (u->kind == POOL)
        return memhook_backend_memalign(alignment, n);
    size_t pad = room_of(u);
    if (pad && pad < alignment)
        pad = alignment;
    return note(u, memhook_next_memalign(next, alignment, n + pad), pad, n);
}

static void on_free(memhook_next *next, void *p, const memhook_call *call, void *user)
{
    struct user *u = user;
    say("F%d e%u at%ld\n", u->number, call->entry, distance(p, call));
    act(u);
    if (u->kind == POOL)
        memhook_backend_free(p);
    else
        memhook_next_free(next, (char *)p - strike(u, p, 0));
}

static size_t on_usable_size(memhook_next *next, void *p, const memhook_call *call, void *user)
{
    struct user *u = user;
    say("S%d e%u at%ld\n", u->number, call->entry, distance(p, call));
    act(u);
    if (u->kind == POOL)
        return memhook_backend_usable_size(p);
    size_t pad = strike(u, p, 1);
    return memhook_next_usable_size(next, (char *)p - pad) - pad;
}

/* Observers. */

static int slot_of(const void *block)
{
    for (int i = 0; i < SLOTS; i++)
        if (slots[i].block == block)
            return i;
    SURE(!"an observer is told of a block that the program does not have");
    return -1;
}

static void measure(const struct user *u, const memhook_call *call)
{
    if (u->kind == WATCH_SIZES)
        SURE(memhook_usable_size(call) >= slots[slot_of(call->block)].size);
}

static void after_alloc(const memhook_call *call, void *block, void *user)
{
    struct user *u = user;
    say("a%d e%u r%zu %s\n", u->number, call->entry, call->requested, block ? "ok" : "null");
    act(u);
}

static void before_free(const memhook_call *call, void *user)
{
    struct user *u = user;
    say("f%d e%u s%d\n", u->number, call->entry, slot_of(call->block));
    measure(u, call);
    act(u);
}

static void realloc_begin(const memhook_call *call, void *user)
{
    struct user *u = user;
    say("b%d e%u r%zu s%d\n", u->number, call->entry, call->requested, slot_of(call->block));
    measure(u, call);
    act(u);
}

static void realloc_commit(const memhook_call *call, void *block, void *user)
{
    struct user *u = user;
    say("c%d e%u r%zu %s\n", u->number, call->entry, call->requested, block ? "ok" : "null");
    act(u);
}

static void realloc_abort(const memhook_call *call, void *user)
{
    struct user *u = user;
    say("x%d e%u r%zu s%d\n", u->number, call->entry, call->requested, slot_of(call->block));
    act(u);
}

static void release(void *user)
{
    struct user *u = user;
    SURE(u->named && !u->released);
    u->released = 1;
}

static struct user *new_user(int kind)
{
    struct user *u = &users[user_count];
    memset(u, 0, sizeof *u);
    u->number = user_count++;
    u->kind = kind;
    u->hook = -1;
    u->named = 1; /* callbacks may come before the registering function returns */
    return u;
}

static int priority_of(unsigned char byte)
{
    return byte % 3 - 1;
}

static memhook_interceptor interceptor(struct user *u, unsigned char priority, uint32_t flags)
{
    memhook_interceptor table = {.struct_size = sizeof table, .priority = priority_of(priority)};
    table.user = u;
    table.flags = flags | (u->kind == KEEPER ? MEMHOOK_KEEPS_POINTERS : 0);
    table.release = release;
    if (u->kind != FREE_ONLY)
        table.malloc = on_malloc;
    if (u->kind != MALLOC_ONLY)
        table.free = on_free;
    if (u->kind != FREE_ONLY && u->kind != MALLOC_ONLY) {
        table.realloc = on_realloc;
        table.usable_size = on_usable_size;
        if (u->kind != NO_MEMALIGN)
            table.memalign = on_memalign;
    }
    return table;
}

static memhook_observer observer(struct user *u, unsigned char priority, uint32_t flags)
{
    memhook_observer table = {.struct_size = sizeof table, .priority = priority_of(priority)};
    table.user = u;
    table.flags = flags;
    table.release = release;
    table.after_alloc = after_alloc;
    if (u->kind != WATCH_ALLOC) {
        table.before_free = before_free;
        table.realloc_begin = realloc_begin;
        table.realloc_commit = realloc_commit;
        table.realloc_abort = realloc_abort;
    }
    return table;
}

/* Operations. */

static void registered(struct user *u, int result, memhook_id id)
{
    say("r %d\n", result);
    u->named = result == 0;
    if (result == 0) {
        u->hook = hook_count;
        hooks[hook_count++] = id;
    }
}

static void replaced(struct user *u, int result, unsigned char number)
{
    say("r %d\n", result);
    u->named = result == 0 || result == EINPROGRESS;
    if (u->named)
        u->hook = number % hook_count;
}

static memhook_id hook_named(unsigned char number)
{
    return hook_count ? hooks[number % hook_count] : 0;
}

static memhook_chain chain_named(unsigned char number)
{
    return chain_count ? chains[number % chain_count] : 0;
}

static void chain_made(int result, memhook_chain chain)
{
    say("r %d\n", result);
    if (chain)
        chains[chain_count++] = chain;
}

static void list(memhook_chain chain)
{
    memhook_hook_info infos[USERS];
    size_t count = 0;
    int result = memhook_chain_list(chain, infos, sizeof infos[0], USERS, &count);
    say("r %d", result);
    for (size_t i = 0; i < count; i++) {
        struct user *u = infos[i].user;
        SURE(infos[i].id == hooks[u->hook]);
        say(" %d:%d:%d:%u:%u", u->hook, u->number, infos[i].priority, infos[i].kind, infos[i].flags);
    }
    say("\n");
}

static void fill(struct slot *slot, size_t from)
{
    for (size_t i = from; i < slot->size; i++)
        slot->block[i] = (unsigned char)(i + (size_t)(slot - slots) * 31);
}

static void inspect(const struct slot *slot, size_t upto)
{
    for (size_t i = 0; slot->block && i < slot->size && i < upto; i++)
        SURE(slot->block[i] == (unsigned char)(i + (size_t)(slot - slots) * 31));
}

static void made(struct slot *slot, void *block, size_t n)
{
    slot->busy = 0;
    if (!block) {
        say("r null %d\n", errno);
        return;
    }
    SURE(errno == 4242);
    slot->block = block;
    slot->size = n;
    fill(slot, 0);
    say("r ok\n");
}

static void make(struct slot *slot, const unsigned char *op)
{
    size_t n = op[2];
    size_t alignment = (size_t)32 << (op[3] / 4 % 3);
    void *block = NULL;
    if (slot->busy || slot->block) {
        say("skip\n");
        return;
    }
    slot->busy = 1;
    errno = 4242;
    if (op[0] % OPERATIONS == 18) {
        block = malloc(n);
    } else if (op[0] % OPERATIONS == 19) {
        block = op[3] % 8 == 7 ? calloc(SIZE_MAX / 2, 4) : calloc(1u + op[3] % 4u, n);
        n *= 1u + op[3] % 4u;
        for (size_t i = 0; block && i < n; i++)
            SURE(((unsigned char *)block)[i] == 0);
    } else {
        switch (op[3] % 4) {
        case 0:
            block = memalign(alignment, n);
            break;
        case 1:
            block = aligned_alloc(alignment, n);
            break;
        case 2:
            errno = posix_memalign(&block, alignment, n);
            errno = errno ? errno : 4242;
            break;
        default:
            block = valloc(n);
            alignment = 4096;
        }
        SURE((uintptr_t)block % alignment == 0);
    }
    made(slot, block, n);
}

static void resize(struct slot *slot, const unsigned char *op)
{
    size_t n = op[2] * (1u + op[3] / 4u % 8u);
    void *block;
    if (slot->busy) {
        say("skip\n");
        return;
    }
    inspect(slot, SIZE_MAX);
    slot->busy = 1;
    errno = 4242;
    if (op[3] % 4 == 3)
        block = reallocarray(slot->block, SIZE_MAX / 2, 4);
    else if (op[3] % 4 == 2)
        block = reallocarray(slot->block, 1u + op[3] / 4u % 8u, op[2]);
    else
        block = realloc(slot->block, n);
    if (!slot->block) {
        made(slot, block, n);
        return;
    }
    slot->busy = 0;
    if (block) {
        SURE(errno == 4242);
        slot->block = block;
        inspect(slot, n);
        slot->size = n;
        fill(slot, 0);
        say("r ok\n");
    } else if (op[3] % 4 != 3 && n == 0) {
        slot->block = NULL;
        say("r gone\n");
    } else {
        inspect(slot, SIZE_MAX);
        say("r null %d\n", errno);
    }
}

static void give_back(struct slot *slot, int sized)
{
    if (slot->busy) {
        say("skip\n");
        return;
    }
    inspect(slot, SIZE_MAX);
    slot->busy = 1;
    errno = 4242;
    if (sized)
        free_sized(hide(slot->block), slot->block ? slot->size : 0);
    else
        free(slot->block);
    SURE(errno == 4242);
    slot->busy = 0;
    slot->block = NULL;
    say("r\n");
}

static void measure_slot(struct slot *slot)
{
    if (slot->busy) {
        say("skip\n");
        return;
    }
    slot->busy = 1;
    errno = 4242;
    size_t usable = malloc_usable_size(slot->block);
    SURE(errno == 4242);
    SURE(usable >= (slot->block ? slot->size : 0));
    slot->busy = 0;
    say("r\n");
}

static void perform(const unsigned char *op)
{
    unsigned char a = op[1], b = op[2], c = op[3];
    int number = op[0] % OPERATIONS, result;
    uint32_t flags = c & 1 ? MEMHOOK_THIS_THREAD : 0;
    memhook_id id = 0;
    memhook_chain chain = 0;
    memhook_interceptor table;
    memhook_observer watch;
    struct user *u;
    size_t live = 0;
    if (number == ARM || (number < 13 && (user_count == USERS || chain_count == CHAINS))) {
        say("skip\n");
        return;
    }
    say("- %d\n", number);
    switch (number) {
    case 0:
        table = interceptor(u = new_user(a % KINDS), b, flags);
        result = memhook_register(&table, &id);
        registered(u, result, id);
        break;
    case 1:
        watch = observer(u = new_user(a % WATCHES), b, flags);
        result = memhook_observe(&watch, &id);
        registered(u, result, id);
        break;
    case 2:
        id = hook_named(a);
        result = c & 1 ? memhook_unregister_timed(id, 1000000000) : memhook_unregister(id);
        say("r %d\n", result);
        break;
    case 3:
        table = interceptor(u = new_user(b % KINDS), c, 0);
        replaced(u, memhook_replace(hook_named(a), &table), a);
        break;
    case 4:
        watch = observer(u = new_user(b % WATCHES), c, 0);
        replaced(u, memhook_replace_observer(hook_named(a), &watch), a);
        break;
    case 5:
        result = memhook_chain_create(&chain);
        chain_made(result, chain);
        break;
    case 6:
        result = memhook_chain_copy(&chain);
        chain_made(result, chain);
        break;
    case 7:
        say("r %d\n", memhook_chain_add(chain_named(a), hook_named(b)));
        break;
    case 8:
        table = interceptor(u = new_user(b % KINDS), c, flags);
        result = memhook_chain_register(chain_named(a), &table, &id);
        registered(u, result, id);
        break;
    case 9:
        watch = observer(u = new_user(b % WATCHES), c, flags);
        result = memhook_chain_observe(chain_named(a), &watch, &id);
        registered(u, result, id);
        break;
    case 10:
        say("r %d\n", memhook_chain_remove(chain_named(a), hook_named(b)));
        break;
    case 11:
        result = memhook_chain_swap(chain_named(a), b & 1 ? &chain : NULL);
        chain_made(result, chain);
        break;
    case 12:
        say("r %d\n", memhook_chain_destroy(chain_named(a)));
        break;
    case 13:
        list(b & 1 ? 0 : chain_named(a));
        break;
    case 14:
        suspensions++;
        say("r %d\n", memhook_suspend());
        break;
    case 15:
        result = memhook_resume();
        suspensions -= result == 0;
        say("r %d\n", result);
        break;
    case 16:
        say("r %d\n", memhook_is_suspended());
        break;
    case 17:
        say("r %d\n", memhook_synchronize());
        break;
    case 18:
    case 19:
    case 21:
        make(&slots[a % SLOTS], op);
        break;
    case 20:
        resize(&slots[a % SLOTS], op);
        break;
    case 22:
        give_back(&slots[a % SLOTS], c & 1);
        break;
    case 23:
        measure_slot(&slots[a % SLOTS]);
        break;
    default:
        result = memhook_live_blocks(hook_named(a), &live);
        say("r %d %zu\n", result, live);
    }
}

/* What was released since the last time, outside callbacks: in the order of the numbers. */
static void tell_released(void)
{
    for (int i = 0; i < user_count; i++)
        if (users[i].released == 1) {
            users[i].released = 2;
            say("released %d\n", i);
        }
}

static void top(const unsigned char *op)
{
    perform(op);
    tell_released();
}

static void top_of(int number, int slot)
{
    unsigned char op[4] = {(unsigned char)number, (unsigned char)slot, 0, 0};
    top(op);
}

/* Ends what the program left: blocks before hooks, or after them. */
static void clear(int hooks_first)
{
    for (int i = 0; i < user_count; i++)
        users[i].armed = 0;
    while (suspensions)
        top_of(15, 0);
    for (int round = 0; round < 2; round++) {
        if (round == hooks_first)
            for (int i = 0; i < SLOTS; i++)
                top_of(22, i);
        else {
            for (int i = 0; i < chain_count; i++)
                say("r %d\n", memhook_chain_destroy(chains[i]));
            for (int i = 0; i < hook_count; i++)
                say("r %d\n", memhook_unregister(hooks[i]));
            tell_released();
        }
    }
    SURE(hooks_in_force() == 0);
    for (int i = 0; i < user_count; i++)
        SURE(users[i].released == 2 * users[i].named);
    for (int i = 0; i < hook_count; i++)
        SURE(live(hooks[i]) == 0);
    user_count = hook_count = chain_count = 0;
    memset(users, 0, sizeof users);
}

static void run(const unsigned char *bytes, size_t len)
{
    for (size_t at = 0; at + 4 <= len; at += 4) {
        if (bytes[at] % OPERATIONS != ARM) {
            top(bytes + at);
            continue;
        }
        at += 4;
        if (at + 4 > len || !user_count)
            break;
        struct user *u = &users[bytes[at - 3] % user_count];
        u->armed = 1;
        memcpy(u->action, bytes + at, 4);
    }
    clear(len / 4 % 2);
}

int main(int argc, char **argv)
{
    static unsigned char bytes[1 << 16];
    int fd = argc > 1 ? open(argv[1], O_RDONLY) : 0;
    uint32_t len;
    alarm(60);
    for (int i = 0; read(fd, &len, 4) == 4; i++) {
        CHECK(len <= sizeof bytes);
        CHECK(read(fd, bytes, len) == (ssize_t)len);
        say("# %d\n", i);
        run(bytes, len);
    }
    flush();
    return 0;
}
