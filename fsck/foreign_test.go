package fsck_test

import (
	"bytes"
	"errors"
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"zimg/fsck"
	"zimg/image"
	"zimg/image/compare"
	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/image/foreign/all"
	"zimg/image/imagetest"
	"zimg/image/transfer"
	"zimg/layout"
)

// written is what formats are asked to hold: an image in memory of one namespace.
type written struct {
	ns    layout.Namespace
	zones *layout.ZoneSlice
}

// draw makes a namespace and zones that f can hold according to its own description.
func draw(t *rapid.T, f *foreign.Format) *written {
	h := &f.Holds
	n := layout.Namespace{ID: 1, CSI: layout.ZNS}
	n.BlockBits = rapid.Uint8Range(h.MinBits, min(h.MaxBits, 12)).Draw(t, "block bits")
	n.ZoneSize = layout.LBA(rapid.Uint64Range(4, 40).Draw(t, "zone size"))
	n.ZoneCount = rapid.Uint64Range(2, 9).Draw(t, "zones")
	n.ZoneCap = n.ZoneSize
	switch f.Name {
	case "tcmu-file-zbc":
		n.BlockBits = rapid.SampledFrom([]uint8{9, 12}).Draw(t, "block bits of file_zbc")
		n.ZoneSize = 1 << rapid.IntRange(1, 5).Draw(t, "zone size of file_zbc")
		n.ZoneCap = n.ZoneSize
	case "zloop":
		n.ZoneSize = layout.LBA(2<<20>>n.BlockBits) << rapid.IntRange(0, 1).Draw(t, "zone size of zloop")
		n.ZoneCap = n.ZoneSize
		if rapid.Bool().Draw(t, "half") {
			n.ZoneCap /= 2
		}
	default:
		if h.Capacity {
			n.ZoneCap = layout.LBA(rapid.Uint64Range(min(4, uint64(n.ZoneSize)), uint64(n.ZoneSize)).Draw(t, "capacity"))
		}
	}
	n.MAR, n.MOR = layout.NoLimit, layout.NoLimit
	if h.Extensions > 0 {
		n.ZDES = uint8(rapid.IntRange(0, min(h.Extensions, 192)/64).Draw(t, "extension"))
	}
	if h.BlockMeta {
		n.MS = rapid.SampledFrom([]uint16{0, 8, 64}).Draw(t, "metadata")
	}
	n.Blocks = layout.LBA(n.ZoneCount) * n.ZoneSize
	w := &written{ns: n, zones: &layout.ZoneSlice{Size: n.ExtSize(), Ext: map[uint64][]byte{}}}
	lead := uint64(0)
	if h.Conventional {
		lead = rapid.Uint64Range(0, n.ZoneCount-1).Draw(t, "conventional zones")
	}
	for i := range n.ZoneCount {
		w.zones.Table = append(w.zones.Table, w.drawZone(t, h, i, lead))
	}
	w.drawLimits(t, h)
	return w
}

// drawLimits allows as many active zones as there are, or more. A format that limits open zones alone may have more
// Closed zones than it allows open.
func (w *written) drawLimits(t *rapid.T, h *foreign.Holds) {
	n := &w.ns
	if !h.Limits && !h.MaxOpen || rapid.Bool().Draw(t, "no limits") {
		return
	}
	var active, sequential uint64
	for _, z := range w.zones.Table {
		if z.State.Active() {
			active++
		}
		if z.Type != layout.Conventional {
			sequential++
		}
	}
	if !h.Limits {
		n.MOR = layout.ZeroBased(uint32(rapid.Uint64Range(1, n.ZoneCount-1).Draw(t, "max open")))
		return
	}
	n.MAR = layout.ZeroBased(uint32(rapid.Uint64Range(max(active, 1), sequential).Draw(t, "max active")))
	n.MOR = layout.ZeroBased(uint32(rapid.Uint64Range(1, n.MaxActive()).Draw(t, "max open")))
}

