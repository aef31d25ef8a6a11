/* EBUSY: a thread stands in memhook_chain_list(), which stores into a page that faults. */
#define _GNU_SOURCE
#include "err_check.h"
#include <signal.h>
#include <sys/mman.h>
#include <unistd.h>

static char *page;
static sem_t faulted, go_on;

static void on_fault(int number, siginfo_t *info, void *context)
{
    (void)number, (void)context;
    if ((char *)info->si_addr < page || (char *)info->si_addr >= page + 4096)
        _exit(9);
    sem_post(&faulted);
    while (sem_wait(&go_on) != 0) {
    }
    mprotect(page, 4096, PROT_READ | PROT_WRITE);
}

static void *list(void *chain)
{
    size_t count;
    int result = memhook_chain_list(*(memhook_chain *)chain, (memhook_hook_info *)page,
                                    sizeof(memhook_hook_info), 1, &count);
    return (void *)(size_t)(result == 0 && count == 1 ? 0 : 1);
}

int main(void)
{
    struct sigaction action = {.sa_sigaction = on_fault, .sa_flags = SA_SIGINFO};
    memhook_observer watch = counting_observer();
    memhook_interceptor table = owning_interceptor();
    memhook_chain chain, chain_out;
    memhook_id id, id_out;
    memhook_hook_info info;
    size_t size_out;
    pthread_t thread;
    void *result;

    setvbuf(stdout, NULL, _IONBF, 0);
    page = mmap(NULL, 4096, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    sem_init(&faulted, 0, 0);
    sem_init(&go_on, 0, 0);
    sigaction(SIGSEGV, &action, NULL);
    MUST(memhook_observe(&watch, &id));
    MUST(memhook_chain_copy(&chain));
    MUST(pthread_create(&thread, NULL, list, &chain));
    while (sem_wait(&faulted) != 0) {
    }
    REFUSED_OUT("list", size_out, memhook_chain_list(chain, &info, sizeof info, 1, &size_out));
    REFUSED("add", memhook_chain_add(chain, id));
    REFUSED_OUT("register", id_out, memhook_chain_register(chain, &table, &id_out));
    REFUSED_OUT("observe", id_out, memhook_chain_observe(chain, &watch, &id_out));
    REFUSED("remove", memhook_chain_remove(chain, id));
    REFUSED_OUT("swap", chain_out, memhook_chain_swap(chain, &chain_out));
    REFUSED("swap NULL", memhook_chain_swap(chain, NULL));
    REFUSED("destroy", memhook_chain_destroy(chain));
    sem_post(&go_on);
    MUST(pthread_join(thread, &result));
    EXPECT(result == NULL);
    EXPECT(((memhook_hook_info *)page)->id == id);
    RESULT("remove then", memhook_chain_remove(chain, id));
    RESULT("destroy then", memhook_chain_destroy(chain));
    EXPECT(seen_by_one_pair() == 1);
    RESULT("unregister", memhook_unregister(id));
    printf("released: %d\n", released);
    goes_on();
    return 0;
}
