/* The header's macros, with every warning that a careful program turns on: used as the header shows them. */
#include <malloc.h>
#include <memhook.h>
#include <stdlib.h>

static int started;

static void start(void)
{
    started++;
}

MEMHOOK_INITIALIZE(start);
MEMHOOK_TIE_TO_OBJECT;

int main(void)
{
    uint32_t missed = 9;
    char text[256];
    int result = MEMHOOK_SELF_TEST(&missed, text, sizeof text);
    return result != 0 || missed != 0 || started != 1 || MEMHOOK_OBJECT == text;
}
