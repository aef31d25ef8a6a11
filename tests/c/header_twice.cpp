// The header may be included twice.
#include <memhook.h>
#include <memhook.h>

int main(void)
{
    return memhook_suspend() != 0 || memhook_resume() != 0;
}
