#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The host goes to sleep while a guest runs, as far as all CPUs but one are off and the last has
# handed over its memory, and comes back, as there is no swap to write that to: with some it would
# go off. (power.sh has a sleep in RAM, where the emulator can.)
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

echo "TAP version 13"
if ! grep -q disk /sys/power/state; then
	echo "1..0 # SKIP this kernel does not hibernate"
	exit
fi
echo "1..6"
# What tests before this one have turned on
swap=$(awk 'NR > 1 { print $1 }' /proc/swaps)
[ -z "$swap" ] || swapoff $swap
# A guest that spins: pause; jmp
printf '\363\220\353\374' >/tmp/spin
vmmctl run --memory 1M --flat /tmp/spin </dev/null >/dev/null 2>&1 &
guest=$!
sleep 1
check "a guest runs" kill -0 $guest
begun=$(($(dmesg | wc -l) + 1))
echo disk >/sys/power/state 2>/dev/null
check "the other CPU was off" said "CPU1 is up"
# It is, for there was an image to write.
check "the memory was handed over" said "Cannot get swap writer"
check "the guest still runs" kill -0 $guest
kill $guest
wait $guest
check "guests run on the one CPU" hello_on 0
check "and on the other" hello_on 1
[ -z "$swap" ] || swapon $swap
