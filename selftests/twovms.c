// SPDX-License-Identifier: GPL-2.0-only
/*
 * Two VMs on two CPUs, and on one; a vCPU whose thread goes from CPU to CPU,
 * and one that is run by several threads in turn; more vCPUs than CPUs.
 */
/* also: intel-plain */
#include <pthread.h>
#include <sched.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

/*
 * Fills its memory with what only it knows, and checks it, over and over: each page, registers of
 * all kinds, an MSR that the CPU holds. %rdi: the secret, %r15: rounds. Reports a difference with
 * OUT to PORT_VALUE.
 */
GUEST_CODE(keep_secret, 64,
	   "movq %rdi, %xmm5; movq %rdi, %xmm14\n"
	   "mov %rdi, %rax; mov %rdi, %rdx; shr $32, %rdx; mov $0xc0000081, %ecx; wrmsr\n"
	   "1: mov $0x100000, %ebx\n"
	   "2: mov %rdi, %rax; xor %rbx, %rax; mov %rax, (%rbx); add $0x1000, %ebx\n"
	   "cmp $0x180000, %ebx; jb 2b\n"
	   "mov %r15d, %eax; out %eax, $PORT_DONE\n"
	   "mov $0x100000, %ebx\n"
	   "3: mov %rdi, %rax; xor %rbx, %rax; cmp %rax, (%rbx); jne 9f; add $0x1000, %ebx\n"
	   "cmp $0x180000, %ebx; jb 3b\n"
	   "movq %xmm5, %rax; cmp %rax, %rdi; jne 9f\n"
	   "movq %xmm14, %rax; cmp %rax, %rdi; jne 9f\n"
	   "mov $0xc0000081, %ecx; rdmsr; cmp %eax, %edi; jne 9f\n"
	   "dec %r15d; jnz 1b\n"
	   "out %eax, $PORT_VALUE\n"
	   "9: ud2\n");

static struct vcpu *new_guest(u64 secret, u32 rounds)
{
	struct vm *vm = vm_create(2 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);

	vcpu_load(vcpu, MODE_LONG, keep_secret);
	vcpu->state.regs.gpr[VMM_RDI] = secret;
	vcpu->state.regs.gpr[VMM_R15] = rounds;
	vcpu_set(vcpu, VMM_STATE_REGS);
	return vcpu;
}

/* One exit; false when the guest has done all its rounds. */
static bool step(struct vcpu *vcpu)
{
	struct vmm_exit *e = run_until(vcpu, VMM_EXIT_IO);

	if (e->io.port == PORT_DONE)
		return true;
	if (e->io.port == PORT_VALUE)
		return false;
	vcpu_print(vcpu);
	fail("the guest found what it had not left there");
}

struct runner {
	struct vcpu *vcpu;
	int cpu;
	u32 exits;
};

static void *run_it(void *arg)
{
	struct runner *r = arg;

	if (r->cpu >= 0 && pin_to_cpu(r->cpu))
		fail("no CPU %d", r->cpu);
	while (step(r->vcpu))
		r->exits++;
	return NULL;
}

#define ROUNDS	400

static void run_both(struct __test_metadata *_metadata, int cpu1, int cpu2)
{
	struct runner one = { new_guest(0x1111222233334444, ROUNDS), cpu1 };
	struct runner two = { new_guest(0xaaaabbbbccccdddd, ROUNDS), cpu2 };
	pthread_t threads[2];

	ASSERT_EQ(0, pthread_create(&threads[0], NULL, run_it, &one));
	ASSERT_EQ(0, pthread_create(&threads[1], NULL, run_it, &two));
	pthread_join(threads[0], NULL);
	pthread_join(threads[1], NULL);
	EXPECT_EQ(ROUNDS, one.exits);
	EXPECT_EQ(ROUNDS, two.exits);
	vm_destroy(one.vcpu->vm);
	vm_destroy(two.vcpu->vm);
}

TEST(on_two_cpus)
{
	if (host_cpus() < 2)
		SKIP(return, "needs two CPUs");
	run_both(_metadata, 0, 1);
}

TEST(on_one_cpu)
{
	run_both(_metadata, 0, 0);
}

TEST(anywhere)
{
	run_both(_metadata, -1, -1);
}

/* More vCPUs that want to run than CPUs: each is preempted, and may be moved, anywhere. */
TEST(more_than_cpus)
{
	struct runner runners[6];
	pthread_t threads[ARRAY_SIZE(runners)];
	u32 i;

	for (i = 0; i < ARRAY_SIZE(runners); i++) {
		runners[i] = (struct runner){ new_guest(0x0202020202020202ULL * (i + 1), 60), -1 };
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, run_it, &runners[i]));
	}
	for (i = 0; i < ARRAY_SIZE(runners); i++) {
		pthread_join(threads[i], NULL);
		EXPECT_EQ(60, runners[i].exits);
		vm_destroy(runners[i].vcpu->vm);
	}
}

/* More VMs than an emulated CPU has TLB tags, in turn on one CPU */
TEST(many_in_turn)
{
	struct vcpu *vcpus[24];
	u32 i, round;

	pin_to_cpu(0);
	for (i = 0; i < ARRAY_SIZE(vcpus); i++)
		vcpus[i] = new_guest(0x0101010101010101ULL * (i + 1), 12);
	for (round = 0; round < 12; round++)
		for (i = 0; i < ARRAY_SIZE(vcpus); i++)
			EXPECT_TRUE(step(vcpus[i]));
	for (i = 0; i < ARRAY_SIZE(vcpus); i++) {
		EXPECT_FALSE(step(vcpus[i]));
		vm_destroy(vcpus[i]->vm);
	}
}

