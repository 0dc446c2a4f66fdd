// SPDX-License-Identifier: GPL-2.0-only
#include <linux/fs.h>
#include <linux/miscdevice.h>
#include <linux/module.h>

static const struct file_operations vmm_dev_fops = {
	.owner = THIS_MODULE,
};

static struct miscdevice vmm_dev = {
	.minor = MISC_DYNAMIC_MINOR,
	.name = "vmm",
	.fops = &vmm_dev_fops,
	.mode = 0660,
};

module_misc_device(vmm_dev);

MODULE_DESCRIPTION("A hypervisor with an API of its own");
MODULE_LICENSE("GPL");
