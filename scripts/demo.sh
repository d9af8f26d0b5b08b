#!/bin/sh
# Shows zones outliving a real guest: an image with two zoned namespaces and a plain
# one, booted twice by the distribution's own QEMU. Run by make demo.
set -eu
cd "$(dirname "$0")/.."
root=$PWD
PATH="$root/bin:$PATH:/usr/sbin:/sbin"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
cd "$tmp"
image=disk.zimg

say() { printf '\n\033[1m== %s\033[0m\n' "$*"; }
[ -t 1 ] && [ -z "${NO_COLOR:-}" ] || say() { printf '\n== %s\n' "$*"; }

# Runs "zimg ARGS" and shows it as it would be typed.
show() {
	printf '$ zimg %s\n' "$*"
	zimg "$@"
}

# boot SCRIPT: runs the script in a guest and shows what it prints. /dev/drive0nN is a link to the namespace with the NSID N,
# which need not be /dev/nvme0nN: Linux 6.12 and later finds namespaces in any order.
boot() {
	printf '%s\n' "$1" >"$tmp/script"
	(cd "$root" && go run ./image/imagetest/guest/cmd/guest args "$tmp/script") >"$tmp/args"
	set --
	while IFS= read -r line; do set -- "$@" "$line"; done <"$tmp/args"
	printf '$ zimg run disk.zimg -- qemu-system-x86_64 ...\n'
	zimg run "$image" -- qemu-system-x86_64 "$@" </dev/null >"$tmp/console" || {
		cat "$tmp/console" >&2
		exit 1
	}
	tr -d '\r' <"$tmp/console" | sed -n '/@@zimg-guest begin@@/,/@@zimg-guest end 0@@/p' | sed '/@@/d;/^$/d' >"$tmp/output"
	grep -q '@@zimg-guest end 0@@' "$tmp/console" || {
		echo "demo: the guest's script failed:" >&2
		cat "$tmp/console" >&2
		exit 1
	}
	sed 's/^/guest| /' "$tmp/output"
}

say "An image with two zoned namespaces and a plain one"
show create --ns zones=8,zone-size=4M,zone-capacity=3M,max-open=4,max-active=6,block-size=512 \
	--ns zones=4,zone-size=8M --ns type=nvm,size=16M "$image"

say "The first boot writes to zones, finishes one, and powers off"
boot '
set -e
for n in 1 2 3; do dd if=/dev/urandom of=/dev/drive0n$n bs=64K count=4 oflag=direct conv=notrunc 2>/dev/null; done
dd if=/dev/urandom of=/dev/drive0n1 bs=64K count=3 seek=64 oflag=direct conv=notrunc 2>/dev/null
blkzone finish -o 0x2000 -c 1 /dev/drive0n1
blkzone report -c 4 /dev/drive0n1
dd if=/dev/drive0n1 bs=64K count=4 iflag=direct 2>/dev/null | sha256sum'
sed -n '/  -$/p' "$tmp/output" >"$tmp/sum1"

say "The zones, as zimg sees them now"
show report --ns 1 "$image"
show report --ns 1 --zone 0-3 --output blkzone "$image"
show map "$image"

say "The second boot: the guest finds its zones as it left them"
boot '
set -e
blkzone report -c 4 /dev/drive0n1
nvme zns report-zones /dev/drive0n2 -d 2
zbd report /dev/drive0n1 | tail -n 8 | head -n 2
dd if=/dev/drive0n1 bs=64K count=4 iflag=direct 2>/dev/null | sha256sum
dd if=/dev/urandom of=/dev/drive0n1 bs=64K count=1 seek=4 oflag=direct conv=notrunc && echo "goes on writing at the write pointer"'
sed -n '/  -$/p' "$tmp/output" >"$tmp/sum2"
cmp "$tmp/sum1" "$tmp/sum2" || { echo "demo: the data is not what it was" >&2; exit 1; }

say "And the image is sound"
show check --data "$image"
show info "$image"
printf '\nThe zones survived on an unmodified %s.\n' "$(qemu-system-x86_64 --version | head -n 1)"
