# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154
#
# The AMD host: QEMU, which emulates SVM, or runs on a /dev/kvm that nests it.
#
# A vendor's file defines two functions.
#
# vendor_check: die 126 where the options ask for what this vendor lacks.
#
# vendor_start: start the host in the background, from $vmlinuz and $initrd
#   with kernel words $append, $memory MiB and $cpus CPUs, repeatable to the
#   instruction if $deterministic. ttyS0 goes to the file $tmp/console, ttyS1
#   to file descriptors $chan_in and $chan_out. Sets host_pid.

# What QEMU's EPYC promises and its emulator does not have would only be
# warned about, so it is left out by name.
amd_cpu=EPYC,+svm,+npt,+vgif,+svme-addr-chk,-rdseed,-sha-ni,-fxsr-opt
amd_cpu+=,-misalignsse,-3dnowprefetch,-osvw,-topoext,-nrip-save,-xsavec

vendor_check()
{
	if [ -n "$deterministic" ] && [ "$cpus" != 1 ]; then
		die 126 "--deterministic needs --cpus 1"
	fi
	command -v qemu-system-x86_64 >/dev/null ||
		die 126 "no qemu-system-x86_64; run selftests/runner/setup"
}

vendor_start()
{
	# The bzImage, not an ELF image: QEMU writes that into memory again at
	# each reset, and with it over a kernel that wakes from S3.
	local args=(
		-machine q35 -m "$memory" -smp "$cpus"
		-nodefaults -no-user-config -no-reboot -display none
		-chardev "file,id=console,path=$tmp/console"
		-chardev "stdio,id=channel,signal=off"
		-serial chardev:console -serial chardev:channel
		-kernel "$vmlinuz" -initrd "$initrd" -append "$append"
	)

	if [ -n "$deterministic" ]; then
		args+=(-accel tcg -cpu "$amd_cpu${cpu_flags:+,$cpu_flags}"
			-icount shift=0,sleep=off
			-rtc clock=vm,base=2024-01-01 -seed 1)
	elif [ "${VMM_ACCEL-}" != tcg ] && "$BUILD/runner/probe-accel" amd; then
		args+=(-accel kvm -cpu "host${cpu_flags:+,$cpu_flags}")
	else
		args+=(-accel tcg -cpu "$amd_cpu${cpu_flags:+,$cpu_flags}")
	fi

	setpriv --pdeathsig KILL qemu-system-x86_64 "${args[@]}" \
		<&"$chan_in" >&"$chan_out" 2>"$tmp/emulator.err" &
	host_pid=$!
}
