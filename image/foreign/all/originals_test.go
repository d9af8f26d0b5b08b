package all_test

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zimg/image/imagetest"
	"zimg/image/transfer"

	"pgregory.net/rapid"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/layout"
)

// originals are QEMU's ways with the state files of 2020, as testdata/originals.c has them.
type originals struct {
	bin string
	// What the device is given.
	kind                       string
	n                          layout.Namespace
	maxActive, offline, rdOnly int
}

// originalZone is a zone as that program prints it.
type originalZone struct {
	State       layout.ZoneState
	WP          layout.LBA
	Attrs       layout.ZoneAttrs
	First, Last int // bytes of the extension
}

// run starts the device on path and gives it commands: what came of the start, the zones then, and the
// zones at the end.
func (o *originals) run(t interface{ Fatal(...any) }, path, commands string) (string, []originalZone, []originalZone) {
	args := []string{o.kind, path}
	for _, n := range []int64{int64(o.n.Size()), o.n.BlockSize(), int64(o.n.ZoneSize), int64(o.n.ZoneCap), int64(o.n.ExtSize()), int64(o.maxActive), int64(o.offline), int64(o.rdOnly)} {
		args = append(args, fmt.Sprint(n))
	}
	cmd := exec.Command(o.bin, args...)
	cmd.Stdin = strings.NewReader(commands)
	out, err := cmd.Output()
	if err != nil {
		t.Fatal(o.bin, args, err)
	}
	lines := bufio.NewScanner(bytes.NewReader(out))
	lines.Scan()
	outcome := lines.Text()
	var phases [2][]originalZone
	phase := 0
	for lines.Scan() {
		var z originalZone
		var i int
		switch lines.Text() {
		case "then":
			phase++
			continue
		case "broken lists":
			outcome += ", broken lists"
			continue
		case "whole":
			continue
		}
		if _, err := fmt.Sscanf(lines.Text()+" 0 0", "zone %d %d %d %d %d %d", &i, &z.State, &z.WP, &z.Attrs, &z.First, &z.Last); err != nil {
			t.Fatal(lines.Text(), err)
		}
		phases[phase] = append(phases[phase], z)
	}
	return outcome, phases[0], phases[1]
}

// compile builds originals.c.
func compile(t *testing.T) string {
	t.Helper()
	imagetest.NeedsPrograms(t, "a C compiler")
	bin := filepath.Join(t.TempDir(), "originals")
	if out, err := exec.Command("gcc", "-Wall", "-Wextra", "-Werror", "-O1", "-o", bin, "testdata/originals.c").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return bin
}

// originalFormats says which of our formats a kind of the program is.
var originalFormats = map[string]string{
	"zone-file-v3": "zone-file", "zone-file-v5": "zone-file", "pstate": "pstate", "pstate-32": "pstate", "footer": "pstate-footer",
}

// drawOriginal makes a geometry that the kind can have.
func drawOriginal(t *rapid.T, bin, kind string) *originals {
	n := layout.Namespace{ID: 1, CSI: layout.ZNS, MAR: layout.NoLimit, MOR: layout.NoLimit}
	n.BlockBits = rapid.SampledFrom([]uint8{9, 12}).Draw(t, "block bits")
	n.ZoneSize = layout.LBA(rapid.Uint64Range(2, 70).Draw(t, "zone size"))
	n.ZoneCap = layout.LBA(rapid.Uint64Range(2, uint64(n.ZoneSize)).Draw(t, "capacity"))
	n.ZoneCount = rapid.Uint64Range(2, 90).Draw(t, "zones")
	n.Blocks = layout.LBA(n.ZoneCount) * n.ZoneSize
	if strings.HasPrefix(kind, "zone-file") {
		n.ZDES = uint8(rapid.IntRange(0, 3).Draw(t, "extension"))
	} else {
		n.ZDES = rapid.SampledFrom([]uint8{0, 1, 2, 255}).Draw(t, "extension")
	}
	return &originals{bin: bin, kind: kind, n: n}
}

// second is the format's second file beside the data file.
func second(data string, f *foreign.Format) string { return data + f.Suffix }

