# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
#
# For tests that are scripts of the host's shell, where it lies in /selftests.

count=0
# Files to be shown where a check fails
notes=

# Of the host's command line what a guest's kernel has to be told as well: the runner has those on
# emulated CPUs whose SHA instructions are wrong not test their algorithms.
guest_words=$(grep -o cryptomgr.notests /proc/cmdline)

# check NAME COMMAND...: one test, passed if the command succeeds
check()
{
	count=$((count + 1))
	name=$1
	shift
	if "$@"; then
		echo "ok $count $name"
		return
	fi
	echo "not ok $count $name"
	[ -z "$notes" ] || sed 's/^/# /' $notes
}
