package imagetest

import (
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"zimg/image"
	"zimg/layout"
)

// HostileFile is a file of the hostile corpus: an image, a sidecar (its data
// file is called disk, see HostileData), or an undo file or trace for the sound image.
// The end of its name says which: .zimg, .zmeta, .zundo, .ztrace.
type HostileFile struct {
	Name string
	Data []byte
}

// HostileData is the length of the data file of the corpus's sidecars, all zeroes.
const HostileData = 8 * 64 << 10

// HostileUUID is the UUID of the image that the corpus is made from.
var HostileUUID = [16]byte{0x68, 0x6f, 0x73, 0x74, 0x69, 0x6c, 0x45, 0x65, 0x88, 9, 10, 11, 12, 13, 14, 15}

// hostileSpec is the image that the corpus is made from.
func hostileSpec(kind layout.Kind) Spec {
	return Spec{
		Layout: kind, Label: "hostile", UUID: HostileUUID,
		Namespaces: []SpecNamespace{{
			Namespace: layout.Namespace{
				ID: 1, CSI: layout.ZNS, BlockBits: 9, Blocks: 8 * 128, ZoneCount: 8, ZoneSize: 128, ZoneCap: 96, MAR: 5, MOR: 3, ZDES: 1,
			},
			Zones: map[uint64]SpecZone{
				1: {State: layout.Closed, Written: 8}, 2: {State: layout.Full, Written: 96}, 3: {State: layout.Full, Written: 4},
				4: {State: layout.ReadOnly, Written: 32}, 5: {State: layout.Offline}, 6: {State: layout.Closed, Attrs: layout.ZDEV, Ext: "ext"},
			},
		}},
	}
}

// HostileBase is the sound image of the corpus in the given layout: the file
// that has the metadata.
func HostileBase(kind layout.Kind) ([]byte, error) {
	fsys := NewMemFS()
	s := hostileSpec(kind)
	if err := s.Create(fsys, "/disk"); err != nil {
		return nil, err
	}
	if kind == layout.Sidecar {
		return fsys.ReadFile("/disk" + image.SidecarSuffix)
	}
	return fsys.ReadFile("/disk")
}

// Offsets in a slot of the corpus's image; docs/FORMAT.md, section 4.
const (
	hostileArray = 4096
	hostileTable = 8192
	hostileDesc  = 12288
	hostileWP    = 16384
	hostileExt   = 20480
	hostileSlot  = 24576
)

// edit changes bytes of a slot.
type edit struct {
	what string
	off  int
	b    []byte
}

func num(what string, off, size int, values ...uint64) []edit {
	var list []edit
	for _, v := range values {
		b := binary.LittleEndian.AppendUint64(nil, v)[:size]
		list = append(list, edit{fmt.Sprintf("%s-%x", what, v), off, b})
	}
	return list
}

// headerEdits are values that a slot header must not have, or only just may.
func headerEdits() []edit {
	const big = 1<<63 - 1
	return slices.Concat(
		num("version", 8, 4, 0, 2, 1<<31), num("compat", 12, 4, 1<<31), num("rocompat", 16, 4, 1), num("incompat", 20, 4, 1, 1<<31),
		num("generation", 40, 8, 0, 1<<63, 1<<63+1, 1<<63-2, 1<<64-1), num("layout", 48, 4, 0, 3), num("flags", 52, 4, 3, 4, 1<<31),
		num("slot", 56, 4, 2, 1<<31), num("namespaces", 60, 4, 0, 2, 56, 57, 256, 257, 1<<31), num("metadata-offset", 64, 8, 1, 4096, 1<<62, big, 1<<63),
		num("slot-length", 72, 8, 0, 1, 4096, 20480, 1<<40, 1<<60, big, 1<<63), num("header-length", 80, 4, 0, 512, 8192, 20480, 24576, 1<<31),
		num("data-files", 84, 4, 0, 2, 1<<31), num("array-offset", 88, 8, 0, 4097, 8192, big), num("checksums", 96, 8, 0, 1, 3, 5, 1024, 1<<40, 1<<61, 1<<63),
		num("reserved-108", 108, 4, 1), num("table-offset", 112, 8, 0, 4096, 12288, big), num("data-length", 120, 8, 0, 1, big, 1<<63),
		num("session-kind", 188, 4, 2), []edit{{"tool-no-utf8", 192, []byte{0xff}}, {"label-no-utf8", 224, []byte{0xff}}, {"label-after-nul", 300, []byte{'x'}}},
		num("reserved-352", 352, 4, 1), num("reserved-504", 504, 4, 1), num("counts-empty", 512, 8, 0, 3, 1<<63, 1<<64-1), num("counts-nwp", 568, 8, 1, 1<<63),
		num("reserved-576", 576, 4, 1), num("reserved-end", 4088, 8, 1),
	)
}

