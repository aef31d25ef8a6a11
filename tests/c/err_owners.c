/* The 4095 owner lists: each unregistered interceptor with a living block keeps one. */
#include "err_check.h"

static memhook_id ids[4096];
static void *blocks[4096];

int main(void)
{
    memhook_interceptor table = owning_interceptor();
    memhook_observer watch = counting_observer();
    memhook_id id_out, observer;
    memhook_chain chain, chain_out;
    size_t live;
    int lists, result = 0;

    setvbuf(stdout, NULL, _IONBF, 0);
    /* The last one stays in force. */
    for (lists = 0; lists < 4095; lists++) {
        MUST(memhook_register(&table, &ids[lists]));
        blocks[lists] = do_malloc(100);
        if (lists == 4094)
            break;
        result = memhook_unregister(ids[lists]);
        if (result != EINPROGRESS)
            break;
    }
    printf("unregister an owner: %s, %d times\n", error_name(result), lists);
    REFUSED("unregister one again", memhook_unregister(ids[0]));
    table.name = "one too many";
    REFUSED_OUT("register", id_out, memhook_register(&table, &id_out));
    REFUSED("replace", memhook_replace(ids[4094], &table));
    MUST(memhook_chain_create(&chain));
    RESULT("chain_register", memhook_chain_register(chain, &table, &id_out));
    REFUSED_OUT("swap", chain_out, memhook_chain_swap(chain, &chain_out));
    REFUSED("swap NULL", memhook_chain_swap(chain, NULL));
    static struct listing listing;
    take_listing(chain, &listing);
    printf("hooks in the chain object: %zu\n", listing.count);
    EXPECT(listing.infos[0].id == id_out);
    RESULT("observe", memhook_observe(&watch, &observer));
    table.flags = MEMHOOK_KEEPS_POINTERS;
    RESULT("register one that keeps pointers", memhook_register(&table, &ids[4095]));
    seen = 0;
    do_free(do_malloc(10));
    printf("seen by %d hooks\n", seen);
    MUST(memhook_unregister(observer));
    MUST(memhook_unregister(ids[4095]));
    EXPECT(released == 2);
    released = 0;

    /* One list comes free with its block. */
    do_free(blocks[0]);
    MUST(memhook_synchronize());
    printf("released: %d\n", released), released = 0;
    REFUSED("unregister the released one", memhook_unregister(ids[0]));
    MUST(memhook_live_blocks(ids[0], &live));
    EXPECT(live == 0);
    RESULT("swap then", memhook_chain_swap(chain, &chain_out));
    RESULT("swap back", memhook_chain_swap(chain_out, NULL));
    printf("released: %d\n", released), released = 0;
    for (int i = 1; i < 4095; i++) {
        MUST(memhook_live_blocks(ids[i], &live));
        EXPECT(live == 1);
        do_free(blocks[i]);
        MUST(memhook_live_blocks(ids[i], &live));
        EXPECT(live == 0);
    }
    MUST(memhook_synchronize());
    printf("released: %d\n", released), released = 0;
    RESULT("unregister the last", memhook_unregister(ids[4094]));
    printf("released: %d\n", released);
    /* All is free again. */
    table.flags = 0;
    for (int i = 0; i < 1000; i++) {
        MUST(memhook_register(&table, &id_out));
        do_free(do_malloc(10));
        MUST(memhook_unregister(id_out));
    }
    goes_on();
    return 0;
}
