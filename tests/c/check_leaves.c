/* A handler that leaves by longjmp: from each function that can find a fault, two hundred times. The program goes on,
 * and its blocks are checked as before. */
#include <malloc.h>
#include <memhook.h>
#include <setjmp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void *(*volatile do_malloc)(size_t) = malloc;
static void *(*volatile do_realloc)(void *, size_t) = realloc;
static size_t (*volatile do_usable_size)(void *) = malloc_usable_size;
static void (*volatile do_free)(void *) = free;
static jmp_buf out;
static volatile int reports, last;

static void handler(const memhook_check_report *report, void *user)
{
    (void)user;
    do_free(do_malloc(report->requested + 10));
    reports++;
    last = (int)report->kind;
    longjmp(out, 1);
}

static char *changed(void)
{
    char *block = do_malloc(24);
    block[24] = 1;
    return block;
}

static void fault(int number)
{
    static char *kept;
    char *freed = do_malloc(24);
    do_free(freed);
    switch (number) {
    case 0: do_free(changed()); break;
    case 1: do_free(freed); break;
    case 2: do_realloc(changed(), 100); break;
    case 3: do_realloc(&kept, 10); break;
    case 4: do_usable_size(freed); break;
    case 5: (void)!memhook_check_block(kept = changed()); break;
    default: (void)!memhook_check_all(); /* that one */
    }
}

int main(void)
{
    memhook_check_options options = {.struct_size = sizeof options, .handler = handler};
    if (memhook_check_start(&options))
        return 1;
    static const int kinds[] = {MEMHOOK_CHECK_OVERFLOW, MEMHOOK_CHECK_DOUBLE_FREE, MEMHOOK_CHECK_OVERFLOW,
                                MEMHOOK_CHECK_FOREIGN, MEMHOOK_CHECK_USE_OF_FREED, MEMHOOK_CHECK_OVERFLOW,
                                MEMHOOK_CHECK_OVERFLOW};
    for (volatile int i = 0; i < 1400; i++) {
        volatile int before = reports;
        if (setjmp(out) == 0) {
            fault(i % 7);
            printf("%d: came back\n", i % 7);
        }
        if (reports != before + 1 || last != kinds[i % 7])
            printf("%d: %d reports, kind %d\n", i % 7, reports - before, last);
        char *sound = do_malloc(100);
        memset(sound, 1, 100);
        if (do_usable_size(sound) != 100)
            printf("%d: not checked any more\n", i % 7);
        do_free(sound);
    }
    printf("left %d times\n", reports);
    fflush(stdout);
    _Exit(0); /* the damaged blocks would be found again */
}
