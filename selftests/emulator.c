// SPDX-License-Identifier: GPL-2.0-only
/*
 * libvmm's emulator against this CPU: each instruction form is run here, in user
 * mode, and by vmm_emulate() on a copy of the same memory with the same
 * registers. What memory and registers are afterwards must be equal, and so
 * must the flags that the manuals define. Then what cannot be run here: other
 * modes, faults, refusals. Needs no module.
 */
/* also: amd-sanitized */
/* timeout: 120 */
#include <cpuid.h>
#include <errno.h>
#include <stdint.h>
#include <string.h>
#include <vmm/emulate.h>

#include "kselftest_harness.h"

#define ROUNDS		60
#define MEMORY_SIZE	0x3000
#define SOURCE		0x0800	/* offsets in the memory: RSI, RDI and RSP point there */
#define TARGET		0x1800
#define STACK		0x2c00

#define ZF	0x040
#define TF	0x100
#define RF	0x10000
#define VM	0x20000
#define AC	0x40000
#define AM	0x40000		/* of CR0 */
#define ALL	0x8d5		/* the arithmetic flags */
#define AVX	0x10000		/* among them: the form needs AVX */

/* ---- the forms ---- */

struct form {
	const void *code;
	const void *end;
	uint64_t flags;		/* that the instruction defines, and AVX */
	const char *text;
};

/*
 * In assembly, so that the CPU runs what the emulator reads. A group of forms is a macro. The
 * first operand of "form" is which flags the instruction defines.
 */
asm(".set ALL, 0x8d5\n"
	".set LOGIC, 0x8c5		# AF is undefined\n"
	".set BITS, 0x001\n"
	".set COUNT, 0x041\n"
	".set SCAN, 0x040\n"
	".set MULTIPLY, 0x801\n"
	".set AVX, 0x10000\n"
	".macro form flags:req, insn:vararg\n"
	".pushsection .text.forms, \"ax\"\n"
	"771:	\\insn\n"
	"772:	jmp *native_return(%rip)\n"
	".popsection\n"
	".pushsection .rodata.names, \"a\"\n"
	"773:	.asciz \"\\insn\"\n"
	".popsection\n"
	".pushsection forms, \"aw\"\n"
	".quad 771b, 772b, \\flags, 773b\n"
	".popsection\n"
	".endm\n"

	".macro alu op\n"
	"form ALL, \\op\\()b %al, (%rdi)\n"
	"form ALL, \\op\\()b %ch, 1(%rdi)\n"
	"form ALL, \\op\\()w %ax, (%rdi)\n"
	"form ALL, \\op\\()l %ecx, 4(%rdi)\n"
	"form ALL, \\op\\()q %r9, 8(%rdi)\n"
	"form ALL, \\op\\()b $-3, (%rdi)\n"
	"form ALL, \\op\\()l $0x87654321, (%rdi)\n"
	"form ALL, \\op\\()q $-7, (%rdi)\n"
	"form ALL, \\op\\()b (%rsi), %dl\n"
	"form ALL, \\op\\()q (%rsi,%rbx,4), %r14\n"
	"form ALL, lock \\op\\()q %rax, (%rdi)\n"
	".endm\n"

	".macro logical op\n"
	"form LOGIC, \\op\\()b %al, (%rdi)\n"
	"form LOGIC, \\op\\()w %ax, (%rdi)\n"
	"form LOGIC, \\op\\()l %ecx, (%rdi)\n"
	"form LOGIC, \\op\\()q %r9, (%rdi)\n"
	"form LOGIC, \\op\\()l $0x12345678, (%rdi)\n"
	"form LOGIC, \\op\\()l (%rsi), %edx\n"
	".endm\n"

	".macro unary op, flags\n"
	"form \\flags, \\op\\()b (%rdi)\n"
	"form \\flags, \\op\\()w (%rdi)\n"
	"form \\flags, \\op\\()l (%rdi)\n"
	"form \\flags, lock \\op\\()q (%rdi)\n"
	".endm\n"

	/* By one all flags but AF are defined, by more OF is not. A rotation changes CF and OF */
	".macro shift op\n"
	"form LOGIC, \\op\\()b $1, (%rdi)\n"
	"form LOGIC, \\op\\()l $1, (%rdi)\n"
	"form LOGIC, \\op\\()q $1, (%rdi)\n"
	"form 0xc5, \\op\\()l $7, (%rdi)\n"
	"form 0xc5, \\op\\()q $63, (%rdi)\n"
	"form 0xc4, \\op\\()l %cl, (%rdi)\n"
	"form 0xc4, \\op\\()q %cl, (%rdi)\n"
	"form LOGIC, \\op\\()l $0, (%rdi)\n"
	".endm\n"

	".macro rotate op\n"
	"form ALL, \\op\\()b $1, (%rdi)\n"
	"form ALL, \\op\\()w $1, (%rdi)\n"
	"form ALL, \\op\\()q $1, (%rdi)\n"
	"form 0xd5, \\op\\()b $3, (%rdi)\n"
	"form 0xd5, \\op\\()w $11, (%rdi)\n"
	"form 0xd5, \\op\\()l %cl, (%rdi)\n"
	"form 0xd5, \\op\\()q %cl, (%rdi)\n"
	"form 0xd5, \\op\\()w %cl, (%rdi)\n"
	"form 0xd5, \\op\\()b %cl, (%rdi)\n"
	".endm\n"

	".macro bit op\n"
	"form BITS, \\op\\()l $5, (%rdi)\n"
	"form BITS, \\op\\()q $60, (%rdi)\n"
	"form BITS, \\op\\()w %bp, (%rdi)\n"
	"form BITS, \\op\\()l %ebp, (%rdi)\n"
	"form BITS, \\op\\()q %rbp, (%rdi)\n"
	".endm\n"

	".macro condition cc\n"
	"form ALL, set\\cc (%rdi)\n"
	"form ALL, cmov\\cc\\()l (%rsi), %eax\n"
	"form ALL, cmov\\cc\\()q (%rsi), %r10\n"
	".endm\n"

	".macro each_size flags, op, mem\n"
	"form \\flags, \\op\\()b \\mem\n"
	"form \\flags, \\op\\()w \\mem\n"
	"form \\flags, \\op\\()l \\mem\n"
	"form \\flags, \\op\\()q \\mem\n"
	".endm\n"

	".macro vector_move op\n"
	"form ALL, \\op (%rsi), %xmm3\n"
	"form ALL, \\op %xmm9, (%rdi)\n"
	".endm\n"

	".macro avx_move op\n"
	"form AVX, \\op (%rsi), %xmm3\n"
	"form AVX, \\op %xmm9, (%rdi)\n"
	"form AVX, \\op (%rsi), %ymm4\n"
	"form AVX, \\op %ymm10, (%rdi)\n"
	".endm\n"

	".macro bitwise op\n"
	"form ALL, p\\op (%rsi), %xmm5\n"
	"form AVX, vp\\op (%rsi), %xmm6, %xmm7\n"
	".endm\n"

	"alu add\n"
	"alu adc\n"
	"alu sub\n"
	"alu sbb\n"
	"logical and\n"
	"logical or\n"
	"logical xor\n"
	"form ALL, cmpb %al, (%rsi)\n"
	"form ALL, cmpw $0x1234, (%rsi)\n"
	"form ALL, cmpl (%rsi), %eax\n"
	"form ALL, cmpq $-1, (%rsi)\n"
	"form LOGIC, testb $0x5a, (%rsi)\n"
	"form LOGIC, testq %rax, (%rsi)\n"
	"unary inc, ALL\n"
	"unary dec, ALL\n"
	"unary neg, ALL\n"
	"unary not, ALL\n"

	"each_size ALL, mov, \"$0x12, (%rdi)\"\n"
	"form ALL, movb %ah, (%rdi)\n"
	"form ALL, movb %sil, (%rdi)\n"
	"form ALL, movw %r8w, (%rdi)\n"
	"form ALL, movl %r15d, (%rdi)\n"
	"form ALL, movq %rsp, (%rdi)\n"
	"form ALL, movb (%rsi), %bh\n"
	"form ALL, movw (%rsi), %cx\n"
	"form ALL, movl (%rsi), %ecx\n"
	"form ALL, movq -8(%rsi,%rbx,8), %rcx\n"
	"form ALL, movq 772f(%rip), %rax\n"
	"form ALL, movl (%esi), %eax\n"
	"form ALL, movw %ds, (%rdi)\n"
	"form ALL, movntil %eax, (%rdi)\n"
	"form ALL, movntiq %rdx, (%rdi)\n"
	"form ALL, movzbw (%rsi), %ax\n"
	"form ALL, movzbl (%rsi), %eax\n"
	"form ALL, movzwl (%rsi), %eax\n"
	"form ALL, movzbq (%rsi), %rax\n"
	"form ALL, movsbw (%rsi), %ax\n"
	"form ALL, movsbl (%rsi), %eax\n"
	"form ALL, movswq (%rsi), %rax\n"
	"form ALL, movslq (%rsi), %rax\n"
	"form ALL, movbew (%rsi), %ax\n"
	"form ALL, movbel (%rsi), %eax\n"
	"form ALL, movbeq (%rsi), %rax\n"
	"form ALL, movbew %ax, (%rdi)\n"
	"form ALL, movbel %eax, (%rdi)\n"
	"form ALL, movbeq %rax, (%rdi)\n"

	"form ALL, xchgb %al, (%rdi)\n"
	"form ALL, xchgw %ax, (%rdi)\n"
	"form ALL, xchgl %ebx, (%rdi)\n"
	"form ALL, xchgq %rcx, (%rdi)\n"
	"form ALL, xaddb %al, (%rdi)\n"
	"form ALL, lock xaddw %dx, (%rdi)\n"
	"form ALL, xaddl %eax, (%rdi)\n"
	"form ALL, lock xaddq %r11, (%rdi)\n"
	/* An operand that the other one's address is made of */
	"form ALL, xaddq %rdi, (%rdi)\n"
	"form ALL, lock xaddl %ebx, (%rdi,%rbx)\n"
	"form ALL, xaddw %cx, -8(%rdi,%rcx,4)\n"
	"form ALL, xaddq %rax, %rax\n"
	"form ALL, xaddl %edx, %eax\n"
	"form ALL, xchgq %rdi, (%rdi)\n"
	"form ALL, lock xchgl %ebx, (%rdi,%rbx)\n"
	"form ALL, cmpxchgq %rdi, (%rdi)\n"
	"form ALL, movq (%rdi), %rdi\n"
	"form ALL, popq 8(%rsp,%rbx,8)\n"
	"form ALL, cmpxchgb %bl, (%rdi)\n"
	"form ALL, cmpxchgw %cx, (%rdi)\n"
	"form ALL, lock cmpxchgl %ecx, (%rdi)\n"
	"form ALL, cmpxchgq %rcx, (%rdi)\n"
	"form ALL, lock cmpxchg8b (%rdi)\n"
	"form ALL, lock cmpxchg16b (%rdi)\n"

	"shift shl\n"
	"shift shr\n"
	"shift sar\n"
	"rotate rol\n"
	"rotate ror\n"
	"rotate rcl\n"
	"rotate rcr\n"
	"form LOGIC, shldl $1, %eax, (%rdi)\n"
	"form 0xc5, shldq $13, %rax, (%rdi)\n"
	"form 0xc5, shldw $9, %ax, (%rdi)\n"
	"form 0xc4, shldl %cl, %eax, (%rdi)\n"
	"form LOGIC, shrdl $1, %eax, (%rdi)\n"
	"form 0xc5, shrdq $13, %rax, (%rdi)\n"
	"form 0xc5, shrdw $9, %ax, (%rdi)\n"
	"form 0xc4, shrdq %cl, %rax, (%rdi)\n"
	"bit bt\n"
	"bit bts\n"
	"bit btr\n"
	"bit btc\n"
	"form BITS, lock btsq %rbp, (%rdi)\n"
	"form SCAN, bsfl (%rsi), %eax\n"
	"form SCAN, bsrq (%rsi), %rax\n"
	"form SCAN, bsfw (%rsi), %ax\n"
	"form COUNT, tzcntl (%rsi), %eax\n"
	"form COUNT, tzcntq (%rsi), %rax\n"
	"form COUNT, lzcntw (%rsi), %ax\n"
	"form COUNT, lzcntl (%rsi), %eax\n"
	"form COUNT, lzcntq (%rsi), %rax\n"
	"form ALL, popcntw (%rsi), %ax\n"
	"form ALL, popcntq (%rsi), %rax\n"
	"each_size MULTIPLY, mul, \"(%rsi)\"\n"
	"each_size MULTIPLY, imul, \"(%rsi)\"\n"
	"form MULTIPLY, imulw (%rsi), %ax\n"
	"form MULTIPLY, imull (%rsi), %eax\n"
	"form MULTIPLY, imulq (%rsi), %rax\n"
	"form MULTIPLY, imulq $-77, (%rsi), %rax\n"
	"form MULTIPLY, imull $0x1234567, (%rsi), %eax\n"

	"condition o\n"
	"condition no\n"
	"condition b\n"
	"condition ae\n"
	"condition e\n"
	"condition ne\n"
	"condition be\n"
	"condition a\n"
	"condition s\n"
	"condition ns\n"
	"condition p\n"
	"condition np\n"
	"condition l\n"
	"condition ge\n"
	"condition le\n"
	"condition g\n"

	"form ALL, pushq (%rsi)\n"
	"form ALL, popq (%rdi)\n"
	"form ALL, pushw (%rsi)\n"
	"form ALL, popw (%rdi)\n"
	"form ALL, popq 8(%rsp)\n"
	"form ALL, pushq 8(%rsp)\n"
	"form ALL, pushq %rax\n"
	"form ALL, pushq %rsp\n"
	"form ALL, pushq $-5\n"
	"form ALL, popq %rsp\n"
	"form ALL, popq %r12\n"
	"form ALL, prefetcht0 (%rsi)\n"
	"form ALL, clflush (%rsi)\n"
	"form ALL, nopl (%rsi)\n"

	"form ALL, movsb\n"
	"form ALL, movsw\n"
	"form ALL, movsl\n"
	"form ALL, movsq\n"
	"form ALL, stosb\n"
	"form ALL, stosq\n"
	"form ALL, lodsb\n"
	"form ALL, lodsw\n"
	"form ALL, lodsl\n"
	"form ALL, lodsq\n"
	"form ALL, cmpsb\n"
	"form ALL, cmpsw\n"
	"form ALL, cmpsl\n"
	"form ALL, cmpsq\n"
	"form ALL, scasb\n"
	"form ALL, scasw\n"
	"form ALL, scasl\n"
	"form ALL, scasq\n"
	"form ALL, rep movsb\n"
	"form ALL, rep movsq\n"
	"form ALL, rep stosl\n"
	"form ALL, rep lodsw\n"
	"form ALL, repe cmpsb\n"
	"form ALL, repne cmpsb\n"
	"form ALL, repe scasb\n"
	"form ALL, repne scasw\n"
	"form ALL, repne scasq\n"

	"vector_move movups\n"
	"vector_move movupd\n"
	"vector_move movaps\n"
	"vector_move movapd\n"
	"vector_move movdqu\n"
	"vector_move movdqa\n"
	"vector_move movd\n"
	"vector_move movq\n"
	"vector_move movss\n"
	"vector_move movsd\n"
	"vector_move movlps\n"
	"vector_move movhps\n"
	"vector_move movlpd\n"
	"vector_move movhpd\n"
	"form ALL, lddqu (%rsi), %xmm1\n"
	"form ALL, movntdq %xmm8, (%rdi)\n"
	"form ALL, movntps %xmm8, (%rdi)\n"
	"form ALL, movntpd %xmm8, (%rdi)\n"
	"form ALL, movntdqa (%rsi), %xmm8\n"
	"form ALL, movdqu 3(%rsi), %xmm15\n"
	"form ALL, movups %xmm0, 5(%rdi)\n"
	"bitwise and\n"
	"bitwise andn\n"
	"bitwise or\n"
	"bitwise xor\n"
	"form ALL, andps (%rsi), %xmm1\n"
	"form ALL, andnpd (%rsi), %xmm1\n"
	"form ALL, orpd (%rsi), %xmm1\n"
	"form ALL, xorps (%rsi), %xmm1\n"
	"form ALL, movq (%rsi), %mm2\n"
	"form ALL, movd (%rsi), %mm3\n"
	"form ALL, movq %mm4, (%rdi)\n"
	"form ALL, movd %mm5, (%rdi)\n"
	"form ALL, movntq %mm6, (%rdi)\n"
	"form ALL, stmxcsr (%rdi)\n"
	"form ALL, fnstcw (%rdi)\n"

	"avx_move vmovups\n"
	"avx_move vmovupd\n"
	"avx_move vmovaps\n"
	"avx_move vmovapd\n"
	"avx_move vmovdqu\n"
	"avx_move vmovdqa\n"
	"form AVX, vlddqu (%rsi), %ymm1\n"
	"form AVX, vmovd (%rsi), %xmm2\n"
	"form AVX, vmovq (%rsi), %xmm2\n"
	"form AVX, vmovd %xmm2, (%rdi)\n"
	"form AVX, vmovq %xmm2, (%rdi)\n"
	"form AVX, vmovss (%rsi), %xmm2\n"
	"form AVX, vmovsd %xmm2, (%rdi)\n"
	"form AVX, vmovlps (%rsi), %xmm2, %xmm3\n"
	"form AVX, vmovhps (%rsi), %xmm2, %xmm3\n"
	"form AVX, vmovhpd %xmm3, (%rdi)\n"
	"form AVX, vmovntdq %ymm8, (%rdi)\n"
	"form AVX, vbroadcastss (%rsi), %ymm5\n"
	"form AVX, vbroadcastss (%rsi), %xmm5\n"
	"form AVX, vbroadcastsd (%rsi), %ymm5\n"
	"form AVX, vbroadcastf128 (%rsi), %ymm5\n"
	"form AVX, vxorps (%rsi), %ymm1, %ymm2\n"
	"form AVX, vandnpd (%rsi), %ymm1, %ymm2\n");

