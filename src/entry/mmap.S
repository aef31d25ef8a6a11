/* libmemhook-mmap.so: leads mmap and its like to the library, which counts them (src/tools/usage/maps.rs). mremap's
 * last argument is where a caller puts it who gives one. */

#if defined(__x86_64__)
#define LEAD(to)                                                                               \
	jmp to##@PLT
#elif defined(__aarch64__)
#define LEAD(to)                                                                               \
	hint #34;                                                                              \
	b to
#else
#error "memhook has entry stubs for x86-64 and aarch64 only"
#endif

#define ENTRY(name, to)                                                                        \
	.globl name;                                                                           \
	.type name, %function;                                                                 \
name:                                                                                          \
	.cfi_startproc;                                                                        \
	LEAD(to);                                                                              \
	.cfi_endproc;                                                                          \
	.size name, . - name

	.text
	.balign 16
	ENTRY(mmap, memhook_mmap)
	ENTRY(mmap64, memhook_mmap)
	ENTRY(mremap, memhook_mremap)
	ENTRY(munmap, memhook_munmap)

	/* By this the library knows that it is there. */
	.section .rodata
	.globl memhook_leads_mmap
	.type memhook_leads_mmap, %object
	.size memhook_leads_mmap, 1
memhook_leads_mmap:
	.byte 1

	.section .note.GNU-stack, "", %progbits
