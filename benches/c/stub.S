/* The least that an interposer can be: each entry point jumps through a pointer to the C library's
 * own function, which ld.so resolves when it loads the object, before anything is called. */

.macro forward name
    .text
    .globl \name
    .type \name, %function
    .balign 16
\name:
#if defined(__x86_64__)
    jmp *backend_\name(%rip)
#elif defined(__aarch64__)
    adrp x16, backend_\name
    ldr x16, [x16, :lo12:backend_\name]
    br x16
#endif
    .size \name, . - \name
    .section .data.rel.ro, "aw"
    .balign 8
backend_\name:
    .quad __libc_\name
.endm

forward malloc
forward free
forward calloc
forward realloc
forward memalign

.section .note.GNU-stack, "", %progbits
