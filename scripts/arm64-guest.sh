#!/bin/sh
# Boots Debian's arm64 kernel twice by zimg run on qemu-system-aarch64's machine virt, under processor emulation. The zones,
# an extension and the data of the first boot must be there in the second one.
#
#   scripts/arm64-guest.sh [QEMU [DRIVE]]     QEMU: qemu-system-aarch64, or a wrapper; DRIVE: as in zimg run --drive
#
# Needs qemu-system-arm, busybox-static, kmod and xz-utils, and downloads 80 MB from deb.debian.org to a temporary folder.
# Nothing is installed, and no root is needed.
set -eu
cd "$(dirname "$0")/.."
qemu=${1:-qemu-system-aarch64} drive=${2:-auto}
PATH="$PATH:/usr/sbin:/sbin"
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
go build -o "$tmp/zimg" ./cmd/zimg
cd "$tmp"

# The package lists of another architecture, beside the system's own.
release=$(. /etc/os-release && echo "${VERSION_CODENAME:-stable}")
mkdir -p apt/lists/partial apt/cache/archives/partial debs root
echo "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] http://deb.debian.org/debian $release main" >apt/sources
: >apt/status
for o in APT::Architecture=arm64 APT::Architectures=arm64 Dir::State="$tmp/apt" Dir::State::lists="$tmp/apt/lists" \
	Dir::State::status="$tmp/apt/status" Dir::Cache="$tmp/apt/cache" Dir::Etc::sourcelist="$tmp/apt/sources" \
	Dir::Etc::sourceparts=- APT::Sandbox::User=; do
	key=${o%%=*} value=${o#*=}
	echo "$key \"$value\";"
done | sed 's/^APT::Architectures .*/APT::Architectures { "arm64"; };/' >apt/conf
export APT_CONFIG=$tmp/apt/conf
apt-get update -q >/dev/null
kernel=$(apt-cache depends linux-image-arm64 | sed -n 's/^ *Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
blkzone=util-linux-extra
apt-cache show $blkzone >/dev/null 2>&1 || blkzone=
(cd debs && apt-get download -q "$kernel" busybox-static util-linux $blkzone libc6 >/dev/null)
for deb in debs/*.deb; do dpkg-deb -x "$deb" root; done
unset APT_CONFIG

# An initial root file system of busybox, blkzone and what nvme needs.
[ -e root/lib/modules ] || { mkdir -p root/lib && ln -s ../usr/lib/modules root/lib/modules; }
version=$(ls root/lib/modules/)
depmod -b root "$version"
mkdir -p init/bin init/dev init/proc init/sys init/sbin "init/lib/modules/$version"
cp "$(find root -path '*/bin/busybox' -type f | head -n 1)" init/bin/busybox
for name in sh mount modprobe insmod dd cat grep sha256sum poweroff stty ls sync sleep mkdir basename; do ln -s busybox init/bin/$name; done
cp "$(find root -path '*/sbin/blkzone' -type f | head -n 1)" init/sbin/
for lib in $(cd root && find . -name 'ld-linux-aarch64.so.1' -o -name 'libc.so.6'); do
	case $lib in
	*ld-linux*) cp -L "root/$lib" init/lib/ ;;
	*) mkdir -p init/lib/aarch64-linux-gnu && cp -L "root/$lib" init/lib/aarch64-linux-gnu/ ;;
	esac
done
list=$(grep '/nvme\.ko' "root/lib/modules/$version/modules.dep" | tr -d ':')
for file in $list; do
	mkdir -p "init/lib/modules/$version/$(dirname "$file")"
	case $file in
	*.xz) xz -dc "root/lib/modules/$version/$file" >"init/lib/modules/$version/${file%.xz}" ;;
	*) cp "root/lib/modules/$version/$file" "init/lib/modules/$version/$file" ;;
	esac
done
cp "root/lib/modules/$version/modules."* "init/lib/modules/$version/"
depmod -b init "$version"

# boot SCRIPT: what the guest prints between two marks.
boot() {
	printf '%s\n' '#!/bin/sh' 'export PATH=/bin:/sbin' 'mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev' \
		'exec </dev/null >/dev/ttyAMA0 2>&1; stty -F /dev/ttyAMA0 -opost' 'modprobe nvme; d=/dev/nvme0n1' "echo; echo '@@begin@@'" "$1" \
		"echo '@@end@@'; sync; poweroff -f" >init/init
	chmod +x init/init
	(cd init && find . | busybox cpio -o -H newc 2>/dev/null) >initrd
	./zimg run --drive "$drive" d.zimg -- "$qemu" -machine virt -cpu cortex-a57 -accel tcg -m 512M -nodefaults -display none \
		-serial stdio -no-reboot -kernel "$(ls root/boot/vmlinuz-*)" -initrd initrd \
		-append 'console=ttyAMA0 quiet panic=-1 nokaslr' </dev/null >console
	grep -q '^@@end@@' console || { cat console >&2; exit 1; }
	sed -n '/^@@begin@@/,/^@@end@@/p' console | grep -v '^@@'
}

./zimg create -q --zones 16 --zone-size 1M --zone-capacity 768K --max-active 6 --descr-ext-size 64 --block-size 512 d.zimg
./zimg zone finish d.zimg 3 >/dev/null
printf 'an extension' | ./zimg zone set-ext --file - d.zimg 5 >/dev/null
boot '
dd if=/dev/urandom of=$d bs=64K count=3 oflag=direct 2>/dev/null
dd if=/dev/urandom of=$d bs=64K count=2 seek=32 oflag=direct conv=notrunc 2>/dev/null
blkzone finish -o 0x1000 -c 1 $d
blkzone report -c 6 $d
for z in 0 32; do dd if=$d bs=64K skip=$z count=2 2>/dev/null | sha256sum; done' >first
./zimg report d.zimg --zone 0-5
boot '
blkzone report -c 6 $d
for z in 0 32; do dd if=$d bs=64K skip=$z count=2 2>/dev/null | sha256sum; done
dd if=/dev/urandom of=$d bs=64K count=1 seek=3 oflag=direct conv=notrunc 2>/dev/null && echo "goes on at the write pointer"' >second
cat first second
./zimg check --data d.zimg
# A write pointer stays, an open zone is Closed after a power cycle.
sed 's/zcond: 2(oi)/zcond: 4(cl)/' first >want
head -n "$(wc -l <want)" second | cmp - want
[ "$(grep -c '(fu)' second)" = 2 ] && grep -q 'goes on' second
echo "zones and data survived on $("$qemu" --version | head -n 1), Linux $version"
