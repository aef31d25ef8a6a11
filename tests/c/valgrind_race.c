/* A callback that counts without care. */
#include <memhook.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>

static unsigned long count;

static void racy_count(const memhook_call *call, void *block, void *user)
{
    (void)call, (void)block, (void)user;
    count++;
}

static void *work(void *nothing)
{
    void *(*volatile do_malloc)(size_t) = malloc;
    for (int i = 0; i < 100; i++)
        free(do_malloc(10));
    return nothing;
}

int main(void)
{
    memhook_observer table = {.struct_size = sizeof table, .after_alloc = racy_count};
    memhook_id id;
    pthread_t threads[2];
    if (memhook_observe(&table, &id))
        return 2;
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, work, NULL);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    return count == 0;
}
