#ifndef MEMHOOK_TAIL_H_
#define MEMHOOK_TAIL_H_

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Writes to standard error as printf does, without stdio, locks or allocation; keeps errno.
 *
 * Knows %s %c %d %i %u %o %x %X %p %%, the lengths h, l, ll, z, j, t, the flags - and 0, a width
 * and, for %s, a precision, both also as *. No floating point.
 *
 * # Threads
 *
 * Any thread, any time, signal handlers included. A line of up to 512 bytes is one write(2).
 *
 * # Reentrancy
 *
 * Allowed inside a callback.
 */
void memhook_log(const char *format, ...) MEMHOOK_PRINTF_(1, 2);

/**
 * Defined by a program that wants to register hooks before its first allocation: the function
 * is called exactly once, at the first allocation call of the process or at its first call of
 * this library. Hooks are suppressed inside it and in force for the call that triggered it.
 * Other threads that allocate meanwhile are served by the backend. The C library may not be
 * initialised yet: registering hooks is safe, stdio may not be. Follows glibc's former
 * __malloc_initialize_hook. See MEMHOOK_INITIALIZE.
 */
extern void (*memhook_initialize_hook)(void);

#ifdef __cplusplus
}
#endif

/* Defines memhook_initialize_hook, at file scope, once in a program: MEMHOOK_INITIALIZE(function); */
#ifdef __cplusplus
#define MEMHOOK_INITIALIZE(function)                                                           \
    extern "C" { void (*memhook_initialize_hook)(void) = (function); }                         \
    struct memhook_initialize_needs_a_semicolon_
#else
#define MEMHOOK_INITIALIZE(function) void (*memhook_initialize_hook)(void) = (function)
#endif

#if defined(__GNUC__)
/* The executable or shared object that uses it, as the `object` of a table. */
#ifdef __cplusplus
#define MEMHOOK_OBJECT (static_cast<const void *>(&__dso_handle))
extern "C" {
#else
#define MEMHOOK_OBJECT ((const void *)&__dso_handle)
#endif
extern void *__dso_handle __attribute__((visibility("hidden")));
#ifdef __cplusplus
}
#endif

/* At file scope, once in a shared object that may be unloaded: when it is, all hooks whose table
 * has MEMHOOK_OBJECT as `object` are unregistered, and unloading waits until no thread is in
 * their callbacks. */
#define MEMHOOK_TIE_TO_OBJECT                                                                  \
    __attribute__((constructor, used)) static void memhook_tie_object_(void)                   \
    {                                                                                          \
        memhook_object_loaded();                                                               \
    }                                                                                          \
    __attribute__((destructor, used)) static void memhook_untie_object_(void)                  \
    {                                                                                          \
        (void)memhook_unregister_object(MEMHOOK_OBJECT);                                       \
    }                                                                                          \
    struct memhook_tie_to_object_needs_a_semicolon_
#endif

/* Tests the allocation calls of the file that it is compiled in; see memhook_self_test(). Include
 * <stdlib.h> and <malloc.h> before. Arguments: missed, text, text_size. */
#define MEMHOOK_SELF_TEST(missed, text, text_size)                                             \
    memhook_self_test(memhook_entry_points_of_(malloc, free, calloc, realloc,                  \
                                               malloc_usable_size, memalign),                  \
                      missed, text, text_size)

#ifdef __cplusplus
#define MEMHOOK_AS_FUNCTION_(function) reinterpret_cast<void (*)(void)>(function)
#else
#define MEMHOOK_AS_FUNCTION_(function) ((void (*)(void))(function))
#endif

static inline const memhook_entry_points *
memhook_entry_points_of_(void *(*malloc_)(size_t), void (*free_)(void *),
                         void *(*calloc_)(size_t, size_t), void *(*realloc_)(void *, size_t),
                         size_t (*usable_size_)(void *), void *(*memalign_)(size_t, size_t))
{
    static memhook_entry_points points;
    points.struct_size = sizeof points;
    points.functions[MEMHOOK_ENTRY_MALLOC] = MEMHOOK_AS_FUNCTION_(malloc_);
    points.functions[MEMHOOK_ENTRY_FREE] = MEMHOOK_AS_FUNCTION_(free_);
    points.functions[MEMHOOK_ENTRY_CALLOC] = MEMHOOK_AS_FUNCTION_(calloc_);
    points.functions[MEMHOOK_ENTRY_REALLOC] = MEMHOOK_AS_FUNCTION_(realloc_);
    points.functions[MEMHOOK_ENTRY_USABLE_SIZE] = MEMHOOK_AS_FUNCTION_(usable_size_);
    points.functions[MEMHOOK_ENTRY_MEMALIGN] = MEMHOOK_AS_FUNCTION_(memalign_);
    return &points;
}
#undef MEMHOOK_AS_FUNCTION_

#endif /* MEMHOOK_TAIL_H_ */
