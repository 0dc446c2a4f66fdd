/* SPDX-License-Identifier: GPL-2.0-only */
/*
 * What the tests share: virtual machines by the raw ioctls, guests in every
 * mode, and a look at the host. Nothing here goes through libvmm, so that a
 * mistake there cannot hide one in the module.
 *
 * A helper that cannot do its work prints why and ends the test as failed; a
 * test needs no code for that. Helpers whose failure a test is about return a
 * negative errno instead; the comment says which do.
 */
#ifndef VMMTEST_H
#define VMMTEST_H

#include <errno.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <linux/vmm.h>

typedef __u8 u8;
typedef __u16 u16;
typedef __u32 u32;
typedef __u64 u64;
typedef __s32 s32;
typedef __s64 s64;

#define KIB		1024ULL
#define MIB		(1024 * KIB)
#define GIB		(1024 * MIB)
#define PAGE		4096ULL

/* Prints where and why, and ends the test as failed. */
#define fail(...)	test_fail(__FILE__, __LINE__, __VA_ARGS__)
void test_fail(const char *file, int line, const char *fmt, ...)
	__attribute__((format(printf, 3, 4), noreturn));

/* ---- virtual machines ------------------------------------------------------- */

#define MAX_TEST_VCPUS	8

struct vcpu;

/**
 * struct vm - a VM and what it was made with
 * @dev: /dev/vmm
 * @fd: the VM
 * @info: of /dev/vmm
 * @mem: guest-physical 0 on, slot 0
 * @mem_size: bytes of it
 * @tables: next free page for page tables
 * @mode: enum guest_mode that page tables and descriptors were last made for
 * @vcpus: in any order; NULL: a free place
 */
struct vm {
	int dev;
	int fd;
	struct vmm_info info;
	u8 *mem;
	size_t mem_size;
	u64 tables;
	int mode;
	struct vcpu *vcpus[MAX_TEST_VCPUS];
};

/**
 * struct vcpu - a vCPU
 * @vm: its VM
 * @fd: the vCPU
 * @run: its run area
 * @state: working copy for vcpu_get() and vcpu_set()
 * @timeout_ms: how long one vcpu_run() may take before the test fails
 */
struct vcpu {
	struct vm *vm;
	int fd;
	struct vmm_run *run;
	struct vmm_state state;
	unsigned int timeout_ms;
};

/* As ioctl(), but the result is 0, a positive number or a negative errno. */
int do_ioctl(int fd, unsigned long request, void *arg);

int open_dev(void);
void get_info(int dev, struct vmm_info *info);

/* Has the host all of VMM_CAP_* in @caps? */
bool has_caps(u64 caps);

/**
 * vm_create - a VM with memory at guest-physical 0 in slot 0
 * @mem_size: bytes of it, 0 for none
 * @flags: VMM_VM_*
 *
 * Return: the VM; a failure ends the test.
 */
struct vm *vm_create(size_t mem_size, u32 flags);
void vm_destroy(struct vm *vm);

/* Set a slot: 0 or a negative errno. */
int vm_set_slot(struct vm *vm, u32 slot, u64 gpa, u64 bytes, void *hva, u32 flags);

/* Private anonymous memory. */
void *map_memory(size_t bytes);

/* A vCPU with all that VMM_GET_CPUID offers in its CPUID table. */
struct vcpu *vcpu_create(struct vm *vm, u32 id);
/* The same with an empty table, as the module makes it. */
struct vcpu *vcpu_create_bare(struct vm *vm, u32 id);
void vcpu_destroy(struct vcpu *vcpu);

/* The table that /dev/vmm offers: *count entries, to be freed. */
struct vmm_cpuid_entry *get_supported_cpuid(int dev, u32 *count);
/* That of @vcpu. */
struct vmm_cpuid_entry *vcpu_get_cpuid(struct vcpu *vcpu, u32 *count);
/* 0 or a negative errno. */
int vcpu_set_cpuid(struct vcpu *vcpu, const struct vmm_cpuid_entry *entries, u32 count);
/* The entry, or NULL. */
struct vmm_cpuid_entry *find_cpuid(struct vmm_cpuid_entry *entries, u32 count, u32 function,
				   u32 index);