/* Jumps and calls have their target in memory: where this is */
asm(".pushsection .text.forms, \"ax\"\n"
	"landing: jmp *native_return(%rip)\n"
	"jump_form: jmp *(%rsi)\n"
	"call_form: call *(%rsi)\n"
	"call_form_end:\n"
	"relative_form: call landing\n"
	"ret_form: ret\n"
	".popsection\n");

extern const struct form __start_forms[], __stop_forms[];
extern const uint8_t landing[], jump_form[], call_form[], call_form_end[], relative_form[];
extern const uint8_t ret_form[];

/* ---- running one here ---- */

struct context {
	uint64_t gpr[16];
	uint64_t rflags;
	uint8_t xsave[4096] __attribute__((aligned(64)));
};

uint64_t native_return, native_rsp;
const void *native_code;
struct context *native_context;
uint32_t native_mask;

void run_native(void);

asm(".pushsection .text\n"
	".globl run_native\n"
	"run_native:\n"
	"	push %rbx; push %rbp; push %r12; push %r13; push %r14; push %r15\n"
	"	mov %rsp, native_rsp(%rip)\n"
	"	lea 1f(%rip), %rax\n"
	"	mov %rax, native_return(%rip)\n"
	"	mov native_context(%rip), %rbx\n"
	"	mov native_mask(%rip), %eax\n"
	"	xor %edx, %edx\n"
	"	xrstor64 192(%rbx)\n"
	"	push 128(%rbx)\n"
	"	popf\n"
	"	mov 0(%rbx), %rax; mov 8(%rbx), %rcx; mov 16(%rbx), %rdx\n"
	"	mov 32(%rbx), %rsp; mov 40(%rbx), %rbp; mov 48(%rbx), %rsi; mov 56(%rbx), %rdi\n"
	"	mov 64(%rbx), %r8; mov 72(%rbx), %r9; mov 80(%rbx), %r10; mov 88(%rbx), %r11\n"
	"	mov 96(%rbx), %r12; mov 104(%rbx), %r13; mov 112(%rbx), %r14; mov 120(%rbx), %r15\n"
	"	mov 24(%rbx), %rbx\n"
	"	jmp *native_code(%rip)\n"
	"1:	mov %rsp, native_return(%rip)\n"
	"	mov native_rsp(%rip), %rsp\n"
	"	pushf\n"
	"	push %rbx\n"
	"	mov native_context(%rip), %rbx\n"
	"	mov %rax, 0(%rbx); mov %rcx, 8(%rbx); mov %rdx, 16(%rbx)\n"
	"	mov %rbp, 40(%rbx); mov %rsi, 48(%rbx); mov %rdi, 56(%rbx)\n"
	"	mov %r8, 64(%rbx); mov %r9, 72(%rbx); mov %r10, 80(%rbx); mov %r11, 88(%rbx)\n"
	"	mov %r12, 96(%rbx); mov %r13, 104(%rbx); mov %r14, 112(%rbx); mov %r15, 120(%rbx)\n"
	"	pop 24(%rbx)\n"
	"	pop 128(%rbx)\n"
	"	mov native_return(%rip), %rax\n"
	"	mov %rax, 32(%rbx)\n"
	"	mov native_mask(%rip), %eax\n"
	"	xor %edx, %edx\n"
	"	xsave64 192(%rbx)\n"
	"	cld\n"
	"	pop %r15; pop %r14; pop %r13; pop %r12; pop %rbp; pop %rbx\n"
	"	ret\n"
	".popsection\n");

