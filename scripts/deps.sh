#!/bin/sh
# Makes sure that what the tests and the demo need is installed, and the packages
# that are named as arguments, on Debian 12 or later and on Ubuntu: as root installs
# the packages that are missing, otherwise names them and fails. Quick when nothing is
# missing.
#
# Go itself is not among them: the packages are too old.
set -eu
export PATH="$PATH:/usr/sbin:/sbin"

# ipxe-qemu: without it QEMU refuses to start with its default network card.
# gcc, libc6-dev: the race detector. xz-utils, zstd: newer kernels' modules.
packages="
	qemu-system-x86 qemu-utils ipxe-qemu
	busybox-static kmod xz-utils zstd
	nvme-cli zbd-utils btrfs-progs f2fs-tools util-linux
	jq gcc libc6-dev git ca-certificates python3-minimal
	$*
"

if ! command -v apt-get >/dev/null; then
	echo "deps.sh: no apt-get here; install what these packages of Debian hold:" $packages >&2
	exit 1
fi

# Prints those of its arguments that are not installed.
missing() {
	for package; do
		printf '%s\n' "$package"
	done | sort >"$tmp/want"
	dpkg-query -W -f '${db:Status-Status} ${Package}\n' "$@" 2>/dev/null |
		sed -n 's/^installed //p' | sort -u >"$tmp/have"
	comm -23 "$tmp/want" "$tmp/have"
}

tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
need=$(missing $packages)
# blkzone has moved from util-linux to util-linux-extra.
command -v blkzone >/dev/null || need="$need util-linux-extra"
[ -n "$need" ] || exit 0

if [ "$(id -u)" != 0 ]; then
	echo "deps.sh: these packages are missing, and only root can install them:" $need >&2
	exit 1
fi
export DEBIAN_FRONTEND=noninteractive
echo "deps.sh: installing" $need >&2
install() { apt-get install -y -q --no-install-recommends $need </dev/null; }
# The package lists may be missing, or older than the packages on the server.
install || { apt-get update -q </dev/null && install; }
