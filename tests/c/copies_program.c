/* Makes ten large allocations and says how many failed; loads the object that is its argument first. It may have a copy of
 * the library in itself. */
#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv)
{
    if (argc > 1 && dlopen(argv[1], RTLD_NOW | RTLD_GLOBAL) == NULL) {
        printf("%s\n", dlerror());
        return 1;
    }
    int failed = 0;
    for (int i = 0; i < 10; i++) {
        void *volatile block = malloc(100000);
        failed += block == NULL;
        free(block);
    }
    printf("%d failed\n", failed);
    return 0;
}
