# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154
#
# QEMU: emulates SVM, or runs on a /dev/kvm that gives a guest SVM or VMX.

qemu_check()
{
	local f

	command -v qemu-system-x86_64 >/dev/null ||
		die 126 "no qemu-system-x86_64; run selftests/runner/setup"
	for f in "$BUILD"/runner/{ignne,injected-once}.so; do
		[ -e "$f" ] || die 126 "no $f; run: make runner"
	done
}

# qemu_has_accel VENDOR
qemu_has_accel()
{
	[ "${VMM_ACCEL-}" != tcg ] && "$BUILD/runner/probe-accel" "$1"
}

# qemu_start ARG...: with the machine's accelerator and CPU.
qemu_start()
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

	setpriv --pdeathsig KILL env \
		LD_PRELOAD="$BUILD/runner/ignne.so:$BUILD/runner/injected-once.so" \
		qemu-system-x86_64 "${args[@]}" "$@" \
		<&"$chan_in" >&"$chan_out" 2>"$tmp/emulator.err" &
	host_pid=$!
}
