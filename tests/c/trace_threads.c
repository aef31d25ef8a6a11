/* Blocks handed from thread to thread, so that addresses are used again at once; all are freed. Under a
 * trace that writes in another order than things happen, some would be freed before they were made. */
#define _GNU_SOURCE
#include <mcheck.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4, RING = 64, ROUNDS = 20000 };

static _Atomic(void *) ring[RING];

static void *work(void *argument)
{
    unsigned state = 12345u * (unsigned)(size_t)argument + 1;
    for (int i = 0; i < ROUNDS; i++) {
        state = state * 1103515245u + 12345u;
        _Atomic(void *) *place = &ring[(state >> 16) % RING];
        void *block = malloc(64 + (state >> 24) % 8);
        if ((state >> 8) % 4 == 0)
            block = realloc(block, 100 + (state >> 20) % 2000);
        memset(block, 1, 8);
        block = atomic_exchange(place, block);
        if ((state >> 10) % 4 == 1 && block != NULL)
            block = realloc(block, 60);
        free(block);
    }
    return NULL;
}

int main(void)
{
    mtrace();
    pthread_t threads[THREADS];
    for (size_t i = 0; i < THREADS; i++)
        pthread_create(&threads[i], NULL, work, (void *)i);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < RING; i++)
        free(atomic_load(&ring[i]));
    printf("done\n");
    return 0;
}
