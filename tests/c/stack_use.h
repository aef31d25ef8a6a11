/* How much of the stack a call takes: the memory below the caller is painted, and looked at afterwards. */
#ifndef STACK_USE_H
#define STACK_USE_H

#include <stddef.h>
#include <stdint.h>

#define PAINT UINT64_C(0x5bd1e9955bd1e995)

enum { PAINTED = 192 * 1024, WORDS = PAINTED / 8 };

/* Where the measured call's own frame begins. */
static uintptr_t stack_base;

__attribute__((noinline)) static uintptr_t stack_paint(void)
{
    volatile uint64_t below[WORDS];
    for (size_t i = 0; i < WORDS; i++)
        below[i] = PAINT;
    return (uintptr_t)below;
}

__attribute__((noinline)) static uintptr_t stack_lowest(uintptr_t from)
{
    const volatile uint64_t *at = (const volatile uint64_t *)from;
    while (*at == PAINT)
        at++;
    return (uintptr_t)at;
}

/* How many bytes below its caller's frame `call` writes, at most. */
__attribute__((noinline)) static size_t stack_use(void (*call)(void))
{
    stack_base = (uintptr_t)__builtin_frame_address(0);
    uintptr_t from = stack_paint();
    __asm__ volatile("" : : : "memory");
    call();
    __asm__ volatile("" : : : "memory");
    uintptr_t lowest = stack_lowest(from);
    return lowest < stack_base ? stack_base - lowest : 0;
}

#endif
