#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-only
#
# A Debian guest adds up what is in its memory, again and again, in a host that
# lets it have half of what it was given: the rest is in swap.
#
# hosts: smp
# not: intel-smp it takes six minutes there; hosts with other kernels have it
# timeout: 180

. /selftests/check.sh
log=/tmp/swapguest.$$
group=/sys/fs/cgroup/half

swap_on()
{
	grep -q zram /proc/swaps && return
	modprobe lzo-rle
	modprobe zram && echo 256M >/sys/block/zram0/disksize &&
		mkswap /dev/zram0 >/dev/null && swapon /dev/zram0
}

# counter in|out: pages that the swap disk has given or taken
counter()
{
	awk -v n="$([ "$1" = in ] && echo 3 || echo 7)" '{ print $n / 8 }' /sys/block/zram0/stat
}

boot()
{
	sh -c 'echo 0 >$0/cgroup.procs && exec "$@"' $group \
		vmmctl run --memory 192M --kernel /guest/vmlinuz --initrd /guest/initrd \
		--append "console=ttyS0 panic=-1 checksum=100 $guest_words" >"$log" 2>&1 </dev/null
}

right()
{
	[ "$(grep -c "^guest: checksum . of 100 MiB right" "$log")" = 3 ]
}

went()
{
	echo "# $(($(counter "$1") - $2)) pages $1"
	[ $(($(counter "$1") - $2)) -gt 2000 ]
}

# Half of it is 96 MiB; a Linux guest that has booted has some of those as well.
limited()
{
	echo "# at most $(cat $group/memory.peak 2>/dev/null) bytes"
	grep -q "^max [1-9]" $group/memory.events
}

echo "TAP version 13"
if ! swap_on; then
	echo "1..0 # SKIP no swap here"
	exit 4
fi
echo "1..7"
echo +memory >/sys/fs/cgroup/cgroup.subtree_control
mkdir $group
echo 96M >$group/memory.max
out=$(counter out)
in=$(counter in)
check "exit status 0" boot
check "reaches userspace" grep -q "^guest: userspace reached" "$log"
check "all three sums are right" right
check "pages went out" went out "$out"
check "and came back" went in "$in"
check "it was at its limit" limited
check "nobody was killed" grep -q "^oom_kill 0" $group/memory.events
sed 's/^/# /' "$log" | tail -n 20
rmdir $group
rm -f "$log"