_Static_assert(offsetof(struct context, xsave) == 192, "run_native() knows it");

/* ---- the emulator's side ---- */

/* The memory of the instruction, at its address below 4 GiB, and what the emulator makes of it */
static uint8_t *memory;
static uint8_t copy[MEMORY_SIZE];
/* Linear addresses from here on fault */
static uint64_t fault_from = ~0ULL;
static int xstate_loads;
static struct vmm_emulator_xstate xstate;

static int locate(uint64_t linear, size_t bytes, uint32_t access, uint8_t **at,
		  struct vmm_event *fault)
{
	uint64_t base = (uintptr_t)memory;

	if (linear + bytes > fault_from) {
		*fault = (struct vmm_event){
			.type = VMM_EVENT_EXCEPTION, .vector = 14, .has_error = 1,
			.error = access & VMM_ACCESS_WRITE ? 2 : 0, .payload = linear,
		};
		return 1;
	}
	/* The forms' own code, for what is relative to RIP */
	if (linear - (uintptr_t)__start_forms[0].code < 1 << 20 && !(access & VMM_ACCESS_WRITE)) {
		*at = (uint8_t *)(uintptr_t)linear;
		return 0;
	}
	if (linear - base >= MEMORY_SIZE || linear - base + bytes > MEMORY_SIZE)
		return -ERANGE;
	*at = copy + (linear - base);
	return 0;
}

static int emulator_read(void *opaque, uint64_t linear, void *buf, size_t bytes, uint32_t access,
			 struct vmm_event *fault)
{
	uint8_t *at;
	int ret = locate(linear, bytes, access, &at, fault);

	if (!ret)
		memcpy(buf, at, bytes);
	return ret;
}

static int emulator_write(void *opaque, uint64_t linear, const void *buf, size_t bytes,
			  uint32_t access, struct vmm_event *fault)
{
	uint8_t *at;
	int ret = locate(linear, bytes, access, &at, fault);

	if (!ret)
		memcpy(at, buf, bytes);
	return ret;
}

static const struct context no_context;
static const struct context *xstate_source;

static int load_xstate(void *opaque, struct vmm_emulator_xstate *to)
{
	xstate_loads++;
	memcpy(to->area, xstate_source->xsave, sizeof(to->area));
	to->avx = native_mask & 4 ? 576 : 0;
	to->opmask = 0;
	to->zmm_hi256 = 0;
	to->hi16_zmm = 0;
	return 0;
}

static struct vmm_emulator emulator;

static void flat_segments(uint16_t code_attr)
{
	int i;

	for (i = VMM_ES; i <= VMM_GS; i++)
		emulator.state.segments.seg[i] = (struct vmm_segment){
			.limit = 0xffffffff, .attr = i == VMM_CS ? 0x89b | code_attr : 0xc93,
		};
}

/* 64-bit mode, as this process */
static void set_up(void)
{
	memset(&emulator, 0, sizeof(emulator));
	emulator.read = emulator_read;
	emulator.write = emulator_write;
	emulator.load_xstate = load_xstate;
	emulator.xstate = &xstate;
	emulator.state.control.cr0 = 0x80050033;
	emulator.state.control.cr4 = 0x406b0;
	emulator.state.control.efer = 0xd01;
	flat_segments(VMM_SEG_L);
	emulator.state.regs.rflags = 2;
	xstate.dirty = false;
	xstate_source = &no_context;
	fault_from = ~0ULL;
}

static uint64_t seed;

static uint64_t random64(void)
{
	seed ^= seed << 13;
	seed ^= seed >> 7;
	seed ^= seed << 17;
	return seed;
}

static void random_context(struct context *context)
{
	uint64_t *xsave = (uint64_t *)context->xsave;
	unsigned int i;

	for (i = 0; i < 16; i++)
		context->gpr[i] = random64();
	/* Now and then equal operands, and counts of all kinds */
	context->gpr[VMM_RCX] = random64() % 70;
	context->gpr[VMM_RBX] = random64() % 8;
	context->gpr[VMM_RBP] = random64() % 4096 - 2048;
	context->gpr[VMM_RSI] = (uintptr_t)memory + SOURCE;
	context->gpr[VMM_RDI] = (uintptr_t)memory + TARGET;
	context->gpr[VMM_RSP] = (uintptr_t)memory + STACK;
	context->rflags = 2 | (random64() & ALL) | (random64() & 0x400);
	memset(context->xsave, 0, sizeof(context->xsave));
	for (i = 160 / 8; i < 416 / 8; i++)
		xsave[i] = random64();
	for (i = 576 / 8; i < 832 / 8; i++)
		xsave[i] = random64();
	for (i = 32 / 8; i < 160 / 8; i++)
		xsave[i] = i % 2 ? random64() & 0xffff : random64();
	context->xsave[3] = random64() & 0x38;	/* top of the stack */
	context->xsave[4] = random64();
	context->xsave[0] = 0x7f;
	context->xsave[1] = 0x03;
	*(uint32_t *)(context->xsave + 24) = 0x1f80;
	/* A component that is absent holds zeros */
	xsave[512 / 8] = native_mask & (random64() % 4 ? 7 : random64());
}

static void random_memory(void)
{
	unsigned int i;

	for (i = 0; i < MEMORY_SIZE / 8; i++)
		((uint64_t *)memory)[i] = random64() % 8 ? random64() : random64() % 3;
	/* For comparisons that go on for a while */
	if (random64() & 1)
		memcpy(memory + TARGET, memory + SOURCE, 40);
	if (random64() & 1)
		memset(memory + TARGET, memory[TARGET], 24);
	memcpy(copy, memory, MEMORY_SIZE);
}

static uint64_t read_vector(const struct context *context, unsigned int at)
{
	const uint64_t *xsave = (const uint64_t *)context->xsave;
	unsigned int feature = at < 416 ? 1 : 2;

	return xsave[512 / 8] & 1 << feature ? xsave[at / 8] : 0;
}

static bool vectors_equal(const struct context *a, const struct context *b)
{
	unsigned int at;

	/*
	 * x87: top of the stack, tags, and the mantissas. MMX sets the exponents to all ones, but
	 * not on every emulated CPU.
	 */
	if (a->xsave[512] & b->xsave[512] & 1) {
		if ((a->xsave[3] ^ b->xsave[3]) & 0x38 || a->xsave[4] != b->xsave[4])
			return false;
		for (at = 32; at < 160; at += 16)
			if (memcmp(a->xsave + at, b->xsave + at, 8))
				return false;
	}

	for (at = 160; at < 416; at += 8)
		if (read_vector(a, at) != read_vector(b, at))
			return false;
	for (at = 576; at < 832 && (native_mask & 4); at += 8)
		if (read_vector(a, at) != read_vector(b, at))
			return false;
	return true;
}

/* One round: @before and memory are set. What differs, or NULL */
static const char *compare(const uint8_t *code, const uint8_t *end, uint64_t flags,
			   const struct context *before)
{
	static char text[200];
	struct context native = *before, emulated = *before;
	unsigned int i;
	int ret;

	set_up();
	memcpy(emulator.state.regs.gpr, before->gpr, sizeof(before->gpr));
	emulator.state.regs.rflags = before->rflags;
	emulator.state.regs.rip = (uintptr_t)code;
	emulator.state.events.shadow = VMM_SHADOW_STI;
	xstate_source = before;
	ret = vmm_emulate(&emulator, code, 15);
	if (ret) {
		snprintf(text, sizeof(text), "vmm_emulate() returns %d: %s", ret, emulator.message);
		return text;
	}
	native_code = code;
	native_context = &native;
	run_native();

	memcpy(emulated.gpr, emulator.state.regs.gpr, sizeof(emulated.gpr));
	if (xstate.dirty)
		memcpy(emulated.xsave, xstate.area, sizeof(emulated.xsave));
	for (i = 0; i < 16; i++) {
		if (native.gpr[i] == emulated.gpr[i])
			continue;
		snprintf(text, sizeof(text), "register %u is %llx, not %llx", i,
			 (unsigned long long)emulated.gpr[i], (unsigned long long)native.gpr[i]);
		return text;
	}
	if ((native.rflags ^ emulator.state.regs.rflags) & (flags & ALL)) {
		snprintf(text, sizeof(text), "flags are %llx, not %llx",
			 (unsigned long long)emulator.state.regs.rflags,
			 (unsigned long long)native.rflags);
		return text;
	}
	if (memcmp(memory, copy, MEMORY_SIZE))
		return "memory differs";
	if (!vectors_equal(&native, &emulated))
		return "vector registers differ";
	if (emulator.state.regs.rip != (uintptr_t)end)
		return "RIP is wrong";
	if (emulator.state.events.shadow)
		return "the interrupt shadow is still there";
	return NULL;
}

static bool has_avx(void)
{
	return __builtin_cpu_supports("avx");
}

static int find_native_mask(void)
{
	uint32_t a, b, c, d;

	if (!__get_cpuid(1, &a, &b, &c, &d) || !(c & 1 << 27))
		return -1;
	native_mask = has_avx() ? 7 : 3;
	return 0;
}

static bool can_run(const struct form *form)
{
	if (form->flags & AVX)
		return has_avx();
	if (!strncmp(form->text, "movbe", 5)) {
		uint32_t a, b, c, d;

		return __get_cpuid(1, &a, &b, &c, &d) && (c & 1 << 22);
	}
	if (!strncmp(form->text, "tzcnt", 5))
		return __builtin_cpu_supports("bmi");
	if (!strncmp(form->text, "lzcnt", 5)) {
		uint32_t a, b, c, d;

		return __get_cpuid(0x80000001, &a, &b, &c, &d) && (c & 1 << 5);
	}
	return true;
}

FIXTURE(emulator) {
	struct context context;
};

FIXTURE_SETUP(emulator)
{
	memory = mmap(NULL, MEMORY_SIZE, PROT_READ | PROT_WRITE,
		      MAP_PRIVATE | MAP_ANONYMOUS | MAP_32BIT, -1, 0);
	ASSERT_NE(MAP_FAILED, (void *)memory);
	seed = 0x123456789abcdefULL;
	xstate_loads = 0;
	if (find_native_mask())
		SKIP(return, "this CPU has no XSAVE");
}

FIXTURE_TEARDOWN(emulator)
{
	munmap(memory, MEMORY_SIZE);
}

