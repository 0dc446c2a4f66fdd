#!/bin/busybox sh
# SPDX-License-Identifier: GPL-2.0-only
#
# The measures against speculative execution are the host's own for its guests, and said in
# words. That guests run with them is what the other tests show under "make check-mitigations".

said=/sys/class/misc/vmm/mitigations
parameter=$(cat /sys/module/vmm/parameters/mitigations)
# The last of these words decides.
policy=$(tr ' ' '\n' </proc/cmdline | sed -n 's/^mitigations=//p' | tail -n 1)
n=0

# check STATUS NAME
check()
{
	n=$((n + 1))
	[ "$1" = 0 ] && echo "ok $n $2" || echo "not ok $n $2"
}

skip()
{
	n=$((n + 1))
	echo "ok $n $1 # SKIP $2"
}

# host_says FILE PATTERN
host_says()
{
	grep -q -E "$2" "/sys/devices/system/cpu/vulnerabilities/$1" 2>/dev/null
}

# follows NAME FILE PATTERN WORD: where the host says that it does it, so does the module.
follows()
{
	if [ "$parameter" != off ] && host_says "$2" "$3"; then
		grep -q "^$1: $4" $said
		check $? "$1: $4"
	else
		skip "$1: $4" "the host does not"
	fi
}

echo "TAP version 13"
echo "1..9"
sed 's/^/# /' $said
[ "$(wc -l <$said)" -gt 1 ] && ! grep -v -q '^[A-Za-z0-9 ]*: [a-z]' $said
check $? "one measure a line"
grep -q "^mitigations: $parameter$" $said
check $? "the parameter comes first"
if [ "$parameter" = off ] || { [ "$parameter" = auto ] && [ "$policy" = off ]; }; then
	! sed 1d $said | grep -v "^leaks between" | grep -v -q ': no$'
	check $? "nothing where nothing is wanted"
else
	skip "nothing where nothing is wanted" "something is"
fi
follows "return stack filled at exits" spectre_v2 "Mitigation: (Retpolines|IBRS)" yes
follows "return stack filled at exits" spectre_v2 "PBRSB-eIBRS: SW sequence" one
follows "return predictions untrained at exits" retbleed "untrained return thunk" yes
follows "branch history cleared at exits" spectre_v2 "KVM: SW loop" yes
follows "CPU buffers cleared at entries" mds "Clear CPU buffers" "[yt]"
follows "IBPB between vCPUs" spectre_v2 "IBPB: (conditional|always-on)" yes
