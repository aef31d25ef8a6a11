/* plugin_host: loads and unloads plugin.c while threads allocate, many times.
 *
 * dlclose unmaps the plugin's code. That no thread runs into the hole is the library's doing:
 * when dlclose goes on to unmap, no thread is in the plugin's callbacks and none will enter them.
 *
 *     cc plugin_host.c -o plugin_host -pthread -lmemhook -ldl
 *     ./plugin_host ./plugin.so
 */
#include <dlfcn.h>
#include <memhook.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>

enum { THREADS = 3, ROUNDS = 500 };

static atomic_int stop;

static void *worker(void *unused)
{
    while (!stop) {
        void *volatile block = malloc(64); /* volatile: or the compiler drops the pair. */
        free(block);
    }
    return unused;
}

static size_t hooks(void)
{
    size_t count = 0;
    if (memhook_chain_list(0, NULL, sizeof(memhook_hook_info), 0, &count) != 0)
        abort();
    return count;
}

static void *must(void *found)
{
    if (found == NULL) {
        fprintf(stderr, "plugin_host: %s\n", dlerror());
        exit(1);
    }
    return found;
}

int main(int argc, char **argv)
{
    const char *path = argc > 1 ? argv[1] : "./plugin.so";
    unsigned long hooked = 0, saw_blocks = 0, unhooked = 0, unmapped = 0;
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, worker, NULL) != 0)
            abort();

    for (int i = 0; i < ROUNDS; i++) {
        void *plugin = must(dlopen(path, RTLD_NOW));
        atomic_ulong *seen = must(dlsym(plugin, "plugin_blocks_seen"));
        hooked += hooks() == 1;
        while (*seen < THREADS) /* The threads are in and out of the plugin's code now. */
            sched_yield();
        saw_blocks++;
        if (dlclose(plugin) != 0)
            must(NULL);
        unhooked += hooks() == 0;
        unmapped += dlopen(path, RTLD_NOW | RTLD_NOLOAD) == NULL;
    }
    stop = 1;
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);

    printf("rounds while %d threads allocate: %d\n", THREADS, ROUNDS);
    printf("hooked by dlopen: %lu\n", hooked);
    printf("saw blocks: %lu\n", saw_blocks);
    printf("unhooked by dlclose: %lu\n", unhooked);
    printf("unmapped: %lu\n", unmapped);
    return 0;
}
