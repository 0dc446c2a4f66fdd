// SPDX-License-Identifier: GPL-2.0-only
/*
 * The interrupt controllers of a VM as a whole: creation, GSIs and messages, ports and
 * addresses.
 */
#include <linux/nospec.h>
#include <linux/overflow.h>
#include <linux/slab.h>

#include "../hw.h"
#include "../vmm_abi.h"
#include "internal.h"

/* ---- messages ---- */

/* An address that LAPICs listen to: bits 31:20 are 0xfee, bits 39:32 clear */
static bool is_msi_address(u64 address)
{
	return (address & 0xfffff00000ull) == APIC_DEFAULT_PHYS_BASE;
}

/* SDM vol. 3, 11.11; bits 63:40 of the address extend the destination id upwards */
int irq_send_msi(struct vm *vm, u64 address, u32 data)
{
	struct irq_message msg = {
		.dest = (address >> 12 & 0xff) | (u32)(address >> 40) << 8,
		.logical = address & BIT(2),
		.level = data & BIT(15),
		.mode = data >> 8 & 7,
		.vector = data,
	};

	if (!(vm->flags & VMM_VM_LAPIC))
		return -ENXIO;
	if (!is_msi_address(address))
		return -EINVAL;
	/* The redirection hint does nothing to a physical destination. */
	msg.lowest = msg.mode == APIC_DELIVERY_MODE_LOWESTPRIO ||
		     ((address & BIT(3)) && msg.logical);
	/* De-assertion of a level says nothing to a LAPIC. */
	if (msg.level && !(data & BIT(14)))
		return 0;
	return irq_deliver(vm, &msg);
}

/* ---- GSIs ---- */

int irq_set_source(struct vm *vm, u32 gsi, u32 source, bool level)
{
	struct irq_controllers *irq = vm->irq;
	const struct irq_routing *routing;
	const struct irq_route *route;
	unsigned int i;
	int ret = -EINVAL;

	if (gsi >= VM_NR_GSIS)
		return -EINVAL;
	gsi = array_index_nospec(gsi, VM_NR_GSIS);
	rcu_read_lock();
	routing = rcu_dereference(irq->routing);
	for (i = routing->first[gsi]; i < routing->first[gsi + 1]; i++) {
		route = &routing->routes[i];
		switch (route->type) {
		case VMM_ROUTE_PIC:
			pic_set_pin(irq->pic, route->pin, source, level);
			break;
		case VMM_ROUTE_IOAPIC:
			ioapic_set_pin(irq->ioapic, route->pin, source, level);
			break;
		case VMM_ROUTE_MSI:
			if (level)
				irq_send_msi(vm, route->address, route->data);
			break;
		}
		ret = 0;
	}
	rcu_read_unlock();
	return ret;
}

int irq_set_level(struct vm *vm, u32 gsi, bool level)
{
	int ret = irq_set_source(vm, gsi, IRQ_SOURCE_USER, level);

	if (!level)
		irq_resume_pit(vm);
	return ret;
}

bool irq_gsi_has_pin(struct irq_controllers *irq, u32 gsi, u32 type, u32 pins)
{
	const struct irq_routing *routing = rcu_dereference(irq->routing);
	unsigned int i;

	for (i = routing->first[gsi]; i < routing->first[gsi + 1]; i++)
		if (routing->routes[i].type == type && (BIT(routing->routes[i].pin) & pins))
			return true;
	return false;
}

static int check_route(const struct irq_controllers *irq, const struct irq_route *route)
{
	if (route->gsi >= VM_NR_GSIS)
		return -EINVAL;
	switch (route->type) {
	case VMM_ROUTE_PIC:
		if (route->pin >= PIC_PINS)
			return -EINVAL;
		return irq->pic ? 0 : -ENXIO;
	case VMM_ROUTE_IOAPIC:
		if (route->pin >= IOAPIC_PINS)
			return -EINVAL;
		return irq->ioapic ? 0 : -ENXIO;
	case VMM_ROUTE_MSI:
		if (!is_msi_address(route->address))
			return -EINVAL;
		return irq->vm->flags & VMM_VM_LAPIC ? 0 : -ENXIO;
	default:
		return -EINVAL;
	}
}

/* Sorted by GSI, routes of one GSI in their given order: counted, then placed */
static struct irq_routing *make_routing(const struct irq_route *routes, u32 count)
{
	struct irq_routing *routing;
	u32 i, gsi;

