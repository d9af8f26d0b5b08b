package all_test

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"slices"
	"strings"
	"testing"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/image/foreign/all"
	"zimg/image/imagetest"
	"zimg/image/transfer"
	"zimg/layout"
)

// everyZone is a namespace with a zone for each state, fill and attribute that h can hold.
func everyZone(h *foreign.Holds, bits uint8, below bool) (*layout.Namespace, []layout.Zone, [][]byte) {
	n := &layout.Namespace{ID: 1, CSI: layout.ZNS, BlockBits: bits, ZoneSize: 2 << 20 >> bits, MAR: layout.NoLimit, MOR: layout.NoLimit}
	n.ZoneCap = n.ZoneSize
	if below {
		n.ZoneCap /= 2
	}
	if h.Extensions > 0 {
		n.ZDES = 2
	}
	var zones []layout.Zone
	var exts [][]byte
	add := func(z layout.Zone) {
		zones, exts = append(zones, z), append(exts, nil)
	}
	next := func() uint64 { return uint64(len(zones)) }
	put := func(state layout.ZoneState, written layout.LBA, attrs layout.ZoneAttrs) {
		i := next()
		z := imagetest.Sequential(n, i, state, layout.LBA(i)*n.ZoneSize+written)
		z.Attrs = attrs
		add(z)
		if attrs&layout.ZDEV != 0 {
			exts[i] = bytes.Repeat([]byte{byte(i + 1)}, n.ExtSize())
		}
	}
	if h.Conventional {
		add(foreign.ConventionalZone(n, next()))
		add(foreign.ConventionalZone(n, next()))
	}
	parts := []layout.LBA{1, 7, n.ZoneCap - 1}
	for _, state := range h.States {
		switch {
		case state == layout.Empty:
			put(state, 0, 0)
		case state.Open():
			put(state, 0, 0)
			for _, w := range parts {
				put(state, w, 0)
			}
		case state == layout.Closed:
			if h.ClosedEmpty {
				put(state, 0, 0)
			}
			for _, w := range parts {
				put(state, w, 0)
			}
		case state == layout.Full:
			put(state, n.ZoneCap, 0)
			if h.FullWritten {
				put(state, 0, 0)
				put(state, 5, 0)
			}
		case state == layout.ReadOnly:
			put(state, 0, 0)
			if h.ROWritten && h.ClosedEmpty { // of those with Closed and nothing written, the zone file keeps no data of them
				continue
			}
			if h.ROWritten {
				put(state, 3, 0)
			} else {
				zones[len(zones)-1].Written = zones[len(zones)-1].End()
			}
		case state == layout.Offline:
			put(state, 0, 0)
		}
	}
	for _, a := range []layout.ZoneAttrs{layout.ZFC, layout.FZR, layout.RZR, layout.ZDEV} {
		switch {
		case h.Attributes&a == 0 && !(a == layout.ZDEV && h.Extensions > 0):
		case a == layout.ZFC:
			put(layout.Full, n.ZoneCap, a)
		case a == layout.ZDEV:
			put(layout.Closed, 1, a)
			put(layout.Full, n.ZoneCap, a)
		default:
			put(layout.Closed, 9, a)
		}
	}
	put(layout.Empty, 0, 0)
	n.ZoneCount = next()
	n.Blocks = layout.LBA(n.ZoneCount) * n.ZoneSize
	if h.Limits {
		n.MOR, n.MAR = layout.ZeroBased(uint32(n.ZoneCount-2)), layout.ZeroBased(uint32(n.ZoneCount-1))
	} else if h.MaxOpen {
		n.MOR = layout.ZeroBased(uint32(n.ZoneCount - 2))
	}
	return n, zones, exts
}

// withExtensions are zones with their extensions.
type withExtensions struct {
	layout.ZoneSlice
	exts [][]byte
}

func (w *withExtensions) Extension(i uint64) ([]byte, error) {
	if w.exts[i] == nil {
		return make([]byte, len(w.exts[0])), nil
	}
	return w.exts[i], nil
}

// blockData is what block lba of a namespace of ours holds, so that each differs from all others, and none is zero.
func blockData(lba layout.LBA, size int64) []byte {
	return bytes.Repeat(binary.LittleEndian.AppendUint64(nil, uint64(lba)*2+0x0101010101010101), int(size/8))
}

// writtenBlocks are some blocks of z that are written: the first and the last ones.
func writtenBlocks(z layout.Zone) []layout.LBA {
	var list []layout.LBA
	for _, lba := range []layout.LBA{z.Start, z.Start + 1, z.Written - 2, z.Written - 1} {
		if lba >= z.Start && lba < z.Written && !slices.Contains(list, lba) {
			list = append(list, lba)
		}
	}
	return list
}

