# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154
#
# The AMD host: QEMU, or Bochs for a CPU model of its.
#
# A vendor's file defines two functions.
#
# vendor_check: die 126 where the options ask for what this vendor lacks.
#
# vendor_start: start the host in the background, from $vmlinuz and $initrd
#   with kernel words $append, $memory MiB and $cpus CPUs of the model $model
#   (empty: what this vendor's first choice is), repeatable to the instruction
#   if $deterministic. ttyS0 goes to the file $tmp/console, ttyS1 to file
#   descriptors $chan_in and $chan_out, or if $deterministic to the file
#   $tmp/output. Sets host_pid.
. "$RUNNER/qemu.sh"
. "$RUNNER/bochs.sh"

# What QEMU's EPYC promises and its emulator does not have would only be
# warned about, so it is left out by name.
amd_cpu=EPYC,+svm,+npt,+vgif,+svme-addr-chk,-rdseed,-sha-ni,-fxsr-opt
amd_cpu+=,-misalignsse,-3dnowprefetch,-osvw,-topoext,-nrip-save,-xsavec

vendor_check()
{
	case $model in
	'')		qemu_check ;;
	trinity_apu)	bochs_check ;;
	*)		die 126 "no CPU model '$model' (trinity_apu)" ;;
	esac
}

vendor_start()
{
	local flags=${cpu_flags:+,$cpu_flags} append=$append

	if [ -n "$model" ]; then
		bochs_start
	elif [ -n "$deterministic" ]; then
		qemu_start -accel tcg -cpu "$amd_cpu$flags" \
			-icount shift=0,sleep=off \
			-rtc clock=vm,base=2024-01-01 -seed 1
	elif qemu_has_accel amd; then
		qemu_start -accel kvm -cpu "host$flags"
	else
		append+=" tsc_early_khz=$("$BUILD/runner/tsc-khz")"
		qemu_start -accel tcg -cpu "$amd_cpu$flags"
	fi
}
