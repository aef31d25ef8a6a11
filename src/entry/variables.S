/* The variables for libmemhook.a, in an object of their own: a program that declares them itself takes it, and the
 * library finds the table. */

#if defined(__x86_64__) || defined(__aarch64__)
#else
#error "memhook knows pointers of 8 bytes only"
#endif

#define VARIABLE(name)                                                                         \
	.type name, %object;                                                                   \
	.size name, 8;                                                                         \
name:                                                                                          \
	.zero 8

	.bss
	.balign 8
	.globl __malloc_hook, __realloc_hook, __memalign_hook, __free_hook, __after_morecore_hook
	/* A program may define this one. */
	.weak __malloc_initialize_hook
	VARIABLE(__malloc_hook)
	VARIABLE(__realloc_hook)
	VARIABLE(__memalign_hook)
	VARIABLE(__free_hook)
	VARIABLE(__after_morecore_hook)
	VARIABLE(__malloc_initialize_hook)

	.section .data.rel.ro, "aw"
	.balign 8
	.globl memhook_glibc_variables
	.hidden memhook_glibc_variables
	.type memhook_glibc_variables, %object
	.size memhook_glibc_variables, 40
memhook_glibc_variables:
	.quad __malloc_hook
	.quad __realloc_hook
	.quad __memalign_hook
	.quad __free_hook
	.quad __malloc_initialize_hook

	.section .note.GNU-stack, "", %progbits
