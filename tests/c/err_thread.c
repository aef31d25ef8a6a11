/* Errors that depend on who is in a callback: the caller itself, or another thread. */
#include "err_check.h"

static sem_t entered, leave;
static memhook_id self;
static memhook_chain aside;
static void (*inside)(void);

/* Runs `inside` once, in the callback. */
static void run_inside(const memhook_call *call, void *block, void *user)
{
    void (*run)(void) = inside;
    (void)call, (void)block, (void)user;
    inside = NULL;
    if (run != NULL)
        run();
}

static memhook_observer running_observer(void)
{
    memhook_observer table = counting_observer();
    table.name = "running";
    table.after_alloc = run_inside;
    return table;
}

static void in_a_callback(void (*what)(void))
{
    inside = what;
    do_free(do_malloc(10));
    EXPECT(inside == NULL);
}

static void unregister_self(void)
{
    RESULT("unregister itself", memhook_unregister(self));
    RESULT("unregister itself twice", memhook_unregister(self));
    EXPECT(released == 0);
}

static void unregister_self_timed(void)
{
    RESULT("unregister_timed itself", memhook_unregister_timed(self, UINT64_MAX));
    EXPECT(released == 0);
}

static void replace_self(void)
{
    memhook_observer table = counting_observer();
    RESULT("replace_observer itself", memhook_replace_observer(self, &table));
    EXPECT(released == 0);
}

static void swap_self_out(void)
{
    memhook_chain empty;
    MUST(memhook_chain_create(&empty));
    RESULT("swap itself out", memhook_chain_swap(empty, NULL));
    EXPECT(released == 0);
}

static void swap_self_aside(void)
{
    memhook_chain empty;
    MUST(memhook_chain_create(&empty));
    RESULT("swap itself aside", memhook_chain_swap(empty, &aside));
    EXPECT(released == 0);
}

static void remove_last(void)
{
    RESULT("remove from a chain object", memhook_chain_remove(aside, self));
    EXPECT(released == 0);
}

static void destroy_last(void)
{
    RESULT("destroy a chain object", memhook_chain_destroy(aside));
    EXPECT(released == 0);
}

static void unregister_own_object(void)
{
    RESULT("unregister_object", memhook_unregister_object(MEMHOOK_OBJECT));
    EXPECT(released == 0);
}

static void wait_for_self(void)
{
    REFUSED("synchronize", memhook_synchronize());
    EXPECT(memhook_is_suspended() == 1);
    EXPECT(memhook_suspend() == 0 && memhook_resume() == 0);
    REFUSED("resume without suspend", memhook_resume());
}

static void from_inside(void)
{
    memhook_observer table = running_observer(), plain = counting_observer();
    memhook_id other;

    puts("inside a callback:");
    MUST(memhook_observe(&table, &self));
    in_a_callback(wait_for_self);
    in_a_callback(unregister_self);
    printf("released: %d\n", released), released = 0;
    REFUSED("unregister afterwards", memhook_unregister(self));

    MUST(memhook_observe(&table, &self));
    in_a_callback(unregister_self_timed);
    printf("released: %d\n", released), released = 0;

    MUST(memhook_observe(&table, &self));
    in_a_callback(replace_self);
    printf("released: %d\n", released), released = 0;
    MUST(memhook_unregister(self));
    EXPECT(released == 1);
    released = 0;

    MUST(memhook_observe(&table, &self));
    in_a_callback(swap_self_out);
    printf("released: %d\n", released), released = 0;

    MUST(memhook_observe(&table, &self));
    in_a_callback(swap_self_aside);
    EXPECT(released == 0);
    RESULT("destroy the former afterwards", memhook_chain_destroy(aside));
    printf("released: %d\n", released), released = 0;

    MUST(memhook_observe(&table, &other));
    MUST(memhook_chain_create(&aside));
    MUST(memhook_chain_observe(aside, &plain, &self));
    in_a_callback(remove_last);
    printf("released: %d\n", released), released = 0;
    MUST(memhook_chain_observe(aside, &plain, &self));
    in_a_callback(destroy_last);
    printf("released: %d\n", released), released = 0;
    MUST(memhook_unregister(other));
    released = 0;

    table.object = MEMHOOK_OBJECT;
    MUST(memhook_observe(&table, &self));
    in_a_callback(unregister_own_object);
    printf("released: %d\n", released), released = 0;
}

