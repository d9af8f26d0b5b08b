//go:build unix

package all_test

import (
	"encoding/binary"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/foreign"
	"zimg/image/imagetest"
	"zimg/image/transfer"
	"zimg/layout"
)

// rublk holds an exclusive lock on the directory of a device: it is not read then, unless the user says so.
func TestRublkInUse(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	own, device := filepath.Join(dir, "own"), filepath.Join(dir, "device")
	small(t, disk.OS, own)
	if err := transfer.Copy(own, device, transfer.Options{To: formatOf("rublk")}); err != nil {
		t.Fatal(err)
	}
	held, err := os.Open(device)
	if err != nil {
		t.Fatal(err)
	}
	if err := syscall.Flock(int(held.Fd()), syscall.LOCK_EX); err != nil {
		t.Fatal(err)
	}
	open := func(shared bool) error {
		_, closer, err := transfer.Open(device, formatOf("rublk"), transfer.Options{}, shared)
		if err == nil {
			err = closer()
		}
		return err
	}
	if err := open(false); !errors.Is(err, disk.ErrLocked) || !strings.Contains(err.Error(), device) {
		t.Errorf("in use: %v", err)
	}
	if err := transfer.Copy(device, filepath.Join(dir, "copy"), transfer.Options{From: formatOf("rublk")}); !errors.Is(err, disk.ErrLocked) {
		t.Errorf("an import: %v", err)
	}
	if err := open(true); err != nil {
		t.Errorf("with leave: %v", err)
	}
	if err := held.Close(); err != nil {
		t.Fatal(err)
	}
	if err := open(false); err != nil {
		t.Errorf("no longer in use: %v", err)
	}
	again, err := os.Open(device)
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = again.Close() }()
	if err := syscall.Flock(int(again.Fd()), syscall.LOCK_EX|syscall.LOCK_NB); err != nil {
		t.Errorf("the lock is not given back: %v", err)
	}
	if _, err := image.Open(own, image.Options{}); err != nil {
		t.Error(err)
	}
}

// attributed is a file system in memory whose files have extended attributes.
type attributed struct {
	*imagetest.MemFS
	attrs map[string][]byte
}

func (a attributed) LockDir(string) (io.Closer, error) {
	return io.NopCloser(strings.NewReader("")), nil
}

func (a attributed) Attribute(path, name string) ([]byte, error) {
	if name != "user.zloop.wp" {
		return nil, nil
	}
	return a.attrs[path], nil
}

// zloop's discard_write_cache keeps write pointers as of the last flush: a zone that is longer is pointed out, and
// read as long as it is.
func TestZloopFlushed(t *testing.T) {
	t.Parallel()
	x := readFixture(t, "../../../testdata/foreign/zloop.txt")
	fsys, path := x.place()
	wp := func(sector uint64) []byte { return binary.LittleEndian.AppendUint64(nil, sector) }
	for _, c := range []struct {
		name  string
		attrs map[string][]byte
		want  string // of the problem's Want; "" for none
	}{
		{"as flushed", map[string][]byte{"seq-000001": wp(10)}, ""},
		{"longer", map[string][]byte{"seq-000001": wp(9)}, "512"},
		{"nothing flushed", map[string][]byte{"seq-000001": wp(8)}, "0"},
		{"before a reset", map[string][]byte{"seq-000001": wp(13)}, ""},
		{"of another zone", map[string][]byte{"seq-000001": wp(1)}, ""},
		{"not a number", map[string][]byte{"seq-000001": []byte("abc")}, ""},
		{"Full and Empty zones", map[string][]byte{"seq-000002": wp(17), "seq-000003": wp(25), "cnv-000000": wp(1)}, ""},
	} {
		attrs := map[string][]byte{}
		for name, b := range c.attrs {
			attrs[filepath.Join(path, name)] = b
		}
		in := &foreign.Input{FS: attributed{fsys, attrs}, Path: path, Geometry: x.geometry, Format: formatOf("zloop")}
		d, err := in.Format.Decode(in)
		if err != nil {
			t.Fatal(err)
		}
		got := ""
		for _, p := range d.Problems {
			if strings.Contains(p.Text, "last flush") {
				got = p.Want
			}
		}
		if got != c.want || (got != "") != strings.Contains(strings.Join(d.Assumed, ";"), "after the last flush") {
			t.Errorf("%s: %q, want %q; assumed %q", c.name, got, c.want, d.Assumed)
		}
		if z, err := d.Contents[0].Zones.Zone(1); err != nil || z.State != layout.Closed || z.Written != 10 {
			t.Errorf("%s: %+v, %v", c.name, z, err)
		}
		if err := in.Close(); err != nil {
			t.Fatal(err)
		}
	}
}
