/* What the preloadable tools share: a count of the callbacks that ran, which the process appends
 * to the file named by P_COUNT when it ends: "<calls> <name of the tool>". */
#include <fcntl.h>
#include <memhook.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static atomic_ulong calls;
static char count_file[4096];

static void count(void)
{
    atomic_fetch_add_explicit(&calls, 1, memory_order_relaxed);
}

/* Programs change their environment: what it was at first is kept. */
__attribute__((constructor)) static void p_begin(void)
{
    const char *name = getenv("P_COUNT");
    if (name && strlen(name) < sizeof count_file)
        strcpy(count_file, name);
}

static void p_end(const char *tool)
{
    if (!count_file[0])
        return;
    int fd = open(count_file, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0666);
    if (fd < 0)
        return;
    char line[64];
    int length = snprintf(line, sizeof line, "%lu %s\n", atomic_load(&calls), tool);
    if (write(fd, line, (size_t)length) != length)
        _exit(99);
    close(fd);
}
