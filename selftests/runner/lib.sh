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
)
declare -A HEADERS_META=(
	[6.1]=linux-headers-cloud-amd64
	[6.12]=linux-headers-6.12-cloud-amd64
)

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

# tag NAME FILE: what follows "NAME:" in a comment at the top of FILE, as in
# "/* hosts: smp kvm */" or "# hosts: smp kvm".
tag()
{
	head -n 40 "$2" |
	sed -n 's,^[ \t]*[/#*]\+[ \t]*'"$1"': *\([^*]*\).*,\1,p' | head -n 1 |
	sed 's/ *$//'
}