	routing = kvzalloc(struct_size(routing, routes, count), GFP_KERNEL_ACCOUNT);
	if (!routing)
		return ERR_PTR(-ENOMEM);
	for (i = 0; i < count; i++) {
		if (routing->first[routes[i].gsi + 1]++ == IRQ_MAX_GSI_ROUTES) {
			kvfree(routing);
			return ERR_PTR(-E2BIG);
		}
	}
	for (gsi = 0; gsi < VM_NR_GSIS; gsi++)
		routing->first[gsi + 1] += routing->first[gsi];
	/* Placing moves each first[] to where the next GSI begins ... */
	for (i = 0; i < count; i++)
		routing->routes[routing->first[routes[i].gsi]++] = routes[i];
	/* ... so that all are one too far. */
	memmove(&routing->first[1], &routing->first[0], VM_NR_GSIS * sizeof(routing->first[0]));
	routing->first[0] = 0;
	return routing;
}

static int install_routes(struct irq_controllers *irq, const struct irq_route *routes, u32 count)
{
	struct irq_routing *routing = make_routing(routes, count);

	if (IS_ERR(routing))
		return PTR_ERR(routing);
	mutex_lock(&irq->mutex);
	routing = rcu_replace_pointer(irq->routing, routing, lockdep_is_held(&irq->mutex));
	mutex_unlock(&irq->mutex);
	if (routing) {
		/* When the call returns, nobody sends by the old routes any more. */
		synchronize_rcu_expedited();
		kvfree(routing);
	}
	return 0;
}

int irq_set_routes(struct vm *vm, const struct irq_route *routes, u32 count)
{
	u32 i;
	int ret;

	if (count > IRQ_MAX_ROUTES)
		return -E2BIG;
	for (i = 0; i < count; i++) {
		ret = check_route(vm->irq, &routes[i]);
		if (ret)
			return ret;
	}
	ret = install_routes(vm->irq, routes, count);
	irq_resume_pit(vm);
	return ret;
}

static int install_default_routes(struct irq_controllers *irq)
{
	struct irq_route *routes;
	u32 count = 0, i;
	int ret;

	routes = kcalloc(PIC_PINS + IOAPIC_PINS, sizeof(*routes), GFP_KERNEL);
	if (!routes)
		return -ENOMEM;
	for (i = 0; irq->pic && i < PIC_PINS; i++)
		routes[count++] = (struct irq_route){ .gsi = i, .type = VMM_ROUTE_PIC, .pin = i };
	for (i = 0; irq->ioapic && i < IOAPIC_PINS; i++)
		routes[count++] = (struct irq_route){
			.gsi = i,
			.type = VMM_ROUTE_IOAPIC,
			.pin = i ? i : 2,
		};
	ret = install_routes(irq, routes, count);
	kfree(routes);
	return ret;
}

/* ---- ports and addresses ---- */

enum port_owner { PORT_NOBODY, PORT_PIC, PORT_PIT };

/* Each within what irq_port_bit() takes for one */
static const struct port_range {
	u16 first;
	u16 last;
	enum port_owner owner;
} port_ranges[] = {
	{ 0x20, 0x21, PORT_PIC },
	{ 0xa0, 0xa1, PORT_PIC },
	{ 0x4d0, 0x4d1, PORT_PIC },
	{ 0x40, 0x43, PORT_PIT },
	{ 0x61, 0x61, PORT_PIT },
};

static bool is_there(const struct irq_controllers *irq, enum port_owner owner)
{
	return owner == PORT_PIC ? !!irq->pic : !!irq->pit;
}

static enum port_owner port_owner(const struct irq_controllers *irq, u16 port)
{
	const struct port_range *range;

	for (range = port_ranges; range < port_ranges + ARRAY_SIZE(port_ranges); range++)
		if (port >= range->first && port <= range->last && is_there(irq, range->owner))
			return range->owner;
	return PORT_NOBODY;
}

static u64 owned_ports(const struct irq_controllers *irq)
{
	const struct port_range *range;
	u64 ports = 0;

	for (range = port_ranges; range < port_ranges + ARRAY_SIZE(port_ranges); range++)
		if (is_there(irq, range->owner))
			ports |= irq_port_bit(range->first);
	return ports;
}