// Through every format and back, with blocks of 512 and of 4096 bytes, with a capacity of the zone size and below
// it: limits, every state that a zone can have there, write pointers, attributes, extensions and data come back as
// they were.
func TestRoundTrips(t *testing.T) {
	t.Parallel()
	for _, f := range all.Formats {
		if f.Encode == nil || f.Shape == foreign.Device {
			continue
		}
		for _, bits := range []uint8{9, 12} {
			for _, below := range []bool{false, true} {
				name := fmt.Sprintf("%s %d %v", f.Name, 1<<bits, below)
				if below && !f.Holds.Capacity {
					continue // TestCapacityIsAsked
				}
				t.Run(strings.ReplaceAll(name, " ", "_"), func(t *testing.T) {
					t.Parallel()
					roundTrip(t, f, bits, below)
				})
			}
		}
	}
}

func roundTrip(t *testing.T, f *foreign.Format, bits uint8, below bool) {
	t.Helper()
	fsys := imagetest.NewMemFS()
	n, zones, exts := everyZone(&f.Holds, bits, below)
	src := &withExtensions{ZoneSlice: layout.ZoneSlice{Table: zones}, exts: exts}
	if n.ZDES > 0 {
		if src.exts[0] == nil {
			src.exts[0] = make([]byte, n.ExtSize())
		}
	}
	err := image.Create("/a", image.CreateOptions{
		FS: fsys, Namespaces: []image.NamespaceSpec{{Namespace: *n}}, Zones: []layout.Zones{src},
		Fill: func(data []disk.File, _ *layout.Plan) error {
			for _, z := range zones {
				for _, lba := range writtenBlocks(z) {
					if _, err := data[0].WriteAt(blockData(lba, n.BlockSize()), int64(n.ByteOff(lba))); err != nil {
						return err
					}
				}
			}
			return nil
		},
	})
	if err != nil {
		t.Fatal(err)
	}
	o := transfer.Options{FS: fsys, Geometry: n, KeepOpen: true, Lossy: f.Holds.NoZones}
	o.To = f
	if err := transfer.Copy("/a", "/out/0", o); err != nil {
		t.Fatalf("export: %v", err)
	}
	o.From, o.To = f, nil
	if err := transfer.Copy("/out/0", "/b", o); err != nil {
		t.Fatalf("import: %v", err)
	}
	im, err := image.Open("/b", image.Options{FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = im.Close() }()
	got := im.Namespaces()[0]
	if got.BlockBits != n.BlockBits || got.ZoneSize != n.ZoneSize || got.ZoneCap != n.ZoneCap || got.ZoneCount != n.ZoneCount || got.ZDES != n.ZDES {
		t.Errorf("geometry %+v, want %+v", got.Namespace, n)
	}
	if got.MaxOpen() != n.MaxOpen() || got.MaxActive() != n.MaxActive() {
		t.Errorf("max-open %d, max-active %d, want %d, %d", got.MaxOpen(), got.MaxActive(), n.MaxOpen(), n.MaxActive())
	}
	for i, want := range zones {
		z, err := got.Zone(uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		if z != want {
			t.Errorf("zone %d:\n got %+v\nwant %+v", i, z, want)
		}
		for _, lba := range writtenBlocks(want) {
			b := make([]byte, n.BlockSize())
			if _, err := got.ReadAt(b, int64(n.ByteOff(lba))); err != nil || !bytes.Equal(b, blockData(lba, n.BlockSize())) {
				t.Errorf("zone %d: block %d: %v, %x...", i, lba, err, b[:8])
			}
		}
		if want.Attrs&layout.ZDEV != 0 {
			if b, err := got.Extension(uint64(i)); err != nil || !bytes.Equal(b, exts[i]) {
				t.Errorf("extension of zone %d: %v, %x", i, err, b)
			}
		}
	}
}

// A capacity below the zone size is not dropped in silence by the formats that have none.
func TestCapacityIsAsked(t *testing.T) {
	t.Parallel()
	for _, f := range all.Formats {
		if f.Encode == nil || f.Shape == foreign.Device || f.Holds.Capacity {
			continue
		}
		for _, bits := range []uint8{9, 12} {
			n, zones, _ := everyZone(&f.Holds, bits, true)
			fit, err := f.Holds.Fit(&foreign.Content{NS: n, Zones: &layout.ZoneSlice{Table: zones}}, true)
			if err != nil {
				t.Errorf("%s: %v", f.Name, err)
				continue
			}
			if lost := strings.Join(fit.Lost(), "; "); !strings.Contains(lost, "zone capacity") {
				t.Errorf("%s: lost %q", f.Name, lost)
			}
		}
	}
}
