/* Correct code on eight threads, which hand blocks over, while the tool is started and stopped, all blocks are looked
 * at, and children are forked: nobody may be told of a fault. */
#define _GNU_SOURCE
#include <errno.h>
#include <malloc.h>
#include <memhook.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { THREADS = 8, PLACES = 256 };

static _Atomic(void *) places[PLACES];
static atomic_int faults, running, rounds = 20000;
static atomic_long made;

static void handler(const memhook_check_report *report, void *user)
{
    (void)user;
    if (faults++ < 3 && write(2, report->text, report->text_len) < 0)
        _exit(2);
}

/* Every block begins with its size and is filled with a byte that follows from it. */
static void *make(uint64_t draw)
{
    size_t sizes[] = {8 + draw % 100, 8 + draw % 1100, 8 + draw % 5000, 8 + draw % 200000};
    size_t bytes = sizes[draw >> 20 & 3];
    if ((draw >> 20 & 15) == 3)
        bytes = sizes[3];
    else if (bytes == sizes[3])
        bytes = sizes[0];
    void *block = NULL;
    switch (draw >> 30 & 7) {
    case 0:
        block = calloc(1, bytes);
        break;
    case 1:
        block = memalign((size_t)16 << (draw >> 40 & 7), bytes);
        break;
    case 2:
        block = realloc(NULL, bytes);
        break;
    default:
        block = malloc(bytes);
    }
    memset(block, (int)(bytes & 127), bytes);
    memcpy(block, &bytes, sizeof bytes);
    made++;
    return block;
}

static void take(void *block, uint64_t draw)
{
    size_t bytes;
    if (block == NULL)
        return;
    memcpy(&bytes, block, sizeof bytes);
    if ((draw >> 10 & 7) == 0) {
        size_t more = bytes + draw % 3000;
        block = realloc(block, more);
        memset((char *)block + bytes, (int)(bytes & 127), more - bytes);
        if (malloc_usable_size(block) < more)
            abort();
    }
    for (size_t i = sizeof bytes; i < bytes; i++)
        if (((unsigned char *)block)[i] != (bytes & 127))
            abort();
    free(block);
}

static void *work(void *number)
{
    uint64_t draw = (uintptr_t)number * 0x9e3779b97f4a7c15u + 1;
    for (int i = 0; i < rounds; i++) {
        draw ^= draw << 13, draw ^= draw >> 7, draw ^= draw << 17;
        take(atomic_exchange(&places[draw >> 50 & (PLACES - 1)], make(draw)), draw);
    }
    running--;
    return NULL;
}

static void child(void)
{
    for (int i = 0; i < PLACES; i++)
        take(atomic_exchange(&places[i], NULL), 1);
    for (int i = 0; i < 300; i++)
        take(make((uint64_t)i << 20 | (uint64_t)i), 1);
    exit(memhook_check_all() != 0 || faults != 0);
}

/* A child has none of the threads that looked when it was forked: what it frees goes back. */
static int keeps_blocks(void)
{
    for (int i = 0; i < 100; i++) {
        char *volatile block = malloc(200000);
        memset(block, 1, 200000);
        free(block);
    }
    struct mallinfo2 now = mallinfo2();
    return now.uordblks + now.hblkhd > 10000000;
}

static void *look(void *unused)
{
    while (running)
        memhook_check_all();
    return unused;
}

static int forks_while_looking(void)
{
    pthread_t thread;
    int keep = 0, status;
    running = 1;
    for (int i = 0; i < 1000; i++)
        places[i % PLACES] = malloc(100);
    if (pthread_create(&thread, NULL, look, NULL))
        return 3;
    for (int i = 0; i < 60; i++) {
        pid_t pid = fork();
        if (pid == 0)
            _exit(keeps_blocks());
        status = 1;
        waitpid(pid, &status, 0);
        keep += status != 0;
    }
    running = 0;
    pthread_join(thread, NULL);
    printf("%d children keep what they freed\n", keep);
    return 0;
}

int main(int argc, char **argv)
{
    int switches = argc > 1 && strcmp(argv[1], "switch") == 0;
    int forks = argc > 1 && strcmp(argv[1], "fork") == 0;
    memhook_check_options options = {.struct_size = sizeof options, .handler = handler};
    pthread_t threads[THREADS];
    if (!switches && memhook_check_start(&options))
        return 2;
    if (argc > 1 && strcmp(argv[1], "looking") == 0)
        return forks_while_looking();
    running = THREADS;
    for (uintptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, work, (void *)(i + 1)))
            return 3;
    int children = 0, starts = 0, bad = 0;
    size_t found = 0;
    while (running) {
        if (switches) {
            int error = memhook_check_start(&options);
            bad += error != 0;
            found += memhook_check_all();
            error = memhook_check_stop();
            bad += error != 0 && error != EINPROGRESS;
            starts++;
        } else if (forks && children < 20) {
            pid_t pid = fork();
            if (pid == 0)
                child();
            int status = 1;
            waitpid(pid, &status, 0);
            bad += status != 0;
            children++;
        } else {
            found += memhook_check_all();
            starts++;
        }
    }
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    found += memhook_check_all();
    for (int i = 0; i < PLACES; i++)
        take(atomic_exchange(&places[i], NULL), 1);
    if (!switches)
        found += memhook_check_all(), memhook_check_stop();
    printf("%ld blocks, %d faults, %zu found, %d bad\n", (long)made, (int)faults, found, bad);
    return starts == 0 && children == 0;
}
