#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-only
#
# vmmctl: exit statuses, messages, the serial port with input from a pipe,
# multiboot with the test device, a Linux guest and what it costs.
#
# timeout: 120
# also: amd-sanitized

. /selftests/check.sh
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp" || exit 1
notes="out err"

# status WANTED COMMAND...: its output goes to out and err
status()
{
	wanted=$1
	shift
	"$@" >out 2>err
	got=$?
	[ $got = "$wanted" ] && return
	echo "# status $got, not $wanted: $*"
	return 1
}

# flat BYTES: a flat image, in printf's notation
flat()
{
	# shellcheck disable=SC2059
	printf "$1" >flat.bin
}

has()
{
	grep -q -- "$1" "$2"
}

echo "TAP version 13"
echo "1..59"

# ---- the other commands ----
check "no command" status 2 vmmctl
check "an unknown command" status 2 vmmctl frobnicate
check "help" status 0 vmmctl help
check "help of a command" status 0 vmmctl help run
check "it is that command's" has "--debug-exit" out
check "version" status 0 vmmctl version --json
check "info" status 0 vmmctl info
check "info names the vendor" has "^vendor " out
check "info as JSON" status 0 vmmctl info --json
check "it has capabilities" has '"capabilities": \[".*"\], "gpa_bits": [0-9]' out

# ---- usage ----
check "no image" status 2 vmmctl run
check "two images" status 2 vmmctl run --kernel a --flat b
check "no such option" status 2 vmmctl run --frobnicate
check "a bad size" status 2 vmmctl run --kernel a --memory 12Q
check "no CPUs" status 2 vmmctl run --kernel a --cpus 0
check "real mode above 1 MiB" status 2 vmmctl run --flat a --entry 0x100000
check "long mode above 4 GiB" status 2 vmmctl run --flat a --mode long --entry 0x8000000000000000
check "huge pages in part" status 2 vmmctl run --flat a --memory 3M --huge
check "huge pages of 1 GiB in part" status 2 vmmctl run --flat a --memory 512M,hugepages=1G
check "huge pages of no size" status 2 vmmctl run --flat a --memory 8M,hugepages=3M
check "no such kind of memory" status 2 vmmctl run --flat a --memory 8M,prefault,frobnicated
check "it is named" has "frobnicated: not size=, hugepages=, prefault or shared" err
check "no size at all" status 2 vmmctl run --flat a --memory size=,prefault
check "no such file" status 8 vmmctl run --kernel /no/such/file
check "it is named" has "/no/such/file: No such file" err
echo "not a kernel" >text
check "no kernel" status 8 vmmctl run --kernel text
check "it says what it could be" has "multiboot" err

check "a kernel without end" status 8 vmmctl run --kernel /dev/zero
check "it is too large" has "/dev/zero: File too large" err
flat '\x66\xb8\x7f\x00\x00\x00\x66\xe7\xf4'	# outl
check "a port of the kernel's" status 8 vmmctl run --flat flat.bin --debug-exit 0x21
check "it says whose" has "0x21: an interrupt controller" err
check "standard output is full" sh -c 'vmmctl info >/dev/full 2>err; [ $? = 8 ]'
echo 0 >/proc/sys/vm/nr_hugepages
check "no huge pages" status 8 vmmctl run --flat flat.bin --memory 8M --huge --debug-exit 0xf4
check "it says where they come from" has "nr_hugepages" err
echo 4 >/proc/sys/vm/nr_hugepages
check "huge pages" status 255 vmmctl run --flat flat.bin --memory 8M --huge --debug-exit 0xf4
check "all kinds of memory" status 255 vmmctl run --flat flat.bin \
	--memory size=8M,hugepages=2M,prefault,shared --debug-exit 0xf4
check "and in another order" status 255 vmmctl run --flat flat.bin \
	--memory prefault,size=4M --debug-exit 0xf4
check "more than there is" status 8 vmmctl run --flat flat.bin \
	--memory 16M,hugepages=2M,prefault --debug-exit 0xf4
flat '\x66\xb8\x01\x00\x00\x00\x66\xe7\xe4\x66\xb8\x7f\x00\x00\x00\x66\xe7\xf4'
check "a huge page that the test device takes away" status 255 vmmctl run --flat flat.bin \
	--memory 8M --huge --test-device --debug-exit 0xf4
echo 0 >/proc/sys/vm/nr_hugepages

# The page tables are at 0xfa000.
flat '\x66\xb8\x7f\x00\x00\x00\x66\xe7\xf4'
check "an image where the page tables are to be" status 8 vmmctl run --flat flat.bin \
	--memory 1M --mode long --load 0xf9ffe
