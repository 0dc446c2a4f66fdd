// SPDX-License-Identifier: GPL-2.0-only
/*
 * The host is as it was after a guest has run, whatever the guest had in its
 * registers: MSRs, XCR0, PKRU, debug registers, FPU and vector registers,
 * segment bases and selectors.
 */
/* also: intel-haswell intel-debug amd-trinity_apu */
/* hosts: smp 6.12 */
#include <asm/prctl.h>
#include <linux/hw_breakpoint.h>
#include <linux/perf_event.h>
#include <pthread.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

/*
 * A guest that changes all that it may: syscall MSRs, FS and GS, XCR0 and vector registers, MXCSR
 * and the x87 control word, debug registers, PAT.
 */
GUEST_CODE(change_all, 64,
	   "mov $0x12345678, %eax; xor %edx, %edx\n"
	   "mov $0xc0000081, %ecx; wrmsr; mov $0xc0000082, %ecx; wrmsr\n"
	   "mov $0xc0000083, %ecx; wrmsr; mov $0xc0000102, %ecx; wrmsr\n"
	   "mov $0xc0000100, %ecx; wrmsr; mov $0xc0000101, %ecx; wrmsr\n"
	   "mov $0x174, %ecx; wrmsr; mov $0x175, %ecx; wrmsr; mov $0x176, %ecx; wrmsr\n"
	   "mov $0x47700, %eax; mov $0xc0000084, %ecx; wrmsr\n"
	   "mov $0x00010006, %eax; mov $0x277, %ecx; wrmsr\n"
	   "mov $0xffffffff, %eax; mov %rax, %dr0; mov %rax, %dr1; mov %rax, %dr2; mov %rax, %dr3\n"
	   "mov $0x1, %ecx; mov $0x4ff, %eax; mov %rax, %dr7\n"
	   "fninit; fldcw DATA_GPA; fld1; ldmxcsr DATA_GPA + 4\n"
	   "pcmpeqd %xmm0, %xmm0; movdqa %xmm0, %xmm1; movdqa %xmm0, %xmm2; movdqa %xmm0, %xmm7\n"
	   "movdqa %xmm0, %xmm8; movdqa %xmm0, %xmm15\n"
	   "cmpb $0, DATA_GPA + 8; je 1f\n"
	   "mov %cr4, %rax; or $0x40000, %rax; mov %rax, %cr4\n"
	   "xor %ecx, %ecx; xor %edx, %edx; mov DATA_GPA + 8, %eax; xsetbv\n"
	   "1: out %al, $PORT_VALUE\n"
	   "jmp 1b\n");

FIXTURE(hoststate) {
	struct vm *vm;
	struct vcpu *vcpu;
};

FIXTURE_SETUP(hoststate)
{
	u64 xcr0;

	pin_to_cpu(0);
	self->vm = vm_create(1 * MIB, 0);
	self->vcpu = vcpu_create(self->vm, 0);
	vcpu_load(self->vcpu, MODE_LONG, change_all);
	guest_u16(self->vm, DATA_GPA) = 0x27f;
	guest_u32(self->vm, DATA_GPA + 4) = 0x7f80;
	/* Anything else than the host's, if there is a choice */
	xcr0 = self->vm->info.xcr0;
	guest_u8(self->vm, DATA_GPA + 8) = xcr0 & 4 ? 3 : xcr0 & 3;
}

FIXTURE_TEARDOWN(hoststate)
{
	vm_destroy(self->vm);
}

static void run_some(struct vcpu *vcpu)
{
	int i;

	for (i = 0; i < 5; i++)
		run_value(vcpu);
}

/* ---- MSRs ---- */

static const u32 msrs[] = {
	0xc0000080,		/* EFER */
	0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084,	/* STAR, LSTAR, CSTAR, SFMASK */
	0xc0000103,		/* TSC_AUX */
	0x174, 0x175, 0x176,	/* SYSENTER_* */
	0x1b,			/* APIC_BASE */
	0x277,			/* PAT */
	0x1d9,			/* DEBUGCTL */
	0x48,			/* SPEC_CTRL */
	0xda0,			/* XSS */
	0x3a,			/* FEATURE_CONTROL */
	0xc0010114, 0xc0010117,	/* VM_CR, VM_HSAVE_PA */
	0xc0010015,		/* HWCR */
	0x2ff, 0x250, 0x268,	/* MTRRs */
	0x3b,			/* TSC_ADJUST */
};