/* Groups from or to vcpu->state. The "try" forms return 0 or a negative errno. */
void vcpu_get(struct vcpu *vcpu, u64 groups);
void vcpu_set(struct vcpu *vcpu, u64 groups);
int vcpu_try_get(struct vcpu *vcpu, u64 groups);
int vcpu_try_set(struct vcpu *vcpu, u64 groups);

/* One MSR by its number; 0 or a negative errno. */
int vcpu_get_msr(struct vcpu *vcpu, u32 index, u64 *data);
int vcpu_set_msr(struct vcpu *vcpu, u32 index, u64 data);

/* Bring an event; 0 or a negative errno. */
int vcpu_inject(struct vcpu *vcpu, u8 type, u8 vector, bool has_error, u32 error, u64 payload);
int vcpu_interrupt(struct vcpu *vcpu, u8 vector);
int vcpu_nmi(struct vcpu *vcpu);

/* The statistic @name of @fd, a VM or a vCPU. */
u64 get_stat(int fd, const char *name);

/* ---- running --------------------------------------------------------------- */

/*
 * VMM_RUN once: 0 or a negative errno. A guest that stays inside for longer
 * than vcpu->timeout_ms fails the test, with its RIP and registers printed.
 */
#define vcpu_run(vcpu)	vcpu_run_at(vcpu, __FILE__, __LINE__)
int vcpu_run_at(struct vcpu *vcpu, const char *file, int line);

/* VMM_RUN once, without any time limit: what the bare ioctl answers. */
int vcpu_run_raw(struct vcpu *vcpu);

/* Run until an exit; any other reason than @reason fails the test. */
#define run_until(vcpu, reason)	run_until_at(vcpu, reason, __FILE__, __LINE__)
struct vmm_exit *run_until_at(struct vcpu *vcpu, u32 reason, const char *file, int line);

/*
 * What a guest says with OUT:
 *	PORT_VALUE	a value, any width: run_value() returns it
 *	PORT_DONE	it is through: run_done()
 *	PORT_TRAP	an exception or interrupt came: run_trap() returns the record
 */
#define PORT_DONE	0xe0
#define PORT_VALUE	0xe4
#define PORT_TRAP	0xe8

#define run_value(vcpu)	run_value_at(vcpu, __FILE__, __LINE__)
u64 run_value_at(struct vcpu *vcpu, const char *file, int line);
#define run_done(vcpu)	run_done_at(vcpu, __FILE__, __LINE__)
void run_done_at(struct vcpu *vcpu, const char *file, int line);
#define run_trap(vcpu)	run_trap_at(vcpu, __FILE__, __LINE__)
struct guest_trap *run_trap_at(struct vcpu *vcpu, const char *file, int line);
/* As run_trap(), which must be of @vector. */
#define run_vector(vcpu, vector) run_vector_at(vcpu, vector, __FILE__, __LINE__)
struct guest_trap *run_vector_at(struct vcpu *vcpu, u8 vector, const char *file, int line);
/*
 * Take an exception, #UD, and return from it: the last event that the CPU has delivered. It ends
 * with an IRET, up to which an emulated CPU has NMIs blocked as the guest before had.
 */
void vcpu_take_exception(struct vcpu *vcpu);
/* Does a VM that is made now run its guest? */
bool vm_works(void);

const char *exit_name(u32 reason);
/* Prints the last exit and the registers, each line as a TAP comment. */
void vcpu_print(struct vcpu *vcpu);

/* ---- guests ----------------------------------------------------------------- */

