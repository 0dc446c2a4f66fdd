// SPDX-License-Identifier: GPL-2.0-only
/*
 * Messages and routes: what address and data mean, how many take them, GSIs with any number
 * of routes of any kind, and what cannot be.
 */
#include <pthread.h>

#include "kselftest_harness.h"
#include "remote.h"

#define ADDRESS		0xfee00000ULL
#define DEST(id)	((u64)((id) & 0xff) << 12 | (u64)((id) >> 8) << 40)
#define LOGICAL		(1 << 2)
#define HINT		(1 << 3)

#define LOWEST		0x100
#define SMI		0x200
#define NMI		0x400
#define INIT		0x500
#define ASSERT		0x4000
#define LEVEL		0x8000

#define NR 5

static const u32 ids[NR] = { 0, 1, 7, 0x80, 0x10203 };

FIXTURE(msi) {
	struct vm *vm;
	struct vcpu *v[NR];
};

/* The last two are x2APICs. */
FIXTURE_SETUP(msi)
{
	int i;

	self->vm = vm_create(16 * MIB, VMM_VM_IRQCHIPS);
	for (i = 0; i < NR; i++) {
		struct vmm_lapic *lapic;

		self->v[i] = vcpu_create(self->vm, ids[i]);
		vcpu_get(self->v[i], VMM_STATE_LAPIC);
		lapic = &self->v[i]->state.lapic;
		lapic->regs[0xf0 / 4] = 0x1ff;
		if (i < 3)
			lapic->regs[0xd0 / 4] = 0x10000000U << i;
		else
			lapic->apic_base |= 0x400;
		vcpu_set(self->v[i], VMM_STATE_LAPIC);
	}
	remote_start(self->v[0]);
}

FIXTURE_TEARDOWN(msi)
{
	vm_destroy(self->vm);
}

static int send(struct vm *vm, u64 address, u32 data)
{
	struct vmm_msi msi = { .size = sizeof(msi), .address = address, .data = data };

	return do_ioctl(vm->fd, VMM_SIGNAL_MSI, &msi);
}

/* Who has @vector in IRR, as a mask; taken away again */
static u32 receivers(struct vcpu *v[NR], u8 vector)
{
	u32 mask = 0, *word;
	int i;

	for (i = 0; i < NR; i++) {
		vcpu_get(v[i], VMM_STATE_LAPIC);
		word = &v[i]->state.lapic.regs[(0x200 + vector / 32 * 16) / 4];
		if (!(*word >> vector % 32 & 1))
			continue;
		mask |= 1 << i;
		*word &= ~(1U << vector % 32);
		vcpu_set(v[i], VMM_STATE_LAPIC);
	}
	return mask;
}

/* The count that the call returns must be right as well. */
static u32 sent(struct vcpu *v[NR], u64 address, u32 data)
{
	int count = send(v[0]->vm, ADDRESS | address, data | 0x60);
	u32 mask = receivers(v, 0x60);

	if (count != __builtin_popcount(mask))
		fail("%d returned, mask %#x", count, mask);
	return mask;
}

TEST_F(msi, destinations)
{
	struct vcpu **v = self->v;
	int i;

	for (i = 0; i < NR; i++) {
		EXPECT_EQ(1 << i, sent(v, DEST(ids[i]), 0))
			TH_LOG("id %#x", ids[i]);
	}
	EXPECT_EQ(0, sent(v, DEST(2), 0));
	EXPECT_EQ(0, sent(v, DEST(0x10080), 0));
	EXPECT_EQ(0x1f, sent(v, DEST(0xff), 0));
	EXPECT_EQ(0x03, sent(v, LOGICAL | DEST(0x30), 0));
	EXPECT_EQ(0x1f, sent(v, LOGICAL | DEST(0xff), 0));
	/* Cluster 8, bit 0 */
	EXPECT_EQ(0x08, sent(v, LOGICAL | DEST(0x80001), 0));
	EXPECT_EQ(0, sent(v, LOGICAL | DEST(0x90001), 0));
	/* The hint makes it one of them; with a physical id there is only one anyway. */
	EXPECT_EQ(1, __builtin_popcount(sent(v, LOGICAL | HINT | DEST(0x30), 0)));
	EXPECT_EQ(1, __builtin_popcount(sent(v, LOGICAL | DEST(0x30), LOWEST)));
	EXPECT_EQ(0x04, sent(v, HINT | DEST(7), 0));
}

