package all_test

import (
	"bufio"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"zimg/image/foreign"
	"zimg/image/foreign/all"
	"zimg/image/imagetest"
	"zimg/layout"
)

// fixture is a file of testdata/foreign, whose README has the syntax.
type fixture struct {
	files    map[string][]byte
	zones    []layout.Zone
	problems []string
	geometry *layout.Namespace
}

func readFixture(t testing.TB, path string) *fixture {
	t.Helper()
	file, err := os.Open(path)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = file.Close() }()
	f := &fixture{files: map[string][]byte{}}
	var current []byte
	lines := bufio.NewScanner(file)
	for n := 1; lines.Scan(); n++ {
		text, _, _ := strings.Cut(lines.Text(), "#")
		words := strings.Fields(text)
		if len(words) == 0 {
			continue
		}
		bad := func(err error) {
			if err != nil {
				t.Fatalf("%s:%d: %v", path, n, err)
			}
		}
		switch words[0] {
		case "file":
			length, err := strconv.Atoi(words[2])
			bad(err)
			current = make([]byte, length)
			f.files[words[1]] = current
		case "zone":
			f.zones = append(f.zones, parseZone(t, words))
		case "problem":
			f.problems = append(f.problems, strings.TrimSpace(strings.TrimPrefix(text, "problem")))
		case "geometry":
			v := make([]uint64, 3)
			for i := range v {
				v[i], err = strconv.ParseUint(words[i+1], 10, 64)
				bad(err)
			}
			f.geometry = &layout.Namespace{CSI: layout.ZNS, BlockBits: uint8(v[0]), ZoneSize: layout.LBA(v[1]), ZoneCap: layout.LBA(v[2]), MAR: layout.NoLimit, MOR: layout.NoLimit}
		default:
			off, err := strconv.Atoi(words[0])
			bad(err)
			b, err := parseBytes(strings.TrimSpace(strings.TrimPrefix(text, words[0])))
			bad(err)
			if off+len(b) > len(current) {
				t.Fatalf("%s:%d: behind the end of the file", path, n)
			}
			copy(current[off:], b)
		}
	}
	if err := lines.Err(); err != nil {
		t.Fatal(err)
	}
	return f
}

// parseBytes reads hex bytes, numbers and texts.
func parseBytes(s string) ([]byte, error) {
	var b []byte
	for s = strings.TrimSpace(s); s != ""; s = strings.TrimSpace(s) {
		if s[0] == '"' {
			text, rest, ok := strings.Cut(s[1:], `"`)
			if !ok {
				return nil, fmt.Errorf("no closing quote")
			}
			b, s = append(b, text...), rest
			continue
		}
		word, rest, _ := strings.Cut(s, " ")
		s = rest
		kind, number, ok := strings.Cut(word, ":")
		if !ok {
			x, err := hex.DecodeString(word)
			if err != nil {
				return nil, err
			}
			b = append(b, x...)
			continue
		}
		v, err := strconv.ParseUint(number, 0, 64)
		if err != nil {
			return nil, err
		}
		switch kind {
		case "u32":
			b = binary.LittleEndian.AppendUint32(b, uint32(v))
		case "u64":
			b = binary.LittleEndian.AppendUint64(b, v)
		case "be32":
			b = binary.BigEndian.AppendUint32(b, uint32(v))
		case "be64":
			b = binary.BigEndian.AppendUint64(b, v)
		default:
			return nil, fmt.Errorf("%q", word)
		}
	}
	return b, nil
}

// parseZone reads "zone N STATE START CAP WRITTEN ATTRIBUTES".
func parseZone(t testing.TB, words []string) layout.Zone {
	t.Helper()
	number := func(i int) layout.LBA {
		v, err := strconv.ParseUint(words[i], 10, 64)
		if err != nil {
			t.Fatal(err)
		}
		return layout.LBA(v)
	}
	z := layout.Zone{ZoneDescriptor: layout.ZoneDescriptor{Type: layout.SeqWriteRequired, Start: number(3), Cap: number(4)}, Written: number(5)}
	z.WP = z.Written
	switch words[2] {
	case "Conventional":
		z.Type, z.State = layout.Conventional, layout.NotWP
	default:
		z.State = map[string]layout.ZoneState{
			"Empty": layout.Empty, "ImplicitlyOpened": layout.ImplicitlyOpened, "ExplicitlyOpened": layout.ExplicitlyOpened,
			"Closed": layout.Closed, "Full": layout.Full, "ReadOnly": layout.ReadOnly, "Offline": layout.Offline,
		}[words[2]]
	}
	if !z.State.HasWP() {
		z.WP = layout.NoWP
	}
	z.Attrs = map[string]layout.ZoneAttrs{"-": 0, "ZDEV": layout.ZDEV, "RZR": layout.RZR, "ZFC": layout.ZFC}[words[6]]
	return z
}

