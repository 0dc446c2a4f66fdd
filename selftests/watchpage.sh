#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The example VMM that watches a page: three writes, each by the same instruction.

echo "TAP version 13"
echo "1..1"
out=$(watchpage)
status=$?
echo "$out" | sed 's/^/# /'
line="0x1003 writes to 0x2000"
expected="$line
$line
$line
the word is 3"
[ $status = 0 ] && [ "$out" = "$expected" ] && echo "ok 1 sees what is written" ||
	echo "not ok 1 exit status $status"