// What zimg exports, the original takes without a word, and has the same zones.
func TestOriginalsTakeWhatIsExported(t *testing.T) {
	bin := compile(t)
	for _, kind := range []string{"zone-file-v3", "zone-file-v5", "pstate", "footer"} {
		t.Run(kind, func(t *testing.T) {
			f := formatOf(originalFormats[kind])
			dir := t.TempDir()
			rapid.Check(t, func(t *rapid.T) {
				o := drawOriginal(t, bin, kind)
				want := &layout.ZoneSlice{Size: o.n.ExtSize(), Ext: map[uint64][]byte{}}
				var active int
				for i := range o.n.ZoneCount {
					want.Table = append(want.Table, o.drawZone(t, f, i, want.Ext))
					if want.Table[i].State.Active() {
						active++
					}
				}
				o.maxActive = rapid.SampledFrom([]int{0, active}).Draw(t, "max active")
				ours, data := filepath.Join(dir, "ours"), filepath.Join(dir, "data")
				defer removeAll(t, ours, data, second(data, f))
				err := errors.Join(
					image.Create(ours, image.CreateOptions{Namespaces: []image.NamespaceSpec{{Namespace: o.n}}, Zones: []layout.Zones{want}, Fill: func([]disk.File, *layout.Plan) error { return nil }}),
					transfer.Copy(ours, data, transfer.Options{To: f}))
				if err != nil {
					t.Fatal(err)
				}
				outcome, zones, _ := o.run(t, second(data, f), "")
				if outcome != "taken" {
					t.Fatalf("the start: %s", outcome)
				}
				for i, z := range want.Table {
					got := zones[i]
					if got.State != z.State || got.Attrs != z.Attrs {
						t.Fatalf("zone %d: %+v instead of %+v", i, got, z)
					}
					switch {
					case z.State.HasWP() && got.WP != z.WP, z.State == layout.Full && got.WP != z.End():
						t.Fatalf("zone %d: write pointer %d of %+v", i, got.WP, z)
					case z.Attrs&layout.ZDEV != 0 && strings.HasPrefix(kind, "zone-file") && (got.First != int(i)+1 || got.Last != int(i)+1):
						t.Fatalf("zone %d: extension %d..%d", i, got.First, got.Last)
					}
				}
			})
		})
	}
}

// drawZone makes zone i, and its extension if it has one.
func (o *originals) drawZone(t *rapid.T, f *foreign.Format, i uint64, exts map[uint64][]byte) layout.Zone {
	n := &o.n
	state := rapid.SampledFrom([]layout.ZoneState{layout.Empty, layout.Closed, layout.Full, layout.ReadOnly, layout.Offline}).Draw(t, "state")
	z := imagetest.Sequential(n, i, state, layout.LBA(i)*n.ZoneSize)
	part := z.Start + layout.LBA(rapid.Uint64Range(1, uint64(n.ZoneCap)-1).Draw(t, "written"))
	switch state {
	case layout.Closed:
		z.WP, z.Written = part, part
		if n.ZDES > 0 && rapid.Bool().Draw(t, "has extension") {
			z.Attrs |= layout.ZDEV
			exts[i] = bytes.Repeat([]byte{byte(i + 1)}, n.ExtSize())
		}
	case layout.Full:
		if z.Written = z.End(); f.Holds.FullWritten {
			z.Written = part
		}
	case layout.Offline:
		o.offline++
	case layout.ReadOnly:
		o.rdOnly++
	default:
	}
	return z
}

func removeAll(t interface{ Fatal(...any) }, paths ...string) {
	for _, p := range paths {
		if err := os.Remove(p); err != nil && !errors.Is(err, os.ErrNotExist) {
			t.Fatal(err)
		}
	}
}

// What the original leaves, however it ends, zimg reads as the original has it; and if a check
// finds nothing worse than changes, then the original takes it again.
func TestOriginalsAreRead(t *testing.T) {
	bin := compile(t)
	for _, kind := range []string{"zone-file-v3", "zone-file-v5", "pstate", "pstate-32", "footer"} {
		t.Run(kind, func(t *testing.T) {
			f := formatOf(originalFormats[kind])
			dir := t.TempDir()
			rapid.Check(t, func(t *rapid.T) {
				o := drawOriginal(t, bin, kind)
				o.maxActive = rapid.SampledFrom([]int{0, 3}).Draw(t, "max active")
				data := filepath.Join(dir, "data")
				defer removeAll(t, data, second(data, f))
				if err := errors.Join(os.WriteFile(data, nil, 0o666), os.Truncate(data, int64(o.n.Size()))); err != nil {
					t.Fatal(err)
				}
				outcome, _, zones := o.run(t, second(data, f), o.drawCommands(t))
				if outcome != "made" {
					t.Fatalf("the first start: %s", outcome)
				}
				o.wantRead(t, data, f, zones)
			})
		})
	}
}

