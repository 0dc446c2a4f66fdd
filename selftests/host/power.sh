# SPDX-License-Identifier: GPL-2.0-only
# not: intel-here there is no suspend on the emulated host
# timeout: 200
#
# The module through suspend, kexec and reboot: what comes after finds SVM as
# the firmware would have left it.
. "$(dirname "$0")/lib/tap.sh"

plan 3

# What runs in the second kernel, and what it boots from: this host's own
# busybox and msr.ko.
cat >"$tmp/second-init" <<'INIT'
#!/bin/busybox sh
/bin/busybox mount -t devtmpfs none /dev
/bin/busybox --install -s /bin
dmesg -n 8
insmod /msr.ko
# EFER is 0xc0000080; the driver's offset is the number, and 8 divides it.
efer=$(dd if=/dev/cpu/0/msr bs=8 count=1 skip=$((0xc0000080 / 8)) 2>/dev/null |
	hexdump -e '1/4 "%u "' | cut -d ' ' -f 1)
echo "nested: second kernel, EFER $efer" >/dev/kmsg
echo "nested: status $(((efer >> 12) & 1))" >/dev/kmsg
poweroff -f
INIT
cat >"$tmp/go" <<'GO'
#!/bin/sh
mkdir -p /tmp/second/bin /tmp/second/dev
cp /bin/busybox /tmp/second/bin
cp $(find /lib/modules -name msr.ko) /tmp/second/msr.ko
cp /add/second-init /tmp/second/init
chmod +x /tmp/second/init
(cd /tmp/second && find . | cpio -o -H newc) >/tmp/second.cpio 2>/dev/null
insmod /tmp/second/msr.ko
exec /add/kexec /guest/vmlinuz /tmp/second.cpio \
	"console=ttyS0 quiet panic=-1 nokaslr mitigations=off tsc=reliable no_timer_check"
GO
chmod +x "$tmp/go"

$NESTED --cpus 2 --timeout 60 --add "$tmp/go" --add "$tmp/second-init" \
	--add "$BUILD/runner/kexec" --log "$tmp/log" -- /add/go \
	>"$tmp/out" 2>"$tmp/err" </dev/null
status=$?
[ $status = 0 ] || note_files
check "the kernel that kexec starts finds SVM off" \
	sh -c "[ $status = 0 ] && grep -q 'second kernel, EFER [0-9]' '$tmp/log'"

$NESTED --cpus 2 --timeout 60 --log "$tmp/log" -- \
	sh -c 'hello >/dev/null; reboot -f; sleep 30' \
	>"$tmp/out" 2>"$tmp/err" </dev/null
grep -q 'reboot: Restarting system' "$tmp/log" || note_files
check "a reboot gets to its end" \
	grep -q 'reboot: machine restart' "$tmp/log"

$NESTED --cpus 2 --timeout 60 -- sh -c '
	hello && echo +2 >/sys/class/rtc/rtc0/wakealarm &&
	echo mem >/sys/power/state && hello && rmmod vmm' \
	>"$tmp/out" 2>"$tmp/err" </dev/null
status=$?
[ $status = 0 ] || note_files
check "guests run before and after a suspend to RAM" [ $status = 0 ]
