# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154
#
# The Intel host: Bochs, or QEMU on a /dev/kvm that gives a guest VMX. See
# amd.sh for what this file defines.
. "$RUNNER/qemu.sh"
. "$RUNNER/bochs.sh"

vendor_check()
{
	case $model in
	''|tigerlake|haswell|sandy_bridge) ;;
	*)	die 126 "no CPU model '$model' (tigerlake, haswell, sandy_bridge)" ;;
	esac
	use_qemu=
	if [ -z "$model$deterministic" ] && qemu_has_accel intel; then
		use_qemu=1
		qemu_check
	else
		: "${model:=tigerlake}"
		bochs_check
	fi
}

vendor_start()
{
	if [ -n "$use_qemu" ]; then
		qemu_start -accel kvm -cpu "host${cpu_flags:+,$cpu_flags}"
	else
		bochs_start
	fi
}
