/* Nested objects that hook with one and the same function: the inner one's callback puts back what stood
 * there before, which is that function, on behalf of the outer one. */
#ifdef OLD
#include "glibc_old.h"
#endif
#include <malloc.h>
#include <stdio.h>
#include <stdlib.h>

struct counter {
    struct counter *outer;
    void *(*saved)(size_t, const void *);
    int seen;
};

static struct counter *innermost;
/* So that the compiler knows that a call may come back here. */
static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;

static void *count(size_t size, const void *caller)
{
    struct counter *mine = innermost;
    (void)caller;
    innermost = mine->outer;
    __malloc_hook = mine->saved;
    void *block = do_malloc(size);
    mine->seen++;
    __malloc_hook = count;
    innermost = mine;
    return block;
}

static void begin(struct counter *counter)
{
    counter->outer = innermost;
    counter->saved = __malloc_hook;
    innermost = counter;
    __malloc_hook = count;
}

static void end(struct counter *counter)
{
    __malloc_hook = counter->saved;
    innermost = counter->outer;
}

int main(void)
{
    struct counter a = {0}, b = {0}, c = {0};
    do_free(do_malloc(1));
    begin(&a);
    do_free(do_malloc(1));
    begin(&b);
    do_free(do_malloc(1));
    begin(&c);
    do_free(do_malloc(1));
    end(&c);
    do_free(do_malloc(1));
    end(&b);
    end(&a);
    do_free(do_malloc(1));
    printf("%d %d %d, %s\n", a.seen, b.seen, c.seen, __malloc_hook ? "in force" : "gone");
    return 0;
}
