/* One hard moment of a process each: trace_process WHAT. Sizes tell in the trace who made a block. */
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void make(size_t bytes, int times)
{
    for (int i = 0; i < times; i++) {
        void *volatile block = malloc(bytes);
        free(block);
    }
}

static void wait_for(pid_t child)
{
    int status;
    if (waitpid(child, &status, 0) != child || status != 0)
        exit(9);
}

static void *make_in_thread(void *argument)
{
    make((size_t)argument, 1000);
    return NULL;
}

static void *make_after(void *first)
{
    pthread_join(*(pthread_t *)first, NULL);
    make(1234, 100);
    exit(0);
}

int main(int argc, char **argv)
{
    const char *what = argc > 1 ? argv[1] : "";
    if (strcmp(what, "after_the_first_thread") == 0) {
        static pthread_t first;
        pthread_t last;
        first = pthread_self();
        pthread_create(&last, NULL, make_after, &first);
        pthread_exit(NULL);
    }
    if (strcmp(what, "fork") == 0) {
        make(1001, 100);
        pid_t child = fork();
        if (child == 0) {
            make(1002, 100);
            pid_t grandchild = fork();
            if (grandchild == 0) {
                pthread_t thread;
                make(1003, 100);
                pthread_create(&thread, NULL, make_in_thread, (void *)1003);
                pthread_join(thread, NULL);
                exit(0);
            }
            wait_for(grandchild);
            /* One that allocates nothing. */
            pid_t idle = fork();
            if (idle == 0)
                exit(0);
            wait_for(idle);
            make(1002, 100);
            exit(0);
        }
        wait_for(child);
        make(1001, 100);
    } else if (strcmp(what, "underscore") == 0) {
        /* No fork handler runs. */
        make(1001, 100);
        pid_t child = (pid_t)syscall(SYS_clone, SIGCHLD, 0, 0, 0, 0);
        if (child == 0) {
            make(1002, 100);
            _exit(0);
        }
        wait_for(child);
        make(1001, 100);
    } else if (strcmp(what, "vfork") == 0) {
        make(1001, 100);
        pid_t child = vfork();
        if (child == 0) {
            make(1002, 100);
            execl(argv[0], argv[0], "make", "1003", (char *)NULL);
            _exit(1);
        }
        wait_for(child);
        make(1001, 100);
    } else if (strcmp(what, "execs") == 0) {
        make(1003, 100);
        execl(argv[0], argv[0], "exec", (char *)NULL);
        return 1;
    } else if (strcmp(what, "exec") == 0) {
        make(1001, 100);
        execl(argv[0], argv[0], "make", "1002", (char *)NULL);
        return 1;
    } else if (strcmp(what, "make") == 0) {
        make((size_t)atoi(argv[2]), argc > 3 ? atoi(argv[3]) : 100);
    } else if (strcmp(what, "kill") == 0) {
        pthread_t thread;
        pthread_create(&thread, NULL, make_in_thread, (void *)2002);
        pthread_join(thread, NULL);
        make(2001, 30000);
        raise(SIGKILL);
    } else if (strcmp(what, "close") == 0) {
        /* A daemon closes all descriptors and opens its own. */
        make(3001, 100);
        for (int fd = 3; fd < 1024; fd++)
            close(fd);
        int own[600];
        for (int i = 0; i < 600; i++)
            own[i] = open(argv[2], O_RDWR | O_CREAT | O_TRUNC, 0600);
        make(3002, 60000);
        off_t length = 0;
        for (int i = 0; i < 600; i++)
            if (own[i] >= 0)
                length += lseek(own[i], 0, SEEK_END);
        printf("own file: %ld bytes\n", (long)length);
        return 0;
    } else if (strcmp(what, "moves") == 0) {
        /* The same with the current folder, and then a child. */
        make(3003, 100);
        if (chdir("/") != 0)
            return 3;
        for (int fd = 3; fd < 1024; fd++)
            close(fd);
        make(3004, 60000);
        pid_t child = fork();
        if (child == 0) {
            make(3005, 100);
            _exit(0);
        }
        wait_for(child);
    } else if (strcmp(what, "standard") == 0) {
        make(1001, 100);
        printf("standard error is %s\n", fcntl(2, F_GETFD) < 0 ? "closed" : "open");
        return 0;
    } else if (strcmp(what, "both") == 0) {
        for (int i = 0; i < 100; i++) {
            make(1001, 1);
            fprintf(stderr, "own %d\n", i);
        }
    } else if (strcmp(what, "large") == 0) {
        make(4001, 200000);
    } else {
        return 2;
    }
    printf("done\n");
    return 0;
}