TEST_F(msi, modes)
{
	struct vcpu **v = self->v;

	EXPECT_EQ(1, send(self->vm, ADDRESS | DEST(1), NMI));
	vcpu_get(v[1], VMM_STATE_EVENTS);
	EXPECT_EQ(1, v[1]->state.events.nmi_pending);
	EXPECT_EQ(1, send(self->vm, ADDRESS | DEST(1), INIT));
	vcpu_get(v[1], VMM_STATE_EVENTS);
	EXPECT_EQ(1, v[1]->state.events.init_pending);
	send(self->vm, ADDRESS | DEST(1), SMI);
	send(self->vm, ADDRESS | DEST(1), 0x300 | 0x60);
	send(self->vm, ADDRESS | DEST(1), 0x600 | 0x60);
	send(self->vm, ADDRESS | DEST(1), 0x700 | 0x60);
	vcpu_get(v[1], VMM_STATE_EVENTS);
	EXPECT_EQ(0, v[1]->state.events.sipi_pending);
	EXPECT_EQ(0, receivers(v, 0x60));
	/* Levels */
	EXPECT_EQ(0, send(self->vm, ADDRESS, LEVEL | 0x60));
	EXPECT_EQ(1, send(self->vm, ADDRESS, LEVEL | ASSERT | 0x60));
	vcpu_get(v[0], VMM_STATE_LAPIC);
	EXPECT_EQ(1, v[0]->state.lapic.regs[(0x180 + 0x30) / 4]);
	EXPECT_EQ(1, receivers(v, 0x60));
	/* A LAPIC that is disabled takes none. */
	v[0]->state.lapic.regs[0xf0 / 4] = 0xff;
	vcpu_set(v[0], VMM_STATE_LAPIC);
	EXPECT_EQ(0, send(self->vm, ADDRESS, 0x60));
	EXPECT_EQ(NR - 1, send(self->vm, ADDRESS | DEST(0xff), 0x60));
}

TEST_F(msi, no_message)
{
	EXPECT_EQ(-EINVAL, send(self->vm, 0, 0x60));
	EXPECT_EQ(-EINVAL, send(self->vm, 0xfed00000, 0x60));
	EXPECT_EQ(-EINVAL, send(self->vm, 0xfef00000, 0x60));
	EXPECT_EQ(-EINVAL, send(self->vm, ADDRESS | 1ULL << 32, 0x60));
	EXPECT_EQ(-EINVAL, send(self->vm, ADDRESS | 1ULL << 39, 0x60));
	EXPECT_EQ(0, receivers(self->v, 0x60));
}

/* ---- routes --------------------------------------------------------------------- */

static int set_routes(struct vm *vm, const struct vmm_route *table, u32 count)
{
	struct vmm_routes routes = {
		.size = sizeof(routes), .count = count, .routes = (uintptr_t)table,
	};

	return do_ioctl(vm->fd, VMM_SET_ROUTES, &routes);
}

static int set_line(struct vm *vm, u32 gsi, u32 level)
{
	struct vmm_irq_line line = { .size = sizeof(line), .gsi = gsi, .level = level };

	return do_ioctl(vm->fd, VMM_IRQ_LINE, &line);
}

static void get_controllers(struct vm *vm, struct vmm_vm_state *state)
{
	*state = (struct vmm_vm_state){
		.size = sizeof(*state), .groups = VMM_VM_STATE_PIC | VMM_VM_STATE_IOAPIC,
	};
	if (do_ioctl(vm->fd, VMM_GET_VM_STATE, state))
		fail("VMM_GET_VM_STATE");
}

