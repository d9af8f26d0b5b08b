package all_test

import (
	"bytes"
	"fmt"
	"maps"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"testing"

	"zimg/image/foreign"
	"zimg/image/foreign/fakezbc"
	"zimg/image/foreign/filezbc"
	"zimg/image/foreign/gzoned"
	"zimg/image/foreign/pstate"
	"zimg/image/foreign/qcow2"
	"zimg/image/foreign/zbddump"
	"zimg/image/foreign/zonedir"
	"zimg/image/foreign/zonedraw"
	"zimg/image/foreign/zonefile"
	"zimg/image/imagetest"
)

// examine does to path what every command together does: it decodes, looks for problems, walks
// all zones and, where they are to be believed, all data.
func examine(fsys *imagetest.MemFS, path string, f *foreign.Format, x *fixture) error {
	in := &foreign.Input{FS: fsys, Path: path, Geometry: x.geometry, Format: f}
	defer func() { _ = in.Close() }()
	d, err := f.Decode(in)
	if err != nil {
		return err
	}
	if d.Walk != nil {
		if err := d.Walk(func(foreign.Problem) error { return nil }); err != nil {
			return err
		}
	}
	for _, c := range d.Contents {
		if err := c.CheckSound(path); err != nil {
			return err
		}
		if c.Data == nil {
			continue
		}
		for r, err := range c.Runs() {
			if err != nil {
				return err
			}
			for _, err := range c.Held(r.From, min(r.To, r.From+1<<24)) {
				if err != nil {
					return err
				}
			}
		}
	}
	return nil
}

// target is the name of the fixture's file that zones are read from.
func (x *fixture) target() string {
	best := ""
	for name := range x.files {
		for _, end := range []string{".zones", ".pstate", ".zoneinfo", ".meta", "_info.dump", "superblock"} {
			if strings.HasSuffix(name, end) {
				return name
			}
		}
		if best == "" || name < best {
			best = name
		}
	}
	return best
}

// allocated is what fn allocates, in bytes.
func allocated(fn func()) uint64 {
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	fn()
	runtime.ReadMemStats(&after)
	return after.TotalAlloc - before.TotalAlloc
}

// Whatever bytes are in a file, it is read or refused: no panic, no memory beyond what the file's
// length justifies, and nothing in it changes.
func TestHostile(t *testing.T) {
	for _, path := range fixtures(t) {
		name := strings.TrimSuffix(filepath.Base(path), ".txt")
		t.Run(name, func(t *testing.T) {
			f := formatOf(name)
			x := readFixture(t, path)
			file := x.target()
			good := x.files[file]
			rng := rand.New(rand.NewPCG(1, 2))
			refused := 0
			try := func(what string, b []byte) {
				x.files[file] = b
				fsys, disk := x.place()
				var err error
				used := allocated(func() { err = examine(fsys, disk, f, x) })
				if limit := uint64(8<<20 + 64*len(b)); used > limit {
					t.Errorf("%s: %d bytes allocated for a file of %d (%v)", what, used, len(b), err)
				}
				if err != nil {
					refused++
				}
				if now, rerr := fsys.ReadFile("/" + file); rerr != nil || !bytes.Equal(now, b) {
					t.Errorf("%s: the file was changed (%v)", what, rerr)
				}
			}
			var at []int // bytes that say something
			for i, c := range good {
				if c != 0 {
					at = append(at, i)
				}
			}
			for n, i := range at {
				if !imagetest.Sampled(n+1, len(at)) {
					continue
				}
				for _, v := range []byte{0, 0xFF, good[i] ^ 1, good[i] ^ 0x80} {
					b := bytes.Clone(good)
					b[i] = v
					try(fmt.Sprintf("byte %d = %#x", i, v), b)
				}
			}
			for n := range 300 * min(1, len(at)) {
				if !imagetest.Sampled(n+1, 300) {
					continue
				}
				b := bytes.Clone(good)
				for range 1 + rng.IntN(4) {
					i := at[rng.IntN(len(at))] + rng.IntN(8)
					if i < len(b) {
						b[i] = byte(rng.Uint32())
					}
				}
				try("random bytes", b)
			}
			step := max(1, len(good)/400)
			for n := 0; n < len(good); n += step {
				if !imagetest.Sampled(n/step+1, (len(good)-1)/step+1) {
					continue
				}
				try(fmt.Sprintf("first %d bytes", n), good[:n])
			}
			if refused == 0 && f.Name != "zloop" {
				t.Error("nothing was refused")
			}
		})
	}
}

// Each decoder is fed any bytes.

func FuzzZoneFile(f *testing.F) { fuzzFormat(f, zonefile.Format) }

func FuzzPstate(f *testing.F) { fuzzFormat(f, pstate.Format, pstate.Footer, pstate.V1, pstate.V0) }

func FuzzZonedraw(f *testing.F) { fuzzFormat(f, zonedraw.Format) }

func FuzzQcow2(f *testing.F) { fuzzFormat(f, qcow2.Format) }

func FuzzZBDDump(f *testing.F) { fuzzFormat(f, zbddump.Format) }

func FuzzZoneDir(f *testing.F) { fuzzFormat(f, zonedir.Zloop, zonedir.Rublk) }

func FuzzZBC(f *testing.F) { fuzzFormat(f, filezbc.Format, fakezbc.Format) }

func FuzzGzoned(f *testing.F) { fuzzFormat(f, gzoned.Format) }

// fuzzFormat feeds any bytes to the decoders of formats, as the file of a fixture that zones are read from.
func fuzzFormat(f *testing.F, formats ...*foreign.Format) {
	f.Helper()
	var list []*fixture
	var of []*foreign.Format
	for _, path := range fixtures(f) {
		format := formatOf(strings.TrimSuffix(filepath.Base(path), ".txt"))
		x := readFixture(f, path)
		if !slices.Contains(formats, format) || len(x.files[x.target()]) > 1<<18 {
			continue
		}
		f.Add(uint8(len(list)), x.files[x.target()])
		list = append(list, x)
		of = append(of, format)
	}
	if len(list) == 0 {
		f.Fatalf("no fixture of %s", formats[0].Name)
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		i := int(which) % len(list)
		x := *list[i]
		x.files = maps.Clone(x.files)
		x.files[x.target()] = b
		fsys, path := x.place()
		if err := examine(fsys, path, of[i], &x); err != nil && len(err.Error()) > 4096 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	})
}
