/* Threads that hand blocks to each other: first all at the same time, then in turns, so that the peak too is the
 * same in every run. */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { THREADS = 4, ROUNDS = 2000, TURNS = 50 };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t changed = PTHREAD_COND_INITIALIZER;
static pthread_barrier_t barrier;
static int turn;
static void *volatile big;
static char *handed[THREADS][TURNS];

__attribute__((noinline)) static void work(int me)
{
    char *own[8] = {NULL};
    for (int i = 0; i < ROUNDS; i++) {
        char **slot = &own[i % 8];
        *slot = i % 3 ? realloc(*slot, 10 + i % 200) : (free(*slot), calloc(me + 1, 20));
        (*slot)[0] = 1;
    }
    for (int i = 0; i < 8; i++)
        free(own[i]);
}

static void *thread(void *argument)
{
    int me = *(int *)argument;
    work(me);
    pthread_barrier_wait(&barrier);
    for (int i = 0; i < TURNS; i++) {
        pthread_mutex_lock(&lock);
        while (turn != i * THREADS + me)
            pthread_cond_wait(&changed, &lock);
        /* The left neighbour's block of the last turn, and a new one for the right neighbour. */
        if (i > 0 && i % 4 != 0) {
            char **theirs = &handed[(me + THREADS - 1) % THREADS][i - 1];
            free(*theirs);
            *theirs = NULL;
        }
        handed[me][i] = strdup("to be handed on");
        handed[me][i] = realloc(handed[me][i], 10000 + me * 1000 + i);
        if (turn == THREADS * TURNS / 2)
            big = malloc(1000000); /* the peak */
        if (turn == THREADS * TURNS / 2 + 1)
            free(big);
        turn++;
        pthread_cond_broadcast(&changed);
        pthread_mutex_unlock(&lock);
    }
    /* No thread ends before all have begun: one that did would leave its stack and the rest to another. */
    pthread_barrier_wait(&barrier);
    return NULL;
}

int main(void)
{
    pthread_t threads[THREADS];
    pthread_attr_t attributes;
    int numbers[THREADS];
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 256 << 10);
    pthread_barrier_init(&barrier, NULL, THREADS);
    for (int i = 0; i < THREADS; i++) {
        numbers[i] = i;
        pthread_create(&threads[i], &attributes, thread, &numbers[i]);
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    for (int i = 0; i < TURNS; i += 2)
        free(handed[1][i]);
    printf("%d turns\n", turn);
    return 0;
}