TEST_F(emulator, as_the_cpu_does)
{
	const struct form *form;
	unsigned int round, forms = 0;

	for (form = __start_forms; form < __stop_forms; form++) {
		const char *wrong = NULL;

		if (!can_run(form))
			continue;
		forms++;
		for (round = 0; round < ROUNDS && !wrong; round++) {
			random_context(&self->context);
			random_memory();
			/* The source of a scan is zero, or the destination would be undefined */
			if (!strncmp(form->text, "bs", 2)) {
				memory[SOURCE] |= 0x10;
				copy[SOURCE] |= 0x10;
			}
			wrong = compare(form->code, form->end, form->flags & AVX ? ALL :
					form->flags, &self->context);
		}
		EXPECT_EQ(NULL, wrong) TH_LOG("%s: round %u: %s", form->text, round, wrong);
	}
	TH_LOG("%u forms", forms);
	EXPECT_LT(300, forms);
}

/* Divisions that do not fault here */
TEST_F(emulator, divisions)
{
	static const struct {
		uint8_t code[3];
		unsigned int bytes;
		bool is_signed;
	} forms[] = {
		{ { 0xf6, 0x36 }, 1, false }, { { 0xf7, 0x36 }, 4, false },
		{ { 0x48, 0xf7, 0x36 }, 8, false }, { { 0xf6, 0x3e }, 1, true },
		{ { 0xf7, 0x3e }, 4, true }, { { 0x48, 0xf7, 0x3e }, 8, true },
	};
	unsigned int i, round;

	for (i = 0; i < ARRAY_SIZE(forms); i++) {
		for (round = 0; round < 200; round++) {
			__u64 *gpr = emulator.state.regs.gpr;
			int64_t a, b, q, r;
			uint64_t mask = forms[i].bytes == 8 ? ~0ULL :
					(1ULL << 8 * forms[i].bytes) - 1;
			int ret;

			set_up();
			random_memory();
			a = random64() >> random64() % 64;
			b = random64() >> random64() % 64;
			if (forms[i].bytes == 1) {
				a = (int8_t)a;
				b = (int8_t)b;
			} else if (forms[i].bytes == 4) {
				a = (int32_t)a;
				b = (int32_t)b;
			}
			if (!forms[i].is_signed) {
				a &= mask;
				b &= mask;
			}
			if (!(b & mask) || (b == -1 && a == INT64_MIN))
				continue;
			memcpy(copy + SOURCE, &b, 8);
			gpr[VMM_RSI] = (uintptr_t)memory + SOURCE;
			gpr[VMM_RAX] = forms[i].bytes == 1 ? a & 0xffff : a & mask;
			gpr[VMM_RDX] = forms[i].is_signed && a < 0 ? mask : 0;
			if (forms[i].is_signed) {
				q = a / b;
				r = a % b;
			} else {
				q = (uint64_t)a / (uint64_t)b;
				r = (uint64_t)a % (uint64_t)b;
			}
			ret = vmm_emulate(&emulator, forms[i].code, 3);
			if (forms[i].is_signed && forms[i].bytes < 8 &&
			    (q > (int64_t)(mask >> 1) || q < -(int64_t)(mask >> 1) - 1)) {
				EXPECT_EQ(1, ret);
				EXPECT_EQ(0, emulator.fault.vector);
				continue;
			}
			ASSERT_EQ(0, ret);
			if (forms[i].bytes == 1) {
				EXPECT_EQ((q & 0xff) | (r & 0xff) << 8, gpr[VMM_RAX] & 0xffff);
			} else {
				EXPECT_EQ(q & mask, gpr[VMM_RAX]);
				EXPECT_EQ(r & mask, gpr[VMM_RDX]);
			}
		}
	}
}

TEST_F(emulator, division_faults)
{
	static const uint8_t div[] = { 0xf7, 0x36 }, idiv[] = { 0xf7, 0x3e };
	struct vmm_regs before;

	set_up();
	memset(copy, 0, sizeof(copy));
	emulator.state.regs.gpr[VMM_RSI] = (uintptr_t)memory;
	emulator.state.regs.gpr[VMM_RAX] = 0x80000000;
	emulator.state.regs.gpr[VMM_RDX] = 0xffffffff;
	before = emulator.state.regs;
	EXPECT_EQ(1, vmm_emulate(&emulator, div, 2));
	EXPECT_EQ(0, emulator.fault.vector);
	EXPECT_EQ(0, emulator.fault.has_error);
	copy[0] = 1;
	EXPECT_EQ(1, vmm_emulate(&emulator, div, 2)) TH_LOG("too large a quotient");
	EXPECT_EQ(0, vmm_emulate(&emulator, idiv, 2)) TH_LOG("the smallest integer by 1");
	emulator.state.regs = before;
	memset(copy, 0xff, 4);
	EXPECT_EQ(1, vmm_emulate(&emulator, idiv, 2)) TH_LOG("the smallest integer by -1");
	EXPECT_EQ(0, memcmp(&before, &emulator.state.regs, sizeof(before)));
}

TEST_F(emulator, jumps)
{
	struct context context = no_context;
	uint64_t target = (uintptr_t)landing;

	random_context(&context);
	random_memory();
	memcpy(memory + SOURCE, &target, 8);
	memcpy(copy + SOURCE, &target, 8);
	EXPECT_EQ(NULL, compare(jump_form, landing, ALL, &context));
	EXPECT_EQ(NULL, compare(call_form, landing, ALL, &context));
	EXPECT_EQ(NULL, compare(relative_form, landing, ALL, &context));
	memcpy(memory + STACK, &target, 8);
	memcpy(copy + STACK, &target, 8);
	EXPECT_EQ(NULL, compare(ret_form, landing, ALL, &context));

	target = 1ULL << 60;
	memcpy(copy + SOURCE, &target, 8);
	set_up();
	emulator.state.regs.gpr[VMM_RSI] = (uintptr_t)memory + SOURCE;
	emulator.state.regs.gpr[VMM_RSP] = (uintptr_t)memory + STACK;
	EXPECT_EQ(1, vmm_emulate(&emulator, call_form, 2));
	EXPECT_EQ(13, emulator.fault.vector);
	EXPECT_EQ((uintptr_t)memory + STACK, emulator.state.regs.gpr[VMM_RSP]);
}

TEST_F(emulator, misaligned_vectors)
{
	static const uint8_t movaps[] = { 0x0f, 0x28, 0x06 }, movups[] = { 0x0f, 0x10, 0x06 };
	static const uint8_t cmpxchg16b[] = { 0x48, 0x0f, 0xc7, 0x0e };

	random_context(&self->context);
	set_up();
	xstate_source = &self->context;
	emulator.state.regs.gpr[VMM_RSI] = (uintptr_t)memory + 8;
	EXPECT_EQ(1, vmm_emulate(&emulator, movaps, 3));
	EXPECT_EQ(13, emulator.fault.vector);
	EXPECT_EQ(1, emulator.fault.has_error);
	EXPECT_FALSE(xstate.dirty);
	EXPECT_EQ(1, vmm_emulate(&emulator, cmpxchg16b, 4));
	EXPECT_EQ(13, emulator.fault.vector);
	EXPECT_EQ(0, vmm_emulate(&emulator, movups, 3));
	EXPECT_TRUE(xstate.dirty);
}

/* Instructions on general registers do not ask for the extended state */
TEST_F(emulator, no_needless_xstate)
{
	static const uint8_t inc[] = { 0xff, 0x07 };

	set_up();
	emulator.state.regs.gpr[VMM_RDI] = (uintptr_t)memory;
	EXPECT_EQ(0, vmm_emulate(&emulator, inc, 2));
	EXPECT_EQ(0, xstate_loads);
}

TEST_F(emulator, page_faults_change_nothing)
{
	static const uint8_t xchg[] = { 0x87, 0x07 }, push[] = { 0xff, 0x36 };
	static const uint8_t cmpxchg[] = { 0x0f, 0xb1, 0x0f };
	struct vmm_regs before;

	set_up();
	random_memory();
	emulator.state.regs.gpr[VMM_RDI] = (uintptr_t)memory + TARGET;
	emulator.state.regs.gpr[VMM_RSI] = (uintptr_t)memory;
	emulator.state.regs.gpr[VMM_RSP] = (uintptr_t)memory + TARGET + 8;
	emulator.state.events.shadow = VMM_SHADOW_MOV_SS;
	before = emulator.state.regs;
	fault_from = (uintptr_t)memory + TARGET;
	EXPECT_EQ(1, vmm_emulate(&emulator, xchg, 2));
	EXPECT_EQ(14, emulator.fault.vector);
	EXPECT_EQ(2, emulator.fault.error) TH_LOG("a read that will be written counts as a write");
	EXPECT_EQ((uintptr_t)memory + TARGET, emulator.fault.payload);
	EXPECT_EQ(1, vmm_emulate(&emulator, cmpxchg, 3));
	EXPECT_EQ(1, vmm_emulate(&emulator, push, 2));
	EXPECT_EQ(0, memcmp(&before, &emulator.state.regs, sizeof(before)));
	EXPECT_EQ(VMM_SHADOW_MOV_SS, emulator.state.events.shadow);
	EXPECT_EQ(0, memcmp(memory, copy, MEMORY_SIZE));
}

/* What was moved before the fault stays moved, and the instruction goes on from there */
TEST_F(emulator, fault_in_a_repetition)
{
	static const uint8_t movsb[] = { 0xf3, 0xa4 };

	set_up();
	random_memory();
	emulator.state.regs.rip = 0x1000;
	emulator.state.regs.gpr[VMM_RCX] = 100;
	emulator.state.regs.gpr[VMM_RSI] = (uintptr_t)memory;
	emulator.state.regs.gpr[VMM_RDI] = (uintptr_t)memory + TARGET;
	emulator.state.events.shadow = VMM_SHADOW_STI;
	fault_from = (uintptr_t)memory + TARGET + 30;
	EXPECT_EQ(1, vmm_emulate(&emulator, movsb, 2));
	EXPECT_EQ(0, emulator.state.events.shadow);
	EXPECT_EQ(70, emulator.state.regs.gpr[VMM_RCX]);
	EXPECT_EQ(0x1000, emulator.state.regs.rip);
	EXPECT_EQ((uintptr_t)memory + 30, emulator.state.regs.gpr[VMM_RSI]);
	EXPECT_EQ(0, memcmp(copy, copy + TARGET, 30));
	EXPECT_EQ(memory[TARGET + 30], copy[TARGET + 30]);
	fault_from = ~0ULL;
	EXPECT_EQ(0, vmm_emulate(&emulator, movsb, 2));
	EXPECT_EQ(0x1002, emulator.state.regs.rip);
	EXPECT_EQ(0, memcmp(copy, copy + TARGET, 100));
}

