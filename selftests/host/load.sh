# SPDX-License-Identifier: GPL-2.0-only
# timeout: 240
# not: intel-here seven hosts of a minute each; KVM beside the module is what neighbour.c tests
#
# Loading is refused where the module cannot work, with an errno of its own and
# a line in the log, and leaves nothing behind; unloading is clean.
. "$(dirname "$0")/lib/tap.sh"

plan 10
limit=$((60 * $(slower "$VMM_VENDOR-here")))

# host OPTION... -- SCRIPT: run it there; its output is in $tmp/out.
host()
{
	$NESTED --timeout $limit --add "$BUILD/runner/hold-kvm" "${@:1:$#-1}" \
		sh -c "${!#}" >"$tmp/out" 2>"$tmp/err" </dev/null
	status=$?
	[ $status = 0 ] || echo "status $status" >>"$tmp/err"
	return $status
}

try_load='
	dmesg -c >/dev/null
	insmod /lib/modules/vmm.ko 2>&1 && echo "it loads"
	dmesg | grep "vmm: " | grep -v -e taint -e signature
	[ ! -e /dev/vmm ] && ! grep -q ^vmm /proc/modules && echo "nothing is left"'

# refused NAME ERROR WORDS: as the last host says, with a line that has WORDS.
refused()
{
	local good=1

	if [ $status = 126 ] && grep -q -e --cpu-flags "$tmp/err"; then
		skip "$1" "this host's CPU has what it has"
		return
	fi
	[ $status = 0 ] && grep -q "insmod: .*: $2" "$tmp/out" &&
		grep -q "vmm: .*$3" "$tmp/out" &&
		grep -q "nothing is left" "$tmp/out" || good=
	[ -n "$good" ] || note_files
	check "$1" [ -n "$good" ]
}

# refused_or_beside NAME: where KVM has the CPU's virtualization on, the module says
# so, or loads and runs guests beside it.
refused_or_beside()
{
	if [ $status = 0 ] && grep -q "it loads" "$tmp/out"; then
		grep -q "a guest runs" "$tmp/out" || note_files
		check "$1" grep -q "a guest runs" "$tmp/out"
	else
		refused "$1" "Device or resource busy" "modprobe -r kvm_"
	fi
}

any_kvm="modprobe kvm_intel 2>/dev/null || modprobe kvm_amd || exit"
beside="[ ! -e /dev/vmm ] || { hello && echo 'a guest runs'; }"

host --no-module --cpu-flags -svm -- "$try_load"
refused "no SVM" "No such device" SVM

host --no-module --cpu-flags -npt -- "$try_load"
refused "no nested paging" "No such device" "nested paging"

host --no-module --cpus 2 --cpu-flags vendor=GenuineIntel -- "$try_load"
refused "another vendor's CPU" "No such device" ""

skip "SVM disabled by firmware" "the emulator has no VM_CR"

host --with-kvm --cpus 2 -- "$any_kvm; /add/hold-kvm sh -c '$try_load'; $beside"
refused_or_beside "KVM has a VM"

host --with-kvm --kernel 6.12 --cpus 2 -- "$any_kvm; $try_load; $beside"
refused_or_beside "KVM is on from its own load on"

host --with-kvm --cpus 2 -- "$any_kvm"'
	/add/hold-kvm true && modprobe vmm || exit 1
	# Refused, where they cannot both be on
	/add/hold-kvm true; kvm=$?
	[ $kvm = 3 ] || [ $kvm = 0 ] || exit 2
	hello || exit 3
	rmmod vmm && /add/hold-kvm true'
[ $status = 0 ] || note_files
check "KVM without a VM stands beside it, and takes over after it" \
	[ $status = 0 ]

host --cpus 2 -- '
	for i in 1 2 3 4 5 6 7 8; do
		hello && rmmod vmm && modprobe vmm || exit 1
	done'
[ $status = 0 ] || note_files
check "loaded and unloaded again and again" [ $status = 0 ]

host --cpus 2 -- '
	sleep 100 </dev/vmm &
	until [ "$(cat /sys/module/vmm/refcnt)" != 0 ]; do sleep 0.1; done
	rmmod vmm 2>/dev/null && exit 1
	kill $!; wait $!; rmmod vmm'
[ $status = 0 ] || note_files
check "not unloaded while in use, unloaded after" [ $status = 0 ]

host --cpus 2 --kernel 6.12 -- 'hello && rmmod vmm && modprobe vmm && hello'
[ $status = 0 ] || note_files
check "6.12 loads, runs, unloads" [ $status = 0 ]
