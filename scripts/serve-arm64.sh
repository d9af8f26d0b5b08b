#!/bin/sh
# An aarch64 guest uses images by NVMe/TCP: its tools see the zones as zimg says, byte for byte; btrfs and f2fs are made, filled and
# unmounted, the target is restarted, and they are mounted again and checked. QEMU emulates the processor, which takes minutes.
#
# usage: scripts/serve-arm64.sh [ZIMG]
#
# Needs qemu-system-aarch64 (QEMU says another program), and apt-get on Debian 12 or later for the guest's packages; nothing is
# installed. They are kept in .cache/aarch64.
set -eu
cd "$(dirname "$0")/.."
zimg=$(realpath "${1:-bin/zimg}")
qemu=${QEMU:-qemu-system-aarch64}
cache=$PWD/.cache/aarch64
packages="busybox-static util-linux util-linux-extra nvme-cli btrfs-progs f2fs-tools"

if [ ! -e "$cache/initrd" ]; then
	mkdir -p "$cache/state/lists/partial" "$cache/debs/partial"
	: >"$cache/state/status"
	cat >"$cache/apt.conf" <<END
APT::Architecture "arm64";
APT::Architectures { "arm64"; };
Dir::State "$cache/state";
Dir::State::status "$cache/state/status";
Dir::Cache "$cache";
Dir::Cache::archives "$cache/debs";
APT::Sandbox::User "";
END
	export APT_CONFIG="$cache/apt.conf"
	apt-get -q update
	kernel=$(apt-cache depends linux-image-arm64 | sed -n 's/.*Depends: \(linux-image-[0-9].*\)/\1/p' | head -n 1)
	rm -f "$cache"/debs/*.deb
	apt-get -q -y --download-only --no-install-recommends install $packages
	(cd "$cache/debs" && apt-get -q download "$kernel" zbd-utils libzbd2) # without the libraries of its graphical program
	unset APT_CONFIG
	rm -rf "$cache/root" && mkdir "$cache/root"
	for deb in "$cache"/debs/*.deb; do dpkg-deb -x "$deb" "$cache/root"; done
	cd "$cache/root"
	mv boot/vmlinuz-* ../vmlinuz
	release=$(basename lib/modules/*)
	cd "lib/modules/$release"
	find kernel -name '*.ko' | grep -v -E '^kernel/(drivers/(nvme|virtio|net/(virtio_net|net_failover))|net/core|block|mm|fs/(btrfs|f2fs)|lib|crypto|arch)' | xargs rm -f
	cd "$cache/root"
	PATH="$PATH:/usr/sbin:/sbin" depmod -b . "$release"
	rm -rf boot usr/share usr/lib/python*
	mkdir -p dev proc sys tmp mnt b f run
	for name in $(/bin/busybox --list); do [ -e "bin/$name" ] || [ "$name" = busybox ] || ln -s busybox "bin/$name"; done
	find . | busybox cpio -o -H newc 2>/dev/null >../initrd.tmp
	mv ../initrd.tmp ../initrd
	rm -rf "$cache/root" "$cache/debs" "$cache/state"
	cd "$cache/../.."
fi

tmp=$(mktemp -d)
target=
trap '[ -z "$target" ] || kill $target 2>/dev/null || :; rm -rf "$tmp"' EXIT

# What the guest does is an archive of its own after that of the packages.
mkdir "$tmp/guest"
cat >"$tmp/guest/init" <<'END'
#!/bin/busybox sh
export PATH=/usr/sbin:/usr/bin:/sbin:/bin
mount -t proc proc /proc; mount -t sysfs sys /sys; mount -t devtmpfs dev /dev
exec </dev/null >/dev/console 2>&1
dmesg -n 1
for m in virtio_pci virtio_net crc32c_generic crc32_generic crc64_rocksoft_generic crct10dif_generic nvme-tcp btrfs f2fs; do modprobe $m; done
until ifconfig eth0 10.0.2.15 netmask 255.255.255.0 up 2>/dev/null; do usleep 100000; done
eval "$(tr ' ' '\n' </proc/cmdline | grep '^judge_')"
. /judge
END
chmod +x "$tmp/guest/init"
cat >"$tmp/guest/judge" <<'END'
set -e
trap 'echo "@@ end $?"; poweroff -f' EXIT
echo "@@ kernel"; uname -rm
for n in $judge_a $judge_b; do
	nvme connect -t tcp -a 10.0.2.2 -s $judge_port -n $n -I 11111111-2222-3333-4444-555555555555 -q nqn.2014-08.org.nvmexpress:uuid:11111111-2222-3333-4444-555555555555 >/dev/null
done
until [ -b /dev/nvme0n1 ] && [ -b /dev/nvme1n1 ] && [ -b /dev/nvme1n2 ]; do usleep 100000; done
if [ $judge_step = 1 ]; then
	mkfs.btrfs -q -O zoned -d single -m single /dev/nvme0n1
	mkfs.f2fs -q -f -m -c /dev/nvme1n1 /dev/nvme1n2 >/dev/null
fi
mount /dev/nvme0n1 /b; mount -t f2fs /dev/nvme1n2 /f
for d in /b /f; do
	i=0; while [ $i -lt 20 ]; do
		i=$((i + 1))
		if [ $judge_step = 1 ]; then yes "file $i of $d" | head -c 200000 >$d/$i
		else yes "file $i of $d" | head -c 200000 | cmp - $d/$i; fi
	done
done
umount /b; umount /f
if [ $judge_step = 2 ]; then
	btrfs check --readonly /dev/nvme0n1 >/tmp/check 2>&1 || { cat /tmp/check; exit 1; }
	fsck.f2fs --dry-run /dev/nvme1n2 >/tmp/check 2>&1 || { cat /tmp/check; exit 1; }
fi
for n in $judge_a $judge_b; do nvme disconnect -n $n >/dev/null; done
nvme connect -t tcp -a 10.0.2.2 -s $judge_port -n $judge_a >/dev/null
until [ -b /dev/nvme0n1 ]; do usleep 100000; done
echo "@@ blkzone"; blkzone report /dev/nvme0n1
echo "@@ zbd"; zbd report /dev/nvme0n1 | sed -n '/^Zone 00000/,$p'
echo "@@ nvme"; nvme zns report-zones /dev/nvme0n1 -o json
echo "@@ end"
nvme disconnect -n $judge_a >/dev/null
exit 0
END
(cd "$tmp/guest" && find . | busybox cpio -o -H newc 2>/dev/null) | cat "$cache/initrd" - >"$tmp/initrd"

"$zimg" create -q --like btrfs --zones 40 "$tmp/a.zimg"
"$zimg" create -q --ns zones=200,zone-size=2M,block-size=4096 --ns type=nvm,size=128M,block-size=4096 "$tmp/b.zimg"
for step in 1 2; do
	rm -f "$tmp/ready" && mkfifo "$tmp/ready"
	"$zimg" serve --listen 127.0.0.1:0 --ready-fd 3 "$tmp/a.zimg" "$tmp/b.zimg" 3>"$tmp/ready" >"$tmp/said" &
	target=$!
	read -r address <"$tmp/ready"
	nqns() { sed -n 's/.* -a 127\.0\.0\.1 .* -n //p' "$tmp/said"; }
	until [ "$(nqns | wc -l)" = 2 ]; do sleep 0.1; done
	a=$(nqns | head -n 1) b=$(nqns | tail -n 1)
	timeout "${LIMIT:-1500}" $qemu -M virt -cpu cortex-a57 -m 1G -nodefaults -display none -serial stdio -no-reboot \
		-kernel "$cache/vmlinuz" -initrd "$tmp/initrd" -netdev user,id=net -device virtio-net-pci,netdev=net,romfile= \
		-append "console=ttyAMA0 quiet panic=-1 nokaslr judge_port=${address##*:} judge_a=$a judge_b=$b judge_step=$step" \
		</dev/null >"$tmp/console"
	kill -TERM $target
	wait $target
	if ! grep -q '^@@ end 0' "$tmp/console"; then
		cat "$tmp/console"
		echo "serve-arm64.sh: the guest failed in step $step" >&2
		exit 1
	fi
	"$zimg" check -q --data "$tmp/a.zimg"
	"$zimg" check -q --data "$tmp/b.zimg"
	section() { tr -d '\r' <"$tmp/console" | sed -n "/^@@ $1\$/,/^@@/p" | sed '1d;$d'; }
	section kernel
	for form in blkzone zbd nvme; do
		section $form >"$tmp/got"
		"$zimg" report -o $form "$tmp/a.zimg" >"$tmp/want"
		# blkzone before 2.42 prints a number as the write pointer of a full zone; nvme before 2.4 prints attrs_info as attrs.
		sed -i -e 's|wptr 0x[0-9a-f]* \(reset:. non-seq:., zcond:14\)|wptr N/A \1|' "$tmp/got"
		grep -q attrs_info "$tmp/got" || sed -i -e '/"attrs":[0-9]*,$/d' -e 's/"attrs_info":/"attrs":/' "$tmp/want"
		diff "$tmp/got" "$tmp/want" >"$tmp/diff" || { head "$tmp/diff"; echo "serve-arm64.sh: step $step: $form differs" >&2; exit 1; }
		echo "step $step: $form is the same, $(wc -l <"$tmp/got") lines"
	done
done
echo "aarch64: btrfs and f2fs were there after the target was restarted, and are sound"