/* RF is clear behind an instruction, and is set again, or still, as long as it goes on */
TEST_F(emulator, resume_flag)
{
	static const uint8_t lodsb[] = { 0xf3, 0xac }, inc[] = { 0xff, 0x06 };

	set_up();
	emulator.state.regs.rflags |= RF;
	emulator.state.regs.gpr[VMM_RCX] = 1500;
	emulator.state.regs.gpr[VMM_RSI] = (uintptr_t)memory;
	ASSERT_EQ(0, vmm_emulate(&emulator, lodsb, 2));
	ASSERT_EQ(0, emulator.state.regs.rip);
	EXPECT_EQ(RF, emulator.state.regs.rflags & RF);
	fault_from = emulator.state.regs.gpr[VMM_RSI] + 10;
	EXPECT_EQ(1, vmm_emulate(&emulator, lodsb, 2));
	EXPECT_EQ(RF, emulator.state.regs.rflags & RF);
	EXPECT_EQ(1, vmm_emulate(&emulator, inc, 2));
	EXPECT_EQ(RF, emulator.state.regs.rflags & RF);
	fault_from = ~0ULL;
	EXPECT_EQ(0, vmm_emulate(&emulator, lodsb, 2));
	EXPECT_EQ(2, emulator.state.regs.rip);
	EXPECT_EQ(0, emulator.state.regs.rflags & RF);
}

/* A long repetition comes back for signals and interrupts, one of a guest that steps for its #DB */
TEST_F(emulator, long_repetition)
{
	static const uint8_t lodsb[] = { 0xf3, 0xac };
	unsigned int calls = 0;

	set_up();
	emulator.state.regs.gpr[VMM_RCX] = 5000;
	emulator.state.regs.gpr[VMM_RSI] = (uintptr_t)memory;
	while (emulator.state.regs.rip == 0 && calls < 100) {
		ASSERT_EQ(0, vmm_emulate(&emulator, lodsb, 2));
		EXPECT_EQ(emulator.state.regs.rip ? 0 : RF, emulator.state.regs.rflags & RF);
		calls++;
	}
	EXPECT_EQ(2, emulator.state.regs.rip);
	EXPECT_EQ(0, emulator.state.regs.gpr[VMM_RCX]);
	EXPECT_LT(1, calls);

	set_up();
	emulator.state.regs.rflags |= TF;
	emulator.state.regs.gpr[VMM_RSI] = (uintptr_t)memory;
	for (calls = 3; calls; calls--) {
		emulator.state.regs.gpr[VMM_RCX] = calls;
		ASSERT_EQ(0, vmm_emulate(&emulator, lodsb, 2));
		EXPECT_EQ(calls - 1, emulator.state.regs.gpr[VMM_RCX]);
		EXPECT_EQ(calls > 1 ? RF | TF : TF, emulator.state.regs.rflags & (RF | TF));
		EXPECT_EQ(calls > 1 ? 0 : 2, emulator.state.regs.rip);
	}
}

/* ---- other modes ---- */

static void real_mode(void)
{
	int i;

	set_up();
	emulator.state.control.cr0 = 0x10;
	emulator.state.control.efer = 0;
	for (i = VMM_ES; i <= VMM_GS; i++)
		emulator.state.segments.seg[i] = (struct vmm_segment){
			.limit = 0xffff, .attr = 0x93,
		};
	emulator.state.segments.seg[VMM_DS].base = (uintptr_t)memory;
	emulator.state.segments.seg[VMM_ES].base = (uintptr_t)memory + 0x1000;
}

TEST_F(emulator, real_mode)
{
	static const uint8_t inc[] = { 0xff, 0x47, 0x10 };	/* incw 0x10(%bx) */
	static const uint8_t movsw[] = { 0xf3, 0xa5 }, es_inc[] = { 0x26, 0xff, 0x07 };

	real_mode();
	random_memory();
	memset(copy + 0x20, 0xff, 2);
	emulator.state.regs.rip = 0xffff;
	emulator.state.regs.gpr[VMM_RBX] = 0x12340010;
	EXPECT_EQ(0, vmm_emulate(&emulator, inc, 3));
	EXPECT_EQ(0, copy[0x20] | copy[0x21]);
	EXPECT_EQ(ZF, emulator.state.regs.rflags & ZF);
	EXPECT_EQ(0x10002, emulator.state.regs.rip) TH_LOG("it is the limit that stops IP");

	memset(copy + 0x1010, 0, 2);
	EXPECT_EQ(0, vmm_emulate(&emulator, es_inc, 3));
	EXPECT_EQ(1, copy[0x1010]);

	emulator.state.regs.gpr[VMM_RCX] = 0x50004;
	emulator.state.regs.gpr[VMM_RSI] = 0x70000;
	emulator.state.regs.gpr[VMM_RDI] = 0x80100;
	EXPECT_EQ(0, vmm_emulate(&emulator, movsw, 2));
	EXPECT_EQ(0x50000, emulator.state.regs.gpr[VMM_RCX]) TH_LOG("the upper half stays");
	EXPECT_EQ(0x70008, emulator.state.regs.gpr[VMM_RSI]);
	EXPECT_EQ(0x80108, emulator.state.regs.gpr[VMM_RDI]);
	EXPECT_EQ(0, memcmp(copy, copy + 0x1100, 8));
}

/* RIP has 32 bits in all code that is not 64-bit code, which a limit of 4 GiB lets it use */
TEST_F(emulator, rip_width)
{
	static const uint8_t nop[] = { 0x0f, 0x1f, 0x00 };	/* nopl (%eax), nopw (%bx,%si) */

	real_mode();
	emulator.state.regs.rip = 0x12345678;
	EXPECT_EQ(0, vmm_emulate(&emulator, nop, 3));
	EXPECT_EQ(0x1234567b, emulator.state.regs.rip);
	emulator.state.regs.rip = 0xfffffffe;
	EXPECT_EQ(0, vmm_emulate(&emulator, nop, 3));
	EXPECT_EQ(1, emulator.state.regs.rip);
	set_up();
	flat_segments(VMM_SEG_DB);
	emulator.state.regs.rip = 0xfffffffe;
	EXPECT_EQ(0, vmm_emulate(&emulator, nop, 3));
	EXPECT_EQ(1, emulator.state.regs.rip);
	set_up();
	emulator.state.regs.rip = 0xfffffffe;
	EXPECT_EQ(0, vmm_emulate(&emulator, nop, 3));
	EXPECT_EQ(0x100000001, emulator.state.regs.rip);
}

/* How much of RSP counts is the stack segment's affair, but in 64-bit mode */
TEST_F(emulator, stack_width)
{
	static const uint8_t push[] = { 0x50 }, pop[] = { 0x5b };	/* RAX, RBX */
	static const uint8_t leave[] = { 0xc9 };
	struct vmm_segment *ss = &emulator.state.segments.seg[VMM_SS];
	__u64 *gpr = emulator.state.regs.gpr;

	/* 32-bit code on a stack of 64 KiB */
	set_up();
	memset(copy, 0, sizeof(copy));
	flat_segments(VMM_SEG_DB);
	*ss = (struct vmm_segment){ .base = (uintptr_t)memory, .limit = 0xffff, .attr = 0x93 };
	gpr[VMM_RSP] = 0x12340000 | STACK;
	gpr[VMM_RAX] = 0x89abcdef;
	EXPECT_EQ(0, vmm_emulate(&emulator, push, 1));
	EXPECT_EQ(0x12340000 | (STACK - 4), gpr[VMM_RSP]);
	EXPECT_EQ(0, memcmp(copy + STACK - 4, &gpr[VMM_RAX], 4));
	EXPECT_EQ(0, vmm_emulate(&emulator, pop, 1));
	EXPECT_EQ(0x12340000 | STACK, gpr[VMM_RSP]);
	EXPECT_EQ(0x89abcdef, gpr[VMM_RBX]);
	gpr[VMM_RSP] = 0x12340000;
	gpr[VMM_RBP] = 0x56780000 | (STACK - 4);
	EXPECT_EQ(0, vmm_emulate(&emulator, leave, 1));
	EXPECT_EQ(0x12340000 | STACK, gpr[VMM_RSP]);
	EXPECT_EQ(0x89abcdef, gpr[VMM_RBP]);

	/* 16-bit code on one of 4 GiB, in protected mode and in real mode */
	set_up();
	flat_segments(0);
	gpr[VMM_RSP] = (uintptr_t)memory + STACK;
	gpr[VMM_RAX] = 0x4321;
	EXPECT_EQ(0, vmm_emulate(&emulator, push, 1));
	EXPECT_EQ((uintptr_t)memory + STACK - 2, gpr[VMM_RSP]);
	EXPECT_EQ(0, memcmp(copy + STACK - 2, &gpr[VMM_RAX], 2));
	real_mode();
	*ss = (struct vmm_segment){ .limit = 0xffffffff, .attr = 0xc93 };
	gpr[VMM_RSP] = (uintptr_t)memory + STACK - 2;
	EXPECT_EQ(0, vmm_emulate(&emulator, pop, 1));
	EXPECT_EQ((uintptr_t)memory + STACK, gpr[VMM_RSP]);
	EXPECT_EQ(0x4321, gpr[VMM_RBX]);

	set_up();
	ss->attr &= ~VMM_SEG_DB;
	gpr[VMM_RSP] = (uintptr_t)memory + STACK - 4;
	EXPECT_EQ(0, vmm_emulate(&emulator, pop, 1));
	EXPECT_EQ((uintptr_t)memory + STACK + 4, gpr[VMM_RSP]);
}

TEST_F(emulator, segment_limits)
{
	static const uint8_t inc[] = { 0xff, 0x07 };		/* incl (%edi) */
	static const uint8_t cmp[] = { 0x39, 0x07 };		/* cmpl %eax, (%edi) */
	static const uint8_t ss_inc[] = { 0x36, 0xff, 0x07 };
	struct vmm_segment *ds = &emulator.state.segments.seg[VMM_DS];

	set_up();
	random_memory();
	flat_segments(VMM_SEG_DB);
	ds->base = (uintptr_t)memory;
	ds->limit = 0x1002;
	emulator.state.regs.gpr[VMM_RDI] = 0xffe;
	EXPECT_EQ(0, vmm_emulate(&emulator, inc, 2));
	emulator.state.regs.gpr[VMM_RDI] = 0x1000;
	EXPECT_EQ(1, vmm_emulate(&emulator, inc, 2)) TH_LOG("a byte too far");
	EXPECT_EQ(13, emulator.fault.vector);
	ds->attr |= 4;		/* expands down */
	EXPECT_EQ(1, vmm_emulate(&emulator, inc, 2));
	emulator.state.regs.gpr[VMM_RDI] = 0x1003;
	EXPECT_EQ(0, vmm_emulate(&emulator, inc, 2));
	ds->attr = 0xc91;	/* read-only */
	ds->limit = 0xffffffff;
	EXPECT_EQ(0, vmm_emulate(&emulator, cmp, 2));
	EXPECT_EQ(1, vmm_emulate(&emulator, inc, 2));
	ds->attr = 0;		/* unusable */
	EXPECT_EQ(1, vmm_emulate(&emulator, cmp, 2));
	EXPECT_EQ(13, emulator.fault.vector);
	emulator.state.segments.seg[VMM_SS].limit = 0x10;
	EXPECT_EQ(1, vmm_emulate(&emulator, ss_inc, 3));
	EXPECT_EQ(12, emulator.fault.vector);
	EXPECT_EQ(0, emulator.fault.error);
}

