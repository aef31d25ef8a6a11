/* A shared object whose calls arrive, in a program that is not linked with the library. */
#include "check.h"

void late_allocates(size_t n)
{
    free(malloc(n));
}

size_t late_hooks(void)
{
    return hooks_in_force();
}

int late_sleeps(pid_t thread)
{
    return sleeps(thread);
}
