# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=sh
#
# For tests that are scripts of the host's shell, where it lies in /selftests.

count=0
# Files to be shown where a check fails
notes=

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