/* A near jump, call or return behind the limit of CS faults where it stands */
TEST_F(emulator, jump_limits)
{
	static const uint8_t jmp[] = { 0xe9, 0x00, 0x10, 0x00, 0x00 };	/* by 0x1000 */
	static const uint8_t call[] = { 0xe8, 0x00, 0x10, 0x00, 0x00 }, ret[] = { 0xc3 };
	static const uint8_t jmp_rsi[] = { 0xff, 0x26 }, jmp16[] = { 0x66, 0xff, 0x26 };
	static const uint8_t jmp32[] = { 0x66, 0xe9, 0x00, 0x00, 0x01, 0x00 };	/* by 0x10000 */
	struct vmm_segment *cs = &emulator.state.segments.seg[VMM_CS];
	const uint32_t target = 0x21001;
	struct vmm_regs before;

	set_up();
	flat_segments(VMM_SEG_DB);
	cs->limit = 0x1005;
	memcpy(copy, &target, 4);
	memcpy(copy + STACK, &target, 4);
	emulator.state.regs.rip = 1;
	emulator.state.regs.gpr[VMM_RSI] = (uintptr_t)memory;
	emulator.state.regs.gpr[VMM_RSP] = (uintptr_t)memory + STACK;
	before = emulator.state.regs;
	EXPECT_EQ(1, vmm_emulate(&emulator, jmp, 5)) TH_LOG("a byte too far");
	EXPECT_EQ(13, emulator.fault.vector);
	EXPECT_EQ(0, emulator.fault.error);
	EXPECT_EQ(1, vmm_emulate(&emulator, call, 5));
	EXPECT_EQ(1, vmm_emulate(&emulator, jmp_rsi, 2));
	EXPECT_EQ(1, vmm_emulate(&emulator, ret, 1));
	EXPECT_EQ(13, emulator.fault.vector);
	EXPECT_EQ(0, memcmp(&before, &emulator.state.regs, sizeof(before)));
	EXPECT_EQ(0, vmm_emulate(&emulator, jmp16, 3));
	EXPECT_EQ(0x1001, emulator.state.regs.rip) TH_LOG("16 bits of the target are below it");
	emulator.state.regs.rip = 0;
	EXPECT_EQ(0, vmm_emulate(&emulator, jmp, 5));
	EXPECT_EQ(0x1005, emulator.state.regs.rip);

	real_mode();
	EXPECT_EQ(1, vmm_emulate(&emulator, jmp32, 6));
	EXPECT_EQ(13, emulator.fault.vector);
	EXPECT_EQ(0, emulator.state.regs.rip);
	emulator.state.segments.seg[VMM_CS].limit = 0xffffffff;
	EXPECT_EQ(0, vmm_emulate(&emulator, jmp32, 6));
	EXPECT_EQ(0x10006, emulator.state.regs.rip);

	set_up();
	cs->limit = 0;
	EXPECT_EQ(0, vmm_emulate(&emulator, jmp, 5)) TH_LOG("64-bit mode knows no limits");
	EXPECT_EQ(0x1005, emulator.state.regs.rip);
}

TEST_F(emulator, not_canonical)
{
	static const uint8_t inc[] = { 0xff, 0x07 }, push[] = { 0xff, 0x36 };

	set_up();
	emulator.state.regs.gpr[VMM_RDI] = 0x800000000000;
	EXPECT_EQ(1, vmm_emulate(&emulator, inc, 2));
	EXPECT_EQ(13, emulator.fault.vector);
	emulator.state.regs.gpr[VMM_RSI] = (uintptr_t)memory;
	emulator.state.regs.gpr[VMM_RSP] = 0x800000000010;
	EXPECT_EQ(1, vmm_emulate(&emulator, push, 2));
	EXPECT_EQ(12, emulator.fault.vector);
}

/* With LAM the bits between a pointer's own and bit 63 have no meaning, in the lower half. */
TEST_F(emulator, tagged_pointers)
{
	static const uint8_t inc[] = { 0xff, 0x07 };

	set_up();
	emulator.state.control.cr3 |= 1ULL << 62;
	emulator.state.regs.gpr[VMM_RDI] = (uintptr_t)memory | 0x5aULL << 48;
	EXPECT_EQ(0, vmm_emulate(&emulator, inc, 2));
	/* The highest of its own bits is no tag with 48 of them, nor is bit 63 with 57. */
	emulator.state.regs.gpr[VMM_RDI] = (uintptr_t)memory | 1ULL << 63;
	EXPECT_EQ(1, vmm_emulate(&emulator, inc, 2));
	emulator.state.regs.gpr[VMM_RDI] = 0x800000000000;
	EXPECT_EQ(1, vmm_emulate(&emulator, inc, 2));
	EXPECT_EQ(13, emulator.fault.vector);
	emulator.state.control.cr3 = 1ULL << 61;
	emulator.state.regs.gpr[VMM_RDI] = (uintptr_t)memory | 0x2dULL << 57;
	EXPECT_EQ(0, vmm_emulate(&emulator, inc, 2));
	emulator.state.regs.gpr[VMM_RDI] = (uintptr_t)memory | 1ULL << 48;
	EXPECT_EQ(1, vmm_emulate(&emulator, inc, 2));
}

/* ---- alignment ---- */

/* What user mode with CR0.AM and RFLAGS.AC gets of an operand at @offset of the memory */
static int run_at(unsigned int offset, const uint8_t *code, size_t length)
{
	int ret;

	emulator.state.regs.gpr[VMM_RSI] = (uintptr_t)memory + offset;
	emulator.state.regs.gpr[VMM_RDI] = (uintptr_t)memory + offset;
	emulator.state.regs.gpr[VMM_RSP] = (uintptr_t)memory + STACK + offset;
	memset(copy, 0, sizeof(copy));
	ret = vmm_emulate(&emulator, code, length);
	return ret == 1 ? emulator.fault.vector : ret;
}

static void check_alignment(uint64_t cr0, uint64_t rflags, unsigned int privilege)
{
	set_up();
	emulator.state.control.cr0 = (emulator.state.control.cr0 & ~(uint64_t)AM) | cr0;
	emulator.state.regs.rflags |= rflags;
	emulator.state.segments.seg[VMM_SS].attr |= privilege << VMM_SEG_DPL_SHIFT;
}

TEST_F(emulator, alignment)
{
	static const struct {
		uint8_t code[5];
		uint8_t alignment;
	} forms[] = {
		{ { 0xfe, 0x06 }, 1 },				/* incb (%rsi) */
		{ { 0x66, 0xff, 0x06 }, 2 },			/* incw (%rsi) */
		{ { 0xff, 0x06 }, 4 },				/* incl (%rsi) */
		{ { 0x48, 0xff, 0x06 }, 8 },			/* incq (%rsi) */
		{ { 0x8b, 0x06 }, 4 },				/* movl (%rsi), %eax */
		{ { 0x88, 0x06 }, 1 },				/* movb %al, (%rsi) */
		{ { 0x89, 0x06 }, 4 },				/* movl %eax, (%rsi) */
		{ { 0x0f, 0xb7, 0x06 }, 2 },			/* movzwl (%rsi), %eax */
		{ { 0x0f, 0xab, 0x06 }, 4 },			/* btsl %eax, (%rsi) */
		{ { 0x0f, 0xc7, 0x0e }, 8 },			/* cmpxchg8b (%rsi) */
		{ { 0x50 }, 8 },				/* pushq %rax */
		{ { 0x66, 0x58 }, 2 },				/* popw %ax */
		{ { 0xa5 }, 4 },				/* movsl */
		{ { 0xf3, 0x0f, 0x10, 0x06 }, 4 },		/* movss (%rsi), %xmm0 */
		{ { 0x66, 0x0f, 0xd6, 0x06 }, 8 },		/* movq %xmm0, (%rsi) */
		{ { 0x0f, 0x10, 0x06 }, 1 },			/* movups (%rsi), %xmm0 */
		{ { 0x0f, 0x01, 0x06 }, 4 },			/* sgdt (%rsi) */
	};
	unsigned int i, offset;

	random_context(&self->context);
	for (i = 0; i < ARRAY_SIZE(forms); i++) {
		for (offset = 0; offset < 8; offset++) {
			check_alignment(AM, AC, 3);
			xstate_source = &self->context;
			EXPECT_EQ(offset % forms[i].alignment ? 17 : 0,
				  run_at(offset, forms[i].code, sizeof(forms[i].code)))
				TH_LOG("form %u at %u", i, offset);
		}
	}
}

TEST_F(emulator, alignment_unchecked)
{
	static const uint8_t inc[] = { 0xff, 0x06 };

	check_alignment(AM, AC, 3);
	EXPECT_EQ(17, run_at(1, inc, 2));
	EXPECT_EQ(1, emulator.fault.has_error);
	EXPECT_EQ(0, emulator.fault.error);
	EXPECT_EQ(0, copy[1]) TH_LOG("nothing has changed");
	check_alignment(0, AC, 3);
	EXPECT_EQ(0, run_at(1, inc, 2));
	check_alignment(AM, 0, 3);
	EXPECT_EQ(0, run_at(1, inc, 2));
	check_alignment(AM, AC, 0);
	EXPECT_EQ(0, run_at(1, inc, 2));
}

/* An offset has to lie as one of its size does, the selector behind it anywhere */
TEST_F(emulator, alignment_of_far_pointers)
{
	static const uint8_t ljmp[] = { 0xff, 0x2e }, ljmp16[] = { 0xff, 0x2e, 0x02, 0x00 };

	check_alignment(AM, AC, 3);
	EXPECT_EQ(17, run_at(2, ljmp, 2));
	EXPECT_EQ(13, run_at(4, ljmp, 2)) TH_LOG("a selector of zero");
	real_mode();
	emulator.state.control.cr0 |= AM | 1;
	emulator.state.regs.rflags |= AC | VM;
	EXPECT_EQ(0, run_at(0, ljmp16, 4)) TH_LOG("*2, in virtual-8086 mode");
	emulator.state.segments.seg[VMM_DS].base++;
	EXPECT_EQ(17, run_at(0, ljmp16, 4));
}

