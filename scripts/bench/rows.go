//go:build unix

package main

import "fmt"

// row is one comparison. Lines are run in the work folder, by a shell where they need one.
type row struct {
	Name  string
	Prep  string  // once, before the first run
	Reset string  // before every run of either side, not measured
	Zimg  string  // what is measured
	Other string  // what it is measured against; empty for an absolute number
	Moves moves   // what cannot be done without
	Timed bool    // the lines print how many seconds their work took, without starting and ending the programs
	Goal  float64 // of the ratio of medians, 0 for none
	Limit float64 // of the median in seconds, 0 for none
	Runs  int     // 0 for the default
}

// million makes an image of a million zones of 1 MiB; many one of 1 TiB with 16,384.
const (
	few     = "zimg create -q --force --zones 16 --zone-size 64M few.zimg"
	many    = "zimg create -q --force --zones 16384 --zone-size 64M many.zimg"
	million = "zimg create -q --force --zones 1000000 --zone-size 1M million.zimg"
	// real makes 4 GiB of data that is not zero in a zoned image and in a raw file.
	real4G = "zimg create -q --force --zones 64 --zone-size 64M real.zimg; " +
		"head -c 64M /dev/urandom > unit; for i in $(seq 64); do cat unit; done > real.raw; " +
		"zimg write real.zimg --lba 0 real.raw"
)

// written makes NAME, an image of N zones, each with one block written; and
// exit.rom, a firmware that does nothing but reset the machine through the keyboard controller,
// which with -no-reboot is the end.
func written(name string, zones int) string {
	return fmt.Sprintf(`zimg create -q --force --zones %[2]d --zone-size 1M %[1]s
{
	printf '{"format":"zimg-dump","version":1,"uuid":"","label":"","namespaces":[{"nsid":1,"type":"zoned","block-size":4096,"metadata-size":0,"blocks":%%d,"zone-nr":%[2]d,"zone-size":256,"zcap":256,"zone-omax":0,"zone-amax":0,"descr-ext-size":0,"zones":[' $((%[2]d * 256))
	i=0; while [ $i -lt %[2]d ]; do
		[ $i = 0 ] || printf ,
		printf '{"zone":%%d,"state":"closed","zcap":256,"wp":%%d,"written":1}' $i $((i * 256 + 1)); i=$((i + 1))
	done
	printf ']}]}'
} | zimg restore -q %[1]s
{ head -c 65520 /dev/zero; printf '\260\376\346\144\364'; head -c 11 /dev/zero; } >exit.rom`, name, zones)
}

const quick = "qemu-system-x86_64 -nodefaults -display none -no-reboot -bios exit.rom"

// boot compares a run of a guest that ends at once with the same QEMU line without zimg.
func boot(zones int) row {
	name := fmt.Sprintf("run%d.zimg", zones)
	return row{
		Name: fmt.Sprintf("run and back, %d written zones / the same QEMU alone", zones), Prep: written(name, zones),
		Zimg: "zimg run -q " + name + " -- " + quick, Other: quick + " $(zimg qemu-args " + name + ")",
	}
}

const (
	kib = 1 << 10
	mib = 1 << 20
	gib = 1 << 30

	// Metadata: 64 + 8 bytes per zone and a sum for each block of them, in one copy.
	slot16k = 16384 * 72 * 1025 / 1024
	slot1M  = 1000000 * 72 * 1025 / 1024
	// A header, its checksums and the table of namespaces of both copies, and the locator.
	open    = 9 * 4 * kib
	openBig = open + 2*slot1M/1024

	zeroes4G = "zimg create -q --force --zones 64 --zone-size 64M zeroes.zimg; head -c 4G /dev/zero | zimg write zeroes.zimg --lba 0 -"
	pair     = "rm -f c.zimg c.raw"
)

