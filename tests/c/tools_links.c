/* A fork child that finds a symbolic link under the name that its file is to have: tools_links NAME. */
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void *(*volatile do_malloc)(size_t) = malloc;

int main(int count, char **arguments)
{
    free(do_malloc(10));
    fflush(stdout);
    pid_t child = fork();
    if (child == 0) {
        char name[100];
        snprintf(name, sizeof name, "%s.%d", count == 2 ? arguments[1] : "", (int)getpid());
        if (symlink("target", name) != 0)
            _exit(1);
        free(do_malloc(10));
        exit(0);
    }
    int status;
    waitpid(child, &status, 0);
    printf("%d %d\n", (int)child, status);
    return 0;
}
