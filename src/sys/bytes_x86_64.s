# The functions of <string.h> that compilers call by themselves: see bytes.rs. Every jump leads forward or round a loop,
# no register but those of the call is changed, and every load of a move comes before a store that it might see.

	.text

	.globl	memcpy
	.hidden	memcpy
	.type	memcpy, @function
	.globl	memmove
	.hidden	memmove
	.type	memmove, @function
	.p2align 5
memcpy:
memmove:
	.cfi_startproc
	mov	rax, rdi
	cmp	rdx, 16
	jb	3f
	cmp	rdx, 32
	ja	1f
	movups	xmm0, [rsi]
	movups	xmm1, [rsi + rdx - 16]
	movups	[rdi], xmm0
	movups	[rdi + rdx - 16], xmm1
	ret
1:	movups	xmm2, [rsi + rdx - 32]
	movups	xmm3, [rsi + rdx - 16]
	movups	xmm4, [rsi]
	movups	xmm5, [rsi + 16]
	lea	r8, [rdi + rdx - 32]
	mov	rcx, rdi
	sub	rcx, rsi
	cmp	rcx, rdx
	jb	2f
	# Upwards, 32 bytes at a time; the last 32 are in registers.
	mov	rcx, rdi
0:	movups	xmm0, [rsi]
	movups	xmm1, [rsi + 16]
	movups	[rcx], xmm0
	movups	[rcx + 16], xmm1
	add	rsi, 32
	add	rcx, 32
	cmp	rcx, r8
	jb	0b
	movups	[r8], xmm2
	movups	[r8 + 16], xmm3
	ret
	# Downwards, as the target begins inside the source; the first 32 are in registers.
2:	lea	rsi, [rsi + rdx - 32]
0:	movups	xmm0, [rsi]
	movups	xmm1, [rsi + 16]
	movups	[r8], xmm0
	movups	[r8 + 16], xmm1
	sub	rsi, 32
	sub	r8, 32
	cmp	r8, rdi
	ja	0b
	movups	[rdi], xmm4
	movups	[rdi + 16], xmm5
	ret
3:	cmp	edx, 8
	jb	4f
	mov	rcx, [rsi]
	mov	rsi, [rsi + rdx - 8]
	mov	[rdi], rcx
	mov	[rdi + rdx - 8], rsi
	ret
4:	cmp	edx, 4
	jb	5f
	mov	ecx, [rsi]
	mov	esi, [rsi + rdx - 4]
	mov	[rdi], ecx
	mov	[rdi + rdx - 4], esi
	ret
5:	test	edx, edx
	je	6f
	movzx	ecx, byte ptr [rsi]
	movzx	r8d, byte ptr [rsi + rdx - 1]
	mov	r9, rdx
	shr	r9
	movzx	esi, byte ptr [rsi + r9]
	mov	[rdi], cl
	mov	[rdi + r9], sil
	mov	[rdi + rdx - 1], r8b
6:	ret
	.cfi_endproc
	.size	memcpy, . - memcpy
	.size	memmove, . - memmove

	.globl	memset
	.hidden	memset
	.type	memset, @function
	.p2align 5
memset:
	.cfi_startproc
	mov	rax, rdi
	movzx	ecx, sil
	mov	rsi, 0x0101010101010101
	imul	rcx, rsi
	cmp	rdx, 16
	jb	2f
	movq	xmm0, rcx
	punpcklqdq xmm0, xmm0
	lea	rdx, [rdi + rdx - 16]
	# Upwards, 16 bytes at a time; the last 16 may have some of them twice.
	jmp	1f
	.p2align 4
0:	movups	[rdi], xmm0
	add	rdi, 16
1:	cmp	rdi, rdx
	jb	0b
	movups	[rdx], xmm0
	ret
2:	cmp	edx, 8
	jb	3f
	mov	[rdi], rcx
	mov	[rdi + rdx - 8], rcx
	ret
3:	cmp	edx, 4
	jb	4f
	mov	[rdi], ecx
	mov	[rdi + rdx - 4], ecx
	ret
4:	test	edx, edx
	je	5f
	mov	[rdi], cl
	mov	[rdi + rdx - 1], cl
	shr	rdx
	mov	[rdi + rdx], cl
5:	ret
	.cfi_endproc
	.size	memset, . - memset

	.globl	memcmp
	.hidden	memcmp
	.type	memcmp, @function
	.globl	bcmp
	.hidden	bcmp
	.type	bcmp, @function
	.p2align 5
memcmp:
bcmp:
	.cfi_startproc
	jmp	1f
	.p2align 4
0:	mov	rax, [rdi]
	mov	rcx, [rsi]
	cmp	rax, rcx
	jne	3f
	add	rdi, 8
	add	rsi, 8
	sub	rdx, 8
1:	cmp	rdx, 8
	jae	0b
	test	rdx, rdx
	je	4f
2:	movzx	eax, byte ptr [rdi]
	movzx	ecx, byte ptr [rsi]
	sub	eax, ecx
	jne	5f
	inc	rdi
	inc	rsi
	dec	rdx
	jne	2b
4:	xor	eax, eax
5:	ret
	# The first byte that differs is the highest of these.
3:	bswap	rax
	bswap	rcx
	cmp	rax, rcx
	sbb	eax, eax
	or	eax, 1
	ret
	.cfi_endproc
	.size	memcmp, . - memcmp
	.size	bcmp, . - bcmp

	.globl	strlen
	.hidden	strlen
	.type	strlen, @function
	.p2align 5
strlen:
	.cfi_startproc
	xor	eax, eax
	cmp	byte ptr [rdi], 0
	je	1f
0:	inc	rax
	cmp	byte ptr [rdi + rax], 0
	jne	0b
1:	ret
	.cfi_endproc
	.size	strlen, . - strlen
