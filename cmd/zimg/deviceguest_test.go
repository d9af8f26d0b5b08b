//go:build unix

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
// exported to and compared with what zbd reports of them; dumps go through the real zbd both
// ways; a device that is mounted, of another geometry or in use is refused.
func TestDevices(t *testing.T) {
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
	ctx, cancel := context.WithTimeout(t.Context(), 4*time.Minute)
	defer cancel()
	res, err := builtGuest(t).Run(ctx, args, `set -e
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

for dev in /dev/nullb0 /dev/nvme0n1; do
	echo "$dev"
	n=${dev##*/}
	fill $dev
	[ $n = nullb0 ] && dd if=/tmp/r of=$dev bs=4k count=3 oflag=direct 2>/dev/null  # conventional
	report $dev >/tmp/$n.before
	zimg info $dev
	ours $dev >/tmp/$n.live
	cmp /tmp/$n.before /tmp/$n.live
	zimg check $dev
	zimg convert -q --keep-open $dev /tmp/$n.zimg
	ours /tmp/$n.zimg >/tmp/$n.image
	cmp /tmp/$n.before /tmp/$n.image
	zimg check --data /tmp/$n.zimg || [ $? = 3 ]

	if zimg convert /tmp/$n.zimg $dev; then exit 10; fi   # it has data, and no --force
	zimg convert --force $dev /tmp/closed.zimg             # open zones as Closed
	zimg convert --force -q /tmp/closed.zimg $dev
	report $dev >/tmp/$n.after
	sed 's/, oe,/, cl,/; s/, oi,/, cl,/' /tmp/$n.before | cmp - /tmp/$n.after
	zimg convert -q $dev /tmp/again.zimg
	zimg compare /tmp/closed.zimg /tmp/again.zimg
	rm /tmp/again.zimg
done

if zimg convert --force /tmp/nvme0n1.zimg /dev/nullb0; then exit 11; fi
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
if zimg convert --force /dev/nvme0n1 /tmp/m.zimg; then exit 12; fi
if zimg convert --force /tmp/nvme0n1.zimg /dev/nvme0n1; then exit 13; fi
umount /mnt
echo all is well
`)
	if err != nil || res.Status != 0 {
		t.Fatalf("guest: status %d, %v\n%s\n%s", res.Status, err, res.Output, res.Stderr)
	}
	t.Log(res.Output)
}