/* An access of several bytes is one to each port, as the bus of such devices makes of it. */
bool irq_io_read(struct vm *vm, u16 port, u8 size, u32 *data)
{
	struct irq_controllers *irq = vm->irq;
	u32 value = 0;
	u8 byte;
	int i;

	if (port_owner(irq, port) == PORT_NOBODY)
		return false;
	for (i = 0; i < size; i++, port++) {
		switch (port_owner(irq, port)) {
		case PORT_PIC:
			byte = pic_read_port(irq->pic, port);
			break;
		case PORT_PIT:
			byte = pit_read_port(irq->pit, port);
			break;
		default:
			byte = 0xff;
			break;
		}
		value |= (u32)byte << (8 * i);
	}
	*data = value;
	return true;
}

static noinline bool write_ports(struct irq_controllers *irq, u16 port, u8 size, u32 data)
{
	int i;

	for (i = 0; i < size; i++, port++, data >>= 8) {
		switch (port_owner(irq, port)) {
		case PORT_PIC:
			pic_write_port(irq->pic, port, data);
			break;
		case PORT_PIT:
			pit_write_port(irq->pit, port, data);
			break;
		case PORT_NOBODY:
			break;
		}
	}
	return true;
}

static noinline bool write_past_ioeventfds(struct irq_controllers *irq, u16 port, u8 size, u32 data)
{
	if (ioeventfd_write(irq, true, port, size, data))
		return true;
	return port_owner(irq, port) != PORT_NOBODY && write_ports(irq, port, size, data);
}

bool irq_io_write(struct vm *vm, u16 port, u8 size, u32 data)
{
	struct irq_controllers *irq = vm->irq;

	if (unlikely(READ_ONCE(irq->nr_ioeventfds[1])))
		return write_past_ioeventfds(irq, port, size, data);
	return port_owner(irq, port) != PORT_NOBODY && write_ports(irq, port, size, data);
}

bool irq_mmio_read(struct vcpu *vcpu, u64 gpa, u8 size, u64 *data)
{
	struct ioapic *ioapic = vcpu->vm->irq->ioapic;

	return lapic_mmio_read(vcpu, gpa, size, data) ||
	       (ioapic && ioapic_mmio_read(ioapic, gpa, size, data));
}

bool irq_mmio_write(struct vcpu *vcpu, u64 gpa, u8 size, u64 data)
{
	struct irq_controllers *irq = vcpu->vm->irq;

	if (READ_ONCE(irq->nr_ioeventfds[0]) && ioeventfd_write(irq, false, gpa, size, data))
		return true;
	return lapic_mmio_write(vcpu, gpa, size, data) ||
	       (irq->ioapic && ioapic_mmio_write(irq->ioapic, gpa, size, data));
}

/* ---- life ---- */

static int create_controllers(struct irq_controllers *irq, u32 flags)
{
	int ret = 0;

	if (flags & VMM_VM_PIC)
		ret = pic_create(irq);
	if (!ret && (flags & VMM_VM_IOAPIC))
		ret = ioapic_create(irq);
	if (!ret && (flags & VMM_VM_PIT))
		ret = pit_create(irq);
	return ret ?: install_default_routes(irq);
}

int irq_create(struct vm *vm)
{
	struct irq_controllers *irq;
	int ret;

	if ((vm->flags & VMM_VM_PIT) && !(vm->flags & (VMM_VM_PIC | VMM_VM_IOAPIC)))
		return -EINVAL;
	if ((vm->flags & VMM_VM_IOAPIC) && !(vm->flags & VMM_VM_LAPIC))
		return -EINVAL;

	irq = kzalloc(sizeof(*irq), GFP_KERNEL_ACCOUNT);
	if (!irq)
		return -ENOMEM;
	irq->vm = vm;
	irq->extint_vcpu = -1;
	mutex_init(&irq->mutex);
	eventfd_init(irq);
	vm->irq = irq;
	ret = create_controllers(irq, vm->flags);
	vm->irq_ports = owned_ports(irq);
	if (ret)
		irq_destroy(vm);
	return ret;
}

/* Nobody runs a vCPU of the VM any more; eventfds and timers may still fire. */
void irq_destroy(struct vm *vm)
{
	struct irq_controllers *irq = vm->irq;

	eventfd_destroy(irq);
	pit_destroy(irq);
	ioapic_destroy(irq);
	pic_destroy(irq);
	kvfree(rcu_dereference_protected(irq->routing, true));
	kfree(irq);
	vm->irq = NULL;
}