/* Descriptors are read as the supervisor reads */
TEST_F(emulator, alignment_of_descriptors)
{
	static const uint8_t mov_fs[] = { 0x8e, 0x26 };
	static const uint64_t data = 0x00cff2000000ffff;
	struct vmm_segment *gdtr = &emulator.state.segments.seg[VMM_GDTR];

	check_alignment(AM, AC, 3);
	gdtr->base = (uintptr_t)memory + 0x101;
	gdtr->limit = 15;
	emulator.state.regs.gpr[VMM_RSI] = (uintptr_t)memory;
	memcpy(copy, "\x0b", 2);
	memcpy(copy + 0x109, &data, 8);
	EXPECT_EQ(0, vmm_emulate(&emulator, mov_fs, 2));
	EXPECT_EQ(0xb, emulator.state.segments.seg[VMM_FS].selector);
}

/* ---- segments and tables ---- */

#define GDT_OFFSET	0x100

/* A GDT at GDT_OFFSET of the memory, by a base of 32 bits */
static void set_gdt(const uint64_t *descriptors, size_t bytes)
{
	struct vmm_segment *gdtr = &emulator.state.segments.seg[VMM_GDTR];

	memcpy(copy + GDT_OFFSET, descriptors, bytes);
	gdtr->base = (uintptr_t)memory + GDT_OFFSET;
	gdtr->limit = bytes - 1;
}

static const uint64_t gdt[] = {
	0,
	0x00af9a000000ffff,	/* 0x08: 64-bit code, not accessed */
	0x00cf92000000ffff,	/* 0x10: data, not accessed */
	0x00cf9a000000ffff,	/* 0x18: 32-bit code */
	0x00cf12000000ffff,	/* 0x20: data, not present */
	0x12408934567889ab,	/* 0x28: TSS of 16 bytes, base 0x98765432_12345678 */
	0x0000000098765432,
	0x00cff2000000ffff,	/* 0x38: data of privilege 3 */
	0x0000820000000fff,	/* 0x40: LDT */
	0x0000000000000000,
};

/* At offset 0 of the memory lies the operand, which RSI points to */
static int run_with(const void *operand, size_t bytes, const uint8_t *code, size_t length)
{
	memcpy(copy, operand, bytes);
	emulator.state.regs.gpr[VMM_RSI] = (uintptr_t)memory;
	return vmm_emulate(&emulator, code, length);
}

TEST_F(emulator, tables)
{
	static const uint8_t lgdt[] = { 0x0f, 0x01, 0x16 }, lidt[] = { 0x0f, 0x01, 0x1e };
	static const uint8_t sgdt[] = { 0x0f, 0x01, 0x06 }, sidt[] = { 0x0f, 0x01, 0x0e };
	static const uint8_t table[] = { 0x34, 0x12, 1, 2, 3, 4, 5, 0, 0, 0, 0x77 };
	static const uint8_t bad[] = { 0x34, 0x12, 1, 2, 3, 4, 5, 0, 0, 1 };
	struct vmm_segment *seg = emulator.state.segments.seg;

	set_up();
	EXPECT_EQ(0, run_with(table, sizeof(table), lgdt, 3));
	EXPECT_EQ(0x1234, seg[VMM_GDTR].limit);
	EXPECT_EQ(0x0504030201, seg[VMM_GDTR].base);
	EXPECT_EQ(VMM_STATE_SEGMENTS, emulator.changed);
	EXPECT_EQ(0, run_with(table, sizeof(table), lidt, 3));
	EXPECT_EQ(0x0504030201, seg[VMM_IDTR].base);
	EXPECT_EQ(1, run_with(bad, sizeof(bad), lgdt, 3)) TH_LOG("not canonical");
	EXPECT_EQ(13, emulator.fault.vector);
	EXPECT_EQ(0, run_with("", 1, sgdt, 3));
	EXPECT_EQ(0, memcmp(copy, table, 10));
	EXPECT_EQ(0, run_with("", 1, sidt, 3));
	EXPECT_EQ(0, memcmp(copy, table, 10));
	EXPECT_EQ(0, emulator.changed);

	real_mode();
	emulator.state.segments.seg[VMM_DS].base = (uintptr_t)memory;
	memcpy(copy, table, sizeof(table));
	static const uint8_t lgdt16[] = { 0x0f, 0x01, 0x16, 0, 0 };	/* lgdtw 0 */
	static const uint8_t lgdt32[] = { 0x66, 0x0f, 0x01, 0x16, 0, 0 };

	EXPECT_EQ(0, vmm_emulate(&emulator, lgdt16, 5));
	EXPECT_EQ(0x030201, seg[VMM_GDTR].base) TH_LOG("24 bits");
	EXPECT_EQ(0, vmm_emulate(&emulator, lgdt32, 6));
	EXPECT_EQ(0x04030201, seg[VMM_GDTR].base);

	set_up();
	seg[VMM_SS].attr |= 3 << VMM_SEG_DPL_SHIFT;
	EXPECT_EQ(1, run_with(table, sizeof(table), lgdt, 3)) TH_LOG("privilege");
	EXPECT_EQ(13, emulator.fault.vector);
}

TEST_F(emulator, segment_loads)
{
	static const uint8_t mov_ds[] = { 0x8e, 0x1e }, mov_ss[] = { 0x8e, 0x16 };
	static const uint8_t mov_fs[] = { 0x8e, 0x26 };
	struct vmm_segment *seg = emulator.state.segments.seg;

	set_up();
	set_gdt(gdt, sizeof(gdt));
	EXPECT_EQ(0, run_with("\x10", 2, mov_ds, 2));
	EXPECT_EQ(0x10, seg[VMM_DS].selector);
	EXPECT_EQ(0xc93, seg[VMM_DS].attr);
	EXPECT_EQ(0xffffffff, seg[VMM_DS].limit);
	EXPECT_EQ(0x93, copy[GDT_OFFSET + 0x15]) TH_LOG("accessed");
	EXPECT_EQ(0, emulator.state.events.shadow);
	EXPECT_EQ(0, run_with("\x10", 2, mov_ss, 2));
	EXPECT_EQ(VMM_SHADOW_MOV_SS, emulator.state.events.shadow);
	EXPECT_EQ(0, run_with("\x3b", 2, mov_fs, 2)) TH_LOG("privilege 3, requested as 3");
	EXPECT_EQ(0x3b, seg[VMM_FS].selector);
	EXPECT_EQ(0, run_with("\0", 2, mov_fs, 2));
	EXPECT_EQ(0, seg[VMM_FS].attr & VMM_SEG_P);

	EXPECT_EQ(1, run_with("\x38", 2, mov_ss, 2)) TH_LOG("a stack of privilege 3");
	EXPECT_EQ(13, emulator.fault.vector);
	EXPECT_EQ(0x38, emulator.fault.error);
	EXPECT_EQ(1, run_with("\x08", 2, mov_ss, 2)) TH_LOG("code is no stack");
	EXPECT_EQ(1, run_with("\x20", 2, mov_ss, 2));
	EXPECT_EQ(12, emulator.fault.vector) TH_LOG("absent");
	EXPECT_EQ(1, run_with("\x20", 2, mov_ds, 2));
	EXPECT_EQ(11, emulator.fault.vector);
	EXPECT_EQ(0x20, emulator.fault.error);
	EXPECT_EQ(1, run_with("\x28", 2, mov_ds, 2)) TH_LOG("a system segment");
	EXPECT_EQ(1, run_with("\x50", 2, mov_ds, 2)) TH_LOG("behind the table");
	EXPECT_EQ(1, run_with("\x14", 2, mov_ds, 2)) TH_LOG("there is no LDT");
	EXPECT_EQ(0x14, emulator.fault.error);
	EXPECT_EQ(0x10, seg[VMM_DS].selector);
}

TEST_F(emulator, system_segments)
{
	static const uint8_t lldt[] = { 0x0f, 0x00, 0x16 }, ltr[] = { 0x0f, 0x00, 0x1e };
	static const uint8_t sldt[] = { 0x0f, 0x00, 0x06 }, str[] = { 0x0f, 0x00, 0x0e };
	struct vmm_segment *seg = emulator.state.segments.seg;

	set_up();
	set_gdt(gdt, sizeof(gdt));
	EXPECT_EQ(0, run_with("\x28", 2, ltr, 3));
	EXPECT_EQ(0x28, seg[VMM_TR].selector);
	EXPECT_EQ(0x9876543212345678, seg[VMM_TR].base);
	EXPECT_EQ(0x8b, seg[VMM_TR].attr & 0xff) TH_LOG("busy");
	EXPECT_EQ(0x8b, copy[GDT_OFFSET + 0x2d]);
	EXPECT_EQ(1, run_with("\x28", 2, ltr, 3)) TH_LOG("busy already");
	EXPECT_EQ(13, emulator.fault.vector);
	EXPECT_EQ(1, run_with("\0", 2, ltr, 3));
	EXPECT_EQ(0, run_with("\x40", 2, lldt, 3));
	EXPECT_EQ(0x40, seg[VMM_LDTR].selector);
	EXPECT_EQ(0xfff, seg[VMM_LDTR].limit);
	EXPECT_EQ(1, run_with("\x10", 2, lldt, 3));
	EXPECT_EQ(0, run_with("\xff\xff\xff", 3, sldt, 3));
	EXPECT_EQ(0x40, copy[0]);
	EXPECT_EQ(0xff, copy[2]) TH_LOG("two bytes");
	EXPECT_EQ(0, run_with("\0", 2, str, 3));
	EXPECT_EQ(0x28, copy[0]);
	EXPECT_EQ(0, run_with("\0", 2, lldt, 3));
	EXPECT_EQ(0, seg[VMM_LDTR].attr);
	static const uint8_t ltr16[] = { 0x0f, 0x00, 0x1f };		/* ltr (%bx) */

	real_mode();
	EXPECT_EQ(1, vmm_emulate(&emulator, ltr16, 3));
	EXPECT_EQ(6, emulator.fault.vector);
}

TEST_F(emulator, machine_status)
{
	static const uint8_t smsw[] = { 0x0f, 0x01, 0x26 }, lmsw[] = { 0x0f, 0x01, 0x36 };

	set_up();
	EXPECT_EQ(0, run_with("\0\0\xee", 3, smsw, 3));
	EXPECT_EQ(0x33, copy[0]);
	EXPECT_EQ(0, copy[1]);
	EXPECT_EQ(0xee, copy[2]);
	EXPECT_EQ(0, run_with("\xfc\xff", 2, lmsw, 3));
	EXPECT_EQ(0x8005003d, emulator.state.control.cr0) TH_LOG("PE stays, ET is not written");
	EXPECT_EQ(VMM_STATE_CONTROL, emulator.changed);
}

