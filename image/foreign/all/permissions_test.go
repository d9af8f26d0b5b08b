//go:build unix

package all_test

import (
	"io/fs"
	"os"
	"path/filepath"
	"testing"

	"zimg/image/foreign"
	"zimg/image/foreign/all"
	"zimg/image/transfer"
)

// What only its owner may read stays so in every format: going out, coming back, and in place.
func TestTransferPermissions(t *testing.T) {
	for _, f := range all.Formats {
		if f.Encode == nil || f.Shape == foreign.Device {
			continue
		}
		t.Run(f.Name, func(t *testing.T) {
			dir := t.TempDir()
			source := filepath.Join(dir, "a")
			ns := small(t, nil, source)
			if err := os.Chmod(source, 0o600); err != nil {
				t.Fatal(err)
			}
			seen := 0
			closed := func(step string, err error) {
				t.Helper()
				if err != nil {
					t.Fatalf("%s: %v", step, err)
				}
				err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
					if err != nil || d.IsDir() {
						return err
					}
					info, err := d.Info()
					if err == nil && info.Mode().Perm()&0o077 != 0 {
						t.Errorf("%s: %s has mode %v", step, path, info.Mode())
					}
					seen++
					return err
				})
				if err != nil {
					t.Fatal(err)
				}
			}
			out := transfer.Options{To: f, Lossy: f.Holds.NoZones}
			in := transfer.Options{From: f, Geometry: ns}
			there := filepath.Join(dir, "0")
			closed("out", transfer.Copy(source, there, out))
			closed("back", transfer.Copy(there, filepath.Join(dir, "b"), in))
			if f.Shape == foreign.TwoFiles {
				closed("in place", transfer.InPlace(there, in))
				if err := os.Remove(there + f.Suffix); err != nil {
					t.Fatal(err)
				}
				closed("out in place", transfer.InPlace(there, out))
			}
			if seen < 5 {
				t.Errorf("%d files", seen)
			}
		})
	}
}