TEST_F(hoststate, msrs)
{
	u64 before[ARRAY_SIZE(msrs)], after;
	int error[ARRAY_SIZE(msrs)];
	unsigned int i, round, compared = 0;

	if (host_msr(0, 0xc0000080, &after) == -ENOENT)
		SKIP(return, "no /dev/cpu/0/msr");
	/* The first run may load what stays as long as the process is in the kernel. */
	run_some(self->vcpu);
	for (i = 0; i < ARRAY_SIZE(msrs); i++)
		error[i] = host_msr(0, msrs[i], &before[i]);
	for (round = 0; round < 3; round++) {
		run_some(self->vcpu);
		for (i = 0; i < ARRAY_SIZE(msrs); i++) {
			if (error[i])
				continue;
			EXPECT_EQ(0, host_msr(0, msrs[i], &after));
			EXPECT_EQ(before[i], after) TH_LOG("MSR %#x", msrs[i]);
			compared++;
		}
	}
	EXPECT_GT(compared, 20);
}

/* And compared with the CPU that no guest has run on */
TEST_F(hoststate, msrs_like_the_other_cpu)
{
	static const u32 same[] = { 0xc0000081, 0xc0000082, 0xc0000083, 0xc0000084, 0x277, 0x174 };
	u64 here, there;
	unsigned int i;

	if (host_cpus() < 2 || host_msr(0, 0xc0000080, &here) == -ENOENT)
		SKIP(return, "needs two CPUs and /dev/cpu/0/msr");
	run_some(self->vcpu);
	for (i = 0; i < ARRAY_SIZE(same); i++) {
		if (host_msr(0, same[i], &here) || host_msr(1, same[i], &there))
			continue;
		EXPECT_EQ(there, here) TH_LOG("MSR %#x", same[i]);
	}
}

/* TSC_AUX holds the CPU's number, which user space reads. */
TEST_F(hoststate, tsc_aux)
{
	u32 low, high, before, after;

	asm volatile("rdtscp" : "=a" (low), "=d" (high), "=c" (before));
	vcpu_set_msr(self->vcpu, 0xc0000103, 0x77);
	run_some(self->vcpu);
	asm volatile("rdtscp" : "=a" (low), "=d" (high), "=c" (after));
	EXPECT_EQ(before, after);
}

/* ---- registers of user mode ---- */

static u64 xgetbv(void)
{
	u32 low, high;

	asm volatile("xgetbv" : "=a" (low), "=d" (high) : "c" (0));
	return low | (u64)high << 32;
}

static bool cpu_has(u32 leaf, int reg, int bit)
{
	u32 r[4];

	asm volatile("cpuid" : "=a" (r[0]), "=b" (r[1]), "=c" (r[2]), "=d" (r[3])
		     : "a" (leaf), "c" (0));
	return r[reg] & 1u << bit;
}

TEST_F(hoststate, xcr0)
{
	u64 before;

	if (!cpu_has(1, 2, 27))
		SKIP(return, "the host has no XSAVE");
	before = xgetbv();
	run_some(self->vcpu);
	EXPECT_EQ(before, xgetbv());
}

TEST_F(hoststate, pkru)
{
	u32 before = 0x55555550, after;

	if (!cpu_has(7, 2, 4))
		SKIP(return, "the host has no protection keys");
	asm volatile("wrpkru" : : "a" (before), "c" (0), "d" (0));
	run_some(self->vcpu);
	asm volatile("rdpkru" : "=a" (after) : "c" (0) : "rdx");
	asm volatile("wrpkru" : : "a" (0), "c" (0), "d" (0));
	EXPECT_EQ(before, after);
}

