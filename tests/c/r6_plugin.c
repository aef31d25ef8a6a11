/* Loaded with RTLD_DEEPBIND: its calls go to the C library directly. */
#include <stdlib.h>
#include <string.h>

void *plugin_malloc(size_t n)
{
    return malloc(n);
}

char *plugin_strdup(const char *text)
{
    return strdup(text);
}
