#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The example VMM of 40 lines: it says hello from its guest.
#
# also: amd-sanitized intel-debug

. /selftests/check.sh
notes=/tmp/out

quiet()
{
	hello >$notes 2>&1
}

echo "TAP version 13"
echo "1..2"
check "exit status 0" quiet
check "says hello" grep -q "[Hh]ello" $notes
