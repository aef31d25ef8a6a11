/* Loads a plugin that uses the library into one namespace after the other, until there is no room for any more. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdio.h>

int main(int argc, char **argv)
{
    for (int i = 0; i < 20 && argc > 1; i++) {
        void *plugin = dlmopen(LM_ID_NEWLM, argv[1], RTLD_NOW);
        if (plugin == NULL) {
            printf("refused: %s\n", dlerror());
            return 0;
        }
        int (*go)(void) = (int (*)(void))dlsym(plugin, "plugin_go");
        if (go() != 0 || dlclose(plugin) != 0)
            return 1;
        puts("used and closed");
    }
    return 0;
}
