#!/bin/sh
# Guests use images by vfio-user, on machines pc and q35, with plain memory (-m alone: all data goes through the socket) and with
# shared memory: their tools see the zones as zimg says, byte for byte; btrfs and f2fs are made and filled, and in a second boot with
# a new target mounted and checked. Then SeaBIOS boots from a plain namespace.
#
#   scripts/serve-vfio-user.sh QEMU [MACHINE...]     QEMU: a qemu-system-x86_64 with vfio-user-pci, 10.1 or later
#
# The guest is that of the tests, see image/imagetest/guest.
set -eu
cd "$(dirname "$0")/.."
qemu=$(command -v "$1")
shift
machines=${*:-pc q35}
go build -o bin/zimg ./cmd/zimg
zimg=$PWD/bin/zimg
guest=$PWD/image/imagetest/guest
tmp=$(mktemp -d)
target=
trap '[ -z "$target" ] || kill $target 2>/dev/null || :; rm -rf "$tmp"' EXIT

cat >"$tmp/fill" <<'END'
set -e
modprobe btrfs; modprobe f2fs
mkfs.btrfs -q -O zoned -d single -m single /dev/drive0n1
mkfs.f2fs -q -f -m -c /dev/drive1n1 /dev/drive1n2
mkdir /b /f; mount /dev/drive0n1 /b; mount -t f2fs /dev/drive1n2 /f
for d in /b /f; do
	i=0; while [ $i -lt 40 ]; do i=$((i + 1)); yes "file $i of $d" | head -c 500000 >$d/$i; done
done
umount /b; umount /f
echo "## filled"
END
cat >"$tmp/verify" <<'END'
set -e
modprobe btrfs; modprobe f2fs
echo "## blkzone"; blkzone report /dev/drive0n1
echo "## zbd"; zbd report /dev/drive0n1 | sed -n '/^Zone 00000/,$p'
echo "## nvme"; nvme zns report-zones /dev/drive0n1 -o json
echo "## end"
mkdir /b /f; mount /dev/drive0n1 /b; mount -t f2fs /dev/drive1n2 /f
for d in /b /f; do
	i=0; while [ $i -lt 40 ]; do i=$((i + 1)); yes "file $i of $d" | head -c 500000 | cmp - $d/$i; done
done
umount /b; umount /f
btrfs check --readonly /dev/drive0n1 >/tmp/check 2>&1 || { cat /tmp/check; exit 1; }
fsck.f2fs --dry-run /dev/drive1n2 >/tmp/check 2>&1 || { cat /tmp/check; exit 1; }
echo "## sound"
END

# serve IMAGE...: serves each on a socket of its own, sets $devices to QEMU's arguments for them and $target.
serve() {
	devices= flags=
	for image; do
		flags="$flags --vfio-user $image.sock"
		devices="$devices -device {\"driver\":\"vfio-user-pci\",\"socket\":{\"type\":\"unix\",\"path\":\"$image.sock\"}}"
	done
	rm -f "$tmp/ready" && mkfifo "$tmp/ready"
	"$zimg" serve -q --ready-fd 3 $flags "$@" 3>"$tmp/ready" 2>"$tmp/said" &
	target=$!
	cat "$tmp/ready" >/dev/null
}

# end: the target ends, and its images are sound.
end() {
	kill -TERM $target
	wait $target || { cat "$tmp/said"; exit 1; }
	target=
	for image; do "$zimg" check -q --data "$image"; done
}

section() { sed -n "/^## $1\$/,/^## /p" "$tmp/console" | sed '1d;$d'; }

for machine in $machines; do
	for memory in shared plain; do
		case $memory in
		plain) args="-machine $machine" ;;
		shared) args="-object memory-backend-memfd,id=ram,size=512M,share=on -machine $machine,memory-backend=ram" ;;
		esac
		a=$tmp/a.zimg b=$tmp/b.zimg
		"$zimg" create -q --force --like btrfs --zones 40 "$a"
		"$zimg" create -q --force --ns zones=200,zone-size=2M,block-size=4096 --ns type=nvm,size=128M,block-size=4096 "$b"
		for script in fill verify; do
			serve "$a" "$b"
			go run "$guest/cmd/guest" args "$tmp/$script" >"$tmp/args"
			set --
			while IFS= read -r arg; do set -- "$@" "$arg"; done <"$tmp/args"
			timeout "${LIMIT:-900}" "$qemu" "$@" $args $devices </dev/null >"$tmp/console" 2>"$tmp/stderr" || :
			end "$a" "$b"
			grep -q '@@zimg-guest end 0@@' "$tmp/console" || { cat "$tmp/console" "$tmp/stderr" "$tmp/said"; exit 1; }
			[ "$script" = fill ] || continue
			for form in blkzone zbd nvme; do "$zimg" report -o $form "$a" >"$tmp/want.$form"; done
		done
		for form in blkzone zbd nvme; do
			section $form >"$tmp/got"
			# blkzone before 2.42 prints a number as the write pointer of a full zone; nvme before 2.4 prints attrs_info as attrs.
			sed -i -e 's|wptr 0x[0-9a-f]* \(reset:. non-seq:., zcond:14\)|wptr N/A \1|' "$tmp/got"
			grep -q attrs_info "$tmp/got" || sed -i -e '/"attrs":[0-9]*,$/d' -e 's/"attrs_info":/"attrs":/' "$tmp/want.$form"
			diff "$tmp/got" "$tmp/want.$form" >"$tmp/diff" || { head "$tmp/diff"; echo "$machine, $memory memory: $form differs" >&2; exit 1; }
		done
		echo "$machine, $memory memory: blkzone, zbd and nvme print what zimg report does; btrfs and f2fs are sound"
	done
done

# The boot sector prints READY; the two characters 'o' and a key end it.
go run "$guest/cmd/guest" bootdisk "$tmp/sector"
for machine in $machines; do
	"$zimg" create -q --force --ns type=nvm,size=8M,block-size=512 "$tmp/c.zimg"
	"$zimg" write --lba 0 "$tmp/c.zimg" "$tmp/sector" >/dev/null
	serve "$tmp/c.zimg"
	device=$(echo $devices | sed 's/"driver"/"bootindex":0,"driver"/')
	printf o | timeout 120 "$qemu" -nodefaults -display none -serial stdio -accel tcg -m 128M -machine $machine $device >"$tmp/console" 2>"$tmp/stderr" || :
	end "$tmp/c.zimg"
	grep -q READY "$tmp/console" || { cat "$tmp/console" "$tmp/stderr"; exit 1; }
	echo "$machine: SeaBIOS boots from a plain namespace"
done
