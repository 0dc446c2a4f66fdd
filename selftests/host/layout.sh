# SPDX-License-Identifier: GPL-2.0-only
# hosts: once
# timeout: 60
#
# The ABI's structures lie the same for 32-bit and 64-bit programs, without a
# hole that the compiler chose.
. "$(dirname "$0")/lib/tap.sh"

plan 3

# layout BITS: every structure with the offset and size of each member.
layout()
{
	gcc -m"$1" -g -c -x c -I/usr/include/x86_64-linux-gnu -o "$tmp/$1.o" - <<-C || return
	#include "$TOP/uapi/vmm.h"
	$(grep -o '^struct [a-z_]* {' "$TOP/uapi/vmm.h" |
		sed 's/struct \([a-z_]*\) {/struct \1 a_\1;/')
	C
	pahole "$tmp/$1.o" >"$tmp/$1" && [ -s "$tmp/$1" ]
}

check "64-bit" layout 64
check "32-bit" layout 32
for bits in 64 32; do
	# 32-bit programs align 8-byte members to 4: what pahole says of that is
	# no difference of layout.
	sed -i -e 's/ *__attribute__((__aligned__([0-9]*)))//' -e '/forced alignments/d' \
		"$tmp/$bits"
done
if [ -s "$tmp/64" ] && cmp -s "$tmp/64" "$tmp/32" && ! grep -q 'XXX.*hole\|padding' "$tmp/64"; then
	check "the same layout, without holes" true
else
	diff "$tmp/64" "$tmp/32" | sed 's/^/# /'
	grep -B3 'XXX.*hole\|padding' "$tmp/64" | sed 's/^/# /'
	check "the same layout, without holes" false
fi