var rows = []row{
	boot(16),
	boot(1024),
	boot(16384),
	{
		Name: "create 16 zones / qemu-img create -f qcow2", Zimg: few, Other: "qemu-img create -q -f qcow2 few.qcow2 1G", Goal: 1,
		Moves: moves{Written: 2 * 4 * kib * 6, Syncs: 2},
	},
	{
		Name: "create 1 TiB, 16,384 zones / qemu-img create -f qcow2", Zimg: many, Other: "qemu-img create -q -f qcow2 many.qcow2 1T", Goal: 1,
		Moves: moves{Written: 2 * slot16k, Syncs: 2},
	},
	{Name: "create 1,000,000 zones", Zimg: million, Limit: 1, Moves: moves{Written: 2 * slot1M, Syncs: 2}},
	{
		Name: "info, 16 zones / qemu-img info", Prep: few + "; qemu-img create -q -f qcow2 few.qcow2 1G", Zimg: "zimg info few.zimg", Other: "qemu-img info few.qcow2", Goal: 0.75, Runs: 51,
		Moves: moves{Read: open},
	},
	{Name: "info, 16,384 zones / 16 zones", Prep: many, Zimg: "zimg info many.zimg", Other: "zimg info few.zimg", Goal: 1.2, Runs: 51, Moves: moves{Read: open}},
	{Name: "info, 1,000,000 zones / 16 zones", Prep: million, Zimg: "zimg info million.zimg", Other: "zimg info few.zimg", Goal: 1.2, Runs: 51, Moves: moves{Read: openBig}},
	{Name: "qemu-args, 1,000,000 zones / 16 zones", Zimg: "zimg qemu-args million.zimg", Other: "zimg qemu-args few.zimg", Goal: 1.2, Runs: 51, Moves: moves{Read: openBig}},
	{Name: "report json, 16 zones", Zimg: "zimg report --output json few.zimg", Runs: 51, Moves: moves{Read: open}},
	{Name: "report json, 16,384 zones", Zimg: "zimg report --output json many.zimg", Moves: moves{Read: slot16k}},
	{Name: "report json, 1,000,000 zones", Zimg: "zimg report --output json million.zimg", Moves: moves{Read: slot1M}},
	{Name: "one zone of 16", Zimg: "zimg zone finish few.zimg 3", Reset: few, Moves: moves{Read: open, Written: 9 * 4 * kib, Syncs: 2}},
	{Name: "one zone of 16,384", Zimg: "zimg zone finish many.zimg 3", Reset: many, Moves: moves{Read: slot16k, Written: 9 * 4 * kib, Syncs: 2}},
	{Name: "one zone of 1,000,000", Prep: million, Reset: "zimg zone reset million.zimg 500000", Zimg: "zimg zone finish million.zimg 500000", Moves: moves{Read: slot1M, Written: 9 * 4 * kib, Syncs: 2}},
	{Name: "check metadata, 16 zones", Zimg: "zimg check few.zimg", Moves: moves{Read: 2 * open}},
	{Name: "check metadata, 16,384 zones", Zimg: "zimg check many.zimg", Moves: moves{Read: 2 * slot16k}},
	{Name: "check metadata, 1,000,000 zones", Zimg: "zimg check million.zimg", Limit: 0.3, Moves: moves{Read: 2 * slot1M}},
	{Name: "check --data, sparse 1 TiB", Zimg: "zimg check --data many.zimg", Moves: moves{Read: 2 * slot16k}},
	{Name: "check --data, 4 GiB of data / cat", Prep: real4G, Zimg: "zimg check --data real.zimg", Other: "cat real.raw", Goal: 1.0, Runs: 3, Moves: moves{Read: 64 * 4 * kib}},
	{Name: "check --data, 4 GiB of zeros, no holes / cat", Prep: zeroes4G, Zimg: "zimg check --data zeroes.zimg", Other: "cat zeroes.zimg", Goal: 1.0, Runs: 3, Moves: moves{Read: 64 * 4 * kib}},
	{
		Name: "convert in place, 64 GiB", Prep: "zimg create -q --force --zones 1024 --zone-size 64M big.zimg", Reset: "zimg convert -q --in-place --layout trailing big.zimg 2>/dev/null || true",
		Zimg: "zimg convert -q --in-place --layout sidecar big.zimg", Limit: 0.05, Moves: moves{Written: 2 * 1024 * 72, Syncs: 4},
	},
	{Name: "convert 4 GiB / cp --sparse=always and sync", Reset: pair, Zimg: "zimg convert -q real.zimg c.zimg", Other: "cp --sparse=always real.zimg c.raw; sync c.raw", Goal: 0.8, Runs: 3, Moves: moves{Written: 4 * gib, Syncs: 2}},
	{Name: "convert 4 GiB / qemu-img convert", Reset: pair, Zimg: "zimg convert -q real.zimg c.zimg", Other: "qemu-img convert -q -f raw -O raw real.raw c.raw", Goal: 1, Runs: 3, Moves: moves{Written: 4 * gib, Syncs: 2}},
	{Name: "convert -O qcow2 4 GiB / qemu-img convert -O qcow2", Reset: pair, Zimg: "zimg convert -q -O qcow2 real.zimg c.zimg", Other: "qemu-img convert -q -f raw -O qcow2 real.raw c.raw", Goal: 1, Runs: 3, Moves: moves{Written: 4 * gib, Syncs: 2}},
	{
		Name: "write 512 MiB / dd conv=fsync", Prep: "head -c 512M /dev/urandom > half", Reset: "rm -f dd.raw; zimg create -q --force --zones 16 --zone-size 64M w.zimg",
		Zimg: "zimg write w.zimg --lba 0 half", Other: "dd if=half of=dd.raw bs=1M conv=fsync status=none", Runs: 5, Moves: moves{Read: 512 * mib, Written: 512 * mib, Syncs: 3},
	},
	{
		Name: "read 512 MiB / dd", Prep: "zimg create -q --force --ns zones=16,zone-size=64M,cross-read=on w.zimg; zimg write w.zimg --lba 0 half",
		Zimg: "zimg read w.zimg --lba 0 --count 131072", Other: "dd if=half bs=1M status=none", Moves: moves{Read: 512 * mib},
	},
	serve("read", 4*kib, 1, 128*mib),
	serve("read", 4*kib, 32, 512*mib),
	serve("read", 128*kib, 1, 512*mib),
	serve("read", 128*kib, 32, 512*mib),
	serve("write", 4*kib, 1, 128*mib),
	serve("write", 4*kib, 32, 512*mib),
	serve("write", 128*kib, 1, 512*mib),
	serve("write", 128*kib, 32, 512*mib),
}

