package fsck_test

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"zimg/fsck"
	"zimg/image/imagetest"
)

const damageDir = "../testdata/damage"

// transcript is what a run of the checker says, and its exit code.
func transcript(fs *imagetest.MemFS, mode fsck.Mode) (text string, codes map[fsck.Code]int) {
	var b strings.Builder
	codes = map[fsck.Code]int{}
	o := fsck.Options{FS: fs, Stamp: imagetest.Stamp, Mode: mode, Data: fsck.DataAlways, Found: func(f fsck.Finding) {
		codes[f.Code]++
		repaired := ""
		if f.Repaired {
			repaired = " [repaired]"
		}
		fmt.Fprintf(&b, "%s%s\n", f.String(), repaired)
	}}
	work := fsck.Check
	if mode != fsck.CheckOnly {
		work = fsck.Repair
	}
	r, err := work(path, o)
	if err != nil {
		fmt.Fprintf(&b, "error: %v\n", err)
		return b.String(), codes
	}
	fmt.Fprintf(&b, "errors %d, warnings %d, notes %d, repaired %d; afterwards %d\n", r.Errors, r.Warnings, r.Notes, r.Fixed, r.ExitCode())
	return b.String(), codes
}

// A folder a case: the damage, what a check says of it, a safe repair, a repair of
// everything, and a second one. The last is always clean.
func TestDamage(t *testing.T) {
	t.Parallel()
	cases, err := filepath.Glob(filepath.Join(damageDir, "*", "damage.txt"))
	if err != nil || len(cases) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	produced := map[fsck.Code]bool{}
	for _, name := range cases {
		dir := filepath.Dir(name)
		t.Run(filepath.Base(dir), func(t *testing.T) {
			text, err := os.ReadFile(name)
			if err != nil {
				t.Fatal(err)
			}
			fs := build(t, string(text))
			before := files(t, fs)
			check, codes := transcript(fs, fsck.CheckOnly)
			if !same(before, files(t, fs)) {
				t.Error("a check has changed something")
			}
			for c := range codes {
				produced[c] = true
			}
			safe, _ := transcript(diskOf(before), fsck.Safe)
			all, _ := transcript(fs, fsck.All)
			again, _ := transcript(fs, fsck.All)
			compareFile(t, filepath.Join(dir, "expect.1"), "check:\n"+check+"\nrepair:\n"+safe+"\nrepair=all:\n"+all)
			compareFile(t, filepath.Join(dir, "expect.2"), again)
			if !strings.Contains(again, "repaired 0; afterwards") {
				t.Errorf("the second repair has something to do:\n%s", again)
			}
			undo(t, fs, before)
		})
	}
	for _, e := range fsck.Catalogue {
		// The first needs a geometry from outside, a script of the command line has it; others are about a
		// drive that died (TestServedImage), about protection information (TestProtection), or not about images of ours
		// (TestForeignCodes).
		if !produced[e.Code] && e.Code != fsck.MetadataLost && e.Code != fsck.ProtectionWrong && !slices.Contains(servedCodes, e.Code) && !strings.HasPrefix(string(e.Code), "foreign-") {
			t.Errorf("no case finds %s", e.Code)
		}
	}
}

// build makes the image of a case.
func build(t testing.TB, text string) *imagetest.MemFS {
	t.Helper()
	fs, err := imagetest.Damaged(path, text)
	if err != nil {
		t.Fatal(err)
	}
	return fs
}

// undo takes the repair back and wants the very bytes from before.
func undo(t testing.TB, fs *imagetest.MemFS, before map[string][]byte) {
	t.Helper()
	err := fsck.Undo(path, fsck.Options{FS: fs}, false)
	if errors.Is(err, fsck.ErrUndo) {
		return // there was nothing to repair
	}
	if err != nil {
		t.Fatal(err)
	}
	if after := files(t, fs); !same(before, after) {
		for name := range before {
			if string(before[name]) != string(after[name]) {
				t.Errorf("undo leaves %s of %d bytes, it had %d", name, len(after[name]), len(before[name]))
			}
		}
		t.Errorf("undo does not bring back the bytes: %d files, there were %d", len(after), len(before))
	}
}

// compareFile holds got against a file, or with UPDATE=1 writes it.
func compareFile(t *testing.T, name, got string) {
	t.Helper()
	if os.Getenv("UPDATE") != "" {
		if err := os.WriteFile(name, []byte(got), 0o666); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(name)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("%s: got\n%s\nwant\n%s", name, got, want)
	}
}