TEST_F(msi, routes)
{
	const struct vmm_route table[] = {
		/* In no order; one GSI to both controllers and two messages */
		{ .gsi = 1023, .type = VMM_ROUTE_MSI, .address = ADDRESS | DEST(1), .data = 0x60 },
		{ .gsi = 50, .type = VMM_ROUTE_MSI, .address = ADDRESS | DEST(0), .data = 0x61 },
		{ .gsi = 0, .type = VMM_ROUTE_PIC, .pin = 15 },
		{ .gsi = 50, .type = VMM_ROUTE_MSI, .address = ADDRESS | DEST(7), .data = 0x62 },
		{ .gsi = 50, .type = VMM_ROUTE_IOAPIC, .pin = 23 },
		{ .gsi = 50, .type = VMM_ROUTE_PIC, .pin = 3 },
		{ .gsi = 7, .type = VMM_ROUTE_IOAPIC, .pin = 0 },
	};
	struct vmm_vm_state s;

	ASSERT_EQ(0, set_routes(self->vm, table, ARRAY_SIZE(table)));
	EXPECT_EQ(0, set_line(self->vm, 1023, 1));
	EXPECT_EQ(1 << 1, receivers(self->v, 0x60));
	/* The rise is the message; the fall is nothing. */
	EXPECT_EQ(0, set_line(self->vm, 1023, 0));
	EXPECT_EQ(0, receivers(self->v, 0x60));

	EXPECT_EQ(0, set_line(self->vm, 50, 1));
	EXPECT_EQ(1 << 0, receivers(self->v, 0x61));
	EXPECT_EQ(1 << 2, receivers(self->v, 0x62));
	get_controllers(self->vm, &s);
	EXPECT_EQ(1 << 3, s.pic[0].lines);
	EXPECT_EQ(0, s.pic[1].lines);
	EXPECT_EQ(1 << 23, s.ioapic.lines);
	EXPECT_EQ(0, set_line(self->vm, 0, 1));
	EXPECT_EQ(0, set_line(self->vm, 7, 1));
	get_controllers(self->vm, &s);
	EXPECT_EQ(1 << 7, s.pic[1].lines);
	EXPECT_EQ(1 << 23 | 1, s.ioapic.lines);
	/* No route any more, and none ever */
	EXPECT_EQ(-EINVAL, set_line(self->vm, 1, 1));
	EXPECT_EQ(-EINVAL, set_line(self->vm, 1024, 1));
	EXPECT_EQ(-EINVAL, set_line(self->vm, ~0U, 1));
	/* New routes change no level. */
	ASSERT_EQ(0, set_routes(self->vm, table, 1));
	get_controllers(self->vm, &s);
	EXPECT_EQ(1 << 23 | 1, s.ioapic.lines);
	ASSERT_EQ(0, set_routes(self->vm, NULL, 0));
	EXPECT_EQ(-EINVAL, set_line(self->vm, 1023, 1));
}

