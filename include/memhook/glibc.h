/* memhook/glibc.h: glibc's removed allocation hooks, for sources that were written for them.
 *
 *     cc -include memhook/glibc.h old.c -lmemhook
 *
 * A file that uses __malloc_hook, __realloc_hook, __memalign_hook, __free_hook,
 * __malloc_initialize_hook, __after_morecore_hook and __MALLOC_HOOK_VOLATILE compiles unchanged, as C and
 * as C++, with glibc before and after 2.34. docs/MIGRATING.md says what is the same and what is not.
 *
 * Each variable is a macro for an lvalue of the variable's old type, which a function yields, like
 * errno. Outside all callbacks it is the process's variable. Inside a callback that stands in one of the
 * variables it is the calling thread's own copy, taken when the callback was entered: setting it to the
 * former value around a call of malloc() hides nothing from other threads. What is left changed when the
 * callback returns is carried to the process's variable.
 *
 * With MEMHOOK_PLAIN_VARIABLES defined, the names are declared as the variables that glibc had, and no macros are defined:
 * for a source that has the address of a variable in a constant, declares one inside a function, or uses the name
 * otherwise. The library has such variables, so a source that declares them itself needs no header at all. All threads
 * share them, and the library makes out by what it has seen whether a callback has taken itself out:
 * docs/MIGRATING.md.
 *
 * Threads: any; a callback may run in several threads at once, as in glibc. */

#ifndef MEMHOOK_GLIBC_H
#define MEMHOOK_GLIBC_H

#if defined(__GNUC__)
#pragma GCC system_header
#endif

/* Nothing else of the C library: the file itself says which features of it it wants. */
#include <stddef.h>

#ifndef __MALLOC_HOOK_VOLATILE
#define __MALLOC_HOOK_VOLATILE volatile
#endif
/* What glibc's own declarations were once made of. */
#ifndef __malloc_ptr_t
#define __malloc_ptr_t void *
#endif
#ifndef __malloc_size_t
#define __malloc_size_t size_t
#endif
#ifndef __malloc_ptrdiff_t
#define __malloc_ptrdiff_t ptrdiff_t
#endif
#ifndef __MALLOC_PMT
#define __MALLOC_PMT(parameters) parameters
#endif

#ifdef __cplusplus
extern "C" {
#endif

#ifdef MEMHOOK_PLAIN_VARIABLES
extern void *(*__MALLOC_HOOK_VOLATILE __malloc_hook)(size_t, const void *);
extern void *(*__MALLOC_HOOK_VOLATILE __realloc_hook)(void *, size_t, const void *);
extern void *(*__MALLOC_HOOK_VOLATILE __memalign_hook)(size_t, size_t, const void *);
extern void (*__MALLOC_HOOK_VOLATILE __free_hook)(void *, const void *);
extern void (*__MALLOC_HOOK_VOLATILE __after_morecore_hook)(void);
#else

/** Where the calling thread reads and writes __malloc_hook: void *hook(size_t size, const void *caller),
 * for malloc and calloc. */
void *(*__MALLOC_HOOK_VOLATILE *memhook_glibc_malloc_hook(void))(size_t, const void *);
/** __realloc_hook: void *hook(void *block, size_t size, const void *caller), for realloc and
 * reallocarray; the block may be NULL, the size 0. */
void *(*__MALLOC_HOOK_VOLATILE *memhook_glibc_realloc_hook(void))(void *, size_t, const void *);
/** __memalign_hook: void *hook(size_t alignment, size_t size, const void *caller), for memalign,
 * aligned_alloc, posix_memalign, valloc and pvalloc. */
void *(*__MALLOC_HOOK_VOLATILE *memhook_glibc_memalign_hook(void))(size_t, size_t, const void *);
/** __free_hook: void hook(void *block, const void *caller); the block may be NULL. */
void (*__MALLOC_HOOK_VOLATILE *memhook_glibc_free_hook(void))(void *, const void *);
/** __after_morecore_hook: kept and never called: no allocator tells that its heap has grown. */
void (*__MALLOC_HOOK_VOLATILE *memhook_glibc_after_morecore_hook(void))(void);

/* What typeof and decltype are to see; defined nowhere. */
extern void *(*__MALLOC_HOOK_VOLATILE memhook_glibc_malloc_hook_declared)(size_t, const void *);
extern void *(*__MALLOC_HOOK_VOLATILE memhook_glibc_realloc_hook_declared)(void *, size_t, const void *);
extern void *(*__MALLOC_HOOK_VOLATILE memhook_glibc_memalign_hook_declared)(size_t, size_t, const void *);
extern void (*__MALLOC_HOOK_VOLATILE memhook_glibc_free_hook_declared)(void *, const void *);
extern void (*__MALLOC_HOOK_VOLATILE memhook_glibc_after_morecore_hook_declared)(void);
extern void (*__MALLOC_HOOK_VOLATILE memhook_glibc_initialize_hook_declared)(void);

#endif
#ifdef __cplusplus
}
#endif

#ifndef MEMHOOK_PLAIN_VARIABLES
#ifdef __cplusplus
/* In an expression this is a value, in a declaration a parameter: a function. So a file that declares one
 * of the variables again declares another function, with whatever type it believes in. That the file may
 * do inside extern "C", and this header may be included there: hence extern "C++". */
