//go:build unix

package main

import "fmt"

// million makes an image of a million zones of 1 MiB; many one of 1 TiB with 16,384.
const (
	few     = "zimg create -q --force --zones 16 --zone-size 64M few.zimg"
	many    = "zimg create -q --force --zones 16384 --zone-size 64M many.zimg"
	million = "zimg create -q --force --zones 1000000 --zone-size 1M million.zimg"
	// real makes 4 GiB of data that is not zero in a zoned image and in a raw file.
	real4G = "zimg create -q --force --zones 64 --zone-size 64M real.zimg; " +
		"head -c 64M /dev/urandom > unit; for i in $(seq 64); do cat unit; done > real.raw; " +
		"zimg write -q real.zimg --lba 0 real.raw"
)

// written makes NAME, an image of N zones of which each has one block written; and
// exit.rom, a firmware that does nothing but reset the machine through the keyboard controller,
// which with -no-reboot is the end.
func written(name string, zones int) string {
	return fmt.Sprintf(`zimg create -q --force --zones %[2]d --zone-size 1M %[1]s
{
	printf '{"format":"zimg-dump","version":1,"uuid":"","label":"","namespaces":[{"nsid":1,"type":"zoned","block-size":4096,"blocks":%%d,"zone-count":%[2]d,"zone-size":256,"extension-size":0,"zones":[' $((%[2]d * 256))
	i=0; while [ $i -lt %[2]d ]; do
		[ $i = 0 ] || printf ,
		printf '{"zone":%%d,"state":"Closed","capacity":256,"write-pointer":%%d,"written":%%d}' $i $((i * 256 + 1)) $((i * 256 + 1)); i=$((i + 1))
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
		Zimg: "zimg run -q " + name + " -- " + quick, Other: "sh -c '" + quick + " $(zimg qemu-args " + name + ")'",
	}
}

var rows = []row{
	boot(16),
	boot(1024),
	boot(16384),
	{Name: "create 1 TiB, 16,384 zones / qemu-img qcow2", Zimg: many, Other: "qemu-img create -q -f qcow2 many.qcow2 1T", Goal: 0.5},
	{Name: "create 16 zones / qemu-img qcow2", Zimg: few, Other: "qemu-img create -q -f qcow2 few.qcow2 1G"},
	{Name: "create 1,000,000 zones", Zimg: million, Limit: 1, Runs: 3},
	{Name: "info, 16 zones / qemu-img info", Prep: few + "; qemu-img create -q -f qcow2 few.qcow2 1G", Zimg: "zimg info few.zimg", Other: "qemu-img info few.qcow2", Goal: 0.5},
	{Name: "info, 1,000,000 zones / 16 zones", Prep: million, Zimg: "zimg info million.zimg", Other: "zimg info few.zimg", Goal: 1.2},
	{Name: "qemu-args, 1,000,000 zones / 16 zones", Zimg: "zimg qemu-args million.zimg", Other: "zimg qemu-args few.zimg", Goal: 1.2},
	{Name: "report json, 16,384 zones", Prep: many, Zimg: "zimg report --output json many.zimg"},
	{Name: "report json, 1,000,000 zones", Zimg: "zimg report --output json million.zimg"},
	{Name: "one zone of 16", Zimg: "zimg zone finish few.zimg 3", Reset: few},
	{Name: "one zone of 1,000,000", Zimg: "zimg zone finish million.zimg 500000", Runs: 3},
	{Name: "check metadata, 16 zones", Zimg: "zimg check few.zimg"},
	{Name: "check metadata, 16,384 zones", Zimg: "zimg check many.zimg"},
	{Name: "check metadata, 1,000,000 zones", Zimg: "zimg check million.zimg", Limit: 0.3},
	{Name: "check --data, sparse 1 TiB", Zimg: "zimg check --data many.zimg"},
	{Name: "check --data, 4 GiB real / cat", Prep: real4G, Zimg: "zimg check --data real.zimg", Other: "sh -c 'cat real.zimg >/dev/null'", Goal: 1.0, Runs: 3},
	{Name: "convert in place, 64 GiB", Prep: "zimg create -q --force --zones 1024 --zone-size 64M big.zimg", Reset: "zimg convert -q --in-place --layout trailing big.zimg 2>/dev/null || true", Zimg: "zimg convert -q --in-place --layout sidecar big.zimg", Limit: 0.05},
	{Name: "convert copy 4 GiB / cp --sparse=always", Reset: "rm -f c.zimg c.raw", Zimg: "zimg convert -q real.zimg c.zimg", Other: "cp --sparse=always real.zimg c.raw", Goal: 1.1, Runs: 3},
	{Name: "convert copy 4 GiB / qemu-img convert", Reset: "rm -f c.zimg c.raw", Zimg: "zimg convert -q real.zimg c.zimg", Other: "qemu-img convert -q -f raw -O raw real.raw c.raw", Goal: 0.8, Runs: 3},
	{Name: "write 512 MiB / dd conv=fsync", Prep: "head -c 512M /dev/urandom > half", Reset: "rm -f dd.raw; zimg create -q --force --zones 16 --zone-size 64M w.zimg", Zimg: "zimg write -q w.zimg --lba 0 half", Other: "dd if=half of=dd.raw bs=1M conv=fsync status=none", Runs: 3},
	{Name: "read 512 MiB / dd", Prep: "zimg create -q --force --ns zones=16,zone-size=64M,cross-read=on w.zimg; zimg write -q w.zimg --lba 0 half", Zimg: "sh -c 'zimg read w.zimg --lba 0 --count 131072 >/dev/null'", Other: "dd if=half of=/dev/null bs=1M status=none", Runs: 3},
}
