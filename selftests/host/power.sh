# SPDX-License-Identifier: GPL-2.0-only
# timeout: 200
#
# The module through suspend, kexec, a crash and reboot, each while a guest runs: what comes after
# finds the CPUs as the firmware would have left them.
. "$(dirname "$0")/lib/tap.sh"

plan 7
limit=$((60 * $(slower "$VMM_VENDOR-here")))
unpack_kernel "$(kernel_dir 6.1)/vmlinuz" "$tmp/vmlinux"

# What runs in the second kernel, and what it boots from: this host's own
# busybox, modules and a small VMM with its libraries. A CPU that is still in VMX
# operation would not come up there (it ignores INIT, and CR4.VMXE cannot be cleared), and one
# with SVM on would be in use.
cat >"$tmp/second-init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs none /dev
/bin/busybox mount -t proc none /proc
/bin/busybox --install -s /bin
dmesg -n 8
insmod /msr.ko
# EFER is 0xc0000080; the driver's offset is the number, and 8 divides it.
efer=$(dd if=/dev/cpu/0/msr bs=8 count=1 skip=$((0xc0000080 / 8)) 2>/dev/null |
	hexdump -e '1/4 "%u "' | cut -d ' ' -f 1)
echo "nested: second kernel, EFER $efer" >/dev/kmsg
insmod /vmm.ko $(tr ' ' '\n' </proc/cmdline | sed -n 's/^vmm\.//p')
guests=0
for cpu in 0 1; do
	! taskset -c $cpu hello >/dev/kmsg 2>&1 || guests=$((guests + 1))