/*
 * GUEST_CODE(name, bits, "instructions\n" ...): guest code, never run here,
 * copied to CODE_GPA by vcpu_load(). It must not depend on where it lies; an
 * address inside it is (label - name + CODE_GPA). The names of the guest's
 * memory map and the ports are known to the assembler.
 */
#define GUEST_CODE(name, bits, ...)						\
	extern const u8 name[], name##_end[];					\
	asm(".pushsection .rodata\n.code" #bits "\n.balign 16\n"		\
	    #name ":\n" __VA_ARGS__ "\n" #name "_end:\n.byte 0\n"		\
	    ".code64\n.popsection\n")

#define code_size(name)	((size_t)(name##_end - (name)))

/* The guest's memory, from guest-physical 0; what the modes below set up. */
#define IVT_GPA		0x00000		/* real mode */
#define GDT_GPA		0x01000
#define IDT_GPA		0x02000
#define TSS_GPA		0x03000		/* no I/O bitmap */
#define STUBS_GPA	0x05000		/* one of 16 bytes for each vector */
#define HANDLER_GPA	0x06000
#define TRAP_GPA	0x06800		/* struct guest_trap */
#define TABLES_GPA	0x08000		/* page tables, up to CODE_GPA */
#define CODE_GPA	0x30000
#define DATA_GPA	0x40000
#define STACK_GPA	0x70000
#define STACK_TOP	0x7ff00
#define LOW_MEMORY	0x80000		/* bytes that all of it needs */
#define MMIO_GPA	0xd0000000	/* mapped, backed by no slot */

/* Selectors in the GDT; the 16-bit segments have the bases CODE_GPA and DATA_GPA */
#define SEL_CODE64	0x08
#define SEL_DATA	0x10
#define SEL_CODE32	0x18
#define SEL_CODE16	0x20
#define SEL_DATA16	0x28
#define SEL_USER_CODE64	0x33
#define SEL_USER_DATA	0x3b
#define SEL_USER_CODE32	0x43
#define SEL_TSS		0x50

#define ASM_SET(name)	".set " #name ", " ASM_VALUE(name) "\n"
#define ASM_VALUE(x)	ASM_VALUE2(x)
#define ASM_VALUE2(x)	#x
asm(ASM_SET(PORT_DONE) ASM_SET(PORT_VALUE) ASM_SET(PORT_TRAP));
asm(ASM_SET(GDT_GPA) ASM_SET(IDT_GPA) ASM_SET(TSS_GPA) ASM_SET(TRAP_GPA) ASM_SET(TABLES_GPA));
asm(ASM_SET(CODE_GPA) ASM_SET(DATA_GPA) ASM_SET(STACK_GPA) ASM_SET(STACK_TOP) ASM_SET(MMIO_GPA));
asm(ASM_SET(SEL_CODE64) ASM_SET(SEL_DATA) ASM_SET(SEL_CODE32) ASM_SET(SEL_CODE16));
asm(ASM_SET(SEL_DATA16) ASM_SET(SEL_USER_CODE64) ASM_SET(SEL_USER_DATA));
asm(ASM_SET(SEL_USER_CODE32) ASM_SET(SEL_TSS));

enum guest_mode {
	MODE_REAL,		/* CS base CODE_GPA, DS DATA_GPA, SS STACK_GPA, ES 0 */
	MODE_PROTECTED,		/* 32-bit, flat */
	MODE_PAGED,		/* 32-bit, two levels, 4 MiB pages */
	MODE_PAE,
	MODE_LONG,
	MODE_LA57,		/* long mode with five levels */
	MODE_COMPAT,		/* 32-bit code in long mode */
	NR_MODES
};

extern const char *const mode_names[NR_MODES];

/* Can this host run @mode? */
bool mode_supported(struct vm *vm, enum guest_mode mode);

