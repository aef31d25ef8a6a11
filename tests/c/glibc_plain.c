/* Sources that compiled with glibc up to 2.33 and cannot do with macros: FORM says which. */
#include <stdio.h>
#include <stdlib.h>

static int seen;
static void *(*volatile do_malloc)(size_t) = malloc;
static void (*volatile do_free)(void *) = free;

#if FORM == 1 /* without volatile, and without a header */
extern void *(*__malloc_hook)(size_t, const void *);
#elif FORM == 2 /* with another type */
extern void *(*__malloc_hook)(unsigned long);
#elif FORM == 3 /* the address in a constant */
static void *volatile *const places[] = {(void *volatile *)&__malloc_hook, (void *volatile *)&__free_hook};
#elif FORM == 5 /* the variable is the program's own */
extern void *__libc_malloc(size_t);
static void *answer(size_t bytes, const void *caller)
{
    (void)caller;
    seen++;
    return __libc_malloc(bytes);
}
void *(*volatile defined)(size_t, const void *) __asm__("__malloc_hook") = answer;
#elif FORM == 6 /* called before main */
extern void *(*volatile __malloc_hook)(size_t, const void *);
static void *hook(size_t, const void *);
static void begin(void)
{
    __malloc_hook = hook;
}
void (*__malloc_initialize_hook)(void) = begin;
#endif

#if FORM == 2
static void *hook(unsigned long bytes)
#else
__attribute__((unused)) static void *hook(size_t bytes, const void *caller)
#endif
{
#if FORM == 4 /* declared inside a function */
    extern void *(*volatile __malloc_hook)(size_t, const void *);
#endif
#if FORM == 3
    *places[0] = NULL;
    void *block = do_malloc(bytes);
    *places[0] = (void *)hook;
#elif FORM == 5
    void *block = NULL;
#else
    __malloc_hook = NULL;
    void *block = do_malloc(bytes);
    __malloc_hook = hook;
#endif
#if FORM != 2
    (void)caller, (void)bytes;
#endif
    seen++;
    return block;
}

int main(void)
{
    setvbuf(stdout, NULL, _IONBF, 0);
    do_free(do_malloc(1));
    int before = seen;
#if FORM == 3
    *places[0] = (void *)hook;
#elif FORM == 4
    extern void *(*volatile __malloc_hook)(size_t, const void *);
    __malloc_hook = hook;
#elif FORM < 5
    __malloc_hook = hook;
#endif
    do_free(do_malloc(3));
#if FORM == 4 || FORM < 3 || FORM == 6
    __malloc_hook = NULL;
#elif FORM == 3
    *places[0] = NULL;
#else
    defined = NULL;
#endif
    do_free(do_malloc(3));
    printf("before %s, seen %d\n", before ? "yes" : "no", seen - before);
    return 0;
}
