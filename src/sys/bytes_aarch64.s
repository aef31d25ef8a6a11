// The functions of <string.h> that compilers call by themselves: see bytes.rs. Every jump leads forward or round a loop,
// no register but those of the call is changed, and every load of a move comes before a store that it might see.

	.text

	.globl	memcpy
	.hidden	memcpy
	.type	memcpy, %function
	.globl	memmove
	.hidden	memmove
	.type	memmove, %function
	.p2align 5
memcpy:
memmove:
	.cfi_startproc
	add	x4, x1, x2
	add	x5, x0, x2
	cmp	x2, #16
	b.lo	3f
	cmp	x2, #32
	b.hi	1f
	ldr	q0, [x1]
	ldur	q1, [x4, #-16]
	str	q0, [x0]
	stur	q1, [x5, #-16]
	ret
1:	ldp	q2, q3, [x4, #-32]
	ldp	q4, q5, [x1]
	sub	x5, x5, #32
	sub	x6, x0, x1
	cmp	x6, x2
	b.lo	2f
	// Upwards, 32 bytes at a time; the last 32 are in registers.
	mov	x6, x0
0:	ldp	q0, q1, [x1], #32
	stp	q0, q1, [x6], #32
	cmp	x6, x5
	b.lo	0b
	stp	q2, q3, [x5]
	ret
	// Downwards, as the target begins inside the source; the first 32 are in registers.
2:	sub	x4, x4, #32
0:	ldp	q0, q1, [x4], #-32
	stp	q0, q1, [x5], #-32
	cmp	x5, x0
	b.hi	0b
	stp	q4, q5, [x0]
	ret
3:	cmp	x2, #8
	b.lo	4f
	ldr	x6, [x1]
	ldur	x7, [x4, #-8]
	str	x6, [x0]
	stur	x7, [x5, #-8]
	ret
4:	cmp	x2, #4
	b.lo	5f
	ldr	w6, [x1]
	ldur	w7, [x4, #-4]
	str	w6, [x0]
	stur	w7, [x5, #-4]
	ret
5:	cbz	x2, 6f
	lsr	x8, x2, #1
	ldrb	w6, [x1]
	ldrb	w7, [x1, x8]
	ldurb	w9, [x4, #-1]
	strb	w6, [x0]
	strb	w7, [x0, x8]
	sturb	w9, [x5, #-1]
6:	ret
	.cfi_endproc
	.size	memcpy, . - memcpy
	.size	memmove, . - memmove

	.globl	memset
	.hidden	memset
	.type	memset, %function
	.p2align 5
memset:
	.cfi_startproc
	dup	v0.16b, w1
	add	x5, x0, x2
	cmp	x2, #16
	b.lo	2f
	// Upwards, 16 bytes at a time; the last 16 may have some of them twice.
	sub	x5, x5, #16
	mov	x6, x0
	b	1f
0:	str	q0, [x6], #16
1:	cmp	x6, x5
	b.lo	0b
	str	q0, [x5]
	ret
2:	cmp	x2, #8
	b.lo	3f
	str	d0, [x0]
	stur	d0, [x5, #-8]
	ret
3:	cmp	x2, #4
	b.lo	4f
	str	s0, [x0]
	stur	s0, [x5, #-4]
	ret
4:	cbz	x2, 5f
	lsr	x6, x2, #1
	strb	w1, [x0]
	strb	w1, [x0, x6]
	sturb	w1, [x5, #-1]
5:	ret
	.cfi_endproc
	.size	memset, . - memset

	.globl	memcmp
	.hidden	memcmp
	.type	memcmp, %function
	.globl	bcmp
	.hidden	bcmp
	.type	bcmp, %function
	.p2align 5
memcmp:
bcmp:
	.cfi_startproc
	b	1f
0:	ldr	x3, [x0], #8
	ldr	x4, [x1], #8
	cmp	x3, x4
	b.ne	3f
	sub	x2, x2, #8
1:	cmp	x2, #8
	b.hs	0b
	cbz	x2, 4f
2:	ldrb	w3, [x0], #1
	ldrb	w4, [x1], #1
	subs	w3, w3, w4
	b.ne	5f
	subs	x2, x2, #1
	b.ne	2b
4:	mov	w0, #0
	ret
5:	mov	w0, w3
	ret
	// The first byte that differs is the highest of these.
3:	rev	x3, x3
	rev	x4, x4
	cmp	x3, x4
	mov	w0, #1
	cneg	w0, w0, lo
	ret
	.cfi_endproc
	.size	memcmp, . - memcmp
	.size	bcmp, . - bcmp

	.globl	strlen
	.hidden	strlen
	.type	strlen, %function
	.p2align 5
strlen:
	.cfi_startproc
	mov	x1, x0
0:	ldrb	w2, [x1], #1
	cbnz	w2, 0b
	sub	x0, x1, x0
	sub	x0, x0, #1
	ret
	.cfi_endproc
	.size	strlen, . - strlen
