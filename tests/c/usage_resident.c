/* The process's memory is told also after the end of its first thread. */
#include "check.h"

static void *after_the_first(void *first)
{
    memhook_usage_options options = {.struct_size = sizeof options};
    memhook_usage usage = {.struct_size = sizeof usage};
    memhook_id id;
    OK(pthread_join(*(pthread_t *)first, NULL));
    OK(memhook_usage_start(&options, &id));
    OK(memhook_usage_read(id, &usage));
    CHECK(usage.resident >= 4096);
    OK(memhook_usage_stop(id, NULL));
    puts("resident");
    exit(0);
}

int main(void)
{
    static pthread_t first;
    pthread_t other;
    first = pthread_self();
    OK(pthread_create(&other, NULL, after_the_first, &first));
    pthread_exit(NULL);
}
