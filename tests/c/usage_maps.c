/* Maps, changes and unmaps: once as a program that knows nothing of the library ("plain"), once with failures, with
 * another thread, and with the library's own functions. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static void check(int right, int line)
{
    if (!right) {
        printf("line %d: errno %d\n", line, errno);
        exit(1);
    }
}
#define CHECK(condition) check((condition) != 0, __LINE__)

static char *anonymous(size_t bytes)
{
    char *at = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(at != MAP_FAILED);
    memset(at, 7, bytes);
    return at;
}

static void plain(void)
{
    for (int n = 0; n < 10; n++)
        CHECK(munmap(anonymous(1 << 20), 1 << 20) == 0);
    char *at = anonymous(8192);
    at = mremap(at, 8192, 65536, MREMAP_MAYMOVE);
    CHECK(at != MAP_FAILED && at[8191] == 7 && at[8192] == 0);
    CHECK(mremap(at, 65536, 4096, 0) == at);
    char *to = anonymous(12288);
    CHECK(mremap(at, 4096, 4096, MREMAP_MAYMOVE | MREMAP_FIXED, to + 4096) == to + 4096);
    CHECK(munmap(to, 12288) == 0);
    int fd = open("/proc/self/exe", O_RDONLY);
    char *text = mmap(NULL, 100, PROT_READ, MAP_PRIVATE, fd, 0);
    char *data = mmap64(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE, fd, 4096);
    CHECK(text != MAP_FAILED && data != MAP_FAILED && memcmp(text, "\177ELF", 4) == 0);
    CHECK(munmap(data, 4096) == 0);
    close(fd);
    free(malloc(1000));
}

static void failing(void)
{
    errno = 0;
    CHECK(mmap(NULL, 4096, PROT_READ, MAP_PRIVATE, -1, 0) == MAP_FAILED && errno == EBADF);
    CHECK(mmap(NULL, 0, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0) == MAP_FAILED && errno == EINVAL);
    CHECK(mremap((void *)4096, 4096, 8192, 0) == MAP_FAILED && errno == EFAULT);
    CHECK(munmap((void *)1, 4096) == -1 && errno == EINVAL);
    errno = 0;
    CHECK(munmap(anonymous(100), 100) == 0 && errno == 0);
}

static void *other(void *at)
{
    CHECK(munmap(at, 1 << 20) == 0);
    return anonymous(1 << 16);
}

/* What one thread maps and another unmaps. */
static void threads(void)
{
    for (int n = 0; n < 8; n++) {
        pthread_t thread;
        void *left;
        CHECK(pthread_create(&thread, NULL, other, anonymous(1 << 20)) == 0);
        CHECK(pthread_join(thread, &left) == 0);
        CHECK(munmap(left, 1 << 16) == 0);
    }
}

int main(int argc, char **argv)
{
    if (argc > 1 && strcmp(argv[1], "plain") == 0)
        plain();
    else if (argc > 1 && strcmp(argv[1], "failing") == 0)
        failing();
    else if (argc > 1 && strcmp(argv[1], "threads") == 0)
        threads();
    else
        return 2;
    return 0;
}
