package main

import (
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"
)

// linesOf is what create -o makes of the lines, for a drive of that size: the namespace in one line and what is noted.
func linesOf(t *testing.T, size string, lines ...string) (string, string) {
	t.Helper()
	o := createOptions{properties: lines, layout: "trailing", prealloc: "off"}
	if err := o.complete([]string{"disk.zimg", size}); err != nil {
		return "refused: " + err.Error(), ""
	}
	opts, err := o.options()
	if err != nil {
		return "refused: " + err.Error(), ""
	}
	plan, err := opts.Complete()
	if err != nil {
		return "refused: " + err.Error(), ""
	}
	n := plan.Entries[0].Namespace
	s := fmt.Sprintf("nsid %d block %d blocks %d", n.ID, n.BlockSize(), n.Blocks)
	if n.Zoned() {
		s += fmt.Sprintf(" zones %d size %d cap %d open %d active %d", n.ZoneCount, n.ZoneSize, n.ZoneCap, n.MaxOpen(), n.MaxActive())
	}
	if n.ZDES > 0 {
		s += fmt.Sprintf(" ext %d", n.ExtSize())
	}
	if n.ZRWAS > 0 {
		s += fmt.Sprintf(" zrwa %d/%d/%d", n.ZRWAS, n.ZRWAFG, n.NumZRWA)
	}
	if n.EUI64 != [8]byte{} {
		s += fmt.Sprintf(" eui64 %x", n.EUI64)
	}
	return s, noteLines(o.lines...)
}

// deviceLine is a drive of that size as people have it in scripts, papers and guides: what is wanted is what QEMU makes of it
// by its rules: blocks of 512 bytes and zones of 128 MiB unless the line says otherwise, a capacity of 0 is the zone size, and
// max-open is at most max-active.
type deviceLine struct {
	name, size string
	lines      []string
	want, note string
}

const wiring = "not kept in an image: drive, bus, id"

