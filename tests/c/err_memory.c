/* ENOMEM: the kernel gives no pages any more and the library's own are used up. */
#define _GNU_SOURCE
#include "err_use_up.h"
#include <malloc.h>

static sem_t start, done;
static memhook_id observer, owner, aside;
static memhook_local key;

/* So many threads that come when there is no memory are known all the same. */
#define SPARES 64
static sem_t begin_spare, end_spare;

static void *takes_a_spare(void *nothing)
{
    while (sem_wait(&begin_spare) != 0) {
    }
    MUST(memhook_suspend());
    MUST(memhook_resume());
    sem_post(&done);
    while (sem_wait(&end_spare) != 0) {
    }
    return nothing;
}

/* A thread that the library has never seen. */
static void *newcomer(void *nothing)
{
    memhook_hook_info info;
    memhook_observer watch = counting_observer();
    memhook_id id_out = NO_ID;
    memhook_chain chain_out = NO_ID;
    size_t size_out = NO_ID;

    while (sem_wait(&start) != 0) {
    }
    RESULT("suspend in a new thread", memhook_suspend());
    RESULT("resume in a new thread", memhook_resume());
    RESULT("synchronize in a new thread", memhook_synchronize());
    RESULT("list in a new thread", memhook_chain_list(0, &info, sizeof info, 1, &size_out));
    RESULT("live_blocks in a new thread", memhook_live_blocks(owner, &size_out));
    RESULT("chain_copy in a new thread", memhook_chain_copy(&chain_out));
    RESULT("unregister in a new thread", memhook_unregister(observer));
    watch.flags = MEMHOOK_THIS_THREAD;
    RESULT("observe in a new thread", memhook_observe(&watch, &id_out));
    EXPECT(memhook_thread() == 0 && memhook_local_get(key) == NULL);
    EXPECT(memhook_is_suspended() == 0);
    EXPECT(id_out == NO_ID && chain_out == NO_ID && size_out == NO_ID);
    sem_post(&done);
    return nothing;
}

int main(void)
{
    memhook_observer watch = counting_observer();
    memhook_interceptor table = owning_interceptor();
    memhook_chain chain, small, chain_out;
    memhook_id id_out;
    pthread_t thread, spares[SPARES];
    uint32_t missed = 77;
    char text[100] = "untouched";

    setvbuf(stdout, NULL, _IONBF, 0);
    sem_init(&start, 0, 0);
    sem_init(&done, 0, 0);
    sem_init(&begin_spare, 0, 0);
    sem_init(&end_spare, 0, 0);
    MUST(memhook_observe(&watch, &observer));
    MUST(memhook_register(&table, &owner));
    MUST(memhook_chain_create(&chain));
    MUST(memhook_chain_create(&small));
    MUST(memhook_chain_observe(chain, &watch, &aside));
    EXPECT(seen_by_one_pair() == 2);
    void *owned = do_malloc(100);
    MUST(memhook_local_create(1 << 20, &key));
    /* What the C library keeps for the thread is not to be owned. */
    MUST(memhook_suspend());
    MUST(pthread_create(&thread, NULL, newcomer, NULL));
    for (int i = 0; i < SPARES; i++)
        MUST(pthread_create(&spares[i], NULL, takes_a_spare, NULL));
    MUST(memhook_resume());

    use_up();
    REFUSED_OUT("observe", id_out, memhook_observe(&watch, &id_out));
    REFUSED_OUT("register", id_out, memhook_register(&table, &id_out));
    REFUSED("unregister", memhook_unregister(observer));
    REFUSED("unregister_timed", memhook_unregister_timed(owner, 0));
    REFUSED("replace", memhook_replace(owner, &table));
    REFUSED("replace_observer", memhook_replace_observer(observer, &watch));
    REFUSED_OUT("chain_create", chain_out, memhook_chain_create(&chain_out));
    REFUSED_OUT("chain_copy", chain_out, memhook_chain_copy(&chain_out));
    REFUSED("chain_add", memhook_chain_add(small, observer));
    REFUSED_OUT("chain_register", id_out, memhook_chain_register(small, &table, &id_out));
    REFUSED_OUT("chain_observe", id_out, memhook_chain_observe(small, &watch, &id_out));
    REFUSED_OUT("chain_swap", chain_out, memhook_chain_swap(chain, &chain_out));
    REFUSED("chain_swap NULL", memhook_chain_swap(chain, NULL));
    REFUSED("self_test", MEMHOOK_SELF_TEST(&missed, text, sizeof text));
    REFUSED("self_test_object", memhook_self_test_object((void *)main, &missed, text, 0));
    EXPECT(memhook_local_get(key) == NULL && memhook_local_known(key) == NULL);
    EXPECT(memhook_scratch_malloc(1) == NULL);
    EXPECT(memhook_scratch_malloc(1 << 20) == NULL);
    EXPECT(memhook_scratch_malloc((size_t)-1) == NULL);
    for (int i = 0; i < SPARES; i++) {
        sem_post(&begin_spare);
        while (sem_wait(&done) != 0) {
        }
    }
    sem_post(&start);
    while (sem_wait(&done) != 0) {
    }
    EXPECT(seen_by_one_pair() == 2);
    EXPECT(released == 0);

    give_back();
    MUST(pthread_join(thread, NULL));
    for (int i = 0; i < SPARES; i++)
        sem_post(&end_spare);
    for (int i = 0; i < SPARES; i++)
        MUST(pthread_join(spares[i], NULL));
    static struct listing listing;
    take_listing(small, &listing);
    EXPECT(listing.count == 0);
    take_listing(chain, &listing);
    EXPECT(listing.count == 1 && listing.infos[0].id == aside);
    EXPECT(memhook_local_known(key) == NULL);
    void *memory = memhook_local_get(key);
    EXPECT(memory != NULL && memhook_local_known(key) == memory && memhook_local_get(key) == memory);
    EXPECT(seen_by_one_pair() == 2);
    RESULT("observe then", memhook_observe(&watch, &id_out));
    EXPECT(seen_by_one_pair() == 3);
    RESULT("unregister then", memhook_unregister(id_out));
    RESULT("chain_add then", memhook_chain_add(small, observer));
    RESULT("replace then", memhook_replace(owner, &table));
    RESULT("chain_swap then", memhook_chain_swap(chain, &chain_out));
    EXPECT(seen_by_one_pair() == 1);
    RESULT("swap back", memhook_chain_swap(chain_out, NULL));
    RESULT("unregister", memhook_unregister(observer));
    RESULT("unregister the owner", memhook_unregister(owner));
    do_free(owned);
    MUST(memhook_synchronize());
    printf("released: %d\n", released);
    goes_on();
    return 0;
}