func (w *written) drawZone(t *rapid.T, h *foreign.Holds, i, lead uint64) layout.Zone {
	n := &w.ns
	if i < lead {
		return foreign.ConventionalZone(n, i)
	}
	var states []layout.ZoneState
	for _, s := range h.States {
		if s != layout.NotWP && !s.Open() { // open zones come back Closed
			states = append(states, s)
		}
	}
	z := n.EmptyZone(i)
	state := rapid.SampledFrom(states).Draw(t, "state")
	part := z.Start + layout.LBA(rapid.Uint64Range(1, uint64(n.ZoneCap)-1).Draw(t, "written"))
	switch state {
	case layout.Empty:
		return z
	case layout.Closed:
		z = imagetest.Sequential(n, i, state, part)
	case layout.Full:
		z = imagetest.Sequential(n, i, state, z.End())
		if h.FullWritten && rapid.Bool().Draw(t, "finished early") {
			z.Written = part
		}
	case layout.ReadOnly:
		z = imagetest.Sequential(n, i, state, part)
		if h.Zone != nil { // the zone file has them with nothing written
			if _, lost := h.Zone(n, z); lost != "" {
				z.Written = z.Start
			}
		}
	default:
		z = imagetest.Sequential(n, i, state, z.Start)
	}
	if n.ZDES > 0 && state == layout.Closed && rapid.Bool().Draw(t, "has extension") {
		z.Attrs |= layout.ZDEV
		ext := bytes.Repeat([]byte{byte(i + 1)}, n.ExtSize())
		w.zones.Ext[i] = ext
		if h.ClosedEmpty && rapid.Bool().Draw(t, "nothing but extension") {
			z.WP, z.Written = z.Start, z.Start
		}
	}
	if h.Attributes&layout.RZR != 0 && state != layout.Offline && rapid.Bool().Draw(t, "reset recommended") {
		z.Attrs |= layout.RZR
	}
	return z
}

// create makes an image of w at path, its data of bytes that are never zero, here and there a hole.
func (w *written) create(fsys disk.FS, path string, seed uint64) error {
	rng := rand.New(rand.NewPCG(seed, 1))
	return image.Create(path, image.CreateOptions{
		FS: fsys, Namespaces: []image.NamespaceSpec{{Namespace: w.ns}}, Zones: []layout.Zones{w.zones},
		Fill: func(data []disk.File, plan *layout.Plan) error {
			e := plan.Entries[0]
			block := make([]byte, e.BlockSize())
			for _, z := range w.zones.Table {
				for b := z.Start; b < z.Written; b++ {
					if b+1 < z.Written && rng.IntN(4) == 0 || e.BlockSize()*int64(e.ZoneSize) > 1<<16 && b+1 < z.Written && rng.IntN(100) > 0 {
						continue
					}
					for i := range block {
						block[i] = byte(rng.Uint32()) | 1
					}
					if _, err := data[0].WriteAt(block, int64(e.DataOff+e.ByteOff(b))); err != nil {
						return err
					}
					if e.MS > 0 {
						meta := bytes.Repeat([]byte{byte(b)}, int(e.MS))
						if _, err := data[0].WriteAt(meta, int64(e.DataOff+e.MetadataOff())+int64(b)*int64(e.MS)); err != nil {
							return err
						}
					}
				}
			}
			return nil
		},
	})
}

// wantSound wants a check without an error.
func wantSound(t *rapid.T, what string, r *fsck.Report, err error, list []string) {
	if err != nil || r.Errors > 0 || r.Warnings > 0 {
		t.Fatalf("check of %s: %v; %s", what, err, strings.Join(list, "\n"))
	}
}

// destination is a path that f may be written to.
func destination(f *foreign.Format) string {
	return "/out/0" + map[bool]string{true: "x"}[f.Shape == foreign.OneFile]
}

// Any image that a format can hold comes back from it as it was, zones and data; and both sides are
// sound.
func TestForeignRoundTrip(t *testing.T) {
	t.Parallel()
	for _, f := range all.Formats {
		if f.Encode == nil || f.Shape == foreign.Device { // devices: in a guest
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			rapid.Check(t, func(t *rapid.T) {
				w := draw(t, f)
				fsys := imagetest.NewMemFS()
				if err := w.create(fsys, "/a", rapid.Uint64().Draw(t, "data")); err != nil {
					t.Fatal(err)
				}
				var notes []string
				note := func(format string, args ...any) { notes = append(notes, fmt.Sprintf(format, args...)) }
				out := destination(f)
				o := transfer.Options{FS: fsys, To: f, Geometry: &w.ns, Note: note, Lossy: f.Holds.NoZones}
				if err := transfer.Copy("/a", out, o); err != nil {
					t.Fatal(err)
				}
				before := snapshot(t, fsys)
				var list []string
				in := transfer.Options{FS: fsys, Geometry: &w.ns, From: f, Note: note}
				r, err := fsck.CheckForeign(out, func() (*foreign.Decoded, error) {
					d, closer, err := transfer.Open(out, f, in, false)
					if err == nil {
						defer func() { _ = closer }()
					}
					return d, err
				}, fsck.Options{FS: fsys, Found: func(x fsck.Finding) { list = append(list, x.String()) }})
				if f.Name == "pstate" || f.Name == "pstate-footer" { // neighbours with extensions are odd there
					if r != nil && r.Errors == 0 {
						r.Warnings = 0
					}
				}
				wantSound(t, f.Name, r, err, list)
				if err := transfer.Copy(out, "/b", in); err != nil {
					t.Fatal(err)
				}
				for name, b := range before {
					if got, err := fsys.ReadFile(name); err != nil || !bytes.Equal(got, b) {
						t.Fatalf("the import changed %s (%v)", name, err)
					}
				}
				r, err = fsck.Check("/b", fsck.Options{FS: fsys, Data: fsck.DataAlways, Found: func(x fsck.Finding) { list = append(list, x.String()) }})
				wantSound(t, "the import", r, err, list)
				wantSame(t, fsys)
			})
		})
	}
}

