package image_test

import (
	"errors"
	"math"
	"strings"
	"testing"

	"zimg/image"
	"zimg/image/disk"
	"zimg/image/imagetest"
	"zimg/layout"
)

// Calls that an image cannot do what they ask for are refused by a message that says why.
func TestRefusals(t *testing.T) {
	t.Parallel()
	fs := imagetest.NewMemFS()
	spec := imagetest.Standard(layout.Trailing)
	if err := spec.Create(fs, path); err != nil {
		t.Fatal(err)
	}
	read, err := image.Open(path, image.Options{FS: fs, ForceShare: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = read.Close() }()
	write, err := image.Open(path, image.Options{FS: fs, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = write.Close() }()
	n := write.Namespaces()[0]
	for _, c := range []struct {
		err  error
		want string
	}{
		{read.BeginChange(), path + ": opened read-only"},
		{n.DiscardZone(1, n.ZoneSize-1), "block 127 is not in zone 1"},
		{second(n.ReadAt(make([]byte, 512), math.MaxInt64)), "namespace 1 has 1048576 bytes; there are no 512 bytes at 9223372036854775807"},
		{n.SetExtension(1, make([]byte, n.ExtSize()+1)), "extension of 65 bytes is too long: namespace 1 has 64 bytes per zone"},
		{second(n.ChangeZones(image.ZoneChange{Action: 99, Zones: []image.ZoneRange{{First: 1, Last: 1}}})), "invalid zone action 99"},
		{write.CheckDataAlone(), path + " (layout trailing, "},
	} {
		if c.err == nil || !strings.HasPrefix(c.err.Error(), c.want) {
			t.Errorf("%v, want %s", c.err, c.want)
		}
	}
	worn := imagetest.NewMemFS()
	if err := spec.Create(worn, path); err != nil {
		t.Fatal(err)
	}
	setGeneration(t, worn, layout.MaxGeneration)
	im, err := image.Open(path, image.Options{FS: worn, Write: true})
	if err != nil {
		t.Fatal(err)
	}
	defer func() { _ = im.Close() }()
	want := path + ": the metadata generation counter is exhausted; copy the image to change it"
	if err := im.BeginChange(); !errors.Is(err, image.ErrWornOut) || err.Error() != want {
		t.Errorf("%v, want %s", err, want)
	}
}

// An error of the file system says what zimg was doing.
func TestFailures(t *testing.T) {
	t.Parallel()
	spec := imagetest.Standard(layout.Trailing)
	falloc := spec
	open := func(fs disk.FS) error {
		im, err := image.Open(path, image.Options{FS: fs})
		if err == nil {
			err = im.Close()
		}
		return err
	}
	for _, c := range []struct {
		run  func(fs disk.FS) error
		err  error
		want string
	}{
		{open, errDisk, path + ": read locator: "},
		{func(fs disk.FS) error { return image.Convert(path, "/d/copy.zimg", image.ConvertOptions{FS: fs}) }, errDisk, "copy namespace 1: "},
		{func(fs disk.FS) error {
			o := image.CreateOptions{FS: fs, Layout: falloc.Layout, Preallocation: image.PreallocFalloc}
			o.Namespaces = []image.NamespaceSpec{{Namespace: falloc.Namespaces[0].Namespace}}
			return image.Create("/d/new.zimg", o)
		}, disk.ErrUnsupported, "preallocation falloc is not supported here; use full or off"},
	} {
		said := false
		for n := 1; n < 200 && !said; n++ {
			under := imagetest.NewMemFS()
			if err := spec.Create(under, path); err != nil {
				t.Fatal(err)
			}
			fs := imagetest.NewFaultFS(under)
			fs.FailAt(n, c.err)
			err := c.run(fs)
			said = err != nil && strings.Contains(err.Error(), c.want)
		}
		if !said {
			t.Errorf("no failure says %q", c.want)
		}
	}
}

func second[T any](_ T, err error) error { return err }
