/* The ways in which sources define __malloc_initialize_hook, and name the others. As C and as C++. */
#ifndef __cplusplus
#define _GNU_SOURCE
#endif
#if FORM != 2
#include <malloc.h>
#endif
#include <stdio.h>
#include <stdlib.h>

#ifdef __cplusplus
extern "C" {
#endif
/* Some sources declare them again. */
extern void *(*volatile __malloc_hook)(size_t, const void *);
extern void (*volatile __free_hook)(void *, const void *);
#ifdef __cplusplus
}
#endif

static int initialized;
static void my_init(void)
{
    initialized++;
}

#if FORM == 1
void (*volatile __malloc_initialize_hook)(void) = my_init;
#elif FORM == 2
void (*__malloc_initialize_hook)(void) = my_init;
#elif FORM == 3
__typeof__(__malloc_initialize_hook) __malloc_initialize_hook = my_init;
#elif FORM == 4
void (*__MALLOC_HOOK_VOLATILE __malloc_initialize_hook)(void) = my_init;
#endif

static int seen;

static void *my_malloc(size_t size, const void *caller)
{
    (void)size, (void)caller;
    seen++;
    return NULL;
}

static void *(*volatile do_malloc)(size_t) = malloc;

int main(void)
{
    __typeof__(__malloc_hook) old = __malloc_hook;
    void *(*volatile *place)(size_t, const void *) = &__malloc_hook;
    *place = my_malloc;
    if (__malloc_hook != my_malloc || !__malloc_hook || __malloc_hook == old)
        return 2;
    void *block = do_malloc(10);
    __malloc_hook = old;
    if (block || __malloc_hook == my_malloc)
        return 3;
#ifdef __cplusplus
    /* A copy, not another name. */
    struct Saved {
        decltype(__malloc_hook) hook;
        decltype(::__free_hook) free_hook;
    } saved = {__malloc_hook, ::__free_hook};
    ::__malloc_hook = my_malloc;
    if (saved.hook == my_malloc || saved.free_hook)
        return 4;
    ::__malloc_hook = saved.hook;
#endif
    __after_morecore_hook = my_init;
    if (__after_morecore_hook != my_init || __memalign_hook || __realloc_hook)
        return 5;
    printf("initialized %d, seen %d\n", initialized, seen);
    return 0;
}