// serve compares a drive over NVMe/TCP with what one would take for a block device over a socket. Each side moves the same bytes
// through one connection, and what is written is flushed at the end; the hosts are nvmeload, and fio with its nbd engine. Zones are
// reset before they are written, and have no space then; so before a write the other side's file has none either.
func serve(rw string, bs, qd int, size int64) row {
	unit := "4 KiB"
	if bs > 4*kib {
		unit = "128 KiB"
	}
	// The run time in milliseconds is field 9 of fio's terse output for reads, and 50 for writes.
	field, reset := 9, ""
	if rw == "write" {
		field, reset = 50, "rm -f nbd.raw; truncate -s 512M nbd.raw"
	}
	return row{
		Name:  fmt.Sprintf("serve, %s of %s, %d at once / nbdkit file with fio", rw, unit, qd),
		Prep:  "zimg create -q --force --zones 16 --zone-size 64M s.zimg; head -c 512M /dev/urandom >nbd.raw; zimg write s.zimg --lba 0 nbd.raw",
		Reset: reset,
		Zimg:  fmt.Sprintf("nvmeload -rw %s -bs %d -qd %d -size %d s.zimg", rw, bs, qd, size),
		Other: fmt.Sprintf(`nbdkit -U - file nbd.raw --run 'fio --name=b --ioengine=nbd --uri="$uri" --rw=%s --bs=%d --iodepth=%d `+
			`--size=%d --end_fsync=1 --output-format=terse' | awk -F ';' 'NF > 50 {print $%d / 1000}'`, rw, bs, qd, size, field),
		Timed: true, Goal: 1, Runs: 5,
	}
}

// reflinkRow is for a file system that shares data, mounted at btrfs.
var reflinkRow = row{
	Name: "convert 4 GiB on btrfs / cp --reflink=always", Prep: "cp --sparse=always real.zimg btrfs/real.zimg; sync btrfs/real.zimg", Reset: "rm -f btrfs/c.zimg btrfs/c.raw",
	Zimg: "zimg convert -q btrfs/real.zimg btrfs/c.zimg", Other: "cp --reflink=always btrfs/real.zimg btrfs/c.raw", Moves: moves{Syncs: 2},
}