check "it says where" has "flat.bin: .* page tables at 0xfa000" err

# ---- ends ----
flat '\xb8\x00\x34\xba\x04\x06\xef\xf4'		# PM1_CNT = SLP_EN | S5
check "power-off" status 0 vmmctl run --flat flat.bin --memory 1M
flat '\xb0\xfe\xe6\x64\xf4'
check "reset by port 0x64" status 4 vmmctl run --flat flat.bin --memory 1M
flat '\xb0\x01\xe6\x92\xf4'
check "reset by port 0x92" status 4 vmmctl run --flat flat.bin --memory 1M
flat '\xb0\x06\xba\xf9\x0c\xee\xf4'
check "reset by port 0xcf9" status 4 vmmctl run --flat flat.bin --memory 1M
flat '\x0f\x01\x1e\x00\x11\xcc'			# lidt of zeros, int3
check "triple fault" status 4 vmmctl run --flat flat.bin --memory 1M
check "it says so" has "triple fault" err
flat '\x66\xb8\x7f\x00\x00\x00\x66\xe7\xf4'	# outl
check "debug exit" status 255 vmmctl run --flat flat.bin --memory 1M --debug-exit 0xf4
flat '\x0f\xae\x05\x00\x00\x00\xfe'		# fxsave to device memory
check "what cannot be emulated" status 6 vmmctl run --flat flat.bin --mode protected
check "it is named" has "not emulated: fxsave" err
check "registers are shown" has "^CR0 .*CR3 " err
check "the bytes at RIP are shown" has "^code at RIP: 0f ae 05" err
flat '\xeb\xfe'
check "a signal" status 143 timeout -s TERM 1 vmmctl run --flat flat.bin --memory 1M
flat '\xfa\xf4'
check "a signal in HLT" status 143 timeout -s TERM 1 vmmctl run --flat flat.bin --memory 1M
check "SIGQUIT in HLT" status 131 timeout -s QUIT 1 vmmctl run --flat flat.bin --memory 1M
check "it tells what the guest is about" has "^halted; LAPIC" err

mkfifo full
# The second CPU waits for room in the pipe, with the port that the first one waits for.
check "a signal, and nobody reads the output" status 143 sh -c 'exec 3<>full;
	exec timeout -s KILL 40 timeout -s TERM 5 vmmctl run --flat /guest/twocpus.bin \
		--entry 0x1100 --cpus 2 --memory 1M >full'

# ---- the serial port ----
# Echo by polling, until "Q": then power-off
flat '\xba\xfd\x03\xec\xa8\x01\x74\xf8\xba\xf8\x03\xec\x3c\x51\x74\x03\xee\xeb\xed\xb8\x00\x34\xba\x04\x06\xef\xf4'
i=0
while [ $i -lt 1200 ]; do
	echo "line $i"
	i=$((i + 1))
done >lines
(cat lines; echo Q) >input
# shellcheck disable=SC2094
check "input of 10 KB from a pipe" status 0 sh -c 'cat input | vmmctl run --flat flat.bin --memory 1M'
check "comes out as it went in" cmp out lines

# ---- multiboot ----
echo "first module" >one
echo "second module" >two
check "multiboot and the test device" status 43 \
	vmmctl run --kernel /guest/multiboot.bin --append "a b=c" --test-device \
	--debug-exit 0xf4 --module "one with words" --module two
printf '%s\n' "/guest/multiboot.bin a b=c" libvmm "one with words" "first module" two \
	"second module" >wanted
check "command lines and modules" cmp out wanted

check "a page is taken away that another CPU sends" status 43 vmmctl run \
	--flat /guest/twocpus.bin --entry 0x1180 --cpus 2 --memory 1M --test-device --debug-exit 0xf4

check "a multiboot kernel for real mode" status 43 \
	vmmctl run --kernel /guest/realmode.bin --append "to real mode" --debug-exit 0xf4

# ---- Linux ----
check "Linux" status 0 vmmctl run --kernel /guest/vmlinuz --initrd /guest/initrd \
	--append "console=ttyS0 quiet panic=-1" --stats
check "reaches userspace" has "userspace reached" out
exits=$(sed -n 's/^exits to user space: //p' err)
echo "# $exits exits to user space"
check "under 3,000 exits to user space" [ "${exits:-99999}" -lt 3000 ]
(echo "echo sum \$((40 + 2))"; echo "poweroff -f") >input
# shellcheck disable=SC2094
check "a shell with its commands from a pipe" sh -c 'vmmctl run --kernel /guest/vmlinuz \
	--initrd /guest/initrd --append "console=ttyS0 quiet panic=-1 shell" \
	<input >out 2>err && grep -q "^sum 42" out'
