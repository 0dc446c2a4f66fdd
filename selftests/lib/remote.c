// SPDX-License-Identifier: GPL-2.0-only
/*
 * The guest that does what the test says, and its far end.
 */
#include "remote.h"

/* At DATA_GPA: what to do, and the answer to it. OP_DONE ends the list. */
struct command {
	u32 op;
	u32 address;
	u64 value;
};

enum {
	OP_DONE, OP_OUT8, OP_OUT16, OP_OUT32, OP_IN8, OP_IN16, OP_IN32,
	OP_WRITE8, OP_WRITE16, OP_WRITE32, OP_WRITE64,
	OP_READ8, OP_READ16, OP_READ32, OP_READ64,
	OP_WRMSR, OP_RDMSR, OP_WRITE_CR8, OP_READ_CR8, OP_RDTSC, OP_TAKE, OP_WAIT, OP_INT, OP_SPIN,
	NR_OPS
};

/* A command's code is of 32 bytes, found by its number; %edi and %rsi hold address and value. */
#define OP(code)	code "jmp remote_store\n.balign 32, 0xcc\n"

GUEST_CODE(remote_code, 64,
	   "1: mov $DATA_GPA, %ebx\n"
	   "remote_next:\n"
	   "mov (%rbx), %eax\n"
	   "mov 4(%rbx), %edi\n"
	   "mov 8(%rbx), %rsi\n"
	   "mov %edi, %edx\n"
	   "mov %edi, %ecx\n"
	   "shl $5, %eax\n"
	   "lea remote_ops(%rip), %r8\n"
	   "add %r8, %rax\n"
	   "jmp *%rax\n"
	   "remote_store:\n"
	   "mov %rax, 8(%rbx)\n"
	   "remote_skip:\n"
	   "add $16, %rbx\n"
	   "jmp remote_next\n"
	   ".balign 32\n"
	   "remote_ops:\n"
	   OP("out %al, $PORT_DONE; jmp 1b\n")
	   OP("mov %esi, %eax; out %al, %dx\n")
	   OP("mov %esi, %eax; out %ax, %dx\n")
	   OP("mov %esi, %eax; out %eax, %dx\n")
	   OP("xor %eax, %eax; in %dx, %al\n")
	   OP("xor %eax, %eax; in %dx, %ax\n")
	   OP("in %dx, %eax\n")
	   OP("mov %sil, (%rdi)\n")
	   OP("mov %si, (%rdi)\n")
	   OP("mov %esi, (%rdi)\n")
	   OP("mov %rsi, (%rdi)\n")
	   OP("movzbl (%rdi), %eax\n")
	   OP("movzwl (%rdi), %eax\n")
	   OP("mov (%rdi), %eax\n")
	   OP("mov (%rdi), %rax\n")
	   OP("mov %esi, %eax; mov %rsi, %rdx; shr $32, %rdx; wrmsr\n")
	   OP("rdmsr; shl $32, %rdx; or %rdx, %rax\n")
	   OP("mov %rsi, %cr8\n")
	   OP("mov %cr8, %rax\n")
	   OP("rdtsc; shl $32, %rdx; or %rdx, %rax\n")
	   OP("sti; nop; nop; cli\n")
	   OP("sti; hlt; cli\n")
	   OP("int $0x30\n")
	   OP("mov %esi, %ecx; 2: cli; loop 2b\n"));

extern const u8 remote_skip[];

unsigned int remote_exits;
struct vmm_exit remote_exit;

static char taken[512];
static bool faulted;

static void note_vector(u8 vector)
{
	size_t used = strlen(taken);

	if (used + 4 < sizeof(taken))
		sprintf(taken + used, used ? " %02x" : "%02x", vector);
}

/* Returns true when the list is done. */
static bool handle_io(struct vcpu *vcpu)
{
	struct vmm_exit *e = &vcpu->run->exit;

	if (e->io.in) {
		e->io.data = ~0ULL;
	} else if (e->io.port == PORT_DONE) {
		return true;
	} else if (e->io.port == PORT_TRAP) {
		u8 vector = guest_trap(vcpu->vm)->vector;

		if (vector == 13) {
			faulted = true;
			guest_return_to(vcpu->vm, remote_skip - remote_code + CODE_GPA);
		} else {
			note_vector(vector);
		}
		return false;
	}
	remote_exit = *e;
	remote_exits++;
	return false;
}

static void begin(struct vcpu *vcpu, u32 op, u32 address, u64 value)
{
	struct command *command = guest_ptr(vcpu->vm, DATA_GPA, 2 * sizeof(*command));

	taken[0] = 0;
	faulted = false;
	command[0] = (struct command){ op, address, value };
	command[1] = (struct command){ OP_DONE };
}