// publishedLines are from zonedstorage.io, qemu-csd, OpenBSD, flyology-device, zns-tools, posZNS, FEMU's users, xNVMe, ZenFS, TropoDB,
// vmctl and Western Digital's guide.
var publishedLines = []deviceLine{
	{
		"A", "32G",
		[]string{
			"-device nvme,id=nvme0,serial=deadbeef,zoned.zasl=5",
			"-device nvme-ns,drive=nvmezns0,bus=nvme0,nsid=1,logical_block_size=4096,physical_block_size=4096,zoned=true," +
				"zoned.zone_size=64M,zoned.zone_capacity=62M,zoned.max_open=16,zoned.max_active=32,uuid=5e40ec5f-eeb6-4317-bc5e-c919796a5f79",
		},
		"nsid 1 block 4096 blocks 8388608 zones 512 size 16384 cap 15872 open 16 active 32",
		"not kept in an image: id, drive, bus; the controller's properties are for zimg run: --device 'serial=deadbeef,zoned.zasl=5'",
	},
	{
		"B", "16M",
		[]string{"nvme-ns,drive=nvmezns0,bus=nvme0,nsid=2,logical_block_size=4096,physical_block_size=4096,zoned=true,zoned.zone_size=131072,zoned.zone_capacity=131072"},
		"nsid 2 block 4096 blocks 4096 zones 128 size 32 cap 32 open 0 active 0", "not kept in an image: drive, bus",
	},
	{
		"C", "8G",
		[]string{"nvme-ns,drive=zns,bus=nvme0,id=ns0,zoned=on,zoned.zone_size=64M,zoned.zone_capacity=64M"},
		"nsid 1 block 512 blocks 16777216 zones 128 size 131072 cap 131072 open 0 active 0", wiring,
	},
	{
		"D", "64M",
		[]string{"nvme-ns,drive=d2,bus=nvme0,id=n2,nsid=2,zoned=on,zoned.zone_size=1M,zoned.zone_capacity=1M,detached=on,subsys=subsys0,shared=on"},
		"nsid 2 block 512 blocks 131072 zones 64 size 2048 cap 2048 open 0 active 0", wiring + ", detached, subsys, shared",
	},
	{
		"E", "4G",
		[]string{"nvme-ns,drive=znsd,bus=nvme1,id=x,zoned=on"},
		"nsid 1 block 512 blocks 8388608 zones 32 size 262144 cap 262144 open 0 active 0", wiring,
	},
	{
		"F", "4G",
		[]string{"nvme-ns,drive=d,logical_block_size=512,physical_block_size=512,zoned=on,zoned.zone_size=64M,mdts=8,zoned.zasl=5,max_ioqpairs=64"},
		"nsid 1 block 512 blocks 8388608 zones 64 size 131072 cap 131072 open 0 active 0",
		"not kept in an image: drive; the controller's properties are for zimg run: --device 'mdts=8,zoned.zasl=5,max_ioqpairs=64'",
	},
	{
		"G", "16G",
		[]string{"nvme-ns,drive=d,bus=b,id=i,logical_block_size=4096,zoned=on,zoned.zone_size=4G,zoned.descr_ext_size=128,zoned.max_open=14,zoned.max_active=14"},
		"nsid 1 block 4096 blocks 4194304 zones 4 size 1048576 cap 1048576 open 14 active 14 ext 128", wiring,
	},
	{
		"H", "1G",
		[]string{"nvme-ns,drive=d,bus=b,id=i,logical_block_size=4096,zoned=on,zoned.zone_size=8M,zoned.zone_capacity=0,zoned.max_open=16,zoned.max_active=32"},
		"nsid 1 block 4096 blocks 262144 zones 128 size 2048 cap 2048 open 16 active 32", wiring,
	},
	{
		"I", "256M",
		[]string{"nvme-ns,drive=d,bus=b,id=i,nsid=2,uuid=auto,eui64=5999,logical_block_size=512,physical_block_size=512,zoned=on,zoned.zone_size=4M,zoned.zone_capacity=2M,zoned.zrwas=12288,zoned.zrwafg=4096,zoned.max_active=8,zoned.numzrwa=8"},
		"nsid 2 block 512 blocks 524288 zones 64 size 8192 cap 4096 open 8 active 8 zrwa 24/8/8 eui64 000000000000176f", wiring,
	},
	{
		"J", "1G",
		[]string{"nvme,id=c,serial=zns,mdts=7,ioeventfd=on", "nvme-ns,id=n,drive=d,bus=c,nsid=1,logical_block_size=4096,zoned=on,zoned.zone_size=32M,zoned.zone_capacity=28M,zoned.max_active=256,zoned.max_open=256,zoned.zrwas=32K,zoned.zrwafg=16K,zoned.numzrwa=256"},
		"nsid 1 block 4096 blocks 262144 zones 32 size 8192 cap 7168 open 256 active 256 zrwa 8/4/256",
		"not kept in an image: id, drive, bus; the controller's properties are for zimg run: --device 'serial=zns,mdts=7,ioeventfd=on'",
	},
	{
		"K", "500G",
		[]string{"nvme-ns,drive=d,bus=b,nsid=2,logical_block_size=4096,zoned=true,zoned.zone_size=1024M,zoned.zone_capacity=1000M"},
		"nsid 2 block 4096 blocks 131072000 zones 500 size 262144 cap 256000 open 0 active 0", "not kept in an image: drive, bus",
	},
	{
		"L", "128M",
		[]string{"nvme,serial=p1,id=nvme1,mdts=8,zoned.zasl=5", "nvme-ns,drive=d,bus=nvme1,logical_block_size=4096,zoned=true,zoned.zone_size=2M,zoned.zone_capacity=1M"},
		"nsid 1 block 4096 blocks 32768 zones 64 size 512 cap 256 open 0 active 0",
		"not kept in an image: id, drive, bus; the controller's properties are for zimg run: --device 'serial=p1,mdts=8,zoned.zasl=5'",
	},
	{
		"M", "256M",
		[]string{"zoned,zoned.zone_size=16M,zoned.max_active=4"},
		"nsid 1 block 512 blocks 524288 zones 16 size 32768 cap 32768 open 4 active 4", "",
	},
	{
		"N", "4G",
		[]string{"nvme-ns,drive=zns,bus=c,nsid=1,zoned=true,zoned.zone_size=128M,zoned.zone_capacity=124M,zoned.max_open=12,zoned.max_active=12"},
		"nsid 1 block 512 blocks 8388608 zones 32 size 262144 cap 253952 open 12 active 12", "not kept in an image: drive, bus",
	},
}

