/* Stands where a program is expected, and runs the one of another machine that lies in `.other` beside it under the
 * same name. Linked statically: LD_PRELOAD is meant for that program, and does nothing to this one. */
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

int main(int argc, char **argv)
{
    char here[PATH_MAX], folder[PATH_MAX], program[2 * PATH_MAX + 8];
    ssize_t length = readlink("/proc/self/exe", here, sizeof here - 1);
    if (length < 0)
        return 126;
    here[length] = '\0';
    strcpy(folder, here);
    snprintf(program, sizeof program, "%s/.other/%s", dirname(folder), basename(here));
    const char **command = calloc((size_t)argc + 6, sizeof *command);
    if (command == NULL)
        return 126;
    const char *begin[] = { EMULATOR, "-L", LIBRARIES, "-0", argv[0], program };
    memcpy(command, begin, sizeof begin);
    for (int i = 1; i < argc; i++)
        command[5 + i] = argv[i];
    /* A program that ends by a signal leaves the emulator's memory else. */
    setrlimit(RLIMIT_CORE, &(struct rlimit){ 0, 0 });
    execv(EMULATOR, (char **)command);
    perror(EMULATOR);
    return 126;
}
