// SPDX-License-Identifier: GPL-2.0-only
/*
 * Load and unload, /dev/vmm, and the processors: hardware virtualization is on
 * in each online CPU from load to unload, and off whenever the CPU is not the
 * running kernel's: offline, suspended, rebooting, in another kernel by kexec.
 */
#define pr_fmt(fmt) KBUILD_MODNAME ": " fmt

#include <linux/cpu.h>
#include <linux/cpuhotplug.h>
#include <linux/miscdevice.h>
#include <linux/module.h>
#include <linux/reboot.h>
#include <linux/syscore_ops.h>
#include <linux/sysfs.h>
#include <asm/cpufeature.h>
#include <asm/tsc.h>

#include "abi.h"
#include "compat.h"
#include "hw.h"
#include "irq/irq.h"
#include "pv/pv.h"
#include "vcpu.h"
#include "x86/count.h"
#include "x86/x86.h"

const struct vmm_hw *hw;
struct vmm_hw_caps hw_caps;

#define V(verb)	DEFINE_STATIC_CALL_NULL(hw_##verb, *((struct vmm_hw *)NULL)->verb);
HW_HOT_VERBS(V)
#undef V

/**
 * hw_use - choose the backend, once, before any of its verbs is called
 * @backend: it
 */
void hw_use(const struct vmm_hw *backend)
{
	hw = backend;
#define V(verb)	static_call_update(hw_##verb, backend->verb);
	HW_HOT_VERBS(V)
#undef V
}

static int online_state;

static int cpu_online_callback(unsigned int cpu)
{
	unsigned long flags;
	int ret;

	local_irq_save(flags);
	ret = hw->cpu_enable();
	local_irq_restore(flags);
	if (ret)
		pr_err("CPU %u cannot run guests (%d)\n", cpu, ret);
	return ret;
}

static int cpu_offline_callback(unsigned int cpu)
{
	unsigned long flags;

	local_irq_save(flags);
	hw->cpu_disable();
	local_irq_restore(flags);
	return 0;
}

static void disable_cpu(void *unused)
{
	hw->cpu_disable();
}

/*
 * Suspend takes the other CPUs down by hot-unplug; the last one, with interrupts off, comes here.
 */
static int vmm_suspend(void)
{
	pv_clock_suspend();
	hw->cpu_disable();
	return 0;
}

static void vmm_resume(void)
{
	pv_clock_resume();
	WARN_ON_ONCE(hw->cpu_enable());
}

COMPAT_SYSCORE(vmm_syscore, vmm_suspend, vmm_resume);

/* Firmware after a reboot, or the kernel that kexec starts, finds the CPUs as we found them. */
static int vmm_reboot(struct notifier_block *nb, unsigned long event, void *data)
{
	on_each_cpu(disable_cpu, NULL, 1);
	return NOTIFY_OK;
}

static struct notifier_block vmm_reboot_notifier = {
	.notifier_call = vmm_reboot,
};

static ssize_t mitigations_show(struct device *dev, struct device_attribute *attr, char *buf)
{
	return spec_describe(buf, PAGE_SIZE);
}
static DEVICE_ATTR_RO(mitigations);

static struct attribute *vmm_attrs[] = {
	&dev_attr_mitigations.attr,
	NULL
};
ATTRIBUTE_GROUPS(vmm);

static struct miscdevice vmm_device = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "vmm",
	.fops = &abi_system_fops,
	.groups = vmm_groups,
	.mode = 0660,
};

static int __init find_backend(void)
{
	switch (boot_cpu_data.x86_vendor) {
	case X86_VENDOR_INTEL:
	case X86_VENDOR_CENTAUR:
	case X86_VENDOR_ZHAOXIN:
		hw_use(&vmx_hw);
		break;
	default:
		hw_use(&svm_hw);
		break;
	}
	return hw->init(&hw_caps);
}

/* The parts in the order in which they need each other; taken down in reverse. */
static int __init init_parts(void)
{
	int ret;

	/* Locks that sleep there are taken with interrupts off. */
	if (IS_ENABLED(CONFIG_PREEMPT_RT)) {
		pr_err("real-time kernels (PREEMPT_RT) are not supported\n");
		return -EOPNOTSUPP;
	}
	/* Guests' clocks and timers are computed from it. */
	if (!tsc_khz) {
		pr_err("the host has no TSC of a known frequency\n");
		return -ENODEV;
	}
	ret = host_init();
	if (ret)
		return ret;
	ret = eventfd_wq_init();
	if (ret)
		goto exit_host;
	ret = find_backend();
	if (ret)
		goto exit_eventfd;
	ret = spec_init();
	if (ret)
		goto exit_hw;
	ret = xstate_init();
	if (ret)
		goto exit_hw;
	pv_clock_init();
	state_init();
	msr_init();
	ret = cpuid_init();
	if (ret)
		goto exit_hw;
	return 0;

exit_hw:
	hw->exit();
exit_eventfd:
	eventfd_wq_exit();
exit_host:
	host_exit();
	return ret;
}

static void exit_parts(void)
{
	cpuid_exit();
	hw->exit();
	eventfd_wq_exit();
	host_exit();
}

static int __init vmm_init(void)
{
	int ret;

	ret = init_parts();
	if (ret)
		return ret;

	ret = cpuhp_setup_state(CPUHP_AP_ONLINE_DYN, "x86/vmm:online", cpu_online_callback,
				cpu_offline_callback);
	if (ret < 0)
		goto exit;
	online_state = ret;

	compat_register_syscore(&vmm_syscore);
	ret = register_reboot_notifier(&vmm_reboot_notifier);
	if (ret)
		goto remove_state;
	ret = misc_register(&vmm_device);
	if (ret)
		goto remove_notifier;
	count_init();
	pr_info("ready (%s)\n", hw->name);
	return 0;

remove_notifier:
	unregister_reboot_notifier(&vmm_reboot_notifier);
remove_state:
	compat_unregister_syscore(&vmm_syscore);
	cpuhp_remove_state(online_state);
exit:
	exit_parts();
	return ret;
}
module_init(vmm_init);

/* No VM and no vCPU is left: their files hold the module. */
static void __exit vmm_exit(void)
{
	count_uninit();
	misc_deregister(&vmm_device);
	unregister_reboot_notifier(&vmm_reboot_notifier);
	compat_unregister_syscore(&vmm_syscore);
	cpuhp_remove_state(online_state);
	exit_parts();
	/* RCU callbacks of ours may still be on their way. */
	rcu_barrier();
}
module_exit(vmm_exit);

MODULE_DESCRIPTION("A hypervisor with an API of its own");
MODULE_LICENSE("GPL");
