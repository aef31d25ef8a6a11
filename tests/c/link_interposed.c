/* Interposes one function of the C library, FUNCTION, and allocates in it, without minding that this may come back to it.
 * With PROGRAM: a program that allocates in two threads and prints what it found. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <link.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#ifdef PROGRAM

static void *allocate(void *seen)
{
    for (size_t i = 1; i < 200; i++) {
        char *volatile block = malloc(i), *aligned = NULL;
        if (posix_memalign((void **)&aligned, 64, i) != 0)
            abort();
        memset(block, (int)i, i);
        block = realloc(block, 2 * i);
        for (size_t j = 0; j < i; j++)
            if (block[j] != (char)i)
                abort();
        free(block);
        free(aligned);
    }
    *(int *)seen += 199;
    return seen;
}

int main(void)
{
    int seen = 0;
    for (int i = 0; i < 2; i++) {
        pthread_t thread;
        if (pthread_create(&thread, NULL, allocate, &seen) != 0 || pthread_join(thread, NULL) != 0)
            return 1;
    }
    allocate(&seen);
    void *volatile none = malloc((size_t)-1 / 2);
    printf("%d rounds, %s\n", seen, none == NULL ? "and one refused" : "?");
    return 0;
}

#else

static void touch(void)
{
    void *volatile block = malloc(24);
    free(block);
    void *volatile aligned = NULL;
    if (posix_memalign((void **)&aligned, 64, 24) == 0)
        free(aligned);
}


#if FUNCTION == 0
void *memcpy(void *restrict to, const void *restrict from, size_t n)
{
    touch();
    for (size_t i = 0; i < n; i++)
        ((volatile char *)to)[i] = ((const char *)from)[i];
    return to;
}
#elif FUNCTION == 1
void *memmove(void *to, const void *from, size_t n)
{
    touch();
    volatile char *a = to;
    const char *b = from;
    if (a < b)
        for (size_t i = 0; i < n; i++)
            a[i] = b[i];
    else
        while (n-- > 0)
            a[n] = b[n];
    return to;
}
#elif FUNCTION == 2
void *memset(void *to, int byte, size_t n)
{
    touch();
    for (size_t i = 0; i < n; i++)
        ((volatile char *)to)[i] = (char)byte;
    return to;
}
#elif FUNCTION == 3
int memcmp(const void *one, const void *other, size_t n)
{
    touch();
    const volatile unsigned char *a = one, *b = other;
    for (; n > 0; n--, a++, b++)
        if (*a != *b)
            return *a - *b;
    return 0;
}
int bcmp(const void *one, const void *other, size_t n)
{
    return memcmp(one, other, n);
}
#elif FUNCTION == 4
size_t strlen(const char *text)
{
    touch();
    size_t n = 0;
    while (((const volatile char *)text)[n] != 0)
        n++;
    return n;
}
#elif FUNCTION == 5
size_t strnlen(const char *text, size_t most)
{
    touch();
    size_t n = 0;
    while (n < most && ((const volatile char *)text)[n] != 0)
        n++;
    return n;
}
#elif FUNCTION == 6
void *memmem(const void *text, size_t length, const void *part, size_t n)
{
    touch();
    for (size_t i = 0; i + n <= length; i++) {
        size_t same = 0;
        while (same < n && ((const volatile char *)text)[i + same] == ((const char *)part)[same])
            same++;
        if (same == n)
            return (char *)text + i;
    }
    return NULL;
}
#elif FUNCTION == 7
char *getenv(const char *name)
{
    touch();
    for (char **at = environ; at != NULL && *at != NULL; at++) {
        size_t n = 0;
        while (name[n] != 0 && name[n] == (*at)[n])
            n++;
        if (name[n] == 0 && (*at)[n] == '=')
            return *at + n + 1;
    }
    return NULL;
}
#elif FUNCTION == 8
unsigned long getauxval(unsigned long type)
{
    touch();
    unsigned long entry[2] = { 0, 0 }, value = 0;
    long fd = syscall(SYS_openat, AT_FDCWD, "/proc/self/auxv", O_RDONLY, 0);
    while (syscall(SYS_read, fd, entry, sizeof entry) == (long)sizeof entry)
        if (entry[0] == type)
            value = entry[1];
    syscall(SYS_close, fd);
    return value;
}
#elif FUNCTION == 9
int *__errno_location(void)
{
    static __thread int own;
    touch();
    return &own;
}
#elif FUNCTION == 10
int dl_iterate_phdr(int (*visit)(struct dl_phdr_info *, size_t, void *), void *data)
{
    (void)visit, (void)data;
    touch();
    return 0;
}
#elif FUNCTION == 11
long sysconf(int name)
{
    touch();
    return name == _SC_PAGESIZE ? 4096 : name == _SC_CLK_TCK ? 100 : -1;
}
#elif FUNCTION == 12
void *mmap(void *at, size_t length, int protection, int flags, int fd, off_t offset)
{
    touch();
    return (void *)syscall(SYS_mmap, at, length, protection, flags, fd, offset);
}
#elif FUNCTION == 13
int open(const char *path, int flags, ...)
{
    touch();
    return (int)syscall(SYS_openat, AT_FDCWD, path, flags, 0600);
}
#elif FUNCTION == 14
ssize_t write(int fd, const void *from, size_t n)
{
    touch();
    return syscall(SYS_write, fd, from, n);
}
#endif

#endif
