/* memhook_trace_start and memhook_trace_stop: what they refuse, several at once, while threads allocate. */
#include <errno.h>
#include <fcntl.h>
#include <memhook.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static memhook_trace_options options(const char *path, uint32_t flags)
{
    memhook_trace_options all = {.struct_size = sizeof all, .path = path, .flags = flags};
    return all;
}

static const char *name(int error)
{
    switch (error) {
    case 0:
        return "0";
    case EINVAL:
        return "EINVAL";
    case ENOENT:
        return "ENOENT";
    case ESRCH:
        return "ESRCH";
    case EBUSY:
        return "EBUSY";
    case ENAMETOOLONG:
        return "ENAMETOOLONG";
    case EISDIR:
        return "EISDIR";
    default:
        return strerror(error);
    }
}

static int start(const char *path, uint32_t flags, memhook_id *id)
{
    memhook_trace_options all = options(path, flags);
    errno = 77;
    int error = memhook_trace_start(&all, id);
    if (errno != 77)
        printf("errno was touched\n");
    return error;
}

static void make(size_t bytes)
{
    void *volatile block = malloc(bytes);
    free(block);
}

static atomic_bool stop;

static void *churn(void *argument)
{
    (void)argument;
    while (!atomic_load(&stop)) {
        void *volatile block = malloc(64);
        block = realloc(block, 100);
        free(block);
    }
    return NULL;
}

static void in_callback(const memhook_call *call, void *block, void *user)
{
    (void)block;
    if (call->requested == 5005) {
        memhook_trace_counts counts = {.struct_size = sizeof counts};
        int error = memhook_trace_stop(*(memhook_id *)user, &counts);
        printf("inside a callback: %d, %d bytes\n", error == EINPROGRESS, counts.bytes > 60);
    }
}

int main(void)
{
    memhook_id id, ids[9];
    memhook_trace_options wrong = options("calls.x", 0);
    wrong.struct_size--;
    printf("refused: %s %s", name(memhook_trace_start(NULL, &id)), name(memhook_trace_start(&wrong, &id)));
    wrong = options("calls.x", 0);
    printf(" %s", name(memhook_trace_start(&wrong, NULL)));
    wrong.frames = 65;
    printf(" %s", name(memhook_trace_start(&wrong, &id)));
    printf(" %s %s %s", name(start(NULL, 0, &id)), name(start("", 0, &id)), name(start("calls.%x", 0, &id)));
    printf(" %s %s %s", name(start("calls.x", 1, &id)), name(start("no/such/folder", 0, &id)), name(start(".", 0, &id)));
    static char longer[5000];
    memset(longer, 'x', sizeof longer - 1);
    printf(" %s\n", name(start(longer, 0, &id)));

    fflush(stdout);
    /* A child of a thread that has not allocated since the start. */
    for (int i = 0; i < 2; i++) {
        if (start(i ? "fork.1" : "fork.0", i ? MEMHOOK_TRACE_BINARY : 0, &id) != 0)
            return 4;
        pid_t child = fork();
        for (int times = 0; times < 100; times++)
            make(child ? 1001 : 1002);
        if (child == 0)
            _exit(0);
        waitpid(child, NULL, 0);
        memhook_trace_stop(id, NULL);
    }

    printf("literal: %s", name(start("calls.%x", MEMHOOK_TRACE_LITERAL, &id)));
    make(5001);
    memhook_trace_counts counts = {.struct_size = sizeof counts};
    printf(" %s", name(memhook_trace_stop(id, &counts)));
    printf(" %d bytes, %d missing; again: %s\n", counts.bytes > 60, (int)counts.missing, name(memhook_trace_stop(id, NULL)));

    for (int i = 0; i < 8; i++) {
        char path[32];
        snprintf(path, sizeof path, "calls.%d", i);
        printf("%s ", name(start(path, i % 2 ? MEMHOOK_TRACE_BINARY : 0, &ids[i])));
    }
    printf("at once; one more: %s\n", name(start("calls.x", 0, &ids[8])));
    make(5002);
    for (int i = 0; i < 8; i++)
        if (memhook_trace_stop(ids[(i * 3) % 8], NULL) != 0)
            printf("not stopped\n");

    printf("this thread: %s\n", name(start("calls.thread", MEMHOOK_THIS_THREAD, &id)));
    pthread_t threads[2];
    for (int i = 0; i < 2; i++)
        pthread_create(&threads[i], NULL, churn, NULL);
    make(5003);
    memhook_trace_stop(id, NULL);
    for (int i = 0; i < 200; i++) {
        if (start("calls.churn", i % 2 ? MEMHOOK_TRACE_BINARY : 0, &id) != 0)
            printf("not started\n");
        make(5004);
        if (memhook_trace_stop(id, NULL) != 0)
            printf("not stopped\n");
    }
    atomic_store(&stop, 1);
    for (int i = 0; i < 2; i++)
        pthread_join(threads[i], NULL);

    /* What has ended does not go on in the middle. */
    char text[4096];
    if (mkfifo("calls.pipe", 0600) != 0)
        return 3;
    int reader = open("calls.pipe", O_RDONLY | O_NONBLOCK);
    printf("a pipe with another reader:%s", start("calls.pipe", 0, &id) == 0 ? "" : " not started");
    make(5007);
    printf(" %d before,", read(reader, text, sizeof text) > 60);
    close(reader);
    make(5008);
    reader = open("calls.pipe", O_RDONLY | O_NONBLOCK);
    make(5009);
    memhook_trace_stop(id, &counts);
    printf(" %d after, %d missing\n", read(reader, text, sizeof text) > 0, (int)counts.missing);
    close(reader);

    memhook_observer observer = {.struct_size = sizeof observer, .after_alloc = in_callback, .user = &id};
    memhook_id other;
    if (memhook_observe(&observer, &other) != 0 || start("calls.inside", 0, &id) != 0)
        return 1;
    make(5005);
    make(5006);
    printf("done\n");
    return 0;
}
