#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-only
#
# What a parameter of the module turns off, off by itself: guests run the same without it.
# hosts: smp

. /selftests/check.sh
given=$(tr ' ' '\n' </proc/cmdline | sed -n 's/^vmm\.//p')
notes=/tmp/out

# quiet COMMAND...: its output goes to the notes
quiet()
{
	"$@" >$notes 2>&1
}

# load [PARAMETER]: with those that this host has
load()
{
	rmmod vmm && insmod /lib/modules/vmm.ko $given $1
}

reads()
{
	[ "$(cat "/sys/module/vmm/parameters/$1")" = "$2" ]
}

# without PARAMETER TEST [ARGUMENT]...
without()
{
	check "$1=0 is taken" quiet load "$1=0"
	check "$1 reads N" reads "$1" N
	check "$1=0: hello" quiet hello
	check "$*" quiet "$2" $3 $4 $5 $6 $7 $8
}

echo "TAP version 13"
echo "1..21"
without ept_ad dirtylog -t get_and_clear -t clear_by_hand
without pml dirtylog -t get_and_clear -t kernel_writes -t ends_within_a_table
without vpid twovms -t on_one_cpu -t moved_at_every_exit
without apicv virtualapic
without huge_pages dirtylog -t all_pages -t end_small
check "loaded again" quiet load
