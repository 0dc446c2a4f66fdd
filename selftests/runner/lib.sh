# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
#
# What the runner's scripts share: where things are, and how to say it.

RUNNER=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)
TOP=$(cd "$RUNNER/../.." && pwd)
BUILD=${VMM_BUILD:-$TOP/build}
CACHE=${VMM_CACHE:-${XDG_CACHE_HOME:-${HOME:-/root}/.cache}/vmm}

# The kernel series that are tested, and the meta package that names the
# current version of each.
declare -A IMAGE_META=(
	[6.1]=linux-image-cloud-amd64
	[6.12]=linux-image-6.12-cloud-amd64
	[7.2]=linux-image-cloud-amd64
)
# Where the build tools of a series need a later libc than Debian 12's: the suites that it
# and these tools come from, the kernel's last.
declare -A SUITES=(
	[7.2]="trixie trixie-backports"
)

# The hosts that tests run on, as options of nested: VENDOR-KIND. The first five
# kinds are what a test's tag "hosts" names, the rest are CPU models and the like.
declare -A HOST=()
for v in amd intel; do
	HOST[$v-smp]="--vendor $v --cpus 2"
	HOST[$v-deterministic]="--vendor $v --deterministic"
	HOST[$v-kvm]="--vendor $v --cpus 2 --with-kvm"
	HOST[$v-6.12]="--vendor $v --cpus 2 --kernel 6.12"
	HOST[$v-7.2]="--vendor $v --cpus 2 --kernel 7.2"
	HOST[$v-debug]="--vendor $v --cpus 2 --memory 2048 --kernel debug"
done
unset v
# Where one scan would take minutes
HOST[intel-debug]+=" --append kmemleak=off"
# For what measures time
HOST[amd-deterministic-debug]="--vendor amd --deterministic --memory 2048 --kernel debug"
# Library, tools and their tests built with AddressSanitizer and UBSan
HOST[amd-sanitized]="--vendor amd --cpus 2 --sanitized"
HOST[amd-trinity_apu]="--vendor amd --cpu-model trinity_apu"
# Memory enough for a page of 1 GiB
HOST[amd-large]="--vendor amd --cpus 2 --memory 5120 --append hugepagesz=1G --append hugepages=1"
HOST[intel-haswell]="--vendor intel --cpu-model haswell"
HOST[intel-sandy_bridge]="--vendor intel --cpu-model sandy_bridge"
# KVM has VMX on from its load on; before 6.12 while it has a VM.
HOST[intel-kvm-6.12]="--vendor intel --cpus 2 --with-kvm --kernel 6.12"
# What can be turned off by a parameter
HOST[intel-plain]="--vendor intel --cpus 2 --append vmm.ept_ad=0 --append vmm.vpid=0"
HOST[intel-plain]+=" --append vmm.apicv=0"

# slower HOST: how many times longer a test may take there than the seconds that
# it asks for. Bochs does some 30 million instructions a second, for all CPUs
# together.
slower()
{
	case $1 in
	amd-debug|amd-*-debug)	echo 10 ;;
	intel-debug)		echo 50 ;;
	intel-*|*-trinity_apu|*-sanitized)	echo 5 ;;
	*)			echo 1 ;;
	esac
}

say()
{
	echo "${0##*/}: $*" >&2
}

die()
{
	local status=$1

	shift
	say "$*"
	exit "$status"
}

# The directory of a fetched kernel series: boot/, lib/modules/, usr/src/,
# vmlinuz, release and build (the tree for "make -C").
kernel_dir()
{
	echo "$CACHE/kernel-$1"
}

# in_root DIR COMMAND...: run it with DIR as its root directory, where the source tree and the
# build are at their places. The mounts are in a name space of the command's own, and so end with
# it, however it ends.
in_root()
{
	local root=$1 user=

	shift
	unshare --mount true 2>/dev/null || user="--user --map-root-user"
	# shellcheck disable=SC2016,SC2086
	unshare --mount $user bash -euc '
		root=$1 top=$2 build=$3
		shift 3
		mount --rbind /proc "$root/proc"
		mount --bind /dev/null "$root/dev/null"
		for d in "$top" "$build"; do
			mkdir -p "$root$d"
			mount --bind "$d" "$root$d"
		done
		exec chroot "$root" "$@"
	' in_root "$root" "$TOP" "$BUILD" "$@"
}

# tag NAME FILE: what follows "NAME:" in a comment at the top of FILE, as in
# "/* hosts: smp kvm */" or "# hosts: smp kvm"; the first such line's.
tag()
{
	tags "$1" "$2" | head -n 1
}

# tags NAME FILE: of all such lines.
tags()
{
	head -n 40 "$2" |
	sed -n 's,^[ \t]*[/#*]\+[ \t]*'"$1"': *\(.*\),\1,p' | head -n 1 |
	sed -e 's, *\*/.*,,' -e 's/ *$//'
}

# unpack_kernel VMLINUZ ELF: write the kernel that VMLINUZ unpacks when it starts.
unpack_kernel()
{
	local sectors offset length magic unpack

	# setup_sects, payload_offset, payload_length; the payload's last four
	# bytes are its unpacked size.
	sectors=$(($(od -An -tu1 -j $((0x1f1)) -N 1 "$1") + 1))
	offset=$(($(od -An -tu4 -j $((0x248)) -N 4 "$1")))
	length=$(($(od -An -tu4 -j $((0x24c)) -N 4 "$1") - 4))
	offset=$((sectors * 512 + offset))
	magic=$(od -An -tx4 -j "$offset" -N 4 "$1")
	case $magic in
	*184c2102)	unpack="lz4 -dc" ;;
	*fd2fb528)	unpack="zstd -qdc" ;;
	*587a37fd)	unpack="xz -dc" ;;
	*8b1f)		unpack="gzip -dc" ;;
	*)		die 126 "$1: compressed in an unknown way ($magic)" ;;
	esac
	tail -c +$((offset + 1)) "$1" | head -c "$length" | $unpack >"$2" 2>/dev/null
}