static void block_here(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block, (void)user;
    sem_post(&entered);
    sem_wait(&leave);
}

static void *allocate_once(void *nothing)
{
    void *block = do_malloc(10);
    do_free(block);
    return nothing;
}

static void *unregister_here(void *nothing)
{
    (void)nothing;
    return (void *)(size_t)memhook_unregister(self);
}

static memhook_observer blocking_observer(void)
{
    memhook_observer table = counting_observer();
    table.name = "blocking";
    table.after_alloc = block_here;
    table.flags = 0;
    return table;
}

/* Registers a blocking observer and has another thread stand in it; this thread is suspended. */
static pthread_t stand_in_callback(void)
{
    memhook_observer table = blocking_observer();
    pthread_t thread;

    MUST(memhook_suspend());
    MUST(memhook_observe(&table, &self));
    MUST(pthread_create(&thread, NULL, allocate_once, NULL));
    while (sem_wait(&entered) != 0) {
    }
    return thread;
}

static void let_go(pthread_t thread)
{
    sem_post(&leave);
    MUST(pthread_join(thread, NULL));
    MUST(memhook_resume());
}

static void beside_another(void)
{
    memhook_observer table = counting_observer();
    struct listing listing;
    memhook_chain chain;
    void *result;
    pthread_t thread, unregistering;

    puts("beside a callback:");
    memhook_chain kept;
    thread = stand_in_callback();
    MUST(memhook_chain_copy(&kept));
    RESULT("unregister_timed 0 ns", memhook_unregister_timed(self, 0));
    take_listing(0, &listing);
    printf("hooks in force: %zu\n", listing.count);
    REFUSED("unregister then", memhook_unregister(self));
    REFUSED("unregister_timed then", memhook_unregister_timed(self, 1000));
    REFUSED("replace_observer then", memhook_replace_observer(self, &table));
    MUST(memhook_chain_create(&chain));
    REFUSED("chain_add then", memhook_chain_add(chain, self));
    MUST(memhook_chain_destroy(chain));
    REFUSED("chain_remove then", memhook_chain_remove(kept, self));
    REFUSED("chain_remove again", memhook_chain_remove(kept, self));
    RESULT("chain_destroy", memhook_chain_destroy(kept));
    EXPECT(released == 0);
    let_go(thread);
    printf("released: %d\n", released), released = 0;
    REFUSED("unregister afterwards", memhook_unregister(self));

    thread = stand_in_callback();
    RESULT("unregister_timed 1000 ns", memhook_unregister_timed(self, 1000));
    EXPECT(released == 0);
    let_go(thread);
    printf("released: %d\n", released), released = 0;

    thread = stand_in_callback();
    MUST(pthread_create(&unregistering, NULL, unregister_here, NULL));
    do
        take_listing(0, &listing);
    while (listing.count != 0);
    REFUSED("unregister while another waits", memhook_unregister(self));
    REFUSED("unregister_timed while another waits", memhook_unregister_timed(self, 0));
    EXPECT(released == 0);
    sem_post(&leave);
    MUST(pthread_join(unregistering, &result));
    printf("the other: %s, released: %d\n", error_name((int)(size_t)result), released);
    released = 0;
    MUST(pthread_join(thread, NULL));
    MUST(memhook_resume());
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    sem_init(&entered, 0, 0);
    sem_init(&leave, 0, 0);
    from_inside();
    beside_another();
    goes_on();
    return 0;
}