// What create -o makes of lines of QEMU's. The published ones are also in testdata, for the test that compares them with
// QEMU's own drive.
func TestDeviceLines(t *testing.T) {
	t.Parallel()
	const file = "../../testdata/devicelines.txt"
	var text strings.Builder
	for _, c := range publishedLines {
		fmt.Fprintf(&text, "%s %s\n%s\n\n", c.name, c.size, strings.Join(c.lines, "\n"))
	}
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(file, []byte(text.String()), 0o666); err != nil {
			t.Fatal(err)
		}
	}
	if b, err := os.ReadFile(file); err != nil || string(b) != text.String() {
		t.Errorf("%s is not what the test has (%v): run it with UPDATE=1", file, err)
	}
	for _, c := range slices.Concat(publishedLines, []deviceLine{
		{"plain", "1G", []string{"nvme-ns,drive=d,eui64=0x0102030405060708,bootindex=1,fdp.ruhs=0,atomic.nawun=7"}, "nsid 1 block 512 blocks 2097152 eui64 0102030405060708", "not kept in an image: drive, bootindex, fdp.ruhs, atomic.nawun"},
		{"zones without zoned=on", "1G", []string{"nvme-ns,zoned.zone_size=64M"}, "nsid 1 block 512 blocks 2097152 zones 16 size 131072 cap 131072 open 0 active 0", "not kept in an image: (zoned=on is missing: QEMU would ignore the zones)"},
		{"Li's names", "768M", []string{"zone.size=64M,zone.mode=host-managed,zone.capacity=48M,zone.conventional_zones=0,zone.max_open_zones=6,zone.max_active_zones=8"}, "nsid 1 block 512 blocks 1572864 zones 12 size 131072 cap 98304 open 6 active 8", ""},
		{"Li's short names", "768M", []string{"zone.size=64M,zone.max_open=6,zone.max_active=8"}, "nsid 1 block 512 blocks 1572864 zones 12 size 131072 cap 131072 open 6 active 8", ""},
		{"conventional", "768M", []string{"zone.size=64M,zone.conventional_zones=2"}, "refused", ""},
		{"host-aware", "768M", []string{"zone.size=64M,zone.mode=host-aware"}, "refused", ""},
		{"unknown", "1G", []string{"nvme-ns,zoned=on,zoned.zonesize=1M"}, "refused", ""},
		{"more open than active", "1G", []string{"nvme-ns,zoned=on,zoned.max_open=9,zoned.max_active=8"}, "refused", ""},
	}) {
		got, note := linesOf(t, c.size, c.lines...)
		if refused := strings.HasPrefix(got, "refused"); refused && c.want == "refused" {
			continue
		}
		if got != c.want || note != c.note {
			t.Errorf("%s: %s\n%s\nwant %s\nnote %q\nwant %q", c.name, strings.Join(c.lines, " "), got, c.want, note, c.note)
		}
	}
}

// Whatever a line says, it is refused, or makes a namespace that an image can have.
func FuzzDeviceLine(f *testing.F) {
	for _, line := range []string{
		"-device nvme-ns,drive=d,bus=nvme0,nsid=1,logical_block_size=4096,zoned=true,zoned.zone_size=64M,zoned.zone_capacity=62M,zoned.max_open=16",
		"nvme,serial=deadbeef,zoned.zasl=5", "driver=nvme-ns,zoned=on,ms=8,pi=1,mset=on,zoned.zrwas=64k,zoned.zrwafg=4k,zoned.numzrwa=2",
		"zone.size=64M,zone.mode=hm,zone.max_open_zones=3", "nsid=,,=,eui64=0x1,uuid=auto",
	} {
		f.Add(line, "1G")
	}
	f.Fuzz(func(t *testing.T, line, size string) {
		o := createOptions{properties: []string{line}, layout: "trailing", prealloc: "off"}
		if o.complete([]string{"disk.zimg", size}) != nil {
			return
		}
		opts, err := o.options()
		if err != nil {
			return
		}
		plan, err := opts.Complete()
		if err != nil {
			return
		}
		for _, e := range plan.Entries {
			if err := e.Validate(); err != nil {
				t.Errorf("%q, %q: %v", line, size, err)
			}
		}
	})
}