done
echo "nested: second kernel, $(nproc) CPUs, guests on $guests" >/dev/kmsg
echo "nested: status $(((efer >> 12) & 1))" >/dev/kmsg
. /bin/spin
[ -z "$guest" ] || echo "nested: second kernel, a guest spins" >/dev/kmsg
reboot -f
INIT
# A guest that spins on CPU 1, with interrupts off: pause; jmp. $guest is empty if it does not.
cat >"$tmp/spin" <<'SPIN'
printf '\363\220\353\374' >/tmp/spin.bin
taskset -c 1 vmmctl run --memory 1M --flat /tmp/spin.bin </dev/null >/dev/null 2>&1 &
guest=$!
# The time that it has had, in ticks
used()
{
	awk '{ print $14 + $15 }' /proc/$guest/stat 2>/dev/null || echo 0
}
# More than it takes to begin
spins()
{
	begun=$(used)
	for i in 1 2 3 4 5 6 7 8 9 10; do
		sleep 0.3
		[ $(($(used) - begun)) -lt 40 ] || return 0
	done
	return 1
}
spins || guest=
SPIN
cat >"$tmp/go" <<'GO'
#!/bin/sh
lib=/lib/x86_64-linux-gnu
mkdir -p /tmp/second/bin /tmp/second/dev /tmp/second/proc /tmp/second/lib64 /tmp/second$lib
mkdir /tmp/second/tmp
cp /bin/busybox /usr/bin/hello /usr/bin/vmmctl /add/spin /tmp/second/bin
cp /lib64/* /tmp/second/lib64
cp $lib/libc.so* $lib/libvmm.so* $lib/libZ* $lib/libpthread* /tmp/second$lib 2>/dev/null
cp $(find /lib/modules -name msr.ko) /lib/modules/vmm.ko /tmp/second
cp /add/second-init /tmp/second/init
chmod +x /tmp/second/init
(cd /tmp/second && find . | cpio -o -H newc) >/tmp/second.cpio 2>/dev/null
insmod /tmp/second/msr.ko
hello >/dev/null
. /add/spin
[ -z "$guest" ] || echo "nested: a guest spins" >/dev/kmsg
[ "$1" = crash ] ||
	exec taskset -c 0 /add/kexec /add/vmlinux /tmp/second.cpio "$(cat /proc/cmdline)"
/add/kexec -p /add/vmlinux /tmp/second.cpio "$(cat /proc/cmdline)" || exit
taskset -c 0 sh -c 'echo c >/proc/sysrq-trigger'
GO
chmod +x "$tmp/go"

# second OPTION... -- WORD: have "go WORD" start a second kernel.
second()
{
	$NESTED --cpus 2 --timeout $limit --add "$tmp/go" --add "$tmp/second-init" \
		--add "$tmp/spin" --add "$tmp/vmlinux" --add "$BUILD/runner/kexec" --log "$tmp/log" \
		"${@:1:$#-1}" /add/go "${!#}" >"$tmp/out" 2>"$tmp/err" </dev/null
	status=$?
}

second -- kexec
[ $status = 0 ] || note_files
check "the kernel that kexec starts, with a guest that runs, finds SVM or VMX off" \
	sh -c "[ $status = 0 ] && grep -q 'nested: a guest spins' '$tmp/log' &&
		grep -q 'second kernel, EFER [0-9]' '$tmp/log'"
check "it has all CPUs, and runs guests on each" \
	grep -q 'second kernel, 2 CPUs, guests on 2' "$tmp/log"
check "a reboot, with a guest that runs, gets to its end" \
	sh -c "grep -q 'second kernel, a guest spins' '$tmp/log' &&
		grep -q 'reboot: machine restart' '$tmp/log'"

# The panic is a fault to the runner, which ends with status 125.
second --append crashkernel=256M -- crash
good=
grep -q 'nested: a guest spins' "$tmp/log" && grep -q 'sysrq triggered crash' "$tmp/log" &&
	grep -q 'second kernel, EFER [0-9]' "$tmp/log" && grep -q 'nested: status 0' "$tmp/log" &&
	good=1
[ -n "$good" ] || note_files
check "after a crash, with a guest that runs, the next kernel finds SVM or VMX off" [ -n "$good" ]
grep -q 'second kernel, 2 CPUs, guests on 2' "$tmp/log" || note_files
check "that one has all CPUs, and runs guests on each" \
	grep -q 'second kernel, 2 CPUs, guests on 2' "$tmp/log"

# In RAM an alarm ends it. An emulator's alarm ends no other sleep, but what comes by a line does.
cat >"$tmp/sleep" <<'SLEEP'
#!/bin/sh
alarm=/sys/class/rtc/rtc0/wakealarm
line=/sys/class/tty/ttyS1/power/wakeup
grep -q "$1" /sys/power/state || exit 4
if [ "$1" = mem ]; then
	grep -q '\[deep\]' /sys/power/mem_sleep && [ -e $alarm ] || exit 4
else
	[ -e $line ] || exit 4
fi
hello || exit
. /add/spin
[ -n "$guest" ] || exit
if [ "$1" = mem ]; then
	echo +3 >$alarm || exit
else
	echo enabled >$line
fi
# What comes too early only keeps it from sleep.
for i in 1 2 3 4 5; do
	! echo "$1" >/sys/power/state || break
done
[ "$(cat /sys/power/suspend_stats/success)" = 1 ] || exit
spins && echo "nested: the guest spins on" >/dev/kmsg
kill $guest
wait $guest
hello && rmmod vmm
SLEEP
chmod +x "$tmp/sleep"

# asleep NAME STATE: guests before, meanwhile and after
asleep()
{
	while sleep 2; do
		echo
	done 2>/dev/null |
	$NESTED --cpus 2 --timeout $limit --add "$tmp/sleep" --add "$tmp/spin" --log "$tmp/log" \
		-- /add/sleep "$2" >"$tmp/out" 2>"$tmp/err"
	status=$?
	if [ $status = 4 ]; then
		skip "$1" "this host cannot sleep"
		return
	fi
	good=
	[ $status != 0 ] || ! grep -q 'nested: the guest spins on' "$tmp/log" || good=1
	[ -n "$good" ] || note_files
	check "$1" [ -n "$good" ]
}

asleep "guests run before and after a suspend to RAM, and one meanwhile" mem
asleep "guests run before and after a suspend to idle, and one meanwhile" freeze