// tableEdits are the same of an entry of the namespace table.
func tableEdits() []edit {
	const big = 1<<63 - 1
	list := slices.Concat(
		num("nsid", 0, 4, 0, 0xFFFFFFFF), num("command-set", 4, 1, 0, 1, 3, 255), num("block-bits", 5, 1, 0, 8, 17, 63, 255), num("ms", 6, 2, 1, 8, 65535),
		num("pi", 8, 1, 1, 4, 255), num("pi-format", 9, 1, 1, 2, 3), num("ns-flags", 10, 1, 8, 128), num("zdes", 11, 1, 0, 2, 255), num("data-file", 12, 4, 1, 1<<31),
		num("data-offset", 16, 8, 1, 1<<20, big, 1<<63), num("ns-data-length", 24, 8, 0, 512, big), num("blocks", 32, 8, 0, 1, 1023, 1<<52, 1<<61, 1<<63),
		num("zones", 40, 8, 0, 1, 7, 9, 1<<32, 1<<32+1, 1<<60, 1<<63), num("zone-size", 48, 8, 0, 1, 127, 1<<61, 1<<63), num("zone-capacity", 56, 8, 0, 1, 127, 128, 129, big),
		num("mar", 64, 4, 0, 2), num("mor", 68, 4, 5, 6, 0xFFFFFFFF), num("zrwas", 72, 4, 1, 97, 1<<31), num("zrwafg", 76, 4, 1), num("numzrwa", 80, 4, 1),
		[]edit{{"zrwa", 72, zrwa(4, 2, 6)}, {"zrwa-resources", 72, zrwa(4, 2, 7)}, {"zrwa-granularity", 72, zrwa(4, 3, 1)}},
		num("ns-reserved-84", 84, 4, 1), num("descriptor-offset", 88, 8, 0, 4096, 8192, big), num("wp-offset", 96, 8, 0, 12288, big), num("ext-offset", 104, 8, 0, 12288, big),
		num("ns-reserved-152", 152, 4, 1), num("ns-reserved-255", 255, 1, 1), num("after-the-table", 512, 1, 1), num("end-of-table", 4095, 1, 1),
	)
	for i, name := range []string{
		"../victim", "/etc/passwd", "a/b", `a\b`, ".", "..", "a\nb", "a\x1b[2Jb", "\xff\xfe", "a\x00b", "../../../../../../../../dev/vda", strings.Repeat("n", 256),
		"disk.zmeta", "\u009b2J", "\u202egnp.exe",
	} {
		list = append(list, edit{fmt.Sprintf("name-%d", i), 256, []byte(name)})
	}
	return list
}

// zrwa are the three fields of a random write area; the namespace may have six active zones.
func zrwa(size, granularity, resources uint32) []byte {
	b := binary.LittleEndian.AppendUint32(nil, size)
	return binary.LittleEndian.AppendUint32(binary.LittleEndian.AppendUint32(b, granularity), resources)
}

// zoneEdits change descriptors and write pointers; zone 1 is Closed, 0 Empty.
func zoneEdits() []edit {
	const d1 = hostileDesc + 64
	return slices.Concat(
		num("zone-type", d1, 1, 0, 1, 3, 0x12, 255), num("zone-state", d1+1, 1, 0, 0x10, 0x50, 0x41, 0xd0, 0xe0, 0xf0, 0xff), num("zone-attributes", d1+2, 1, 0x70, 0xff),
		num("zone-info", d1+3, 1, 0xf0), num("zone-reserved", d1+4, 4, 1), num("zone-cap", d1+8, 8, 0, 129, 1<<40, 1<<63, 1<<64-1), num("zone-start", d1+16, 8, 0, 129, 1<<63, 1<<64-1),
		num("zone-wp", d1+24, 8, 0, 127, 129, 225, 1<<63, 1<<64-1), num("zone-reserved-end", d1+56, 8, 1), num("empty-ext", hostileDesc+2, 1, 0x80),
		num("empty-wp", hostileDesc+24, 8, 1, 96), num("written", hostileWP+8, 8, 0, 127, 137, 225, 1<<40, 1<<63, 1<<64-1), num("empty-written", hostileWP, 8, 1, 1<<40, 1<<64-1),
		num("full-written", hostileWP+16, 8, 0, 1<<40), num("wp-padding", hostileWP+4088, 8, 1), num("desc-padding", hostileDesc+4088, 8, 1), num("ext-padding", hostileExt+4088, 8, 1),
	)
}