/* VMM_RUN with all vector and x87 registers set, by an instruction right before and after */
static void run_with_registers(int fd, const u8 *in, u8 *out, bool avx)
{
	register long rax asm("rax") = SYS_ioctl;

	if (avx)
		asm volatile("vmovdqu 0(%[in]), %%ymm0; vmovdqu 32(%[in]), %%ymm1\n"
			     "vmovdqu 64(%[in]), %%ymm7; vmovdqu 96(%[in]), %%ymm8\n"
			     "vmovdqu 128(%[in]), %%ymm15\n"
			     "syscall\n"
			     "vmovdqu %%ymm0, 0(%[out]); vmovdqu %%ymm1, 32(%[out])\n"
			     "vmovdqu %%ymm7, 64(%[out]); vmovdqu %%ymm8, 96(%[out])\n"
			     "vmovdqu %%ymm15, 128(%[out])\n"
			     : "+a" (rax)
			     : "D" (fd), "S" (VMM_RUN), "d" (0), [in] "r" (in), [out] "r" (out)
			     : "rcx", "r11", "memory", "xmm0", "xmm1", "xmm7", "xmm8", "xmm15");
	else
		asm volatile("movdqu 0(%[in]), %%xmm0; movdqu 32(%[in]), %%xmm1\n"
			     "movdqu 64(%[in]), %%xmm7; movdqu 96(%[in]), %%xmm8\n"
			     "movdqu 128(%[in]), %%xmm15\n"
			     "syscall\n"
			     "movdqu %%xmm0, 0(%[out]); movdqu %%xmm1, 32(%[out])\n"
			     "movdqu %%xmm7, 64(%[out]); movdqu %%xmm8, 96(%[out])\n"
			     "movdqu %%xmm15, 128(%[out])\n"
			     : "+a" (rax)
			     : "D" (fd), "S" (VMM_RUN), "d" (0), [in] "r" (in), [out] "r" (out)
			     : "rcx", "r11", "memory", "xmm0", "xmm1", "xmm7", "xmm8", "xmm15");
	if (rax)
		fail("VMM_RUN: %ld", rax);
}

TEST_F(hoststate, vector_registers)
{
	bool avx = cpu_has(1, 2, 27) && cpu_has(1, 2, 28) && (xgetbv() & 4);
	u8 in[160], out[160];
	unsigned int i, round;

	for (round = 0; round < 10; round++) {
		for (i = 0; i < sizeof(in); i++)
			in[i] = i * 7 + round + 1;
		memset(out, 0, sizeof(out));
		run_with_registers(self->vcpu->fd, in, out, avx);
		for (i = 0; i < 5; i++) {
			EXPECT_EQ(0, memcmp(in + 32 * i, out + 32 * i, avx ? 32 : 16))
				TH_LOG("register %u of round %u", i, round);
		}
	}
}

/*
 * Holds YMM1 and YMM9 (XMM where DATA_GPA + 8 is 0) for longer than the scheduler lets it; what is
 * in them after that comes to DATA_GPA + 128.
 */
GUEST_CODE(hold_vectors, 64,
	   "cmpb $0, DATA_GPA + 8; je 4f\n"
	   "mov %cr4, %rax; or $0x40000, %rax; mov %rax, %cr4\n"
	   "xor %ecx, %ecx; xor %edx, %edx; mov $7, %eax; xsetbv\n"
	   "vmovdqu DATA_GPA + 64, %ymm1; vmovdqu DATA_GPA + 96, %ymm9\n"
	   "2: mov $100000, %ecx; 3: dec %ecx; jnz 3b\n"
	   "vmovdqu %ymm1, DATA_GPA + 128; vmovdqu %ymm9, DATA_GPA + 160\n"
	   "out %al, $PORT_VALUE; jmp 2b\n"
	   "4: movdqu DATA_GPA + 64, %xmm1; movdqu DATA_GPA + 96, %xmm9\n"
	   "5: mov $100000, %ecx; 6: dec %ecx; jnz 6b\n"
	   "movdqu %xmm1, DATA_GPA + 128; movdqu %xmm9, DATA_GPA + 160\n"
	   "out %al, $PORT_VALUE; jmp 5b\n");

struct holder {
	bool avx;
	bool stop;
	u32 rounds;
	u32 lost;
};

