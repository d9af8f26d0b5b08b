package fsck_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"pgregory.net/rapid"

	"zimg/fsck"
	"zimg/image/imagetest"
	"zimg/layout"
)

// damageLines are the damages of testdata/damage that can come in any order.
func damageLines(t *testing.T) []string {
	cases, err := filepath.Glob(filepath.Join(damageDir, "*", "damage.txt"))
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	var lines []string
	for _, name := range cases {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		for _, line := range strings.Split(strings.TrimSpace(string(b)), "\n")[1:] {
			if !strings.Contains(line, "leftover") && !strings.Contains(line, "foreign") && !strings.Contains(line, "truncate") {
				lines = append(lines, line)
			}
		}
	}
	return lines
}

// Any damage: a check changes no byte; a repair of everything leaves a sound
// image, or one whose loss is named; a second one changes nothing; undo gives the bytes back.
func TestAnyDamage(t *testing.T) {
	t.Parallel()
	lines := damageLines(t)
	rapid.Check(t, func(rt *rapid.T) {
		kind := rapid.SampledFrom([]layout.Kind{layout.Trailing, layout.Sidecar}).Draw(rt, "layout")
		fs, _ := standard(t, kind)
		for range rapid.IntRange(1, 4).Draw(rt, "damages") {
			line := rapid.SampledFrom(lines).Draw(rt, "damage")
			if err := imagetest.Damage(fs, path, line); err != nil {
				break // so far gone that no more can be broken in a named way
			}
		}
		before := files(t, fs)
		if _, _, err := verdict(t, fs, fsck.Options{Data: fsck.DataAlways}); err != nil {
			rt.Fatal(err)
		}
		if !same(before, files(t, fs)) {
			rt.Fatal("a check has changed something")
		}
		r, codes, err := verdict(t, fs, fsck.Options{Mode: fsck.All, Data: fsck.DataAlways})
		if err != nil {
			rt.Fatal(err)
		}
		if r.ExitCode() != 0 && codes[fsck.SlotsLost] == 0 {
			rt.Fatalf("not sound after a repair of %v", codes)
		}
		repaired := files(t, fs)
		if r, codes, err := verdict(t, fs, fsck.Options{Mode: fsck.All, Data: fsck.DataAlways}); err != nil || r.Changed || !same(repaired, files(t, fs)) {
			rt.Fatalf("a second repair does something: %v, %v", codes, err)
		}
		if r.Changed {
			undo(t, fs, before)
		}
		if t.Failed() {
			rt.FailNow()
		}
	})
}

// Check and repair of whatever bytes: no panic, no hang.
func FuzzCheck(f *testing.F) {
	fs, _ := standard(f, layout.Sidecar)
	meta := files(f, fs)[metaName(layout.Sidecar)]
	f.Add(meta[:layout.BlockLen], uint32(0), uint32(0))
	f.Add([]byte("xx"), uint32(len(meta)-20), uint32(0))
	f.Add([]byte{255, 255, 255, 255, 255, 255, 255}, uint32(3*layout.BlockLen+9), uint32(4096))
	data := make([]byte, 9<<20)
	f.Fuzz(func(t *testing.T, change []byte, off, cut uint32) {
		b := append([]byte(nil), meta...)
		copy(b[int(off)%len(b):], change)
		b = b[:len(b)-int(cut)%len(b)]
		disk := imagetest.NewMemFS()
		disk.WriteFile(path, data)
		disk.WriteFile(metaName(layout.Sidecar), b)
		_, _, _ = verdict(t, disk, fsck.Options{Data: fsck.DataAlways})
		r, codes, err := verdict(t, disk, fsck.Options{Mode: fsck.All, Data: fsck.DataAlways})
		if err == nil && r.Changed && r.ExitCode() != 0 {
			t.Errorf("repaired, and not sound: %v", codes)
		}
	})
}