extern "C++" {
struct memhook_glibc_ {};
#define MEMHOOK_GLIBC_VARIABLE_(name)                                                              \
    static inline __typeof__(memhook_glibc_##name##_declared) &memhook_glibc_##name##_(memhook_glibc_) \
    {                                                                                              \
        return *memhook_glibc_##name();                                                            \
    }
MEMHOOK_GLIBC_VARIABLE_(malloc_hook)
MEMHOOK_GLIBC_VARIABLE_(realloc_hook)
MEMHOOK_GLIBC_VARIABLE_(memalign_hook)
MEMHOOK_GLIBC_VARIABLE_(free_hook)
MEMHOOK_GLIBC_VARIABLE_(after_morecore_hook)
#undef MEMHOOK_GLIBC_VARIABLE_
}
#define MEMHOOK_GLIBC_LVALUE_(name) memhook_glibc_##name##_(memhook_glibc_())
#else
/* Declared again, it declares the function above again. */
#define MEMHOOK_GLIBC_LVALUE_(name) (*memhook_glibc_##name())
#endif

/* __malloc_initialize_hook is a variable that the program defines, with or without volatile: the library
 * calls what it holds before the first allocation. */

/* Inside typeof and decltype, a name must stand for a declared variable: there __malloc_initialize_hook is
 * not yet defined, and a reference in decltype's place would make a copy of a hook follow the hook. These
 * macros change nothing about typeof and decltype, but the preprocessor does not expand a macro again within
 * its own expansion. That is how a name knows where it stands: typeof(x) comes out of the test as typeof(x)
 * inside of typeof, and as __typeof(x) outside. The empty left side of ## keeps the name from being expanded
 * before that. */
#define MEMHOOK_GLIBC_THIRD_(a, b, c, ...) c
#define MEMHOOK_GLIBC_VA_OPT_(...) MEMHOOK_GLIBC_THIRD_(__VA_OPT__(, ), 1, 0, 0)
#if MEMHOOK_GLIBC_VA_OPT_(x)
#define typeof(...) __typeof(__VA_OPT__() ## __VA_ARGS__)
#define __typeof__(...) __typeof(__VA_OPT__() ## __VA_ARGS__)
#define MEMHOOK_GLIBC_A_(outside, inside, expanded) MEMHOOK_GLIBC_A__(outside, inside, expanded)
#define MEMHOOK_GLIBC_A__(outside, inside, expanded) MEMHOOK_GLIBC_A_##expanded(outside, inside)
#define MEMHOOK_GLIBC_A_typeof(x) MEMHOOK_GLIBC_INSIDE_
#define MEMHOOK_GLIBC_A___typeof(x) MEMHOOK_GLIBC_A_OUTSIDE_
#define MEMHOOK_GLIBC_A_OUTSIDE_(outside, inside) MEMHOOK_GLIBC_B_(outside, inside, __typeof__(x))
#define MEMHOOK_GLIBC_B_(outside, inside, expanded) MEMHOOK_GLIBC_B__(outside, inside, expanded)
#define MEMHOOK_GLIBC_B__(outside, inside, expanded) MEMHOOK_GLIBC_B_##expanded(outside, inside)
#define MEMHOOK_GLIBC_B___typeof__(x) MEMHOOK_GLIBC_INSIDE_
#define MEMHOOK_GLIBC_B___typeof(x) MEMHOOK_GLIBC_B_OUTSIDE_
#if defined(__cplusplus) && __cplusplus >= 201103L
#define decltype(...) __decltype(__VA_OPT__() ## __VA_ARGS__)
#define MEMHOOK_GLIBC_B_OUTSIDE_(outside, inside) MEMHOOK_GLIBC_C_(outside, inside, decltype(x))
#define MEMHOOK_GLIBC_C_(outside, inside, expanded) MEMHOOK_GLIBC_C__(outside, inside, expanded)
#define MEMHOOK_GLIBC_C__(outside, inside, expanded) MEMHOOK_GLIBC_C_##expanded(outside, inside)
#define MEMHOOK_GLIBC_C_decltype(x) MEMHOOK_GLIBC_INSIDE_
#define MEMHOOK_GLIBC_C___decltype(x) MEMHOOK_GLIBC_OUTSIDE_
#else
#define MEMHOOK_GLIBC_B_OUTSIDE_(outside, inside) outside
#endif
#define MEMHOOK_GLIBC_INSIDE_(outside, inside) inside
#define MEMHOOK_GLIBC_OUTSIDE_(outside, inside) outside
#define MEMHOOK_GLIBC_CHOOSE_(outside, inside) MEMHOOK_GLIBC_A_(outside, inside, typeof(x))
#else
#define MEMHOOK_GLIBC_CHOOSE_(outside, inside) outside
#endif

#define MEMHOOK_GLIBC_NAME_(name) \
    MEMHOOK_GLIBC_CHOOSE_(MEMHOOK_GLIBC_LVALUE_(name), memhook_glibc_##name##_declared)
#define __malloc_hook MEMHOOK_GLIBC_NAME_(malloc_hook)
#define __realloc_hook MEMHOOK_GLIBC_NAME_(realloc_hook)
#define __memalign_hook MEMHOOK_GLIBC_NAME_(memalign_hook)
#define __free_hook MEMHOOK_GLIBC_NAME_(free_hook)
#define __after_morecore_hook MEMHOOK_GLIBC_NAME_(after_morecore_hook)
#define __malloc_initialize_hook \
    MEMHOOK_GLIBC_CHOOSE_(memhook_glibc_initialize_hook, memhook_glibc_initialize_hook_declared)

#endif

#endif
