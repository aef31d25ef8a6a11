/* The self-test of a program, for a person: exit status 0 where all calls arrive. */
#define _GNU_SOURCE
#include <malloc.h>
#include <memhook.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int main(void)
{
    uint32_t missed = 77;
    char text[600];
    int result = MEMHOOK_SELF_TEST(&missed, text, sizeof text);

    printf("%s, missed %#x\n  %s\n", strerror(result), (unsigned)missed, text);
    free(malloc(10));
    return 0;
}