/* The same in a thread of the host */
static void *hold_here(void *arg)
{
	struct holder *h = arg;
	u8 in[64], out[64];
	unsigned int i, spin;

	pin_to_cpu(0);
	while (!__atomic_load_n(&h->stop, __ATOMIC_SEQ_CST)) {
		for (i = 0; i < sizeof(in); i++)
			in[i] = i * 3 + h->rounds + 0x80;
		memset(out, 0, sizeof(out));
		spin = 100000;
		if (h->avx)
			asm volatile("vmovdqu (%[in]), %%ymm1; vmovdqu 32(%[in]), %%ymm9\n"
				     "1: dec %[spin]; jnz 1b\n"
				     "vmovdqu %%ymm1, (%[out]); vmovdqu %%ymm9, 32(%[out])\n"
				     : [spin] "+r" (spin) : [in] "r" (in), [out] "r" (out)
				     : "memory", "cc", "xmm1", "xmm9");
		else
			asm volatile("movdqu (%[in]), %%xmm1; movdqu 32(%[in]), %%xmm9\n"
				     "1: dec %[spin]; jnz 1b\n"
				     "movdqu %%xmm1, (%[out]); movdqu %%xmm9, 32(%[out])\n"
				     : [spin] "+r" (spin) : [in] "r" (in), [out] "r" (out)
				     : "memory", "cc", "xmm1", "xmm9");
		for (i = 0; i < 2; i++)
			if (memcmp(in + 32 * i, out + 32 * i, h->avx ? 32 : 16))
				h->lost++;
		__atomic_add_fetch(&h->rounds, 1, __ATOMIC_SEQ_CST);
	}
	return NULL;
}