// drawCommands draws what a guest might do. pstate's extensions overlap in memory, so there only one
// zone gets one.
func (o *originals) drawCommands(t *rapid.T) string {
	var b strings.Builder
	for range rapid.IntRange(0, 40).Draw(t, "commands") {
		what := rapid.SampledFrom([]string{"write", "write", "write", "open", "close", "finish", "reset", "extend"}).Draw(t, "what")
		zone := rapid.Uint64Range(0, min(9, o.n.ZoneCount-1)).Draw(t, "zone")
		arg := rapid.Uint64Range(1, uint64(o.n.ZoneCap)).Draw(t, "blocks")
		if what == "extend" && !strings.HasPrefix(o.kind, "zone-file") {
			zone = 0
		}
		fmt.Fprintln(&b, what, zone, arg)
	}
	return b.String()
}

// wantRead decodes the files and compares zones with what the device had.
func (o *originals) wantRead(t *rapid.T, data string, f *foreign.Format, zones []originalZone) {
	path := second(data, f)
	before, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	g := o.n
	g.MAR = layout.ZeroBased(uint32(o.maxActive))
	g.MOR = g.MAR
	in := &foreign.Input{FS: disk.OS, Path: data, Geometry: &g, Format: f}
	d, err := f.Decode(in)
	if err != nil {
		t.Fatal(err)
	}
	c, err := d.Content(0)
	if err != nil {
		t.Fatal(err)
	}
	if c.NS.ZoneCount != o.n.ZoneCount || c.NS.ZoneSize != o.n.ZoneSize || c.NS.ZoneCap != o.n.ZoneCap || c.NS.BlockBits != o.n.BlockBits || c.NS.ZDES != o.n.ZDES {
		t.Fatalf("%+v instead of %+v", c.NS, o.n)
	}
	for i, want := range zones {
		z, err := c.Zones.Zone(uint64(i))
		if err != nil {
			t.Fatal(err)
		}
		if z.State != want.State || z.Attrs != want.Attrs {
			t.Fatalf("zone %d: %+v, the device has %+v", i, z, want)
		}
		// RFC v5 keeps no write pointer while a zone is open, and nothing else from which it follows.
		if z.State.HasWP() && z.WP != want.WP && (f.Name != "pstate-footer" || !z.State.Open()) {
			t.Fatalf("zone %d: %+v, the device has %+v", i, z, want)
		}
		if z.Attrs&layout.ZDEV != 0 {
			if ext, err := c.Zones.Extension(uint64(i)); err != nil || ext[0] != byte(want.First) || ext[len(ext)-1] != byte(want.Last) {
				t.Fatalf("zone %d: extension %v..., the device has %+v (%v)", i, ext[:1], want, err)
			}
		}
	}
	problems := slices.Clone(d.Problems)
	if err := errors.Join(d.Walk(func(p foreign.Problem) error { problems = append(problems, p); return nil }), in.Close()); err != nil {
		t.Fatal(err)
	}
	worst := foreign.Odd
	for _, p := range problems {
		worst = max(worst, p.Verdict)
	}
	after, again := o.restart(t, path)
	switch {
	case worst <= foreign.Changed && (after != "taken" || again != "taken"):
		t.Fatalf("nothing found, but the starts: %s, %s", after, again)
	case worst > foreign.Changed && after == "taken" && again == "taken":
		t.Fatalf("found %+v, but the original takes it", problems)
	}
	if err := os.WriteFile(path, before, 0o666); err != nil {
		t.Fatal(err)
	}
}

// restart starts the device twice: what is done to zones at the first start may undo them at the second.
func (o *originals) restart(t *rapid.T, path string) (string, string) {
	first, _, _ := o.run(t, path, "")
	second, _, _ := o.run(t, path, "")
	return first, second
}