// locatorEdits change the locator.
func locatorEdits() []edit {
	const big = 1<<63 - 1
	return slices.Concat(
		num("version", 8, 4, 0, 2, 1<<31), num("layout", 12, 4, 0, 3), num("other-layout", 12, 4, 1, 2), num("uuid", 16, 8, 0, 1),
		num("metadata-offset", 32, 8, 1, 4096, 1<<61, big, 1<<63), num("slot-length", 40, 8, 0, 1, 4096, 1<<59, 1<<60, big, 1<<63), num("reserved", 48, 4, 1), num("reserved-end", 4088, 4, 1),
	)
}

// seal makes all checksums of the slot at the beginning of b right.
func seal(b []byte) {
	for k := 0; hostileTable+(k+1)*4096 <= hostileSlot; k++ {
		binary.LittleEndian.PutUint32(b[hostileArray+4*k:], layout.Checksum(b[hostileTable+k*4096:][:4096]))
	}
	binary.LittleEndian.PutUint32(b[104:], layout.Checksum(b[hostileArray:hostileTable]))
	sealHeader(b)
}

// sealHeader makes the CRC of a header right, for the header length that it has, if there can be one.
func sealHeader(b []byte) {
	n := int(binary.LittleEndian.Uint32(b[80:]))
	if n < 4096 || n > len(b) || n > 20480 {
		n = 4096
	}
	binary.LittleEndian.PutUint32(b[508:], 0)
	binary.LittleEndian.PutUint32(b[508:], layout.Checksum(b[:n]))
}

// Hostile is the corpus. It is the same every time.
func Hostile() ([]HostileFile, error) {
	var list []HostileFile
	kinds := map[layout.Kind]string{layout.Trailing: ".zimg", layout.Sidecar: ".zmeta"}
	for _, kind := range []layout.Kind{layout.Trailing, layout.Sidecar} {
		base, err := HostileBase(kind)
		if err != nil {
			return nil, err
		}
		meta := len(base) - 2*hostileSlot - 4096
		add := func(name string, change func(b []byte)) {
			b := slices.Clone(base)
			change(b)
			list = append(list, HostileFile{name + kinds[kind], b})
		}
		inSlots := func(group string, edits []edit, at int, sealed func([]byte)) {
			for i, e := range edits {
				if (i%2 == 0) != (kind == layout.Trailing) && group != "table" { // half of them in each layout
					continue
				}
				add(group+"-"+e.what, func(b []byte) {
					for s := range 2 {
						slot := b[meta+s*hostileSlot:][:hostileSlot]
						copy(slot[at+e.off:], e.b)
						sealed(slot)
					}
				})
			}
		}
		inSlots("header", headerEdits(), 0, sealHeader)
		inSlots("table", tableEdits(), hostileTable, seal)
		inSlots("zone", zoneEdits(), 0, seal)
		for _, e := range locatorEdits() {
			add("locator-"+e.what, func(b []byte) {
				loc := b[len(b)-4096:]
				copy(loc[e.off:], e.b)
				binary.LittleEndian.PutUint32(loc[4092:], layout.Checksum(loc[:4092]))
			})
		}
		for _, cut := range []int{1, 512, 4096, 4097, hostileSlot, hostileSlot + 4096, 2*hostileSlot + 4095} {
			list = append(list, HostileFile{fmt.Sprintf("cut-%d%s", cut, kinds[kind]), slices.Clone(base[:len(base)-cut])})
		}
		list = append(list, HostileFile{"longer" + kinds[kind], append(slices.Clone(base), make([]byte, 4096)...)})
		add("same-generation", func(b []byte) {
			binary.LittleEndian.PutUint64(b[meta+hostileSlot+40:], 2)
			sealHeader(b[meta+hostileSlot:][:hostileSlot])
		})
		add("one-slot-newer", func(b []byte) {
			copy(b[meta+hostileSlot:][:hostileSlot], b[meta:])
			binary.LittleEndian.PutUint32(b[meta+hostileSlot+56:], 1)
			binary.LittleEndian.PutUint64(b[meta+hostileSlot+40:], 9)
			sealHeader(b[meta+hostileSlot:][:hostileSlot])
		})
		add("slots-of-two-images", func(b []byte) {
			b[meta+24] ^= 1
			sealHeader(b[meta:][:hostileSlot])
		})
	}
	list = append(list, hostileUndos()...)
	slices.SortFunc(list, func(a, b HostileFile) int { return strings.Compare(a.Name, b.Name) })
	return list, nil
}

