#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The example that resets its guest by its dirty pages, a thousand times.

. /selftests/check.sh
notes=/tmp/out

finds()
{
	fuzzer 1000 >$notes 2>&1
}

says()
{
	grep -q "$1" $notes
}

echo "TAP version 13"
echo "1..3"
check "finds what breaks its guest" finds
check "says what that is" says "^sesame breaks it"
check "puts back a few pages in each round" says "^1000 rounds, [2-9]... pages put back"
