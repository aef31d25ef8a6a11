/* ENOSPC where a hook goes: the owner list of those that stay would be one too many. */
#define _GNU_SOURCE
#include "err_check.h"

enum { LISTS = 4095 };

static void *blocks[LISTS];
static int count;

/* Interceptors that come and go until their blocks have taken all lists. */
static void take_all_lists(void)
{
    memhook_interceptor table = owning_interceptor();
    memhook_id id;
    int error;
    while ((error = memhook_register(&table, &id)) == 0) {
        blocks[count] = do_malloc(100);
        error = memhook_unregister(id);
        if (error != EINPROGRESS)
            break;
        count++;
    }
    printf("with %d lists: %s\n", count, error_name(error));
}

static void told(const memhook_check_report *report, void *user)
{
    printf("%s handler: fault %u\n", (const char *)user, report->kind);
}

/* Of one owner. A block of an earlier start lives on, and what is told of it is not for who could not start. */
static int start_of_check(memhook_id owner)
{
    memhook_check_options first = {.struct_size = sizeof first, .handler = told, .user = (void *)"first"};
    memhook_check_options second = {.struct_size = sizeof second, .handler = told, .user = (void *)"second"};
    MUST(memhook_check_start(&first));
    char *lives = do_malloc(24);
    lives[24] = 1;
    RESULT("check_stop", memhook_check_stop());
    take_all_lists();
    REFUSED("check_start", memhook_check_start(&second));
    REFUSED("check_stop", memhook_check_stop());
    do_free(lives);
    puts("with lists:");
    for (int i = 0; i < count; i++)
        do_free(blocks[i]);
    MUST(memhook_synchronize());
    RESULT("check_start", memhook_check_start(NULL));
    RESULT("check_stop", memhook_check_stop());
    MUST(memhook_unregister(owner));
    goes_on();
    return 0;
}

int main(int argc, char **argv)
{
    (void)argv;
    memhook_interceptor table = owning_interceptor();
    memhook_check_options check = {.struct_size = sizeof check, .flags = MEMHOOK_CHECK_NO_QUARANTINE};
    memhook_fail_rule rule = {.struct_size = sizeof rule, .every = 1, .above = 1 << 20};
    memhook_id owner, last, usage, fail, id_out;

    setvbuf(stdout, NULL, _IONBF, 0);
    table.object = &count;
    MUST(memhook_register(&table, &owner));
    table.object = NULL;
    if (argc > 1)
        return start_of_check(owner);
    MUST(memhook_usage_start(NULL, &usage));
    MUST(memhook_check_start(&check));
    /* Now no set with one fewer was ever in force. */
    MUST(memhook_register(&table, &last));
    take_all_lists();
    REFUSED("unregister", memhook_unregister(owner));
    REFUSED("unregister_timed", memhook_unregister_timed(owner, 0));
    REFUSED("unregister_object", memhook_unregister_object(&count));
    REFUSED("usage_stop", memhook_usage_stop(usage, NULL));
    /* Except for its interceptor of blocks that are nobody's. */
    RESULT("check_stop", memhook_check_stop());
    REFUSED("check_stop again", memhook_check_stop());
    REFUSED("check_start then", memhook_check_start(&check));
    REFUSED_OUT("usage_start", id_out, memhook_usage_start(NULL, &id_out));
    RESULT("fail_start", memhook_fail_start(&rule, &fail));
    RESULT("fail_stop", memhook_fail_stop(fail, NULL));
    int before = seen;
    do_free(do_malloc(10));
    EXPECT(seen == before + 2);

    puts("with lists:");
    for (int i = 0; i < 10; i++)
        do_free(blocks[i]);
    MUST(memhook_synchronize());
    released = 0;
    RESULT("check_stop", memhook_check_stop());
    RESULT("usage_stop", memhook_usage_stop(usage, NULL));
    RESULT("unregister_object", memhook_unregister_object(&count));
    RESULT("unregister", memhook_unregister(last));
    RESULT("check_start", memhook_check_start(&check));
    RESULT("usage_start", memhook_usage_start(NULL, &usage));
    RESULT("usage_stop", memhook_usage_stop(usage, NULL));
    RESULT("check_stop", memhook_check_stop());
    for (int i = 10; i < count; i++)
        do_free(blocks[i]);
    MUST(memhook_synchronize());
    printf("released: %d of %d\n", released, count - 10 + 2);
    static struct listing listing;
    take_listing(0, &listing);
    EXPECT(listing.count == 0);
    goes_on();
    return 0;
}
