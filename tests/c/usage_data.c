/* Knows nothing of the library: programs for data files. */
#include <alloca.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { THREADS = 4, PAIRS = 50000 };

static void *work(void *unused)
{
    for (int i = 0; i < PAIRS; i++) {
        void *volatile block = malloc(1000);
        free(block);
    }
    return unused;
}

static volatile double burnt;

/* Takes so much processor time, deep in the stack, with no allocation there. */
__attribute__((noinline)) static void burn(int milliseconds)
{
    char *room = alloca(500000);
    memset(room, 1, 500000);
    clock_t end = clock() + (clock_t)milliseconds * (CLOCKS_PER_SEC / 1000);
    while (clock() < end)
        for (int i = 0; i < 10000; i++)
            burnt = burnt * 1.000001 + room[i];
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    void *volatile block = malloc(10);
    if (strcmp(what, "threads") == 0) {
        pthread_t threads[THREADS];
        for (int i = 0; i < THREADS; i++)
            pthread_create(&threads[i], NULL, work, NULL);
        for (int i = 0; i < THREADS; i++)
            pthread_join(threads[i], NULL);
    } else if (strcmp(what, "fork") == 0) {
        work(NULL);
        if (fork() == 0) {
            work(NULL);
            exit(0);
        }
        wait(NULL);
    } else if (strcmp(what, "burn") == 0) {
        burn(400);
    } else if (strcmp(what, "close") == 0) {
        work(NULL);
        for (int fd = 3; fd < 1024; fd++)
            close(fd);
        FILE *own = fopen(argv[2], "w");
        for (int fd = 100; fd < 1000; fd++)
            dup2(fileno(own), fd); /* what is written to a number that was another file's comes here */
        work(NULL);
        fputs("own\n", own);
    }
    puts("done");
    free(block);
    return 0;
}