/* Two vCPUs of one VM share its memory and nothing else. */
TEST(two_vcpus)
{
	struct vcpu *one = new_guest(0x5555666677778888, ROUNDS);
	struct vcpu *two = vcpu_create(one->vm, 1);
	u32 i;

	two->state.regs = one->state.regs;
	two->state.segments = one->state.segments;
	two->state.control = one->state.control;
	/* The same pages, and the same secret; but registers of its own */
	vcpu_set(two, VMM_STATE_REGS | VMM_STATE_SEGMENTS | VMM_STATE_CONTROL);
	for (i = 0; i < ROUNDS; i++) {
		EXPECT_TRUE(step(one));
		EXPECT_TRUE(step(two));
	}
	EXPECT_FALSE(step(one));
	EXPECT_FALSE(step(two));
	vm_destroy(one->vm);
}

/* ---- from CPU to CPU ---- */

TEST(moved_at_every_exit)
{
	struct vcpu *vcpu = new_guest(0x9999888877776666, ROUNDS);
	u32 i;

	if (host_cpus() < 2)
		SKIP(return, "needs two CPUs");
	for (i = 0; i < ROUNDS; i++) {
		ASSERT_EQ(0, pin_to_cpu(i & 1));
		EXPECT_TRUE(step(vcpu));
	}
	EXPECT_FALSE(step(vcpu));
	vm_destroy(vcpu->vm);
}

struct mover {
	pid_t thread;
	bool stop;
	u32 moves;
};

static void *move_it(void *arg)
{
	struct mover *m = arg;
	cpu_set_t set;

	while (!__atomic_load_n(&m->stop, __ATOMIC_SEQ_CST)) {
		CPU_ZERO(&set);
		CPU_SET(m->moves & 1, &set);
		sched_setaffinity(m->thread, sizeof(set), &set);
		__atomic_add_fetch(&m->moves, 1, __ATOMIC_SEQ_CST);
		usleep(300);
	}
	return NULL;
}

TEST(moved_while_it_runs)
{
	struct vcpu *vcpu = new_guest(0x123456789abcdef1, ~0U);
	struct mover mover = { .thread = gettid() };
	pthread_t thread;
	u32 exits = 0;

	if (host_cpus() < 2)
		SKIP(return, "needs two CPUs");
	ASSERT_EQ(0, pthread_create(&thread, NULL, move_it, &mover));
	/* Until it has been moved, however late the mover begins */
	while (exits < ROUNDS || __atomic_load_n(&mover.moves, __ATOMIC_SEQ_CST) <= 5) {
		ASSERT_TRUE(step(vcpu));
		EXPECT_EQ(~0U - exits, vcpu->run->exit.io.data);
		exits++;
	}
	__atomic_store_n(&mover.stop, true, __ATOMIC_SEQ_CST);
	pthread_join(thread, NULL);
	vm_destroy(vcpu->vm);
}

/* ---- from thread to thread ---- */

static void *run_once(void *arg)
{
	struct runner *r = arg;

	pin_to_cpu(r->cpu);
	r->exits = step(r->vcpu);
	return NULL;
}

TEST(run_by_threads_in_turn)
{
	struct vcpu *vcpu = new_guest(0x7777aaaa5555cccc, 60);
	u32 i;

	for (i = 0; i <= 60; i++) {
		struct runner r = { vcpu, i % host_cpus() };
		pthread_t thread;

		ASSERT_EQ(0, pthread_create(&thread, NULL, run_once, &r));
		pthread_join(thread, NULL);
		EXPECT_EQ(i < 60, r.exits);
	}
	vm_destroy(vcpu->vm);
}

/* Two threads that want to run one vCPU do so one after the other; its state is never torn. */
struct rival {
	struct vcpu *vcpu;
	u64 runs;
	volatile bool stop;
};

GUEST_CODE(count, 64, "1: inc %rax; inc %rbx; out %eax, $PORT_VALUE; jmp 1b\n");

static void *run_many(void *arg)
{
	struct rival *r = arg;

	while (!r->stop) {
		if (vcpu_run_raw(r->vcpu))
			fail("VMM_RUN");
		r->runs++;
	}
	return NULL;
}

TEST(run_by_rivals)
{
	struct vm *vm = vm_create(1 * MIB, 0);
	struct vcpu *vcpu = vcpu_create(vm, 0);
	struct rival rivals[2] = { { vcpu }, { vcpu } };
	pthread_t threads[2];
	int i;

	vcpu_load(vcpu, MODE_LONG, count);
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, run_many, &rivals[i]));
	for (i = 0; i < 200; i++) {
		vcpu_get(vcpu, VMM_STATE_REGS);
		EXPECT_EQ(vcpu->state.regs.gpr[VMM_RAX], vcpu->state.regs.gpr[VMM_RBX]);
		usleep(1000);
	}
	rivals[0].stop = true;
	rivals[1].stop = true;
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	vcpu_get(vcpu, VMM_STATE_REGS);
	EXPECT_EQ(rivals[0].runs + rivals[1].runs, vcpu->state.regs.gpr[VMM_RAX]);
	EXPECT_GT(vcpu->state.regs.gpr[VMM_RAX], 10);
	vm_destroy(vm);
}

TEST_HARNESS_MAIN
