package all_test

import (
	"bytes"
	"fmt"
	"math/rand/v2"
	"path/filepath"
	"runtime"
	"strings"
	"testing"

	"zimg/image/foreign"
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
			for _, i := range at {
				for _, v := range []byte{0, 0xFF, good[i] ^ 1, good[i] ^ 0x80} {
					b := bytes.Clone(good)
					b[i] = v
					try(fmt.Sprintf("byte %d = %#x", i, v), b)
				}
			}
			for range 300 * min(1, len(at)) {
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
				try(fmt.Sprintf("first %d bytes", n), good[:n])
			}
			if refused == 0 && f.Name != "zloop" {
				t.Error("nothing was refused")
			}
		})
	}
}

// FuzzDecode feeds any bytes to any decoder.
func FuzzDecode(f *testing.F) {
	var list []*fixture
	var formats []*foreign.Format
	for _, path := range fixtures(f) {
		x := readFixture(f, path)
		if len(x.files[x.target()]) > 1<<16 {
			continue
		}
		f.Add(uint8(len(list)), x.files[x.target()])
		list = append(list, x)
		formats = append(formats, formatOf(strings.TrimSuffix(filepath.Base(path), ".txt")))
	}
	f.Fuzz(func(t *testing.T, which uint8, b []byte) {
		i := int(which) % len(list)
		x := *list[i]
		x.files = map[string][]byte{}
		for name, c := range list[i].files {
			x.files[name] = c
		}
		x.files[x.target()] = b
		fsys, path := x.place()
		if err := examine(fsys, path, formats[i], &x); err != nil && len(err.Error()) > 4096 {
			t.Errorf("an error of %d bytes", len(err.Error()))
		}
	})
}
