/* As much of gperftools' interface as docs/MIGRATING.md shows. */
#include <stddef.h>

typedef void (*MallocHook_NewHook)(const void *block, size_t size);
typedef void (*MallocHook_DeleteHook)(const void *block);
int MallocHook_AddNewHook(MallocHook_NewHook hook);
int MallocHook_RemoveNewHook(MallocHook_NewHook hook);
int MallocHook_AddDeleteHook(MallocHook_DeleteHook hook);
int MallocHook_RemoveDeleteHook(MallocHook_DeleteHook hook);
