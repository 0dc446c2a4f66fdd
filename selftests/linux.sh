#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-only
#
# An unmodified Debian kernel boots to its userspace with kvm-clock, finds
# nothing wrong with its machine, and powers itself off.
#
# hosts: deterministic smp 6.12
# timeout: 120

. /selftests/check.sh
log=/tmp/linux.$$

# A guest that hangs is asked what it is about.
boot()
{
	timeout -s QUIT $((${TEST_SECONDS:-120} - 20)) vmmctl run --stats --memory 256M \
		--kernel /guest/vmlinuz --initrd /guest/initrd \
		--append "console=ttyS0 panic=-1 $guest_words" >"$log" 2>&1 </dev/null
}

has()
{
	grep -q -- "$1" "$log"
}

# A hint about the CPU's bugs is no finding about the machine.
clean()
{
	! grep -E -f /nested/log-patterns "$log" | grep -v "admin-guide/hw-vuln" |
		sed 's/^/# /' | grep .
}

unused()
{
	[ "$(cat /sys/module/vmm/refcnt)" = 0 ]
}

echo "TAP version 13"
echo "1..7"
check "exit status 0" boot
check "reaches userspace" has "^guest: userspace reached"
check "uses kvm-clock" has "Switched to clocksource kvm-clock\|clocksource: kvm-clock: mask"
check "knows that it is a guest" has "Hypervisor detected: KVM"
check "its log is clean" clean
check "powers off" has "reboot: Power down"
check "leaves the module unused" unused
sed 's/^/# /' "$log" | tail -n 120
rm -f "$log"
