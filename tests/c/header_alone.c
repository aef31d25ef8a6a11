/* The header needs no other. */
#include <memhook.h>

int main(void)
{
    return memhook_suspend() != 0 || memhook_resume() != 0;
}