// snapshot is the content of all files.
func snapshot(t interface{ Fatal(...any) }, fsys *imagetest.MemFS) map[string][]byte {
	m := map[string][]byte{}
	for _, name := range fsys.Names() {
		b, err := fsys.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		m[name] = b
	}
	return m
}

// wantSame compares /a and /b.
func wantSame(t *rapid.T, fsys disk.FS) {
	a, err := image.Open("/a", image.Options{FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	b, err := image.Open("/b", image.Options{FS: fsys})
	if err != nil {
		t.Fatal(err)
	}
	err = compare.Sides(compare.SideOf(a), compare.SideOf(b), compare.Options{Report: func(d compare.Difference) bool {
		t.Errorf("%+v", d)
		return true
	}})
	if err := errors.Join(err, a.Close(), b.Close()); err != nil {
		t.Fatal(err)
	}
}

// What decoders find becomes findings, each by its verdict.
func TestForeignCodes(t *testing.T) {
	t.Parallel()
	for _, c := range []struct {
		format, file string
		off          int64
		bytes        string
		want         fsck.Code
		exit         int
	}{
		{"zone-file", "/out.zones", 4, "\x02", fsck.ForeignUnreadable, 2},
		{"zoned-raw", "/out", 512 + 3*65536 + 512 - 4, "\xff\xff\xff\xff", fsck.ForeignUnreadable, 2},
		{"zone-file", "/out.zones", 48, "\x01", fsck.ForeignWiped, 2},
		{"zone-file", "/out.zones", 105, "\x01", fsck.ForeignOdd, 3},
		{"pstate", "/out.pstate", 9, "\x7f", fsck.ForeignRefused, 2},
		{"tcmu-file-zbc", "/out", 48 + 64 + 25, "\x02", fsck.ForeignChanged, 0},
	} {
		f, err := foreign.Find(all.Formats, c.format)
		if err != nil {
			t.Fatal(err)
		}
		n := layout.Namespace{ID: 1, CSI: layout.ZNS, BlockBits: 12, ZoneSize: 16, ZoneCap: 16, ZoneCount: 3, Blocks: 48, MAR: layout.NoLimit, MOR: layout.NoLimit}
		w := &written{ns: n, zones: &layout.ZoneSlice{Table: []layout.Zone{n.EmptyZone(0), imagetest.Sequential(&n, 1, layout.Closed, 18), n.EmptyZone(2)}}}
		fsys := imagetest.NewMemFS()
		if err := errors.Join(w.create(fsys, "/a", 1), transfer.Copy("/a", "/out", transfer.Options{FS: fsys, To: f})); err != nil {
			t.Fatal(err)
		}
		file, err := fsys.Open(c.file, disk.ReadWrite, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteAt([]byte(c.bytes), c.off); err != nil {
			t.Fatal(err)
		}
		found := map[fsck.Code]bool{}
		r, err := fsck.CheckForeign("/out", func() (*foreign.Decoded, error) {
			d, _, err := transfer.Open("/out", f, transfer.Options{FS: fsys}, true)
			return d, err
		}, fsck.Options{FS: fsys, Found: func(x fsck.Finding) { found[x.Code] = true }})
		if err != nil || !found[c.want] || r.ExitCode() != c.exit {
			t.Errorf("%s: %v, found %v, exit %d, want %s and %d", c.format, err, found, r.ExitCode(), c.want, c.exit)
		}
		if unreadable := c.want == fsck.ForeignUnreadable; r.Unreadable != unreadable || unreadable && r.Summary != (fsck.Summary{}) {
			t.Errorf("%s, %s: unreadable %v, %+v", c.format, c.want, r.Unreadable, r.Summary)
		}
	}
}
