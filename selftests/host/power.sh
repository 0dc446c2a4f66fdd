# SPDX-License-Identifier: GPL-2.0-only
# timeout: 200
#
# The module through suspend, kexec, a crash and reboot: what comes after finds the CPUs
# as the firmware would have left them.
. "$(dirname "$0")/lib/tap.sh"

plan 6
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
reboot -f
INIT
cat >"$tmp/go" <<'GO'
#!/bin/sh
lib=/lib/x86_64-linux-gnu
mkdir -p /tmp/second/bin /tmp/second/dev /tmp/second/proc /tmp/second/lib64 /tmp/second$lib
cp /bin/busybox /usr/bin/hello /tmp/second/bin
cp /lib64/* /tmp/second/lib64
cp $lib/libc.so* $lib/libvmm.so* $lib/libZ* $lib/libpthread* /tmp/second$lib 2>/dev/null
cp $(find /lib/modules -name msr.ko) /lib/modules/vmm.ko /tmp/second
cp /add/second-init /tmp/second/init
chmod +x /tmp/second/init
(cd /tmp/second && find . | cpio -o -H newc) >/tmp/second.cpio 2>/dev/null
insmod /tmp/second/msr.ko
hello >/dev/null
[ "$1" = crash ] || exec /add/kexec /add/vmlinux /tmp/second.cpio "$(cat /proc/cmdline)"
/add/kexec -p /add/vmlinux /tmp/second.cpio "$(cat /proc/cmdline)" || exit
# A guest that spins: pause; jmp
printf '\363\220\353\374' >/tmp/spin
taskset -c 1 vmmctl run --memory 1M --flat /tmp/spin </dev/null >/dev/null 2>&1 &
sleep 1
kill -0 $! && echo "nested: a guest spins" >/dev/kmsg
taskset -c 0 sh -c 'echo c >/proc/sysrq-trigger'
GO
chmod +x "$tmp/go"

# second OPTION... -- WORD: have "go WORD" start a second kernel.
second()
{
	$NESTED --cpus 2 --timeout $limit --add "$tmp/go" --add "$tmp/second-init" \
		--add "$tmp/vmlinux" --add "$BUILD/runner/kexec" --log "$tmp/log" \
		"${@:1:$#-1}" /add/go "${!#}" >"$tmp/out" 2>"$tmp/err" </dev/null
	status=$?
}

second -- kexec
[ $status = 0 ] || note_files
check "the kernel that kexec starts finds SVM or VMX off" \
	sh -c "[ $status = 0 ] && grep -q 'second kernel, EFER [0-9]' '$tmp/log'"
check "it has all CPUs, and runs guests on each" \
	grep -q 'second kernel, 2 CPUs, guests on 2' "$tmp/log"
check "a reboot gets to its end" \
	grep -q 'reboot: machine restart' "$tmp/log"

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

$NESTED --cpus 2 --timeout $limit -- sh -c '
	grep -q '\''\[deep\]'\'' /sys/power/mem_sleep && [ -e /sys/class/rtc/rtc0/wakealarm ] || exit 4
	hello && echo +2 >/sys/class/rtc/rtc0/wakealarm &&
	echo mem >/sys/power/state && hello && rmmod vmm' \
	>"$tmp/out" 2>"$tmp/err" </dev/null
status=$?
if [ $status = 4 ]; then
	skip "guests run before and after a suspend to RAM" "this host cannot sleep"
	exit
fi
[ $status = 0 ] || note_files
check "guests run before and after a suspend to RAM" [ $status = 0 ]
