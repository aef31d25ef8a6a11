/* A gigabyte from calloc that only passes through, by an interceptor that keeps pointers, by one
 * that might not, and by the accounting hook: no page of it but its first is touched. Also after the end of the first
 * thread. */
#include "check.h"

static long resident_pages(void)
{
    char text[128];
    int fd = open("/proc/thread-self/statm", O_RDONLY);
    ssize_t n = read(fd, text, sizeof text - 1);
    close(fd);
    CHECK(n > 0);
    text[n] = 0;
    long total, resident;
    CHECK(sscanf(text, "%ld %ld", &total, &resident) == 2);
    return resident;
}

static void *pass(memhook_next *next, size_t n, const memhook_call *c, void *user)
{
    (void)c, (void)user;
    return memhook_next_malloc(next, n);
}

static void gigabyte(void)
{
    void *warm = calloc(1 << 20, 1);
    free(warm);
    long before = resident_pages();
    char *p = calloc((size_t)1 << 30, 1);
    CHECK(p);
    long touched = resident_pages() - before;
    CHECK(touched < 256); /* of 262,144 */
    SAME(p[0] + p[((size_t)1 << 30) - 1] + p[(size_t)1 << 29], 0);
    free(p);
}

static void *after_the_first(void *first)
{
    OK(pthread_join(*(pthread_t *)first, NULL));
    gigabyte();
    puts("untouched");
    exit(0);
}

int main(void)
{
    struct account a = { .tag = 0xa };
    memhook_interceptor t = { .struct_size = sizeof t, .malloc = pass, .flags = MEMHOOK_KEEPS_POINTERS };
    memhook_id id;
    gigabyte();
    OK(memhook_register(&t, &id));
    gigabyte();
    OK(memhook_unregister(id));
    t.flags = 0;
    OK(memhook_register(&t, &id));
    gigabyte();
    OK(memhook_unregister(id));
    t = account_table(&a, "a", 0);
    OK(memhook_register(&t, &id));
    gigabyte();
    static pthread_t first;
    pthread_t last;
    first = pthread_self();
    OK(pthread_create(&last, NULL, after_the_first, &first));
    pthread_exit(NULL);
}
