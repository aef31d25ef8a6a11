/* To be built with a sanitizer. Threads that pass blocks on are fine; with an argument, something is
 * wrong that the sanitizer is to find. With SELF_TEST, says whether its calls arrive. */
#include <malloc.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef SELF_TEST
#include <memhook.h>
#endif

#define ROUNDS 2000
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static char *passed_on;
static int shared;

static void *worker(void *argument)
{
    for (int i = 0; i < ROUNDS; i++) {
        char *block = malloc(50 + (size_t)i % 100);
        memset(block, i, 50);
        block = realloc(block, 200);
        pthread_mutex_lock(&lock);
        char *other = passed_on;
        passed_on = block;
        pthread_mutex_unlock(&lock);
        if (other)
            other[1] = 2;
        free(other);
    }
    if (argument)
        shared++;
    return NULL;
}

int main(int argc, char **argv)
{
    const char *wrong = argc > 1 ? argv[1] : "";
#ifdef SELF_TEST
    uint32_t missed = 0;
    char text[600];
    int result = MEMHOOK_SELF_TEST(&missed, text, sizeof text);
    char *end = strstr(text, ". ");
    if (end)
        *end = 0;
    printf("%d %s\n", result, text);
#endif
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        if (pthread_create(&threads[i], NULL, worker, strcmp(wrong, "race") ? NULL : &shared) != 0)
            return 1;
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);
    if (!strcmp(wrong, "late")) {
        free(passed_on);
        passed_on[1]++;
    }
    free(passed_on);
    puts("fine");
    return 0;
}
