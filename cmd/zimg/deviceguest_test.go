//go:build linux

package main

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"
)

// Live devices, in a guest: null_blk with conventional zones and a ZNS namespace are imported,
// exported to and compared with what zbd and blkzone report of them, also where the limits of open and active
// zones leave no room; dumps go through the real zbd both ways; a device that is mounted, of another
// geometry, with something in it or not ours to read is refused, and an interruption is reported.
func TestDevices(t *testing.T) {
	t.Parallel()
	g := builtGuest(t)
	dir := t.TempDir()
	bin := filepath.Join(dir, "zimg")
	build := exec.CommandContext(t.Context(), "go", "build", "-o", bin, ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	info, err := os.Stat(bin)
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(bin, (info.Size()+511)&^511); err != nil { // whole sectors
		t.Fatal(err)
	}
	disk := filepath.Join(dir, "zns.raw")
	if err := os.WriteFile(disk, nil, 0o666); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(disk, 64<<20); err != nil {
		t.Fatal(err)
	}
	args := []string{
		"-m", "1G", "-drive", "file=" + bin + ",if=virtio,format=raw,readonly=on",
		"-drive", "file=" + disk + ",if=none,id=z,format=raw", "-device", "nvme,id=c,serial=zimg",
		"-device", "nvme-ns,drive=z,bus=c,nsid=1,logical_block_size=4096,physical_block_size=4096,zoned=true,zoned.zone_size=4M,zoned.zone_capacity=3M,zoned.max_open=4,zoned.max_active=6",
	}
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Minute)
	defer cancel()
	res, err := g.Run(ctx, args, `set -e
modprobe virtio_pci; modprobe virtio_blk; cat /dev/vda >/bin/zimg; chmod +x /bin/zimg
mkdir -p /config; mount -t configfs none /config; modprobe null_blk nr_devices=0
nb=/config/nullb/nullb0; mkdir $nb
echo 4096 >$nb/blocksize; echo 64 >$nb/size; echo 1 >$nb/memory_backed; echo 1 >$nb/zoned
echo 4 >$nb/zone_size; echo 3 >$nb/zone_capacity; echo 2 >$nb/zone_nr_conv; echo 1 >$nb/power
head -c 12582912 /dev/urandom >/tmp/r

# fill DEVICE: zones 3 to 7 in every state that commands make
fill() {
	dd if=/tmp/r of=$1 bs=4k count=100 seek=$((3*1024)) oflag=direct 2>/dev/null
	blkzone close -o $((3*8192)) -l 8192 $1
	dd if=/tmp/r of=$1 bs=4k count=768 seek=$((4*1024)) oflag=direct 2>/dev/null   # Full by writing
	dd if=/tmp/r of=$1 bs=4k count=5 seek=$((5*1024)) oflag=direct 2>/dev/null
	blkzone finish -o $((5*8192)) -l 8192 $1                                        # finished
	dd if=/tmp/r of=$1 bs=4k count=1 seek=$((6*1024)) oflag=direct 2>/dev/null      # implicitly open
	dd if=/tmp/r of=$1 bs=4k count=7 seek=$((7*1024)) oflag=direct 2>/dev/null
	blkzone open -o $((7*8192)) -l 8192 $1                                          # explicitly open
}

# report FILE: what zbd reports, but for the write pointer of Full zones: null_blk has it at the end of the capacity
# or of the zone, by how the zone became full
report() { zbd report $1 | sed 's/wp [0-9]*, fu/fu/; /^Regular file/d'; }
ours() { zimg report --output zbd $1 | sed 's/wp [0-9]*, fu/fu/'; }
# blk FILE: what blkzone reports, as from 2.42 on: no write pointer where there is none
blk() { blkzone report $1 | sed '/(fu)/s/wptr [^ ]* /wptr N\/A /; /(nw)/s/wptr [^ ]* /wptr N\/A /'; }
# refused TEXT COMMAND...: fails, and says so
refused() {
	text=$1; shift
	if "$@" >/tmp/said 2>&1; then echo "not refused: $*"; exit 9; fi
	grep "$text" /tmp/said
}

for dev in /dev/nullb0 /dev/nvme0n1; do
	echo "$dev"
	n=${dev##*/}
	fill $dev
	[ $n = nullb0 ] && dd if=/tmp/r of=$dev bs=4k count=3 oflag=direct 2>/dev/null  # conventional
	report $dev >/tmp/$n.before
	zimg info $dev
	ours $dev >/tmp/$n.live
	cmp /tmp/$n.before /tmp/$n.live
	blk $dev >/tmp/$n.blk
	zimg report --output blkzone $dev | cmp /tmp/$n.blk -
	zimg check $dev
	zimg convert -q --keep-open $dev /tmp/$n.zimg
	ours /tmp/$n.zimg >/tmp/$n.image
	cmp /tmp/$n.before /tmp/$n.image
	zimg report --output blkzone /tmp/$n.zimg | cmp /tmp/$n.blk -
	zimg check --data /tmp/$n.zimg || [ $? = 3 ]

	refused 'would be lost' zimg convert /tmp/$n.zimg $dev
	zimg convert --force $dev /tmp/closed.zimg             # open zones as Closed
	zimg convert --force -q /tmp/closed.zimg $dev
	report $dev >/tmp/$n.after
	sed 's/, oe,/, cl,/; s/, oi,/, cl,/' /tmp/$n.before | cmp - /tmp/$n.after
	zimg convert -q $dev /tmp/again.zimg
	zimg compare /tmp/closed.zimg /tmp/again.zimg
	rm /tmp/again.zimg
done

# a new image like the device
columns() { zimg report --output csv $1 | cut -d, -f1-3,5-7; }
zimg create -q --like /dev/nvme0n1 /tmp/like.zimg
columns /dev/nvme0n1 >/tmp/like.device
columns /tmp/like.zimg | cmp /tmp/like.device -
zimg info /tmp/like.zimg | grep '4M  *3M  *4  *6'

# limits: as many zones are active, and as many open, as the device allows, and others are Full
zimg create -q --zones 16 --zone-size 4M --zone-capacity 3M --max-open 4 --max-active 6 /tmp/m.zimg
for z in 14 15 0 1 2 3 4 5; do head -c 8192 /tmp/r | zimg write --zone $z /tmp/m.zimg; [ $z -lt 14 ] || zimg zone finish /tmp/m.zimg $z; done
head -c 3145728 /tmp/r >/tmp/full
zimg zone reset /tmp/m.zimg 5; zimg write --zone 13 /tmp/m.zimg /tmp/full; head -c 8192 /tmp/r | zimg write --zone 5 /tmp/m.zimg
zimg zone open /tmp/m.zimg 0-3
zimg convert -q --force --keep-open /tmp/m.zimg /dev/nvme0n1
blk /dev/nvme0n1 >/tmp/m.after
zimg report --output blkzone /tmp/m.zimg >/tmp/m.blk
grep -c '(oe)' /tmp/m.blk | grep -x 4; grep -c '(cl)' /tmp/m.blk | grep -x 2
cmp /tmp/m.blk /tmp/m.after

# interrupted, when some zones are written
zimg create -q --zones 16 --zone-size 4M --zone-capacity 3M --max-open 4 --max-active 6 /tmp/i.zimg
z=0; while [ $z -lt 16 ]; do zimg write --zone $z /tmp/i.zimg /tmp/full; z=$((z+1)); done
blkzone reset /dev/nvme0n1
zimg convert /tmp/i.zimg /dev/nvme0n1 >/tmp/said 2>&1 & pid=$!
until blkzone report /dev/nvme0n1 -c 1 | grep -q '(fu)'; do :; done
kill -INT $pid
if wait $pid; then cat /tmp/said; exit 14; fi
grep 'zimg: interrupted' /tmp/said
grep '/dev/nvme0n1 is incomplete' /tmp/said
zimg convert -q --force /tmp/closed.zimg /dev/nvme0n1
report /dev/nvme0n1 | cmp - /tmp/nvme0n1.after

# what is not for this device, or not ours
refused 'type of zone 0' zimg convert --force /tmp/nvme0n1.zimg /dev/nullb0
zimg create -q --zones 8 --zone-size 4M --zone-capacity 3M --max-open 4 --max-active 6 /tmp/half.zimg
refused 'number of zones 16 does not match the source (8)' zimg convert --force /tmp/half.zimg /dev/nvme0n1
blkzone reset -o $((2*8192)) -l $((14*8192)) /dev/nullb0
zimg convert -q --keep-open /dev/nullb0 /tmp/conv.zimg
refused 'zone 0 is conventional and has data' zimg convert /tmp/conv.zimg /dev/nullb0
dd if=/dev/zero of=/dev/nullb0 bs=4k count=3 oflag=direct 2>/dev/null
zimg convert -q /tmp/conv.zimg /dev/nullb0
zimg convert -q /dev/nullb0 /tmp/conv2.zimg
zimg compare /tmp/conv.zimg /tmp/conv2.zimg
mkdir -p /etc; echo 'u:x:1000:1000::/:/bin/sh' >/etc/passwd; chmod 600 /dev/nvme0n1; chmod 755 /bin/zimg
refused 'permission denied' su u -c 'zimg info /dev/nvme0n1'
# dumps, by the real zbd: out of the device into zimg, out of zimg onto the device
zbd dump -d /tmp -f real /dev/nvme0n1 >/dev/null
zimg convert -q -f zbd-dump /tmp/real /tmp/real.zimg
zimg convert -q --force /dev/nvme0n1 /tmp/closed.zimg
zimg compare /tmp/real.zimg /tmp/closed.zimg
zimg convert -q -O zbd-dump /tmp/real.zimg /tmp/ours
report /tmp/ours_zone_info.dump | cmp - /tmp/nvme0n1.after
blkzone reset /dev/nvme0n1
zbd restore -d /tmp -f ours /dev/nvme0n1 >/dev/null
report /dev/nvme0n1 | cmp - /tmp/nvme0n1.after
zimg convert -q /dev/nvme0n1 /tmp/restored.zimg
zimg compare /tmp/real.zimg /tmp/restored.zimg

# a device that is mounted is left alone
mkzonefs /dev/nvme0n1
mkdir -p /mnt; modprobe zonefs; mount -t zonefs /dev/nvme0n1 /mnt
refused 'is mounted or opened exclusively' zimg convert --force /dev/nvme0n1 /tmp/m.zimg
refused 'is mounted or opened exclusively' zimg convert --force /tmp/nvme0n1.zimg /dev/nvme0n1
refused 'is mounted or opened exclusively' zimg report /dev/nvme0n1
report /dev/nvme0n1 >/tmp/mounted
zimg report -U --output zbd /dev/nvme0n1 | sed 's/wp [0-9]*, fu/fu/' | cmp /tmp/mounted -
umount /mnt
echo all is well
`)
	if err != nil || res.Status != 0 {
		t.Fatalf("guest: status %d, %v\n%s\n%s", res.Status, err, res.Output, res.Stderr)
	}
	t.Log(res.Output)
}