// place puts the fixture's files into a file system, and returns the path to be named.
func (x *fixture) place() (*imagetest.MemFS, string) {
	fsys := imagetest.NewMemFS()
	for name, b := range x.files {
		fsys.WriteFile("/"+name, b)
	}
	return fsys, "/disk"
}

// formatOf is the format whose name the fixture's begins with.
func formatOf(name string) *foreign.Format {
	var best *foreign.Format
	for _, f := range all.Formats {
		if strings.HasPrefix(name, f.Name) && (best == nil || len(f.Name) > len(best.Name)) {
			best = f
		}
	}
	return best
}

func fixtures(t testing.TB) []string {
	t.Helper()
	paths, err := filepath.Glob("../../../testdata/foreign/*.txt")
	if err != nil || len(paths) == 0 {
		t.Fatalf("%v, %d fixtures", err, len(paths))
	}
	return paths
}

// What was assembled by hand is understood, zone by zone, and problems are named.
func TestFixtures(t *testing.T) {
	seen := map[string]bool{}
	for _, path := range fixtures(t) {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		f := formatOf(name)
		if f == nil {
			t.Fatalf("%s is of no format", name)
		}
		seen[f.Name] = true
		t.Run(name, func(t *testing.T) {
			x := readFixture(t, path)
			fsys, file := x.place()
			if f.Probe != nil && f.Name != "zloop" {
				if got, err := foreign.Detect(all.Formats, fsys, file); err != nil || got != f {
					t.Errorf("detected as %v, %v", got, err)
				}
			}
			in := &foreign.Input{FS: fsys, Path: file, Geometry: x.geometry, Format: f}
			d, err := f.Decode(in)
			if err != nil {
				t.Fatal(err)
			}
			c, err := d.Content(0)
			if err != nil {
				t.Fatal(err)
			}
			if c.NS.ZoneCount != uint64(len(x.zones)) {
				t.Fatalf("%d zones, want %d", c.NS.ZoneCount, len(x.zones))
			}
			for i, want := range x.zones {
				if got, err := c.Zones.Zone(uint64(i)); err != nil || got != want {
					t.Errorf("zone %d: %v\n got %+v\nwant %+v", i, err, got, want)
				}
				if want.Attrs&layout.ZDEV != 0 {
					if ext, err := c.Zones.Extension(uint64(i)); err != nil || !strings.HasPrefix(string(ext), fmt.Sprintf("extension of zone %d", i)) {
						t.Errorf("extension of zone %d: %v, %q", i, err, ext)
					}
				}
			}
			checkProblems(t, d, x.problems)
			if err := in.Close(); err != nil {
				t.Fatal(err)
			}
		})
	}
	for _, f := range all.Formats {
		if f.Name != "raw" && f.Name != "device" && !seen[f.Name] {
			t.Errorf("no fixture of %s", f.Name)
		}
	}
}

// checkProblems wants each text in a problem, and none but notes beside them.
func checkProblems(t *testing.T, d *foreign.Decoded, want []string) {
	t.Helper()
	problems := d.Problems
	if d.Walk != nil {
		if err := d.Walk(func(p foreign.Problem) error { problems = append(problems, p); return nil }); err != nil {
			t.Fatal(err)
		}
	}
	for _, w := range want {
		found := false
		for _, p := range problems {
			found = found || strings.Contains(p.Text+p.Want, w)
		}
		if !found {
			t.Errorf("no problem %q in %+v", w, problems)
		}
	}
	for _, p := range problems {
		if len(want) == 0 && p.Verdict > foreign.Changed {
			t.Errorf("unexpected: %+v", p)
		}
	}
}