/* Until the list is done, or something is in the way: 0 or a negative errno */
static int go_on(struct vcpu *vcpu)
{
	struct vmm_exit *e = &vcpu->run->exit;
	int ret;

	for (;;) {
		ret = vcpu_run(vcpu);
		if (ret)
			return ret;
		switch (e->reason) {
		case VMM_EXIT_IO:
			if (handle_io(vcpu))
				return 0;
			break;
		case VMM_EXIT_MMIO:
			if (!e->mmio.write)
				e->mmio.data = ~0ULL;
			/* fallthrough */
		case VMM_EXIT_EOI:
		case VMM_EXIT_MSR:
			remote_exit = *e;
			remote_exits++;
			break;
		case VMM_EXIT_FAULT:
			return e->fault.error;
		default:
			vcpu_print(vcpu);
			fail("exit %s", exit_name(e->reason));
		}
	}
}

static u64 answer(struct vcpu *vcpu)
{
	struct command *command = guest_ptr(vcpu->vm, DATA_GPA, sizeof(*command));

	return command->value;
}

static u64 run(struct vcpu *vcpu, u32 op, u32 address, u64 value)
{
	int ret;

	begin(vcpu, op, address, value);
	ret = go_on(vcpu);
	if (ret) {
		vcpu_print(vcpu);
		fail("the guest cannot go on: %s", strerror(-ret));
	}
	return answer(vcpu);
}

void remote_start(struct vcpu *vcpu)
{
	vcpu_load(vcpu, MODE_LONG, remote_code);
	/*
	 * What an interrupt touches is there afterwards: none that is waited for pays for the
	 * host's clearing of huge pages, which takes long on an emulated CPU.
	 */
	run(vcpu, OP_INT, 0, 0);
	remote_exits = 0;
}

#define WRITE_OP(name, op, address_type, value_type)				\
void remote_##name(struct vcpu *vcpu, address_type address, value_type value)	\
{										\
	run(vcpu, op, address, value);						\
}

#define READ_OP(name, op, address_type, value_type)				\
value_type remote_##name(struct vcpu *vcpu, address_type address)		\
{										\
	return run(vcpu, op, address, 0);					\
}

WRITE_OP(out8, OP_OUT8, u16, u8)
WRITE_OP(out16, OP_OUT16, u16, u16)
WRITE_OP(out32, OP_OUT32, u16, u32)
READ_OP(in8, OP_IN8, u16, u8)
READ_OP(in16, OP_IN16, u16, u16)
READ_OP(in32, OP_IN32, u16, u32)
WRITE_OP(write8, OP_WRITE8, u32, u8)
WRITE_OP(write16, OP_WRITE16, u32, u16)
WRITE_OP(write32, OP_WRITE32, u32, u32)
WRITE_OP(write64, OP_WRITE64, u32, u64)
READ_OP(read8, OP_READ8, u32, u8)
READ_OP(read16, OP_READ16, u32, u16)
READ_OP(read32, OP_READ32, u32, u32)
READ_OP(read64, OP_READ64, u32, u64)

int remote_retry(struct vcpu *vcpu, u32 *value)
{
	int ret = go_on(vcpu);

	if (!ret && value)
		*value = answer(vcpu);
	return ret;
}

int remote_try_write32(struct vcpu *vcpu, u32 gpa, u32 value)
{
	begin(vcpu, OP_WRITE32, gpa, value);
	return remote_retry(vcpu, NULL);
}

int remote_try_read32(struct vcpu *vcpu, u32 gpa, u32 *value)
{
	begin(vcpu, OP_READ32, gpa, 0);
	return remote_retry(vcpu, value);
}

bool remote_wrmsr(struct vcpu *vcpu, u32 msr, u64 value)
{
	run(vcpu, OP_WRMSR, msr, value);
	return !faulted;
}

bool remote_rdmsr(struct vcpu *vcpu, u32 msr, u64 *value)
{
	*value = run(vcpu, OP_RDMSR, msr, 0);
	return !faulted;
}

bool remote_write_cr8(struct vcpu *vcpu, u64 value)
{
	run(vcpu, OP_WRITE_CR8, 0, value);
	return !faulted;
}

u64 remote_read_cr8(struct vcpu *vcpu)
{
	return run(vcpu, OP_READ_CR8, 0, 0);
}

u64 remote_rdtsc(struct vcpu *vcpu)
{
	return run(vcpu, OP_RDTSC, 0, 0);
}

const char *remote_take(struct vcpu *vcpu)
{
	run(vcpu, OP_TAKE, 0, 0);
	return taken;
}

const char *remote_wait(struct vcpu *vcpu)
{
	run(vcpu, OP_WAIT, 0, 0);
	return taken;
}

const char *remote_spin(struct vcpu *vcpu, u32 rounds)
{
	run(vcpu, OP_SPIN, 0, rounds);
	return taken;
}

const char *remote_taken(void)
{
	return taken;
}
