// SPDX-License-Identifier: GPL-2.0-only
/*
 * Loops of PAUSE: one that waits for another vCPU makes way, one that has nobody to wait for runs.
 */
#include <pthread.h>

#include "kselftest_harness.h"
#include "vmmtest.h"

/* Far more than the longest loop that a CPU does not tell of */
#define SPINS		20000

#define TURNS		40

GUEST_CODE(spin, 64,
	   "1: pause; dec %esi; jnz 1b\n"
	   "out %al, $PORT_DONE\n");

static u64 pauses_of(struct vcpu *vcpu)
{
	vcpu->state.regs.rip = CODE_GPA;
	vcpu->state.regs.gpr[VMM_RSI] = SPINS;
	vcpu_set(vcpu, VMM_STATE_REGS);
	run_done(vcpu);
	return get_stat(vcpu->fd, "pause_exits");
}

TEST(only_with_siblings)
{
	struct vm *vm = vm_create(16 * MIB, 0);
	struct vcpu *one = vcpu_create(vm, 0), *two;

	vcpu_load(one, MODE_LONG, spin);
	EXPECT_EQ(0, pauses_of(one));
	two = vcpu_create(vm, 1);
	EXPECT_EQ(!!(vm->info.caps & VMM_CAP_PAUSE_LOOPS), pauses_of(one) > 0);
	vcpu_load(two, MODE_LONG, spin);
	EXPECT_EQ(!!(vm->info.caps & VMM_CAP_PAUSE_LOOPS), pauses_of(two) > 0);
	vm_destroy(vm);
}

/* Two that wait for each other until %esi turns were taken; %edi: whose the odd ones are */
GUEST_CODE(take_turns, 64,
	   "1: pause\n"
	   "mov DATA_GPA, %eax\n"
	   "cmp %esi, %eax\n"
	   "jae 2f\n"
	   "xor %edi, %eax\n"
	   "test $1, %al\n"
	   "jnz 1b\n"
	   "incl DATA_GPA\n"
	   "jmp 1b\n"
	   "2: out %al, $PORT_DONE\n");

static void *run_on_first_cpu(void *arg)
{
	if (pin_to_cpu(0))
		fail("no affinity");
	run_done(arg);
	return NULL;
}

TEST(on_one_cpu)
{
	struct vm *vm = vm_create(16 * MIB, 0);
	struct vcpu *vcpus[2];
	pthread_t threads[2];
	int i;

	for (i = 0; i < 2; i++) {
		vcpus[i] = vcpu_create(vm, i);
		vcpu_load(vcpus[i], MODE_LONG, take_turns);
		vcpus[i]->state.regs.gpr[VMM_RDI] = i;
		vcpus[i]->state.regs.gpr[VMM_RSI] = TURNS;
		vcpu_set(vcpus[i], VMM_STATE_REGS);
	}
	for (i = 0; i < 2; i++)
		ASSERT_EQ(0, pthread_create(&threads[i], NULL, run_on_first_cpu, vcpus[i]));
	for (i = 0; i < 2; i++)
		pthread_join(threads[i], NULL);
	EXPECT_EQ(TURNS, guest_u32(vm, DATA_GPA));
	/* Each turn but those that a time slice's end gave is one that a loop made way for. */
	if (vm->info.caps & VMM_CAP_PAUSE_LOOPS)
		EXPECT_GE(get_stat(vm->fd, "pause_exits"), TURNS / 4);
	vm_destroy(vm);
}

TEST_HARNESS_MAIN
