#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The example VMM of 40 lines: it says hello from its guest.

echo "TAP version 13"
echo "1..2"
out=$(hello)
status=$?
echo "# $out"
[ $status = 0 ] && echo "ok 1 exit status 0" || echo "not ok 1 exit status $status"
case $out in
*[Hh]ello*)	echo "ok 2 says hello" ;;
*)		echo "not ok 2 says hello" ;;
esac