/* User mode stores none of these where CR4.UMIP says so */
TEST_F(emulator, umip)
{
	static const uint8_t stores[][3] = {
		{ 0x0f, 0x01, 0x06 }, { 0x0f, 0x01, 0x0e },	/* sgdt, sidt (%rsi) */
		{ 0x0f, 0x00, 0x06 }, { 0x0f, 0x00, 0x0e },	/* sldt, str (%rsi) */
		{ 0x0f, 0x01, 0x26 },				/* smsw (%rsi) */
	};
	static const uint8_t sldt16[] = { 0x0f, 0x00, 0x06, 0, 0 };
	unsigned int i, privilege, umip;

	for (i = 0; i < ARRAY_SIZE(stores); i++) {
		for (umip = 0; umip < 2; umip++) {
			for (privilege = 0; privilege < 4; privilege += 3) {
				bool refused = umip && privilege;

				set_up();
				emulator.state.control.cr4 |= umip << 11;
				emulator.state.segments.seg[VMM_SS].attr |=
					privilege << VMM_SEG_DPL_SHIFT;
				/* The operand is not looked at. */
				fault_from = refused ? 0 : ~0ULL;
				EXPECT_EQ(refused, run_with("", 1, stores[i], 3));
				EXPECT_EQ(refused ? 13 : 0, emulator.fault.vector);
				EXPECT_EQ(refused, emulator.fault.has_error);
				EXPECT_EQ(0, emulator.fault.error);
			}
		}
	}
	real_mode();
	emulator.state.control.cr4 |= 1 << 11;
	EXPECT_EQ(1, vmm_emulate(&emulator, sldt16, sizeof(sldt16)));
	EXPECT_EQ(6, emulator.fault.vector);
}

TEST_F(emulator, far_jumps)
{
	static const uint8_t ljmp[] = { 0xff, 0x2e }, lcall[] = { 0xff, 0x1e };
	static const uint8_t ljmpq[] = { 0x48, 0xff, 0x2e };
	static const uint8_t to_64[] = { 0x78, 0x56, 0x34, 0x12, 0x08, 0 };
	static const uint8_t to_32[] = { 0x78, 0x56, 0x34, 0x12, 0x18, 0 };
	static const uint8_t to_q[] = { 0x78, 0x56, 0x34, 0x12, 0, 0, 0, 0x80, 0x08, 0 };
	static const uint8_t to_data[] = { 0x78, 0x56, 0x34, 0x12, 0x10, 0 };
	static const uint8_t to_gate[] = { 0x78, 0x56, 0x34, 0x12, 0x28, 0 };
	struct vmm_segment *cs = &emulator.state.segments.seg[VMM_CS];
	uint32_t frame[2];

	set_up();
	set_gdt(gdt, sizeof(gdt));
	emulator.state.regs.rip = 0x7000000000;
	EXPECT_EQ(0, run_with(to_64, 6, ljmp, 2));
	EXPECT_EQ(0x12345678, emulator.state.regs.rip);
	EXPECT_EQ(0x08, cs->selector);
	EXPECT_EQ(0xa9b, cs->attr);
	EXPECT_EQ(1, run_with(to_q, 10, ljmpq, 3)) TH_LOG("not canonical");
	EXPECT_EQ(1, run_with(to_data, 6, ljmp, 2));
	EXPECT_EQ(0x10, emulator.fault.error);
	EXPECT_EQ(-ENOSYS, run_with(to_gate, 6, ljmp, 2));

	cs->selector = 0x0b;
	emulator.state.regs.rip = 0x1111;
	emulator.state.regs.gpr[VMM_RSP] = (uintptr_t)memory + STACK;
	EXPECT_EQ(0, run_with(to_32, 6, lcall, 2));
	EXPECT_EQ(0x18, cs->selector);
	EXPECT_EQ(0xc9b, cs->attr);
	EXPECT_EQ((uintptr_t)memory + STACK - 8, emulator.state.regs.gpr[VMM_RSP]);
	memcpy(frame, copy + STACK - 8, 8);
	EXPECT_EQ(0x1113, frame[0]);
	EXPECT_EQ(0x0b, frame[1]);

	real_mode();
	static const uint8_t ljmp16[] = { 0xff, 0x2e, 0, 0 };		/* ljmpw *0 */

	memcpy(copy, "\x34\x12\x00\xf0", 4);
	EXPECT_EQ(0, vmm_emulate(&emulator, ljmp16, 4));
	EXPECT_EQ(0x1234, emulator.state.regs.rip);
	EXPECT_EQ(0xf0000, cs->base);
}

/* ---- the rest of the stack's instructions, which this process cannot run with these flags ---- */

TEST_F(emulator, stack)
{
	static const uint8_t pushf[] = { 0x9c }, popf[] = { 0x9d }, leave[] = { 0xc9 };
	static const uint8_t enter[] = { 0xc8, 0x20, 0x00, 0x00 }, nested[] = { 0xc8, 0, 0, 1 };
	static const uint8_t pusha[] = { 0x60 }, popa[] = { 0x61 };
	__u64 *gpr = emulator.state.regs.gpr;
	uint32_t frame[8];
	uint64_t value;
	unsigned int i;

	set_up();
	gpr[VMM_RSP] = (uintptr_t)memory + STACK;
	emulator.state.regs.rflags = 0x10246;
	EXPECT_EQ(0, vmm_emulate(&emulator, pushf, 1));
	memcpy(&value, copy + STACK - 8, 8);
	EXPECT_EQ(0x246, value) TH_LOG("RF is not pushed");
	value = 0x3fffff;
	memcpy(copy + STACK - 8, &value, 8);
	EXPECT_EQ(0, vmm_emulate(&emulator, popf, 1));
	EXPECT_EQ(0x247fd7, emulator.state.regs.rflags);
	emulator.state.segments.seg[VMM_SS].attr |= 3 << VMM_SEG_DPL_SHIFT;
	emulator.state.regs.rflags = 0x202;
	gpr[VMM_RSP] -= 8;
	EXPECT_EQ(0, vmm_emulate(&emulator, popf, 1));
	EXPECT_EQ(0x244dd7, emulator.state.regs.rflags & ~0x200) TH_LOG("IOPL stays");
	EXPECT_EQ(0x200, emulator.state.regs.rflags & 0x200) TH_LOG("IF stays");

	set_up();
	gpr[VMM_RSP] = (uintptr_t)memory + STACK;
	gpr[VMM_RBP] = 0x1234;
	EXPECT_EQ(0, vmm_emulate(&emulator, enter, 4));
	EXPECT_EQ((uintptr_t)memory + STACK - 8, gpr[VMM_RBP]);
	EXPECT_EQ((uintptr_t)memory + STACK - 8 - 0x20, gpr[VMM_RSP]);
	EXPECT_EQ(0, vmm_emulate(&emulator, leave, 1));
	EXPECT_EQ(0x1234, gpr[VMM_RBP]);
	EXPECT_EQ((uintptr_t)memory + STACK, gpr[VMM_RSP]);
	EXPECT_EQ(-ENOSYS, vmm_emulate(&emulator, nested, 4));

	set_up();
	flat_segments(VMM_SEG_DB);
	for (i = 0; i < 8; i++)
		gpr[i] = i + 0x100;
	gpr[VMM_RSP] = (uintptr_t)memory + STACK;
	EXPECT_EQ(0, vmm_emulate(&emulator, pusha, 1));
	memcpy(frame, copy + STACK - 32, 32);
	EXPECT_EQ(0x107, frame[0]);
	EXPECT_EQ((uint32_t)(uintptr_t)memory + STACK, frame[3]);
	EXPECT_EQ(0x100, frame[7]);
	for (i = 0; i < 8; i++)
		gpr[i] = i == VMM_RSP ? gpr[i] : 0;
	EXPECT_EQ(0, vmm_emulate(&emulator, popa, 1));
	EXPECT_EQ(0x100, gpr[VMM_RAX]);
	EXPECT_EQ(0x107, gpr[VMM_RDI]);
	EXPECT_EQ((uintptr_t)memory + STACK, gpr[VMM_RSP]);
}

/* What is not emulated is refused by name, and what is no instruction differently */
TEST_F(emulator, refusals)
{
	static const uint8_t cpuid[] = { 0x0f, 0xa2 }, ud[] = { 0x0f, 0xff, 0xff, 0xff };
	static const uint8_t paddd[] = { 0x66, 0x0f, 0xfe, 0x06 };
	static const uint8_t fxsave[] = { 0x0f, 0xae, 0x06 }, cut[] = { 0x48, 0x8b };
	struct vmm_regs before;

	random_context(&self->context);
	set_up();
	xstate_source = &self->context;
	emulator.state.regs.gpr[VMM_RSI] = (uintptr_t)memory;
	before = emulator.state.regs;
	EXPECT_EQ(-ENOSYS, vmm_emulate(&emulator, cpuid, 2));
	EXPECT_NE(NULL, strstr(emulator.message, "cpuid"));
	EXPECT_EQ(-ENOSYS, vmm_emulate(&emulator, paddd, 4));
	EXPECT_NE(NULL, strstr(emulator.message, "paddd"));
	EXPECT_EQ(-ENOSYS, vmm_emulate(&emulator, fxsave, 3));
	EXPECT_EQ(-EILSEQ, vmm_emulate(&emulator, ud, 2));
	EXPECT_EQ(-EILSEQ, vmm_emulate(&emulator, cut, 2));
	EXPECT_EQ(0, memcmp(&before, &emulator.state.regs, sizeof(before)));
}

/* Any bytes: refused or carried out, but nothing worse, and never outside of the memory given */
TEST_F(emulator, random_bytes)
{
	unsigned int round, i;

	for (round = 0; round < 20000; round++) {
		uint8_t code[15];
		int ret;

		random_context(&self->context);
		set_up();
		xstate_source = &self->context;
		if (round & 1)
			real_mode();
		memcpy(emulator.state.regs.gpr, self->context.gpr, sizeof(self->context.gpr));
		for (i = 0; i < sizeof(code); i++)
			code[i] = random64() >> 20;
		ret = vmm_emulate(&emulator, code, 1 + round % 15);
		EXPECT_TRUE(ret == 0 || ret == 1 || ret == -ENOSYS || ret == -EILSEQ ||
			    ret == -ERANGE) TH_LOG("returned %d", ret);
	}
}

TEST_HARNESS_MAIN