/**
 * vcpu_set_mode - bring a vCPU to the first instruction at CODE_GPA
 * @vcpu: of a VM with at least LOW_MEMORY
 * @mode: with paging the first 4 GiB are mapped one to one, writable, also for
 *        user mode
 *
 * Every vector has a handler that fills struct guest_trap, says so at PORT_TRAP
 * and returns. Interrupts are off. The registers are zero but for RSP.
 */
void vcpu_set_mode(struct vcpu *vcpu, enum guest_mode mode);

/* Copy code to CODE_GPA and bring the vCPU there in @mode. */
#define vcpu_load(vcpu, mode, name) vcpu_load_code(vcpu, mode, name, code_size(name))
void vcpu_load_code(struct vcpu *vcpu, enum guest_mode mode, const void *code, size_t size);

/* To user mode, in the mode that vcpu_set_mode() made. */
void vcpu_set_user(struct vcpu *vcpu);

/* Host address of guest memory; @bytes of it must be in slot 0. */
void *guest_ptr(struct vm *vm, u64 gpa, size_t bytes);
#define guest_u8(vm, gpa)	(*(volatile u8 *)guest_ptr(vm, gpa, 1))
#define guest_u16(vm, gpa)	(*(volatile u16 *)guest_ptr(vm, gpa, 2))
#define guest_u32(vm, gpa)	(*(volatile u32 *)guest_ptr(vm, gpa, 4))
#define guest_u64(vm, gpa)	(*(volatile u64 *)guest_ptr(vm, gpa, 8))

#define PTE_P		(1ULL << 0)
#define PTE_RW		(1ULL << 1)
#define PTE_US		(1ULL << 2)
#define PTE_A		(1ULL << 5)
#define PTE_D		(1ULL << 6)
#define PTE_PS		(1ULL << 7)
#define PTE_NX		(1ULL << 63)

/* Map one 4 KiB page in the present mode's tables; @flags 0 unmaps. */
void guest_map(struct vm *vm, u64 gva, u64 gpa, u64 flags);
/* The 4 KiB entry of @gva: guest-physical address. */
u64 guest_pte(struct vm *vm, u64 gva);

/* What the guest's handlers leave at TRAP_GPA */
struct guest_trap {
	u64 vector;
	u64 error;
	u64 rip;
	u64 cs;
	u64 rflags;
	u64 rsp;		/* long mode: of the frame; else of a change of level only */
	u64 ss;
	u64 cr2;
	u64 frame;		/* address of the saved RIP */
	u64 count;		/* traps so far */
};

static inline struct guest_trap *guest_trap(struct vm *vm)
{
	return guest_ptr(vm, TRAP_GPA, sizeof(struct guest_trap));
}

/* Change where the handler of the last trap will return to. */
void guest_return_to(struct vm *vm, u64 rip);

#define CR0_PE		(1ULL << 0)
#define CR0_MP		(1ULL << 1)
#define CR0_EM		(1ULL << 2)
#define CR0_TS		(1ULL << 3)
#define CR0_ET		(1ULL << 4)
#define CR0_NE		(1ULL << 5)
#define CR0_WP		(1ULL << 16)
#define CR0_AM		(1ULL << 18)
#define CR0_NW		(1ULL << 29)
#define CR0_CD		(1ULL << 30)
#define CR0_PG		(1ULL << 31)

#define CR4_VME		(1ULL << 0)
#define CR4_TSD		(1ULL << 2)
#define CR4_DE		(1ULL << 3)
#define CR4_PSE		(1ULL << 4)
#define CR4_PAE		(1ULL << 5)
#define CR4_MCE		(1ULL << 6)
#define CR4_PGE		(1ULL << 7)
#define CR4_OSFXSR	(1ULL << 9)
#define CR4_OSXMMEXCPT	(1ULL << 10)
#define CR4_UMIP	(1ULL << 11)
#define CR4_LA57	(1ULL << 12)
#define CR4_VMXE	(1ULL << 13)
#define CR4_FSGSBASE	(1ULL << 16)
#define CR4_PCIDE	(1ULL << 17)
#define CR4_OSXSAVE	(1ULL << 18)
#define CR4_SMEP	(1ULL << 20)
#define CR4_SMAP	(1ULL << 21)
#define CR4_PKE		(1ULL << 22)

