/* mcheck is called by the initialize hook. Nothing is allocated before main. */
#include <mcheck.h>
#include <memhook.h>
#include <stdio.h>
#include <stdlib.h>

static int started = 99;

static void tell(enum mcheck_status status)
{
    (void)status;
}

static void hook(void)
{
    started = mcheck(tell);
}

MEMHOOK_INITIALIZE(hook);

static void *(*volatile do_malloc)(size_t) = malloc;

int main(void)
{
    free(do_malloc(1));
    printf("mcheck %d\n", started);
    return 0;
}
