/* The variables as a binary from before glibc 2.34 has them: references to the old symbols. */
#ifndef GLIBC_OLD_H
#define GLIBC_OLD_H
#include <stddef.h>

#if defined(__x86_64__)
#define OLD_VERSION "GLIBC_2.2.5"
#elif defined(__aarch64__)
#define OLD_VERSION "GLIBC_2.17"
#endif
#define __MALLOC_HOOK_VOLATILE volatile
#define OLD_SYMBOL(name) __asm__(".symver " #name "," #name "@" OLD_VERSION)

#ifdef __cplusplus
extern "C" {
#endif
extern void *(*volatile __malloc_hook)(size_t, const void *);
extern void *(*volatile __realloc_hook)(void *, size_t, const void *);
extern void *(*volatile __memalign_hook)(size_t, size_t, const void *);
extern void (*volatile __free_hook)(void *, const void *);
#ifdef __cplusplus
}
#endif
OLD_SYMBOL(__malloc_hook);
OLD_SYMBOL(__realloc_hook);
OLD_SYMBOL(__memalign_hook);
OLD_SYMBOL(__free_hook);

#endif
