# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# For tests that start hosts themselves: TAP, and a folder $tmp of their own.

. "$(dirname "${BASH_SOURCE[0]}")/../../runner/lib.sh"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
trap 'exit 143' TERM
test_number=0

plan()
{
	echo "1..$1"
}

# check NAME COMMAND...: ok if the command succeeds.
check()
{
	local name=$1 not=

	shift
	test_number=$((test_number + 1))
	"$@" >/dev/null 2>&1 || not="not "
	echo "${not}ok $test_number $name"
}

skip()
{
	test_number=$((test_number + 1))
	echo "ok $test_number $1 # SKIP ${2-}"
}

# What the last host said, for whoever reads a failure.
note_files()
{
	sed 's/^/# /' "$tmp/out" "$tmp/err" 2>/dev/null
}