/* A guest and a thread take turns on one CPU; each has its own. */
TEST_F(hoststate, vector_registers_in_turn)
{
	struct holder holder = { .avx = self->vm->info.xcr0 & 4 };
	size_t size = holder.avx ? 32 : 16;
	unsigned int i, round;
	pthread_t thread;
	u8 *data;

	vcpu_load(self->vcpu, MODE_LONG, hold_vectors);
	data = guest_ptr(self->vm, DATA_GPA, 256);
	data[8] = holder.avx;
	for (i = 0; i < 64; i++)
		data[64 + i] = i * 5 + 1;
	ASSERT_EQ(0, pthread_create(&thread, NULL, hold_here, &holder));
	for (round = 0; round < 10 || __atomic_load_n(&holder.rounds, __ATOMIC_SEQ_CST) < 10;
	     round++) {
		memset(data + 128, 0, 64);
		run_value(self->vcpu);
		for (i = 0; i < 2; i++) {
			EXPECT_EQ(0, memcmp(data + 64 + 32 * i, data + 128 + 32 * i, size))
				TH_LOG("register %u of round %u", i, round);
		}
	}
	__atomic_store_n(&holder.stop, true, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	EXPECT_EQ(0, holder.lost);
}

TEST_F(hoststate, x87_and_mxcsr)
{
	/* Bit 6 is 1 on every CPU, whatever is loaded. */
	u16 control = 0x0f7f, control_after;
	u32 mxcsr = 0x5f80, mxcsr_after;
	double value;

	asm volatile("fninit; fldcw %0; fldpi; ldmxcsr %1" : : "m" (control), "m" (mxcsr));
	run_value(self->vcpu);
	run_value(self->vcpu);
	asm volatile("fstpl %0; fnstcw %1; stmxcsr %2"
		     : "=m" (value), "=m" (control_after), "=m" (mxcsr_after));
	asm volatile("fninit");
	mxcsr = 0x1f80;
	asm volatile("ldmxcsr %0" : : "m" (mxcsr));
	EXPECT_EQ(control, control_after);
	EXPECT_EQ(0x5f80, mxcsr_after & ~0x3f);
	EXPECT_TRUE(value > 3.14159 && value < 3.1416);
}

static void selectors(u16 s[4])
{
	asm volatile("mov %%ds, %0; mov %%es, %1; mov %%fs, %2; mov %%gs, %3"
		     : "=m" (s[0]), "=m" (s[1]), "=m" (s[2]), "=m" (s[3]));
}

TEST_F(hoststate, segments)
{
	unsigned long fs, gs, after, wanted = 0x123456000;
	u16 before[4], now[4];

	syscall(SYS_arch_prctl, ARCH_SET_GS, wanted);
	syscall(SYS_arch_prctl, ARCH_GET_FS, &fs);
	syscall(SYS_arch_prctl, ARCH_GET_GS, &gs);
	EXPECT_EQ(wanted, gs);
	selectors(before);
	run_some(self->vcpu);
	selectors(now);
	EXPECT_EQ(0, memcmp(before, now, sizeof(now)));
	syscall(SYS_arch_prctl, ARCH_GET_FS, &after);
	EXPECT_EQ(fs, after);
	syscall(SYS_arch_prctl, ARCH_GET_GS, &after);
	EXPECT_EQ(gs, after);
	syscall(SYS_arch_prctl, ARCH_SET_GS, 0);
}

/* Selectors that are not the usual ones: DS and ES loaded by the program */
TEST_F(hoststate, loaded_selectors)
{
	u16 ds, es;

	asm volatile("mov %%ss, %%eax; mov %%eax, %%ds; mov %%eax, %%es" : : : "eax");
	run_value(self->vcpu);
	run_value(self->vcpu);
	asm volatile("mov %%ds, %0; mov %%es, %1" : "=m" (ds), "=m" (es));
	asm volatile("mov %0, %%ds; mov %0, %%es" : : "r" (0));
	EXPECT_EQ(0x2b, ds);
	EXPECT_EQ(0x2b, es);
}

/* ---- debug registers ---- */

static volatile u64 watched;

static int watch(void)
{
	struct perf_event_attr attr = {
		.type = PERF_TYPE_BREAKPOINT, .size = sizeof(attr),
		.bp_type = HW_BREAKPOINT_W, .bp_addr = (uintptr_t)&watched,
		.bp_len = HW_BREAKPOINT_LEN_8, .exclude_kernel = 1, .exclude_hv = 1,
	};

	return syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static u64 hits(int fd)
{
	u64 count = 0;

	if (read(fd, &count, sizeof(count)) != sizeof(count))
		fail("reading the breakpoint's count: %s", strerror(errno));
	return count;
}

/* A breakpoint of the process itself works before, between and after runs. */
TEST_F(hoststate, breakpoints)
{
	int fd = watch(), i;

	if (fd < 0)
		SKIP(return, "no hardware breakpoints here: %s", strerror(errno));
	watched = 1;
	if (hits(fd) != 1)
		SKIP(return, "this CPU's breakpoints do not work");
	for (i = 2; i < 12; i++) {
		run_value(self->vcpu);
		watched = i;
		EXPECT_EQ(i, hits(fd));
	}
	close(fd);
}

/* The guest sees its own, not the host's. */
GUEST_CODE(read_debug, 64,
	   "mov %dr0, %rax; out %eax, $PORT_VALUE\n"
	   "mov %dr7, %rax; out %eax, $PORT_VALUE\n");

TEST_F(hoststate, breakpoints_stay_here)
{
	int fd = watch();

	vcpu_load(self->vcpu, MODE_LONG, read_debug);
	watched = 1;
	EXPECT_EQ(0, run_value(self->vcpu));
	EXPECT_EQ(0x400, run_value(self->vcpu));
	if (fd >= 0)
		close(fd);
}

/* ---- the rest of the machine ---- */

/* Time goes on, and signals, faults and system calls work, for another process on the same CPU. */
TEST_F(hoststate, neighbours)
{
	int status, i, mark = host_log_mark();
	pid_t child = fork();

	if (!child) {
		volatile double x = 1;

		pin_to_cpu(0);
		for (i = 0; i < 200000; i++) {
			x = x * 1.0000001 + 0.5;
			if (i % 1000 == 0 && getppid() < 1)
				_exit(1);
		}
		_exit(x > 1 ? 0 : 2);
	}
	for (i = 0; i < 3000; i++)
		run_value(self->vcpu);
	waitpid(child, &status, 0);
	EXPECT_EQ(0, status);
	EXPECT_TRUE(host_log_quiet(mark));
}

TEST_HARNESS_MAIN