#define EFER_SCE	(1ULL << 0)
#define EFER_LME	(1ULL << 8)
#define EFER_LMA	(1ULL << 10)
#define EFER_NXE	(1ULL << 11)
#define EFER_SVME	(1ULL << 12)

#define FLAG_CF		(1ULL << 0)
#define FLAG_FIXED	(1ULL << 1)
#define FLAG_PF		(1ULL << 2)
#define FLAG_AF		(1ULL << 4)
#define FLAG_ZF		(1ULL << 6)
#define FLAG_SF		(1ULL << 7)
#define FLAG_TF		(1ULL << 8)
#define FLAG_IF		(1ULL << 9)
#define FLAG_DF		(1ULL << 10)
#define FLAG_OF		(1ULL << 11)
#define FLAG_RF		(1ULL << 16)
#define FLAG_VM		(1ULL << 17)
#define FLAG_ARITH	(FLAG_CF | FLAG_PF | FLAG_AF | FLAG_ZF | FLAG_SF | FLAG_OF)

/* ---- the host --------------------------------------------------------------- */

int host_cpus(void);
bool kernel_at_least(int major, int minor);
/* An emulated CPU of some ten MHz, which timers of microseconds leave no time for anything else */
bool host_is_slow(void);
#define NEEDS_SPEED() do {							\
	if (host_is_slow())							\
		SKIP(return, "this CPU is too slow");				\
} while (0)
/*
 * How many times longer things may take here, as the runner says (SLOWER). It is true of alarm() by
 * itself, and with that of what kselftest_harness.h gives a test.
 */
unsigned int host_slower(void);
unsigned int __real_alarm(unsigned int seconds);
unsigned int __wrap_alarm(unsigned int seconds);
/* Bind the calling thread to one CPU; 0 or a negative errno. */
int pin_to_cpu(int cpu);
u64 now_ns(void);
/* Wait until another thread sleeps where a signal can reach it, as in HLT. */
void wait_until_asleep(pid_t thread);
/* The same where none but a fatal one does. */
void wait_until_stuck(pid_t thread);

/**
 * host_log_mark - remember how far the kernel's log goes
 *
 * Return: a file descriptor for host_log_quiet().
 */
int host_log_mark(void);
/* Has the kernel said nothing since? What it said is printed. Closes @mark. */
bool host_log_quiet(int mark);
/* How many records since contain @text? Leaves @mark where it is behind them. */
int host_log_count(int mark, const char *text);

/* An MSR of the host by /dev/cpu/N/msr: 0, or a negative errno (ENOENT: no such device). */
int host_msr(int cpu, u32 index, u64 *data);
/* Load the module as this host has it, with its parameters; 0 or a negative errno. */
int host_load_vmm(void);
/* Unload it; 0 or a negative errno, at once (EWOULDBLOCK: it is in use). */
int host_unload_vmm(void);
/* A number after @name in @file ("/proc/vmstat", "/proc/meminfo"), or -1. */
long host_counter(const char *file, const char *name);
/* The first word of a small file as a number, or -1; and writing one: 0 or a negative errno. */
long read_number(const char *file);
int write_file(const char *file, const char *text);

/* A disk with a file system that writes back, as most have, mounted there at the first call. */
#define HOST_DISK	"/tmp/disk"
void host_disk(void);
/* Swap on a compressed RAM disk, from the first call on. False: this host has none. */
bool host_swap(void);
/* Pages that have gone there (not every kernel counts such things in /proc/vmstat) */
u64 host_swapped_out(void);
/* Where a page of this process is. */
enum page_place { PAGE_NONE, PAGE_PRESENT, PAGE_SWAPPED };
enum page_place page_place(const void *at);

#endif