TEST_F(msi, bad_routes)
{
	static const struct vmm_route bad[] = {
		{ .gsi = 1024, .type = VMM_ROUTE_PIC },
		{ .type = 0 },
		{ .type = 4 },
		{ .type = VMM_ROUTE_PIC, .pin = 16 },
		{ .type = VMM_ROUTE_IOAPIC, .pin = 24 },
		{ .type = VMM_ROUTE_IOAPIC, .pin = ~0U },
		{ .type = VMM_ROUTE_MSI, .address = 0x1000 },
	};
	struct vmm_route two[2] = {
		{ .gsi = 3, .type = VMM_ROUTE_MSI, .address = ADDRESS, .data = 0x63 },
	};
	struct vm *vm = vm_create(0, VMM_VM_LAPIC);
	struct vmm_route crowd[9];
	unsigned int i;

	ASSERT_EQ(0, set_routes(self->vm, two, 1));
	two[0].data = 0x64;
	for (i = 0; i < ARRAY_SIZE(bad); i++) {
		two[1] = bad[i];
		EXPECT_EQ(-EINVAL, set_routes(self->vm, two, 2)) TH_LOG("case %u", i);
	}
	for (i = 0; i < 9; i++)
		crowd[i] = (struct vmm_route){ .gsi = 3, .type = VMM_ROUTE_MSI,
					       .address = ADDRESS, .data = 0x65 };
	EXPECT_EQ(-E2BIG, set_routes(self->vm, crowd, 9));
	EXPECT_EQ(0, set_line(self->vm, 3, 1));
	EXPECT_EQ(1, receivers(self->v, 0x63));
	EXPECT_EQ(0, receivers(self->v, 0x65));
	EXPECT_EQ(0, set_routes(self->vm, crowd, 8));
	/* What the VM lacks */
	two[0] = (struct vmm_route){ .type = VMM_ROUTE_PIC };
	EXPECT_EQ(-ENXIO, set_routes(vm, two, 1));
	two[0].type = VMM_ROUTE_IOAPIC;
	EXPECT_EQ(-ENXIO, set_routes(vm, two, 1));
	vm_destroy(vm);
	vm = vm_create(0, VMM_VM_PIC);
	two[0] = (struct vmm_route){ .type = VMM_ROUTE_MSI, .address = ADDRESS };
	EXPECT_EQ(-ENXIO, set_routes(vm, two, 1));
	vm_destroy(vm);
}

/* As many as there may be */
TEST_F(msi, full_table)
{
	static struct vmm_route table[4096];
	u32 i;

	for (i = 0; i < 4096; i++)
		table[i] = (struct vmm_route){
			.gsi = 1023 - i / 4, .type = VMM_ROUTE_MSI,
			.address = ADDRESS | DEST(ids[i % 4]), .data = 0x20 + i / 4 % 200,
		};
	ASSERT_EQ(0, set_routes(self->vm, table, 4096));
	for (i = 0; i < 1024; i += 93) {
		EXPECT_EQ(0, set_line(self->vm, 1023 - i, 1));
		EXPECT_EQ(0xf, receivers(self->v, 0x20 + i % 200)) TH_LOG("%u", i);
	}
}

/* Messages, lines and new routes from two threads at once */
static bool stop;

static void *change_routes(void *arg)
{
	struct vmm_route table[3] = {
		{ .gsi = 5, .type = VMM_ROUTE_MSI, .address = ADDRESS, .data = 0x65 },
		{ .gsi = 6, .type = VMM_ROUTE_IOAPIC, .pin = 6 },
		{ .gsi = 6, .type = VMM_ROUTE_PIC, .pin = 6 },
	};
	struct vm *vm = arg;

	while (!__atomic_load_n(&stop, __ATOMIC_RELAXED)) {
		if (set_routes(vm, table, 3))
			fail("VMM_SET_ROUTES");
		table[0].data = table[0].data == 0x65 ? 0x66 : 0x65;
	}
	return NULL;
}

TEST_F(msi, concurrent)
{
	pthread_t thread;
	int i;

	ASSERT_EQ(0, set_routes(self->vm, (struct vmm_route[]){
		{ .gsi = 5, .type = VMM_ROUTE_MSI, .address = ADDRESS, .data = 0x65 },
		{ .gsi = 6, .type = VMM_ROUTE_IOAPIC, .pin = 6 } }, 2));
	ASSERT_EQ(0, pthread_create(&thread, NULL, change_routes, self->vm));
	for (i = 0; i < 2000; i++) {
		EXPECT_EQ(0, set_line(self->vm, 5, 1));
		EXPECT_EQ(0, set_line(self->vm, 6, i & 1));
	}
	__atomic_store_n(&stop, true, __ATOMIC_RELAXED);
	pthread_join(thread, NULL);
	EXPECT_NE(0, receivers(self->v, 0x65) | receivers(self->v, 0x66));
}

TEST_HARNESS_MAIN
