/* Wrong arguments to register, observe, replace, unregister, and to the functions that report. */
#include "err_check.h"

static memhook_id id_out, observer, interceptor;
static size_t size_out;

static void wrong_interceptors(void)
{
    memhook_interceptor good = owning_interceptor(), table;

    REFUSED_OUT("register NULL table", id_out, memhook_register(NULL, &id_out));
    REFUSED("register NULL out", memhook_register(&good, NULL));
    table = good, table.struct_size = 0;
    REFUSED_OUT("register struct_size 0", id_out, memhook_register(&table, &id_out));
    table = good, table.struct_size = sizeof table - 8;
    REFUSED_OUT("register struct_size too small", id_out, memhook_register(&table, &id_out));
    table = good, table.struct_size = sizeof table + 8;
    REFUSED_OUT("register struct_size too large", id_out, memhook_register(&table, &id_out));
    table = good, table.struct_size = (size_t)-1;
    REFUSED_OUT("register struct_size SIZE_MAX", id_out, memhook_register(&table, &id_out));
    table = good, table.flags = MEMHOOK_OF_NOBODY;
    REFUSED_OUT("register flag against callbacks", id_out, memhook_register(&table, &id_out));
    table = good, table.flags = 1 << 20;
    REFUSED_OUT("register flag 1 << 20", id_out, memhook_register(&table, &id_out));
    table = good, table.flags = 0x80000001u;
    REFUSED_OUT("register flag 1 << 31", id_out, memhook_register(&table, &id_out));
    table = good, table.priority = INT32_MIN;
    REFUSED_OUT("register priority INT32_MIN", id_out, memhook_register(&table, &id_out));
    memset(&table, 0, sizeof table), table.struct_size = sizeof table;
    REFUSED_OUT("register no callback", id_out, memhook_register(&table, &id_out));
    table.release = count_release;
    REFUSED_OUT("register release only", id_out, memhook_register(&table, &id_out));
}

static void wrong_observers(void)
{
    memhook_observer good = counting_observer(), table;

    REFUSED_OUT("observe NULL table", id_out, memhook_observe(NULL, &id_out));
    REFUSED("observe NULL out", memhook_observe(&good, NULL));
    table = good, table.struct_size = sizeof table + 1;
    REFUSED_OUT("observe struct_size", id_out, memhook_observe(&table, &id_out));
    table = good, table.flags = MEMHOOK_KEEPS_POINTERS;
    REFUSED_OUT("observe MEMHOOK_KEEPS_POINTERS", id_out, memhook_observe(&table, &id_out));
    table = good, table.flags = 4;
    REFUSED_OUT("observe flag 4", id_out, memhook_observe(&table, &id_out));
    table = good, table.after_alloc = NULL;
    REFUSED_OUT("observe release only", id_out, memhook_observe(&table, &id_out));
}

static void wrong_replacements(void)
{
    memhook_interceptor table = owning_interceptor(), bad = table;
    memhook_observer watch = counting_observer(), bad_watch = watch;

    REFUSED("replace NULL table", memhook_replace(interceptor, NULL));
    bad.struct_size = 1;
    REFUSED("replace struct_size", memhook_replace(interceptor, &bad));
    bad = table, bad.flags = 1 << 20;
    REFUSED("replace flag 1 << 20", memhook_replace(interceptor, &bad));
    bad = table, bad.flags = MEMHOOK_OF_NOBODY;
    REFUSED("replace flag against callbacks", memhook_replace(interceptor, &bad));
    bad = table, bad.priority = INT32_MIN;
    REFUSED("replace priority INT32_MIN", memhook_replace(interceptor, &bad));
    bad = table, bad.malloc = NULL, bad.free = NULL;
    REFUSED("replace no callback", memhook_replace(interceptor, &bad));
    REFUSED("replace an observer", memhook_replace(observer, &table));
    REFUSED("replace id 0", memhook_replace(0, &table));
    REFUSED("replace unknown id", memhook_replace(1u << 30, &table));
    REFUSED("replace_observer NULL table", memhook_replace_observer(observer, NULL));
    bad_watch.struct_size = 1;
    REFUSED("replace_observer struct_size", memhook_replace_observer(observer, &bad_watch));
    bad_watch = watch, bad_watch.flags = 1 << 20;
    REFUSED("replace_observer flag 1 << 20", memhook_replace_observer(observer, &bad_watch));
    bad_watch = watch, bad_watch.after_alloc = NULL;
    REFUSED("replace_observer no callback", memhook_replace_observer(observer, &bad_watch));
    REFUSED("replace_observer an interceptor", memhook_replace_observer(interceptor, &watch));
    REFUSED("replace_observer id 0", memhook_replace_observer(0, &watch));
    REFUSED("replace_observer unknown id", memhook_replace_observer(1u << 30, &watch));
}