// hostileUndos are undo files for the trailing image, and traces for a run of it.
func hostileUndos() []HostileFile {
	record := func(kind, file uint32, name string, mode uint32, data string) []byte {
		b := binary.LittleEndian.AppendUint32(nil, kind)
		b = binary.LittleEndian.AppendUint32(b, file)
		b = binary.LittleEndian.AppendUint32(b, uint32(len(name)))
		b = binary.LittleEndian.AppendUint32(b, mode)
		b = binary.LittleEndian.AppendUint64(b, 0)
		b = binary.LittleEndian.AppendUint64(b, uint64(len(data)))
		return append(append(b, name...), data...)
	}
	undo := func(uuid [16]byte, records ...[]byte) []byte {
		b := make([]byte, 64)
		copy(b, "\x89ZIMU\r\n\x1a")
		binary.LittleEndian.PutUint32(b[8:], 1)
		binary.LittleEndian.PutUint32(b[12:], 1)
		copy(b[16:], uuid[:])
		binary.LittleEndian.PutUint64(b[32:], 9)
		binary.LittleEndian.PutUint64(b[40:], 1<<20)
		binary.LittleEndian.PutUint64(b[48:], 1<<20+2*hostileSlot)
		b = append(append(b, slices.Concat(records...)...), make([]byte, 32)...)
		return binary.LittleEndian.AppendUint32(b, layout.Checksum(b))
	}
	long := record(1, 1, "", 0, "x")
	binary.LittleEndian.PutUint64(long[24:], 1<<62)
	return []HostileFile{
		{"path.zundo", undo(HostileUUID, record(3, 3, "/../victim", 0o644, "pwned"))},
		{"parent.zundo", undo(HostileUUID, record(1, 2, "../victim", 0, "pwned"))},
		{"other-file.zundo", undo(HostileUUID, record(1, 2, "victim", 0, "pwned"))},
		{"other-suffix.zundo", undo(HostileUUID, record(3, 3, ".bashrc", 0o644, "pwned"))},
		{"set-uid.zundo", undo(HostileUUID, record(3, 3, ".zmeta", 0o4755, "pwned"))},
		{"unknown-type.zundo", undo(HostileUUID, record(9, 1, "", 0, ""))},
		{"unknown-file.zundo", undo(HostileUUID, record(1, 9, "", 0, ""))},
		{"too-long.zundo", undo(HostileUUID, long)},
		{"other-image.zundo", undo([16]byte{1}, record(1, 1, "", 0, "pwned"))},
		{"empty.zundo", nil},
		{"no-records.zundo", undo(HostileUUID)[:68]},
		{"everything.ztrace", []byte(strings.Repeat("pci_nvme_reset_zone cid 1 slba=0, nlb=0 all=1\n", 2000))},
		{"nonsense.ztrace", []byte("pci_nvme_reset_zone slba=18446744073709551615 zone_idx=18446744073709551615 all=-1\n\x00\xff\npci_nvme_finish_zone slba=99999999999999999999999\n")},
	}
}

// Unpack puts f where a command finds it, in the folder dir that is made for it,
// and returns the path of the image: a sidecar with its data file, a trailing image,
// or the sound image that an undo file or trace is for.
func (f *HostileFile) Unpack(dir string) (path string, err error) {
	if err := os.MkdirAll(dir, 0o777); err != nil {
		return "", err
	}
	write := func(name string, b []byte) error { return os.WriteFile(filepath.Join(dir, name), b, 0o666) }
	switch ext := filepath.Ext(f.Name); ext {
	case ".zmeta":
		if err := write("disk", make([]byte, HostileData)); err != nil {
			return "", err
		}
		return filepath.Join(dir, "side"), write("side", f.Data)
	case ".zimg":
		return filepath.Join(dir, "disk.zimg"), write("disk.zimg", f.Data)
	default:
		base, err := HostileBase(layout.Trailing)
		if err != nil {
			return "", err
		}
		if err := write("disk.zimg", base); err != nil {
			return "", err
		}
		return filepath.Join(dir, "disk.zimg"), write("disk.zimg"+ext, f.Data)
	}
}
