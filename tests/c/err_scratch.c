/* A block of the scratch allocator that is freed twice. */
#include "err_check.h"

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    memhook_scratch_free(NULL);
    puts("NULL is nothing");
    void *memory = memhook_scratch_malloc(100);
    memset(memory, 1, 100);
    memhook_scratch_free(memory);
    memhook_scratch_free(memory);
    goes_on();
    return 0;
}
