#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The host goes to sleep while a guest runs, as far as all CPUs but one are off and the last has
# handed over its memory, and comes back, as there is no swap to write that to: with some it would
# go off. (power.sh has sleeps that take their time, where the emulator can.) On a kernel that tests
# its sleeps also a suspend to idle, up to where all devices sleep.
# timeout: 60

. /selftests/check.sh

# what the kernel has said since $begun
said()
{
	dmesg | tail -n +$begun | grep -q "$1"
}

hello_on()
{
	taskset -c "$1" hello >/dev/null
}

skip()
{
	count=$((count + 1))
	echo "ok $count $1 # SKIP this kernel $2"
}

echo "TAP version 13"
echo "1..8"
# What tests before this one have turned on
swap=$(awk 'NR > 1 { print $1 }' /proc/swaps)
[ -z "$swap" ] || swapoff $swap
# A guest that spins: pause; jmp
printf '\363\220\353\374' >/tmp/spin
vmmctl run --memory 1M --flat /tmp/spin </dev/null >/dev/null 2>&1 &
guest=$!
sleep 1
check "a guest runs" kill -0 $guest

off="the other CPU was off"
memory="the memory was handed over"
still="the guest still runs"
if grep -q disk /sys/power/state; then
	begun=$(($(dmesg | wc -l) + 1))
	echo disk >/sys/power/state 2>/dev/null
	check "$off" said "CPU1 is up"
	# It is, for there was an image to write.
	check "$memory" said "Cannot get swap writer"
	check "$still" kill -0 $guest
else
	for name in "$off" "$memory" "$still"; do
		skip "$name" "does not hibernate"
	done
fi

idle="a suspend to idle gets to where devices sleep"
still="and the guest still runs"
if [ -e /sys/power/pm_test ]; then
	begun=$(($(dmesg | wc -l) + 1))
	echo devices >/sys/power/pm_test
	echo freeze >/sys/power/state
	echo none >/sys/power/pm_test
	check "$idle" said "suspend debug: Waiting for"
	check "$still" kill -0 $guest
else
	skip "$idle" "has no /sys/power/pm_test"
	skip "$still" "has no /sys/power/pm_test"
fi
kill $guest
wait $guest
check "guests run on the one CPU" hello_on 0
check "and on the other" hello_on 1
[ -z "$swap" ] || swapon $swap
