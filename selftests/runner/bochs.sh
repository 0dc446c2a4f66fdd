# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# shellcheck disable=SC2034,SC2154
#
# Bochs: emulates VMX, and SVM.
#
# The machine boots from an option ROM (see bochs/). Power-off, reset and all
# fatal errors end Bochs with status 1: what happened is in the console's log.

# Instructions per second of the emulated machine's time. About what Bochs does
# on a machine that has nothing else to do.
bochs_ips=20000000

declare -A BOCHS_MODEL=(
	[tigerlake]=tigerlake
	[haswell]=corei7_haswell_4770
	[sandy_bridge]=corei7_sandy_bridge_2600k
	[trinity_apu]=trinity_apu
)

# Start-up code that has nothing to do here and takes seconds of emulation:
# certificates, jitter of clocks, names of functions that may be traced, type information.
bochs_skip=load_system_certificate_list,crypto_kdf108_init,jent_mod_init
bochs_skip+=,init_kprobe_trace,trace_eval_init,tracer_init_tracefs
bochs_skip+=,ftrace_check_for_weak_functions,ftrace_check_sync
bochs_skip+=,btf_vmlinux_init,cubictcp_register,bpf_rstat_kfunc_init
bochs_skip+=,bpf_key_sig_kfuncs_init,kfunc_init,bpf_prog_test_run_init
bochs_skip+=,bpf_tcp_ca_kfunc_init

bochs_check()
{
	local f

	slow_start=4
	# There the timer's interrupt alone takes longer than it is to the next.
	[ "$series" != debug ] || bochs_ips=100000000
	[ -z "$cpu_flags" ] || die 126 "--cpu-flags: not on this host"
	[ "$cpus" -le 8 ] || die 126 "--cpus: at most 8 on this host"
	[ "$memory" -ge 256 ] && [ "$memory" -le 2048 ] ||
		die 126 "--memory: 256 to 2048 on this host"
	for f in bochs-bin lz4 zstd; do
		command -v "$f" >/dev/null ||
			die 126 "no $f; run selftests/runner/setup"
	done
	for f in "$BUILD"/runner/{bochs-image,nosrand.so,virtual-interrupt.so}; do
		[ -e "$f" ] || die 126 "no $f; run: make runner"
	done
}

# bochs_kernel: have $vmlinuz unpacked, and its segments as they lie in memory,
# in build/runner/kernel-RELEASE; sets bochs_kernel to the start of their names.
bochs_kernel()
{
	bochs_kernel=$BUILD/runner/kernel-$release
	exec 9>"$bochs_kernel.lock"
	flock 9
	if [ "$bochs_kernel.image" -nt "$vmlinuz" ] &&
	   [ "$bochs_kernel.image" -nt "$BUILD/runner/bochs-image" ]; then
		exec 9>&-
		return
	fi
	unpack_kernel "$vmlinuz" "$bochs_kernel.elf"
	"$BUILD/runner/bochs-image" kernel "$bochs_kernel.elf" \
		"$bochs_kernel.image.tmp" ||
		die 126 "cannot unpack $vmlinuz"
	mv "$bochs_kernel.image.tmp" "$bochs_kernel.image"
	exec 9>&-
}

bochs_disk()
{
	local words=$append

	# No tests of algorithms: its SHA1RNDS4 is wrong.
	words+=" edd=off cryptomgr.notests nowatchdog audit=0 reboot=t"
	words+=" tsc_early_khz=$((bochs_ips / 1000))"
	words+=" initcall_blacklist=$bochs_skip"
	# Suspended to RAM it does not wake.
	words+=" mem_sleep_default=s2idle"
	# A guest with interrupts off, and without PAUSE, holds back the host's.
	words+=" vmm.longest_run=200"
	# Its monitor trap flag can be set and does nothing.
	words+=" vmm.monitor_trap=0"
	# The kernel that was told of FSRM spoils its own text here.
	[ "$model" != tigerlake ] || words+=" clearcpuid=580"
	# Its CPUID is wrong about XSAVE's size. Linux does without, but 7.3 does not survive that.
	[ "$model$series" != tigerlake7.2 ] || words+=" noxsave"
	# Without, two CPUs hang while booting.
	[ "$cpus" = 1 ] || words+=" idle=halt"
	bochs_kernel
	"$BUILD/runner/bochs-image" rom "$tmp/rom" &&
	"$BUILD/runner/bochs-image" params "$vmlinuz" "$bochs_kernel.elf" \
		"$bochs_kernel.image" "$initrd" "$words" "$tmp/params" &&
	cat "$tmp/params" "$bochs_kernel.image" "$initrd" >"$tmp/disk" &&
	# A whole number of cylinders.
	truncate -s %$((16 * 63 * 512)) "$tmp/disk"
}

bochs_start()
{
	local com2 f start=(setpriv --pdeathsig KILL)

	bochs_disk || die 126 "cannot make the host's disk"
	if [ -n "$deterministic" ]; then
		com2="mode=file, dev=$tmp/output"
	else
		com2="mode=term, dev=$tmp/tty"
		start+=("$BUILD/runner/channel" pty "$tmp/tty")
	fi
	# Bochs has no display that does nothing. This one waits for somebody
	# to connect on a TCP port: nobody can, in a network of its own.
	for f in "" "--user --map-root-user"; do
		# shellcheck disable=SC2206
		if unshare --net $f true 2>/dev/null; then
			start+=(unshare --net $f)
			break
		fi
	done
	# Again: a change of name space, as a user, forgets it.
	start+=(setpriv --pdeathsig KILL env
		LD_PRELOAD="$BUILD/runner/nosrand.so:$BUILD/runner/virtual-interrupt.so"
		bochs-bin -q -f "$tmp/bochsrc" -rc "$tmp/debugger")
	# IA32_MISC_ENABLE, without which the kernel does not use string
	# instructions to copy.
	echo "0x1a0 0 0 1 0 0 0 0" >"$tmp/msrs"
	printf 'c\nq\n' >"$tmp/debugger"
	cat >"$tmp/bochsrc" <<-RC
	config_interface: textconfig
	display_library: rfb, options="timeout=0"
	cpu: model=${BOCHS_MODEL[$model]}, count=$cpus, ips=$bochs_ips, reset_on_triple_fault=0, ignore_bad_msrs=1, msrs="$tmp/msrs"
	memory: guest=$memory, host=$memory
	romimage: file=/usr/share/bochs/BIOS-bochs-latest, options=fastboot
	vgaromimage: file=/usr/share/vgabios/vgabios.bin
	optromimage1: file=$tmp/rom, address=0xd0000
	vga: extension=vbe, update_freq=1, realtime=0
	pci: enabled=1, chipset=i440fx
	ata0: enabled=1, ioaddr1=0x1f0, ioaddr2=0x3f0, irq=14
	ata0-master: type=disk, path=$tmp/disk, mode=flat
	clock: sync=none, time0=1700000000
	log: $tmp/emulator.log
	panic: action=fatal
	error: action=report
	info: action=report
	debug: action=ignore
	com1: enabled=1, mode=file, dev=$tmp/console
	com2: enabled=1, $com2
	sound: driver=dummy
	speaker: enabled=0
	parport1: enabled=0
	usb_uhci: enabled=0
	RC
	if [ -n "$deterministic" ]; then
		"${start[@]}" </dev/null >"$tmp/emulator.err" 2>&1 &
	else
		"${start[@]}" <&"$chan_in" >&"$chan_out" 2>"$tmp/emulator.err" &
	fi
	host_pid=$!
}
