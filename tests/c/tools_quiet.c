/* Knows nothing of the library: says what in the process could have been installed without being asked for. */
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>
#include <unistd.h>

static const char *text_of(const char *path)
{
    static char text[65536];
    FILE *file = fopen(path, "r");
    size_t len = file ? fread(text, 1, sizeof text - 1, file) : 0;
    text[len] = 0;
    if (file)
        fclose(file);
    return text;
}

static long number_in(const char *path, const char *name)
{
    const char *found = strstr(text_of(path), name);
    return found ? strtol(found + strlen(name), NULL, 10) : 0;
}

static long count_in(const char *path, const char *name)
{
    long count = 0;
    for (const char *at = text_of(path); (at = strstr(at, name)) != NULL; at++)
        count++;
    return count;
}

int main(void)
{
    static char room[4096];
    setvbuf(stdout, room, _IOFBF, sizeof room);
    for (int i = 0; i < 1000; i++)
        free(malloc((size_t)i * 50));
    printf("handlers:");
    for (int i = 1; i < NSIG; i++) {
        struct sigaction action;
        if (sigaction(i, NULL, &action) == 0 && action.sa_handler != SIG_DFL)
            printf(" %s", strsignal(i));
    }
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, NULL, &blocked);
    printf("; blocked:");
    for (int i = 1; i < NSIG; i++)
        if (sigismember(&blocked, i) == 1)
            printf(" %d", i);
    printf("; timers:");
    static const int timers[] = {ITIMER_REAL, ITIMER_VIRTUAL, ITIMER_PROF};
    for (int i = 0; i < 3; i++) {
        struct itimerval value;
        getitimer(timers[i], &value);
        if (value.it_interval.tv_usec || value.it_interval.tv_sec || value.it_value.tv_usec || value.it_value.tv_sec)
            printf(" %d", i);
    }
    printf("; others: %ld; threads: %ld\n", count_in("/proc/self/timers", "notify: "),
           number_in("/proc/self/status", "Threads:"));
    return 0;
}
