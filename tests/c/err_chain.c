/* Chain objects: unknown, consumed, and given what they must refuse. */
#include "err_check.h"

static memhook_id first, second, third, id_out;
static memhook_chain chain_out;
static size_t size_out;

/* Each function refuses a chain that is none. */
static void not_a_chain(const char *why, memhook_chain chain)
{
    memhook_observer watch = counting_observer();
    memhook_interceptor table = owning_interceptor();
    memhook_hook_info info;

    printf("%s\n", why);
    REFUSED("  add", memhook_chain_add(chain, first));
    REFUSED("  add unknown id", memhook_chain_add(chain, 1u << 30));
    REFUSED_OUT("  register", id_out, memhook_chain_register(chain, &table, &id_out));
    REFUSED_OUT("  observe", id_out, memhook_chain_observe(chain, &watch, &id_out));
    REFUSED("  remove", memhook_chain_remove(chain, first));
    REFUSED_OUT("  swap", chain_out, memhook_chain_swap(chain, &chain_out));
    REFUSED("  swap NULL", memhook_chain_swap(chain, NULL));
    REFUSED("  destroy", memhook_chain_destroy(chain));
    if (chain != 0)
        REFUSED_OUT("  list", size_out,
                    memhook_chain_list(chain, &info, sizeof info, 1, &size_out));
}

/* Each function that a chain object refuses leaves it as it was. */
static void wrong_contents(memhook_chain chain)
{
    static struct listing before, after;
    memhook_observer watch = counting_observer(), bad_watch = watch;
    memhook_interceptor table = owning_interceptor(), bad = table;

    take_listing(chain, &before);
    REFUSED("add id 0", memhook_chain_add(chain, 0));
    REFUSED("add unknown id", memhook_chain_add(chain, 1u << 30));
    REFUSED("add what is in it", memhook_chain_add(chain, first));
    REFUSED("remove id 0", memhook_chain_remove(chain, 0));
    REFUSED("remove unknown id", memhook_chain_remove(chain, 1u << 30));
    REFUSED("remove what is in force only", memhook_chain_remove(chain, third));
    REFUSED_OUT("register NULL table", id_out, memhook_chain_register(chain, NULL, &id_out));
    REFUSED("register NULL out", memhook_chain_register(chain, &table, NULL));
    bad.struct_size = 3;
    REFUSED_OUT("register struct_size", id_out, memhook_chain_register(chain, &bad, &id_out));
    bad = table, bad.flags = 4;
    REFUSED_OUT("register flag 4", id_out, memhook_chain_register(chain, &bad, &id_out));
    bad = table, bad.malloc = NULL, bad.free = NULL;
    REFUSED_OUT("register no callback", id_out, memhook_chain_register(chain, &bad, &id_out));
    REFUSED_OUT("observe NULL table", id_out, memhook_chain_observe(chain, NULL, &id_out));
    REFUSED("observe NULL out", memhook_chain_observe(chain, &watch, NULL));
    bad_watch.struct_size = 3;
    REFUSED_OUT("observe struct_size", id_out,
                memhook_chain_observe(chain, &bad_watch, &id_out));
    bad_watch = watch, bad_watch.flags = 4;
    REFUSED_OUT("observe flag 4", id_out, memhook_chain_observe(chain, &bad_watch, &id_out));
    bad_watch = watch, bad_watch.after_alloc = NULL;
    REFUSED_OUT("observe no callback", id_out,
                memhook_chain_observe(chain, &bad_watch, &id_out));
    take_listing(chain, &after);
    EXPECT(same_listing(&before, &after));
    EXPECT(before.count == 2);
}

/* A hook that is in a chain object only can be replaced in none. */
static void not_in_force(memhook_chain chain)
{
    memhook_observer watch = counting_observer();
    memhook_interceptor table = owning_interceptor();
    memhook_id watching, intercepting;

    MUST(memhook_chain_observe(chain, &watch, &watching));
    MUST(memhook_chain_register(chain, &table, &intercepting));
    REFUSED("replace_observer of one not in force", memhook_replace_observer(watching, &watch));
    REFUSED("replace of one not in force", memhook_replace(intercepting, &table));
    released = 0;
    RESULT("remove the observer", memhook_chain_remove(chain, watching));
    REFUSED("remove it twice", memhook_chain_remove(chain, watching));
    REFUSED("unregister it then", memhook_unregister(watching));
    REFUSED("add it then", memhook_chain_add(chain, watching));
    RESULT("unregister the interceptor", memhook_unregister(intercepting));
    REFUSED("remove it then", memhook_chain_remove(chain, intercepting));
    printf("released: %d\n", released);
}

int main(void)
{
    memhook_observer watch = counting_observer();
    memhook_interceptor table = owning_interceptor();
    memhook_chain chain, other, former;

    setvbuf(stdout, NULL, _IONBF, 0);
    MUST(memhook_observe(&watch, &first));
    MUST(memhook_register(&table, &second));
    EXPECT(seen_by_one_pair() == 2);
    REFUSED("create NULL", memhook_chain_create(NULL));
    REFUSED("copy NULL", memhook_chain_copy(NULL));
    MUST(memhook_chain_create(&other));
    MUST(memhook_chain_copy(&chain));
    MUST(memhook_observe(&watch, &third));
    EXPECT(seen_by_one_pair() == 3);
    not_a_chain("a chain that never was", 1000);
    not_a_chain("the chain in force", 0);
    wrong_contents(chain);
    not_in_force(chain);

    released = 0;
    RESULT("destroy", memhook_chain_destroy(other));
    not_a_chain("a destroyed chain", other);
    RESULT("swap", memhook_chain_swap(chain, &former));
    not_a_chain("a consumed chain", chain);
    EXPECT(seen_by_one_pair() == 2);
    EXPECT(released == 0);
    RESULT("swap back, without the former", memhook_chain_swap(former, NULL));
    not_a_chain("a chain put back", former);
    EXPECT(seen_by_one_pair() == 3);
    EXPECT(released == 0);

    MUST(memhook_chain_create(&chain));
    RESULT("swap to nothing", memhook_chain_swap(chain, NULL));
    EXPECT(seen_by_one_pair() == 0);
    printf("released: %d\n", released);
    REFUSED("unregister then", memhook_unregister(first));
    REFUSED("unregister then", memhook_unregister(second));
    REFUSED("unregister then", memhook_unregister(third));
    goes_on();
    return 0;
}
