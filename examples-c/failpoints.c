/* failpoints: what does this code do when an allocation fails? Walks through every point where one can.
 *
 * The code under test is run again and again; in run n, its nth allocation fails and no other. When a
 * run has no nth allocation, all points were visited.
 *
 *     cc failpoints.c -o failpoints -lmemhook && ./failpoints
 */
#define _GNU_SOURCE
#include <memhook.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- The code under test -------------------------------------------------------------------- */

struct list {
    char **words;
    size_t count, room;
};

static void list_free(struct list *list)
{
    if (list == NULL)
        return;
    for (size_t i = 0; i < list->count; i++)
        free(list->words[i]);
    free(list->words);
    free(list);
}

static int list_add(struct list *list, const char *word)
{
    if (list->count == list->room) {
        size_t room = list->room ? 2 * list->room : 2;
        char **words = realloc(list->words, room * sizeof *words);
        if (words == NULL)
            return -1;
        list->words = words;
        list->room = room;
    }
    char *copy = strdup(word);
    if (copy == NULL)
        return -1;
    list->words[list->count++] = copy;
    return 0;
}

/* NULL where memory has run out. */
static struct list *make_list(void)
{
    static const char *const words[] = {"every", "point", "of", "failure", "is", "visited"};
    struct list *list = calloc(1, sizeof *list);
    if (list == NULL)
        return NULL;
    for (size_t i = 0; i < sizeof words / sizeof *words; i++)
        if (list_add(list, words[i]) != 0) {
            list_free(list);
            return NULL;
        }
    return list;
}

/* ---- The walk ----------------------------------------------------------------------------- */

static void check(int error, const char *what)
{
    if (error != 0) {
        fprintf(stderr, "%s: %s\n", what, strerror(error));
        exit(1);
    }
}

int main(void)
{
    for (uint64_t n = 1;; n++) {
        memhook_fail_counts counts = {.struct_size = sizeof counts};
        memhook_id id;
        check(memhook_fail_nth(n, &id), "memhook_fail_nth");
        struct list *list = make_list();
        check(memhook_fail_stop(id, &counts), "memhook_fail_stop");
        size_t words = list ? list->count : 0;
        list_free(list);
        if (counts.failed == 0) {
            printf("run %llu: nothing failed, %zu words\n", (unsigned long long)n, words);
            return 0;
        }
        if (words != 0) {
            printf("run %llu: an allocation failed and nobody noticed\n", (unsigned long long)n);
            return 1;
        }
    }
}
