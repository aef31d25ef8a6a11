/* Knows nothing of the library: sends itself signals, between its allocations, and in the midst of them. */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static void *volatile sink;
static atomic_int running = 1;

static void *allocate(void *unused)
{
    while (atomic_load(&running)) {
        void *block = malloc(300000); /* takes the allocator's lock, and maps */
        sink = calloc(10, 10);
        free(sink);
        sink = realloc(block, 20);
        free(sink);
    }
    return unused;
}

static void leave(int number)
{
    (void)number;
    exit(3);
}

static int descriptors(void)
{
    int count = 0;
    for (int fd = 0; fd < 1000; fd++)
        count += fcntl(fd, F_GETFD) != -1;
    return count;
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "child") == 0) {
        int before = descriptors();
        pid_t child = fork();
        for (int i = 0; child == 0 && i < 20; i++)
            raise(SIGUSR1);
        printf("%d more\n", descriptors() - before);
        wait(NULL);
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "exit") == 0) {
        signal(SIGUSR1, leave);
        sink = malloc(10);
        sink = malloc(5000); /* the allocator below is interrupted in it */
        return 0;
    }
    if (argc > 1 && strcmp(argv[1], "storm") == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, allocate, NULL);
        for (int i = 0; i < 200; i++) {
            pthread_kill(thread, SIGUSR1);
            sink = malloc(100);
            free(sink);
        }
        atomic_store(&running, 0);
        pthread_join(thread, NULL);
        return 0;
    }
    sink = malloc(10);
    raise(SIGUSR1);
    sink = malloc(20);
    raise(SIGUSR1);
    sink = malloc(40);
    return 0;
}
