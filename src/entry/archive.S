/* The entry points for libmemhook.a, assembled twice (see Makefile):
 *
 * - without STATIC: malloc and its fellows, for dynamic executables;
 * - with STATIC: __wrap_malloc and its fellows for fully static ones, linked with the options in
 *   memhook-static.opt, and the table of the C library's own functions under the names that it
 *   has for them beside malloc. */

#ifdef STATIC
#define NAME(name) __wrap_##name
#else
#define NAME(name) name
#endif

#if defined(__x86_64__)
#define JUMP(offset)                                                                           \
	mov memhook_current(%rip), %rax;                                                       \
	jmp *offset(%rax)
#elif defined(__aarch64__)
#define JUMP(offset)                                                                           \
	hint #34;                                                                              \
	adrp x16, memhook_current;                                                             \
	ldr x16, [x16, :lo12:memhook_current];                                                 \
	ldr x16, [x16, offset];                                                                \
	br x16
#else
#error "memhook has entry stubs for x86-64 and aarch64 only"
#endif

#define ENTRY(name, offset)                                                                    \
	.globl NAME(name);                                                                     \
	.type NAME(name), %function;                                                           \
NAME(name):                                                                                    \
	.cfi_startproc;                                                                        \
	JUMP(offset);                                                                          \
	.cfi_endproc;                                                                          \
	.size NAME(name), . - NAME(name)

	.hidden memhook_current
	.text
	.balign 16
	/* Directly before malloc: by this a copy of the library knows another in the process (sys/copies.rs). */
	.ascii "memhook archive\0"
	/* In the order of the MEMHOOK_ENTRY_ numbers. */
	ENTRY(malloc, 0)
	ENTRY(free, 8)
	ENTRY(calloc, 16)
	ENTRY(realloc, 24)
	ENTRY(reallocarray, 32)
	ENTRY(memalign, 40)
	ENTRY(aligned_alloc, 48)
	ENTRY(posix_memalign, 56)
	ENTRY(valloc, 64)
	ENTRY(pvalloc, 72)
	ENTRY(malloc_usable_size, 80)
	ENTRY(free_sized, 88)
	ENTRY(free_aligned_sized, 96)

#ifdef STATIC
	.section .data.rel.ro, "aw"
	.balign 8
	.globl memhook_static_backend
	.hidden memhook_static_backend
	.type memhook_static_backend, %object
	.size memhook_static_backend, 104
memhook_static_backend:
	.quad __libc_malloc
	.quad __libc_free
	.quad __libc_calloc
	.quad __libc_realloc
	.quad 0
	.quad __libc_memalign
	.quad __libc_memalign
	.quad __posix_memalign
	.quad __libc_valloc
	.quad __libc_pvalloc
	.quad __malloc_usable_size
	.quad 0
	.quad 0
#endif

	.section .note.GNU-stack, "", %progbits
