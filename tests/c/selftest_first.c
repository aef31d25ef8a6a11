/* An interposer that stands first in link order and does not forward to the next. */
#include <stddef.h>

void *__libc_malloc(size_t);
void *malloc(size_t bytes);

void *malloc(size_t bytes)
{
    return __libc_malloc(bytes);
}
