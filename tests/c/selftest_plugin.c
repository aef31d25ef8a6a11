/* A plugin: -DCALLS makes it allocate. */
#include <stdlib.h>

void *plugin_function(size_t bytes);

void *plugin_function(size_t bytes)
{
#ifdef CALLS
    free(calloc(1, bytes));
    return malloc(bytes);
#else
    return bytes ? NULL : (void *)&plugin_function;
#endif
}
