package vm

import (
	"path/filepath"
	"slices"
	"testing"

	"zimg/image/disk"
	"zimg/image/imagetest"
	"zimg/layout"
)

// Copies of an image in one run are drives of their own for a guest.
func TestOpenCopies(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	spec := imagetest.Standard(layout.Trailing)
	r := &run{}
	r.Log = t.Logf
	for _, name := range []string{"a", "b", "c"} {
		path := filepath.Join(dir, name)
		if err := spec.Create(disk.OS, path); err != nil {
			t.Fatal(err)
		}
		r.Paths = append(r.Paths, path)
	}
	c := r.config()
	disks, err := r.openDisks(t.Context(), c)
	t.Cleanup(func() {
		for _, d := range disks {
			if err := d.Close(); err != nil {
				t.Error(err)
			}
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	var serials, names []string
	var copies []uint8
	for _, d := range c.Drives {
		serials, names, copies = append(serials, d.Options().Serial), append(names, d.NQN()), append(copies, d.Options().Copy)
	}
	if want := []string{"5a010203040546078809", "5a0102030405460788-2", "5a0102030405460788-3"}; !slices.Equal(serials, want) {
		t.Errorf("serial numbers %q, want %q", serials, want)
	}
	const nqn = "nqn.2014-08.org.nvmexpress:uuid:5a010203-0405-4607-8809-0a0b0c0d0e0f"
	if want := []string{nqn, nqn + ":2", nqn + ":3"}; !slices.Equal(names, want) {
		t.Errorf("names %q, want %q", names, want)
	}
	if want := []uint8{0, 1, 2}; !slices.Equal(copies, want) {
		t.Errorf("copies %d, want %d", copies, want)
	}
}