static void wrong_ids(void)
{
    REFUSED("unregister id 0", memhook_unregister(0));
    REFUSED("unregister unknown id", memhook_unregister(1u << 30));
    REFUSED("unregister_timed id 0", memhook_unregister_timed(0, 0));
    REFUSED("unregister_timed unknown id", memhook_unregister_timed(1u << 30, UINT64_MAX));
    REFUSED("unregister_object NULL", memhook_unregister_object(NULL));
    REFUSED("unregister_object unknown", memhook_unregister_object(&id_out));
}

static void wrong_listings(void)
{
    memhook_hook_info info;

    REFUSED("live_blocks NULL", memhook_live_blocks(interceptor, NULL));
    REFUSED_OUT("live_blocks id 0", size_out, memhook_live_blocks(0, &size_out));
    REFUSED_OUT("live_blocks unknown id", size_out, memhook_live_blocks(1u << 30, &size_out));
    REFUSED("list NULL count", memhook_chain_list(0, &info, sizeof info, 1, NULL));
    REFUSED_OUT("list NULL infos", size_out,
                memhook_chain_list(0, NULL, sizeof info, 1, &size_out));
    REFUSED_OUT("list info_size 0", size_out, memhook_chain_list(0, &info, 0, 1, &size_out));
    REFUSED_OUT("list info_size too large", size_out,
                memhook_chain_list(0, &info, sizeof info + 8, 1, &size_out));
    REFUSED_OUT("list unknown chain", size_out,
                memhook_chain_list(99, &info, sizeof info, 1, &size_out));
    RESULT("list without room", memhook_chain_list(0, NULL, sizeof info, 0, &size_out));
    printf("hooks in force: %zu\n", size_out);
}

static void suspensions(void)
{
    int levels = 0, result;

    REFUSED("resume without suspend", memhook_resume());
    errno = 4711;
    while ((result = memhook_suspend()) == 0)
        levels++;
    EXPECT(errno == 4711);
    printf("suspend %d times: %s\n", levels, error_name(result));
    EXPECT(memhook_is_suspended() == 1);
    EXPECT(seen_by_one_pair() == 0);
    REFUSED("suspend once more", memhook_suspend());
    while (levels > 1) {
        MUST(memhook_resume());
        levels--;
    }
    EXPECT(memhook_is_suspended() == 1);
    EXPECT(seen_by_one_pair() == 0);
    MUST(memhook_resume());
    EXPECT(memhook_is_suspended() == 0);
    EXPECT(seen_by_one_pair() == 2);
    REFUSED("resume once more", memhook_resume());
}

static void used_twice(void)
{
    RESULT("unregister", memhook_unregister(observer));
    REFUSED("unregister twice", memhook_unregister(observer));
    REFUSED("unregister_timed after that", memhook_unregister_timed(observer, 0));
    memhook_observer watch = counting_observer();
    REFUSED("replace_observer after that", memhook_replace_observer(observer, &watch));
    RESULT("unregister_timed", memhook_unregister_timed(interceptor, 0));
    REFUSED("unregister_timed twice", memhook_unregister_timed(interceptor, 0));
    RESULT("live_blocks of a hook that is gone", memhook_live_blocks(interceptor, &size_out));
    printf("live blocks: %zu\n", size_out);
    printf("released: %d\n", released);
}

static void texts(void)
{
    printf("version: %s\n", memhook_version());
    EXPECT(MEMHOOK_VERSION_MAJOR == 0 && MEMHOOK_VERSION_MINOR == 1 && MEMHOOK_VERSION_PATCH == 0);
    for (uint32_t i = 0; i <= MEMHOOK_ENTRY_COUNT; i++)
        printf("%s%s", memhook_entry_name(i), i < MEMHOOK_ENTRY_COUNT ? " " : "");
    printf(" %s\n", memhook_entry_name(UINT32_MAX));
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    wrong_interceptors();
    wrong_observers();
    memhook_observer watch = counting_observer();
    memhook_interceptor table = owning_interceptor();
    MUST(memhook_observe(&watch, &observer));
    MUST(memhook_register(&table, &interceptor));
    EXPECT(seen_by_one_pair() == 2);
    wrong_interceptors();
    wrong_observers();
    wrong_replacements();
    wrong_ids();
    wrong_listings();
    suspensions();
    EXPECT(seen_by_one_pair() == 2);
    EXPECT(released == 0);
    used_twice();
    texts();
    goes_on();
    return 0;
}
